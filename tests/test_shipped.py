"""The weights that come with the package: what lies in their folders, and that flowers have the colours asked for."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import benchmark

from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import weights

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = re.findall(r"!/weights/(\w+)/", (REPOSITORY / ".gitignore").read_text(encoding="utf-8"))
MOST = 25e6  # bytes of a run


def test_what_is_committed_is_installed():
    named = re.search(r"SHIPPED = \((.*?)\)", (REPOSITORY / "setup.py").read_text(encoding="utf-8"))[1]
    assert sorted(re.findall(r'"(\w+)"', named)) == sorted(SHIPPED) == ["birds", "drawn", "flowers"]


@pytest.mark.parametrize("run", SHIPPED)
def test_a_shipped_run(run):
    folder = REPOSITORY / "weights" / run
    assert sum(file.stat().st_size for file in folder.iterdir()) < MOST
    assert not [*folder.glob("*_dis.weights.h5")]
    model = StackGAN.load(folder)
    made = model.generate(["it is red", "it is yellow"], count=1, seed=0)
    assert made["image"].shape == (2, 1, 256, 256, 3) and made["stage1_image"].shape == (2, 1, 64, 64, 3)
    # a yellow image has more green light in its middle than a red one, at both stages
    for images in made.values():
        middle = slice(images.shape[2] // 4, -images.shape[2] // 4)
        red, yellow = np.mean(images[:, 0, middle, middle], axis=(1, 2))
        assert yellow[1] / yellow[0] > red[1] / red[0]


@pytest.mark.parametrize("run", SHIPPED)
def test_stage2_holds_the_shipped_stage1(run):
    folder = REPOSITORY / "weights" / run
    if not (folder / "stage1_gen.weights.h5").is_file():
        pytest.skip(f"{run} ships Stage I within Stage II alone")
    alone, both = (weights.load(folder / f"{stage}_gen.weights.h5") for stage in ("stage1", "stage2"))
    inside = both.get_layer("stage1_generator").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(alone.get_weights(), inside, strict=True))


@pytest.mark.slow
def test_flowers_have_the_colours_asked_for(shared, monkeypatch, capsys):
    program = benchmark("colours")
    arguments = ["colours.py", "--data.root", str(shared / "flowers"), "--output_dir", str(REPOSITORY)]
    monkeypatch.setattr("sys.argv", arguments)
    program.main()
    *_, stage1, stage2 = re.findall(r"(\d+)%", capsys.readouterr().out.splitlines()[-1])
    assert min(int(stage1), int(stage2)) >= 80
