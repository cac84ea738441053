"""The colour check of flowers: which photographs it takes, what it reads of petals, and its table."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import benchmark, ended, make_dataset
from PIL import Image

PAINT = {
    "red": (200, 20, 30),
    "orange": (240, 140, 20),
    "yellow": (250, 230, 40),
    "white": (245, 245, 245),
    "pink": (240, 150, 190),
    "purple": (130, 40, 170),
    "blue": (60, 80, 220),
}
LEAF = (40, 120, 30)


@pytest.fixture(scope="module")
def colours():
    return benchmark("colours")


def flower(colour: str, shade: int = 0, size: int = 64) -> np.ndarray:
    """A square of petals among leaves, a little lighter or darker."""
    image = np.full((size, size, 3), LEAF, np.uint8)
    inner = slice(size // 4, -size // 4)
    image[inner, inner] = np.clip(np.array(PAINT[colour]) + shade, 0, 255)
    return image


def test_a_colour_is_that_of_captions_that_agree(colours):
    assert colours.named_colour(["a flower with red petals", "its petals are red", "a green stem"]) == "red"
    assert colours.named_colour(["petals that are bright yellow", "this has yellow petals"]) == "yellow"
    assert colours.named_colour(["a flower with red petals"]) is None
    assert colours.named_colour(["a flower with red petals", "pink petals"]) is None
    assert colours.named_colour(["red stamen", "the red flower"]) is None


def test_petals_are_told_by_their_colour_whatever_the_leaves(colours):
    means = colours.petals(np.stack([flower(name) for name in PAINT]))
    for asked, name in enumerate(PAINT):
        found = colours.petals(np.stack([flower(name, shade) for shade in (-15, 15)]))
        assert colours.share_right(found, means, asked) == 1
        assert colours.share_right(found, means, (asked + 1) % len(PAINT)) == 0
    assert np.isfinite(colours.petals(np.zeros((1, 64, 64, 3), np.uint8))).all()


class Drawer:
    """In a run's place: draws what it is asked for, and always red at Stage I."""

    def generate(self, sentences, count, seed):
        asked = [sentence.rpartition(" ")[2] for sentence in sentences]
        made = np.stack([[flower(name, 2 * copy, size=128) for copy in range(count)] for name in asked])
        return {"stage1_image": np.stack([[flower("red")] * count] * len(asked)), "image": made}


def test_the_table(colours, tmp_path, monkeypatch, capsys):
    dataset = make_dataset(tmp_path, count=21)
    names = [name for name in PAINT for _ in range(3)]
    for place, (name, path) in enumerate(zip(names, dataset.paths, strict=True)):
        Image.fromarray(flower(name, place % 3)).save(path)
    dataset = replace(dataset, captions=tuple((f"it has {name} petals", f"petals are {name}") for name in names))
    monkeypatch.setattr(colours.published, "read", lambda root, split, text_dim: dataset)
    monkeypatch.setattr(colours, "find_run", lambda output_dir, name: output_dir / name)
    monkeypatch.setattr(colours.StackGAN, "load", lambda folder: Drawer())
    code, printed, _ = ended(colours.main, ["--data.root", tmp_path, "--count", 2], monkeypatch, capsys)
    lines = printed.splitlines()
    assert code == 0 and lines[0] == "| petals | photographs | 64 pixels | 128 pixels |"
    assert lines[2:4] == ["| red | 100% | 100% | 100% |", "| orange | 100% | 0% | 100% |"]
    assert lines[-1] == "| all (chance 14%) | 100% | 14% | 100% |"

    monkeypatch.setattr(colours.published, "read", lambda root, split, text_dim: make_dataset(tmp_path))
    code, _, errors = ended(colours.main, ["--data.root", tmp_path], monkeypatch, capsys)
    assert code == 2 and "has 0 photographs whose captions agree on red petals" in errors
