"""Diversity: MS-SSIM over all pairs of images, in known cases."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import refusal

from stackgan_keras.evaluation.diversity import diversity


def images(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Smooth images, each different."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 4, 4, 3)).astype(np.float32)
    return np.asarray(tf.image.resize(coarse, (size, size), "bicubic")).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [11, 16, 64, 128, 256])
def test_equal_images_have_none_and_different_ones_some(size):
    different = images(3, size)
    equal = different[[0, 0, 0]]
    assert diversity(equal) == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(1).integers(-4, 5, equal.shape)
    alike = (equal + noise).clip(0, 255).astype(np.uint8)
    assert 0 < diversity(alike) < diversity(different) / 2
    assert diversity(different) <= 1


def test_two_images_at_full_size_are_plain_ms_ssim():
    first, second = images(2, 256)
    expected = 1 - float(tf.image.ssim_multiscale(first, second, 255))
    assert diversity(np.stack([first, second])) == pytest.approx(expected, abs=1e-4)
    assert expected > 0.1


def test_every_pair_counts_once():
    a, b, c = images(3, 64)
    pairs = [diversity(np.stack(pair)) for pair in ((a, b), (a, c), (b, c))]
    assert len({round(value, 4) for value in pairs}) == 3
    assert diversity(np.stack([c, a, b])) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_what_cannot_be_compared_is_refused():
    assert "two images or more, not 1" in refusal(diversity, images(1, 64))
    assert "11 pixels or more, not 8" in refusal(diversity, images(2, 8))
