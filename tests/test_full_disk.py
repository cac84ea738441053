"""A full disk, whatever is being written: the command ends with one sentence, and what was there before is intact.

The disk is a small one in memory. Each command runs with more and more room on it, so that each of its files in turn is
the one that finds no room, until it ends well.
"""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from disturbed import state
from helpers import ended
from PIL import Image

from stackgan_keras import config, convert, evaluate, export, generate, prepare, train_stage1
from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

KB = 1024
TINY = Path(__file__).parent / "pytorch_tiny.npz"
SMALL = {"filters": 2, "text_dim": 16, "condition_dim": 8, "noise_dim": 8, "image_size": 16}
TRAINING = [
    *("--run", "tiny", "--data.image_size", "16", "--generator.filters", "2", "--discriminator.filters", "2"),
    *("--generator.text_dim", "16", "--generator.condition_dim", "8", "--generator.noise_dim", "8"),
    *("--train.batch_size", "4", "--train.save_every", "1", "--train.sample_every", "1"),
]
BLUE, RED = "a blue bird", "this bird is red with black wings"


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Birds in the published layout; not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An output folder with the weights of a run that reads sentences; not to be changed."""
    out = tmp_path_factory.mktemp("run")
    encoder = {"filters": 3, "recurrent_dim": 4, "text_dim": 16}
    for name, made in (("stage1_gen", ("stage1_generator", SMALL)), ("text_encoder", ("text_encoder", encoder))):
        made = ModelConfig(*made)
        weights.save(made.build(), made, out / f"weights/tiny/{name}.weights.h5")
    return out


@pytest.fixture
def small(disk, monkeypatch, capfd):
    """A function that runs a command with more and more KB free on a disk; returns what it said without room."""

    def more_and_more(folder, rooms, main, words, check):
        said, filler = [], folder / "filler"
        for room in rooms:
            filler.unlink(missing_ok=True)
            fill(filler, room * KB)
            before = contents(folder)
            code, _, errors = ended(main, words, monkeypatch, capfd)
            check(folder, before)
            if code == 0:
                assert said, "it had room from the beginning"
                return said
            sentence = errors.replace("\r", "\n").strip().splitlines()[-1]
            assert code == 2 and errors.count("error: ") == 1 and sentence.startswith("error: "), (room, errors)
            assert "Traceback" not in errors and ("No space left" in sentence or "disk is full" in sentence), errors
            assert not [path for path in folder.rglob(".*") if path.is_file()], room
            said.append(sentence)
        raise AssertionError(f"it has no room even with {rooms[-1]} KB: {said[-1]}")

    return more_and_more


def fill(file: Path, room: int) -> None:
    """Takes all of the disk but so many bytes."""
    found = os.statvfs(file.parent)
    with file.open("wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, max(1, found.f_bavail * found.f_frsize - room))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "filler"}


def is_untouched(folder: Path, before: dict[Path, bytes]) -> None:
    kept = {path: content for path, content in before.items() if UNFINISHED not in path.parts}
    assert kept.items() <= contents(folder).items()


def is_whole(folder: Path, before: dict[Path, bytes]) -> None:
    """Each file is as it was, or a newer one that is whole."""
    for path, content in contents(folder).items():
        if content == before.get(path):
            continue
        if path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                assert weights.CHECKSUM in file.attrs
            weights.load(path)
        elif path.suffix == ".yaml":
            config.make(config.read(path))
        elif path.name == "metrics.jsonl":
            assert content.startswith(before[path].split(b"\n")[0]), "the epochs that have a checkpoint stay"


STEPS = (0, 4, 8, 16, 40, 80, 120, 160, 240, 320, 2000)


def test_training(birds, disk, small, tmp_path, monkeypatch, capfd, eagerly):
    """Checkpoints, weights, grids, curves and figures; the same command then goes on as if nothing had happened."""
    folder, quiet = disk("size=8m"), tmp_path / "quiet"
    words = ["--data.root", birds, *TRAINING, "--train.max_steps"]
    for out, steps in ((folder, 4), (quiet, 4), (quiet, 8)):
        code, _, errors = ended(train_stage1.main, [*words, steps, "--output_dir", out], monkeypatch, capfd)
        assert code == 0, errors
    said = small(folder, STEPS, train_stage1.main, [*words, 8, "--output_dir", folder], is_whole)
    assert any("ckpt" in sentence for sentence in said) and any(".weights.h5" in sentence for sentence in said)
    found, expected = (state(Folders(out, "tiny")) for out in (folder, quiet))
    assert found == expected and len(found) > 5


def test_caches(birds, run, disk, small, eagerly):
    """Embeddings, and then decoded images."""
    folder = disk("size=8m")
    shutil.copytree(run / "weights", folder / "weights")
    (folder / "weights/tiny/stage1_gen.weights.h5").unlink()
    words = ["--data.root", birds, *TRAINING, "--train.max_steps", 1, "--data.cache", "disk", "--output_dir", folder]
    said = small(folder, (0, 4, 8, 20, 2000), train_stage1.main, words, is_untouched)
    for name in ("embeddings_", "images_"):
        assert any(f"{folder}/logs/tiny/cache/{name}" in sentence for sentence in said), said


def test_drawn_birds(disk, small, eagerly):
    folder = disk("size=8m")
    drawn = ["--data.synthetic_count", 50, "--data.synthetic_classes", 10]
    words = [*TRAINING, "--config", "mini_stage1", *drawn, "--train.max_steps", 1, "--output_dir", folder]
    small(folder, (8, 40, 200, 6000), train_stage1.main, words, is_untouched)
    assert [path.name for path in (folder / "data").iterdir()] == ["drawn_50_10_16"]


def test_prepare(birds, run, disk, small, tmp_path):
    """Copied images, captions, tables, the encoder, embeddings and lists: all or nothing that passes for it."""
    folder, source = disk("size=4m"), tmp_path / "images"
    for image in sorted((birds / "CUB_200_2011/images").rglob("*.jpg")):
        (source / image.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(image, source / image.parent.name / image.name)
        (source / image.parent.name / f"{image.stem}.txt").write_text(f"{BLUE}\n{RED}\n")
    words = [source, "--out", folder / "mine", "--text_encoder", run / "weights/tiny"]
    size = sum(path.stat().st_size for path in source.rglob("*.jpg")) // KB
    rooms = (8, size // 2, size + 24, size + 80, size + 160, size + 400, 3900)
    said = small(folder, rooms, prepare.main, words, is_untouched)
    assert any("images/" in sentence for sentence in said)
    assert (folder / "mine/prepared.json").is_file()


def test_generate(run, disk, small):
    """Images and grids, a strip and an animation; those of an earlier command of the same names stay."""
    folder = disk("size=4m")
    shutil.copytree(run / "weights", folder / "weights")
    words = ["--run", "tiny", "--output_dir", folder, "--count", 2, BLUE, RED]
    small(folder, (0, 8, 12, 2000), generate.main, words, is_untouched)
    small(folder, (0, 8, 2000), generate.main, words, is_untouched)
    small(folder, (0, 8, 2000), generate.main, ["--interpolate", *words[:4], BLUE, RED], is_untouched)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "needs"),
    [("saved_model", ()), ("onnx", ("tf2onnx", "onnxruntime")), ("litert", ("ai_edge_litert.interpreter",))],
)
def test_export(kind, needs, run, disk, small):
    for name in needs:
        pytest.importorskip(name, reason=f"needs {name}")
    folder = disk("size=12m")
    shutil.copytree(run / "weights", folder / "weights")
    words = ["--run", "tiny", "--output_dir", folder, "--format", kind]
    small(folder, (0, 40, 200, 8000), export.main, words, is_untouched)


@pytest.mark.slow
def test_evaluate(birds, run, disk, small, eagerly):
    """Features of the real images, and then, with these, a sheet of images; that of the evaluation before stays."""
    folder = disk("size=4m")
    shutil.copytree(run / "weights", folder / "weights")
    words = ["--run", "tiny", "--output_dir", folder, "--data.root", birds, "--count", 20, "--metrics", "diversity"]
    for without_room in ("data/features/", "results/tiny/neighbours.png"):
        (said,) = small(folder, (0, 2000), evaluate.main, [*words, "--neighbours"], is_untouched)
        assert without_room in said


def test_convert(disk, small):
    """The networks of one file, and then the same again."""
    folder = disk("size=4m")
    with np.load(TINY) as golden:
        names = [name for name in golden if name.split("/")[0] in ("stage1_gen", "stage1_dis")]
        np.savez(folder / "both.npz", **{name: golden[name] for name in names})
    words = [folder / "both.npz", "--out", folder / "weights"]
    for _ in range(2):
        small(folder, (0, 40, 400, 2000), convert.main, words, is_untouched)
