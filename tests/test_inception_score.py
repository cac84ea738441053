"""Inception Score: answers that are known, and torch-fidelity's."""

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.evaluation.inception_score import inception_score


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def logits(count: int = 503, classes: int = 20, scale: float = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=scale, size=(count, classes)).astype(np.float32)


def test_images_that_say_nothing_score_one():
    assert inception_score(np.full((100, 5), 0.2, np.float32)) == pytest.approx((1, 0), abs=1e-6)
    assert inception_score(softmax(np.repeat(logits(1), 100, axis=0))) == pytest.approx((1, 0), abs=1e-6)


def test_sure_images_of_equally_many_classes_score_their_number():
    assert inception_score(np.eye(7).repeat(3, axis=0), parts=1) == pytest.approx((7, 0))
    assert inception_score(np.eye(1)[[0] * 20]) == pytest.approx((1, 0))


def test_two_images_by_hand():
    """Of (1, 0) and (1/2, 1/2): the mean is (3/4, 1/4)."""
    divergences = [np.log(4 / 3), (np.log(2 / 3) + np.log(2)) / 2]
    expected = np.exp(np.mean(divergences))
    assert inception_score(np.array([[1, 0], [0.5, 0.5]]), parts=1) == pytest.approx((expected, 0))


def test_parts_are_shuffled():
    """Sorted by class, each part would hold one class alone."""
    mean, deviation = inception_score(np.eye(10).repeat(100, axis=0))
    assert mean > 9
    assert deviation > 0


def test_the_order_of_images_does_not_matter_for_the_whole():
    probabilities = softmax(logits())
    assert inception_score(probabilities, parts=1) == pytest.approx(inception_score(probabilities[::-1], parts=1))


def test_shuffling_follows_from_the_seed():
    probabilities = softmax(logits())
    assert inception_score(probabilities, seed=1) == inception_score(probabilities, seed=1)
    assert inception_score(probabilities, seed=1) != inception_score(probabilities, seed=2)


@pytest.mark.parametrize("scale", [0.1, 4, 60])
def test_it_is_that_of_torch_fidelity(scale):
    torch = pytest.importorskip("torch", reason="needs torch")
    fidelity = pytest.importorskip("torch_fidelity.metric_isc", reason="needs torch-fidelity")
    numbers = logits(scale=scale)
    expected = fidelity.isc_features_to_metric(torch.tensor(numbers))
    mean, deviation = inception_score(softmax(numbers))
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-5)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-3, abs=1e-7)


def test_what_is_no_probability_is_refused():
    assert "give those after softmax" in refusal(inception_score, logits())
    assert "with sums of 0.5 to 0.5" in refusal(inception_score, np.full((20, 5), 0.1))
    assert "are of 9 images, but 10 or more are needed" in refusal(inception_score, np.full((9, 2), 0.5))
    assert "NaN or infinity" in refusal(inception_score, np.full((20, 2), np.nan))
    assert "of shape (20,)" in refusal(inception_score, np.ones(20))
    assert "parts is 0" in refusal(lambda: inception_score(np.full((20, 2), 0.5), parts=0))
