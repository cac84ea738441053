"""What an exchanged word changes: which captions are taken, how they are changed, and the table."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import benchmark, ended, make_dataset

from stackgan_keras.models import text_encoder


@pytest.fixture(scope="module")
def words():
    return benchmark("words")


def test_one_word_of_the_group_is_exchanged_for_each_other(words):
    others = words.exchanged("a red flower", "colours")
    assert others == [f"a {colour} flower" for colour in words.GROUPS["colours"] if colour != "red"]
    assert words.exchanged("red petals and a yellow center", "colours") == []
    assert words.exchanged("a reddish flower", "colours") == []
    assert "a flower with pointed petals" in words.exchanged("a flower with round petals", "shapes")


def test_two_colours_change_places(words):
    assert words.exchanged("red petals and a yellow center", "bound") == ["yellow petals and a red center"]
    assert words.exchanged("red petals and a red center", "bound") == []
    assert words.exchanged("red petals", "bound") == []


class Toy:
    """In the encoders' place: images are embedded by whether they are red, sentences by whether they say so."""

    extractor, text = "of images of any size", None

    def image_inputs(self, images):
        return images

    def embed_inputs(self, shown):
        is_red = shown[..., 0].mean(axis=(1, 2)) > 95
        return np.stack([is_red, ~is_red], axis=1).astype(np.float32)


def embed(_, sentences):
    return np.array([[("red" in s) * 1.0, ("blue" in s) * 1.0] for s in sentences], np.float32)


def test_the_table(words, tmp_path, monkeypatch, capsys):
    dataset = make_dataset(tmp_path, count=20)  # redder one after the other
    colours = ["blue"] * 10 + ["red"] * 9 + ["blue"]  # the last caption is wrong
    dataset = replace(dataset, captions=tuple((f"a {colour} flower", f"it is {colour}") for colour in colours))
    monkeypatch.setattr(words.published, "read", lambda root, split, text_dim: dataset)
    monkeypatch.setattr(words, "find_run", lambda output_dir, name, holding: output_dir / name)
    monkeypatch.setattr(words.Encoders, "load", lambda folder, extractors: Toy())
    monkeypatch.setattr(text_encoder, "embed", embed)
    monkeypatch.setitem(words.GROUPS, "colours", ("red", "blue"))
    code, printed, _ = ended(words.main, ["--data.root", tmp_path], monkeypatch, capsys)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    assert code == 0 and rows[0] == ["exchanged", "captions", "moves", "fits"]
    # an exchange moves as far as red is from blue; half of the images are compared with one of the same colour
    assert rows[2] == ["colours", "40", f"{np.sqrt(2 / (2 * 18 / 20)):.2f}", "95%"]
    assert rows[3] == ["parts", "0", "-", "-"]
    assert rows[-1] == ["two captions of one image", "20", "0.00", ""]
