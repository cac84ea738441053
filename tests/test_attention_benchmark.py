"""The check of AttnGAN's attention: where words stand, what is measured of planted attention, and its tables."""

import numpy as np
import pytest
from helpers import benchmark, ended
from PIL import Image

from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.attngan import attngan_generator
from stackgan_keras.models.region_encoder import region_encoder
from stackgan_keras.models.sentence_reader import WordReader
from stackgan_keras.models.vocabulary import READ, Vocabulary
from stackgan_keras.models.word_encoder import word_encoder
from stackgan_keras.training.damsm_encoders import DamsmEncoders

SENTENCES = ["a bird with red wings, and a crown that is blue", "the belly is grey while the tail is red."]


@pytest.fixture(scope="module")
def attention():
    return benchmark("attention")


@pytest.fixture(scope="module")
def birds(attention):
    return attention.drawn(attention.species()[1], 3, attention.SIZE)


@pytest.fixture(scope="module")
def networks(birds) -> tuple[StackGAN, DamsmEncoders]:
    """An untrained run that reads all words of the sentences but "while"."""
    vocabulary = Vocabulary.of([sentence.replace("while", "") for sentence in (*SENTENCES, *birds.sentences)])
    text = word_encoder(vocabulary=len(vocabulary), text_dim=8)
    image = region_encoder(text_dim=8, network="small", image_size=32, filters=4)
    generator = attngan_generator(image_size=32, first_size=16, filters=4, text_dim=8, condition_dim=4, noise_dim=4)
    return StackGAN(WordReader(text, vocabulary), generator), DamsmEncoders(text, image, vocabulary)


def scenes(attention, model, looks):
    """The sentences, in whose images the parts are bands one below the other, with this attention to each word."""
    parts = np.tile(np.repeat(np.arange(8), 8)[:, None] % 7, (2, 1, 64))  # part k in rows 8 k to 8 k + 7
    maps = np.full((2, READ, 32, 32), 1e-3)
    made = attention.Scenes(model, SENTENCES, parts, maps)
    for place, words in enumerate(made.words["colours"]):
        for word in words:
            looks(maps[place, word.place], made.mask(place, word.part))
    return made


def test_a_words_place_is_among_those_that_are_read(attention, networks):
    found = scenes(attention, networks[0], lambda *_: None)
    assert found.words["colours"] == [
        [("wing", 3, "red"), ("crown", 10, "blue")],
        [("belly", 3, "grey"), ("tail", 7, "red")],
    ]
    assert found.words["nouns"][1] == [("belly", 1, "belly"), ("tail", 5, "tail")]


def test_attention_on_the_part_is_told_from_chance(attention, networks):
    def exactly(weights, mask):
        weights += mask

    of = attention.measured(scenes(attention, networks[0], exactly), "colours")
    assert [*of["sentence"]] == [0, 0, 1, 1] and [*of["part"]] == ["wing", "crown", "belly", "tail"]
    np.testing.assert_allclose(of["share"], 8, rtol=0.02)  # a part is an eighth of the image
    assert [*of["wins"]] == [1] * 4
    assert max(of["share by chance"]) < 0.1  # the other sentence's parts are elsewhere
    even = attention.measured(scenes(attention, networks[0], lambda *_: None), "colours")
    np.testing.assert_allclose(even["share"], 1)
    assert [*even["wins"]] == [*even["wins by chance"]] == [0.5] * 4


def test_the_error_is_that_of_sentences(attention):
    values, sentences = np.array([0.0, 0, 1, 1, np.nan]), np.array([3, 3, 5, 5, 7])
    assert attention.with_error(values, sentences, "{:.2f}").startswith("0.50 ± 0.3")  # of two: sqrt(1/8)
    assert attention.with_error(values[-1:], sentences[-1:], "{:.2f}") == "-"


def test_encoders_look_within_the_image(attention, networks, birds):
    maps = attention.damsm_maps(networks[1], birds.images, birds.sentences)
    assert maps.shape == (3, READ, 16, 16)
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), 1, rtol=1e-4)


def test_the_network_of_parts_is_kept_and_learns(attention, tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "BATCH", 2)
    path, kinds = tmp_path / "data" / "parts.weights.h5", attention.species()[0][:4]
    network = attention.part_network(path, kinds)
    again = attention.part_network(path, None)
    image = np.zeros((1, 80, 80, 3), np.uint8)
    np.testing.assert_array_equal(attention.segmented(network, image), attention.segmented(again, image))


def test_the_tables_and_the_picture(attention, networks, birds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attention, "find_run", lambda output_dir, name: output_dir / name)
    monkeypatch.setattr(attention.StackGAN, "load", lambda folder: networks[0])
    monkeypatch.setattr(attention.DamsmEncoders, "load", lambda folder: networks[1])
    monkeypatch.setattr(attention, "part_network", lambda path, kinds: None)
    monkeypatch.setattr(attention, "segmented", lambda network, images: birds.parts)
    code, printed, errors = ended(attention.main, ["--output_dir", tmp_path, "--count", 3], monkeypatch, capsys)
    assert code == 0, errors
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    names = ["`attention_16`", "DAMSM, generated", "DAMSM, real"]
    assert [row[0] for row in rows if row[1:2] == ["nouns"]] == 2 * names
    number = sum(len(attention.phrases(sentence)) for sentence in birds.sentences)
    assert {row[2] for row in rows if row[1:2] == ["nouns"] and len(row) == 7} == {str(number)}
    with Image.open(tmp_path / "results/mini_attngan/attention/parts.png") as image:
        assert image.width > 4 * 128 and image.height > 3 * 128
