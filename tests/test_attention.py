"""Attention maps show where a word's weights are, the strongest words first."""

import numpy as np

from stackgan_keras.inference import attention


def test_an_overlay_is_bright_where_the_word_was_looked_at():
    image = np.full((64, 64, 3), 200, np.uint8)
    weights = np.zeros((16, 16))
    weights[:4, :4] = 0.5
    made = attention.overlay(image, weights)
    assert made.shape == image.shape
    assert made[:12, :12].min() > 190 and made[24:, 24:].max() < 40


def test_the_strongest_words_come_first_and_padding_never():
    weights = np.zeros((10, 8, 8))
    for place, weight in enumerate((0.1, 0.6, 0.2, 0.3, 0.05, 0.4, 0.9, 0.9, 0.9, 0.9)):
        weights[place] = weight
    words = ["this", "red", "bird", "has", "a", "beak"]  # the other four rows are padding
    assert [words[place] for place in attention.strongest(words, weights)] == ["red", "beak", "has", "bird", "this"]
    assert len(attention.strongest(words[:2], weights)) == 2


def test_equal_weights_are_no_division_by_zero():
    made = attention.overlay(np.full((8, 8, 3), 100, np.uint8), np.full((4, 4), 0.25))
    assert np.isfinite(made).all()


def test_maps_are_a_row_of_the_image_and_its_words():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    made = attention.maps(image, ["red", "bird"], rng.uniform(size=(5, 32, 32)))
    assert made.dtype == np.uint8 and made.shape[1] > 3 * 128 and 128 < made.shape[0] < 200
