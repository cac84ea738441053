"""The Fréchet distance of two sets of features: answers that are known."""

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.evaluation.frechet import frechet_distance


def gaussian(mean, covariance, count: int = 40, seed: int = 0) -> np.ndarray:
    """Features (count, D) whose own mean and covariance are exactly these."""
    drawn = np.random.default_rng(seed).normal(size=(count, len(mean)))
    drawn -= drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False).reshape(len(mean), -1)).T)
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def spread(size: int, seed: int) -> np.ndarray:
    """Some covariance (size, size)."""
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T


def test_equal_sets_are_at_no_distance():
    features = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


def test_fewer_pictures_than_features():
    features = np.random.default_rng(0).normal(size=(5, 30))
    assert 0 <= frechet_distance(features, features) < 1e-5  # never below, whatever rounding does
    assert frechet_distance(features, features + 1) == pytest.approx(30, abs=1e-5)


def test_a_shift_counts_squared():
    features, shift = np.random.default_rng(0).normal(size=(50, 3)), np.array([3, 0, -4])
    assert frechet_distance(features, features + shift) == pytest.approx(25)
    assert frechet_distance(1000 + features, 1000 + features + shift) == pytest.approx(25)


def test_gaussians_with_diagonal_covariances():
    """|mean difference|^2, and for every feature the squared difference of the standard deviations."""
    features = gaussian([0, 1, 2], np.diag([1, 4, 9]))
    others = gaussian([1, 1, 0], np.diag([16, 4, 1]), count=70, seed=1)
    assert frechet_distance(features, others) == pytest.approx(1 + 0 + 4 + (1 - 4) ** 2 + 0 + (3 - 1) ** 2)
    assert frechet_distance(others, features) == pytest.approx(frechet_distance(features, others))


def test_a_single_feature():
    assert frechet_distance(gaussian([2], [[9]]), gaussian([0], [[1]], seed=1)) == pytest.approx(4 + 4)


def test_covariances_that_do_not_commute():
    """Of two features: the trace of the root of a matrix M is the root of trace(M) + 2 det(M)^(1/2)."""
    one, other = np.array([[2, 1.5], [1.5, 3]]), np.array([[4, -1], [-1, 0.5]])
    product = one @ other
    assert not np.allclose(product, other @ one)
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(one) + np.trace(other) - 2 * cross
    assert frechet_distance(gaussian([0, 0], one), gaussian([0, 0], other, seed=1)) == pytest.approx(expected)


@pytest.mark.parametrize("size", [2, 20])
def test_the_root_is_that_of_scipy(size):
    linalg = pytest.importorskip("scipy.linalg", reason="needs scipy")
    one, other = spread(size, 0), spread(size, 1)
    mean = np.arange(size)
    features, others = gaussian(mean, one), gaussian(mean[::-1], other, seed=1)
    expected = ((mean - mean[::-1]) ** 2).sum() + np.trace(one + other - 2 * linalg.sqrtm(one @ other).real)
    assert frechet_distance(features, others) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("counts", [(1, 9), (9, 1), (0, 9)])
def test_too_few_pictures(counts):
    features, others = (np.zeros((count, 3)) for count in counts)
    assert refusal(frechet_distance, features, others) == (
        f"a Fréchet distance needs two pictures or more on both sides, not {counts[0]} and {counts[1]}: ask for more"
    )
