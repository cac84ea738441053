"""What a command prints after `next:` works as it stands, from a folder of images to an image of a sentence."""

import importlib
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stackgan_keras import config
from stackgan_keras.config import Settings
from stackgan_keras.data.preparing import summary
from stackgan_keras.training import next_command

TINY = {
    "generator": {"filters": 4, "residual_blocks": 1},
    "discriminator": {"filters": 2},
    "train": {"epochs": 1, "batch_size": 4, "sample_every": 1},
}
ENCODER = "--generator.text_dim 8 --text.filters 6 --text.recurrent_dim 5 --text.image_filters 2 --data.image_size 16"


@pytest.fixture
def tiny_configs(tmp_path, monkeypatch):
    """`few_stage1` and `few_stage2` as small as can be."""
    find = config._find
    for name, size in (("few_stage1", 16), ("few_stage2", 32)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(TINY | {"data": {"image_size": size}}))
    monkeypatch.setattr(config, "_find", lambda path: find(tmp_path / f"{path}.yaml" if "few" in str(path) else path))
    monkeypatch.setattr(summary, "SEEN", 20)  # images that Stage I sees


@pytest.fixture
def typed(monkeypatch, capsys):
    """Runs what somebody types, and returns what the command's next line says."""

    def run(line):
        python, module, name, *words = shlex.split(line)
        assert (python, module) == ("python", "-m")
        monkeypatch.setattr(sys, "argv", [name, *words])
        importlib.import_module(name).main()
        printed = capsys.readouterr().out
        return next((each[6:] for each in printed.splitlines() if each.startswith("next: ")), printed)

    return run


def test_from_a_folder_to_an_image_by_what_each_command_says(tiny_configs, typed, tmp_path, monkeypatch):
    home = tmp_path / 'Bilder für "Zoë\'s" test'
    home.mkdir()
    monkeypatch.chdir(home)
    rng = np.random.default_rng(0)
    for i in range(14):
        (home / "my own").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(home / f"my own/image_{i:05d}.png")
        (home / f"my own/image_{i:05d}.txt").write_text(f"bird number {i}\n")
    out = str(home / "prepared 'so'")
    line = shlex.join(["python", "-m", "stackgan_keras.prepare", "my own", "--out", out, *ENCODER.split()])
    line = typed(f"{line} --train.max_steps 1")
    assert "train_stage1" in line and out in shlex.split(line)
    line = typed(line)
    assert "train_stage2 --config few_stage2" in line and shlex.split(line).count(out) == 1
    line = typed(line)
    assert "generate --run" in line
    printed = typed(line)
    grid = Path(printed.split("grid: ")[1].splitlines()[0])
    assert grid.is_file() and "Stage II" not in printed.partition("grid")[0]


@pytest.mark.parametrize(
    ("words", "changed", "expected"),
    [
        ("", {}, "train_stage2"),
        ("--config small_flowers_stage1 --data.root d", {"data": {"root": "d"}}, "--config small_flowers_stage2"),
        ("--config birds_single_stage1 --data.root d", {"data": {"root": "d"}}, "train_stage2 --run"),
        ("--train.epochs 1", {}, "--train.epochs 1"),
        ("--train.lr_decay_epochs 7", {}, "--train.lr_decay_epochs 7"),
    ],
)
def test_stage2_takes_over_what_is_the_runs(words, changed, expected):
    base = config.read("drawn_stage1") if not changed else {}
    settings = config.make({**base, "run": "wild", **changed})
    line = next_command.after("train_stage1", words.split(), settings, Path())
    assert expected in line and "--run wild" in line and ("--data.root d" in line) == bool(changed)


def test_what_follows_the_last_training_draws():
    settings = Settings(run="dogs")
    assert next_command.after("train_stage2", [], settings, Path("o")) == (
        "python -m stackgan_keras.generate --output_dir o --run dogs 'what the image is to show'"
    )
    without = config.make({"run": "dogs", "generator": {"family": "stackgan_v2", "conditional": False}})
    assert next_command.after("train", [], without, Path()).endswith("--run dogs --count 16")
