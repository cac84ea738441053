"""The Fréchet distance of two sets of features: answers that are known, files, other implementations."""

import warnings

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.evaluation.frechet import Gaussian, fit, frechet_distance


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


def pytorch_fid(one: Gaussian, other: Gaussian) -> float:
    score = pytest.importorskip("pytorch_fid.fid_score", reason="needs pytorch-fid")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's, of singular matrices
        return score.calculate_frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def inception_like(count: int, size: int, seed: int) -> np.ndarray:
    """Features (count, size) float32 like those after Inception's pooling: none below 0, correlated."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(seed / 10, 1, (count, size)) @ np.random.default_rng(99).normal(size=(size, size)) / size**0.5
    return np.maximum(0.3 + mixed * np.linspace(0.05, 1, size), 0).astype(np.float32)


def test_equal_sets_are_at_no_distance():
    features = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


def test_fewer_images_than_features():
    features = np.random.default_rng(0).normal(size=(5, 30))
    assert 0 <= frechet_distance(features, features) < 1e-5  # never below, whatever rounding does
    assert frechet_distance(features, features + 1) == pytest.approx(30, abs=1e-5)


def test_images_that_are_all_alike():
    """Their covariance is 0."""
    alike, others = np.ones((5, 3)), np.random.default_rng(0).normal(size=(9, 3))
    assert frechet_distance(alike, alike + 2) == pytest.approx(12)
    expected = ((1 - others.mean(axis=0)) ** 2).sum() + others.var(axis=0, ddof=1).sum()
    assert frechet_distance(alike, others) == pytest.approx(expected)


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


@pytest.mark.parametrize(("count", "size"), [(500, 64), (300, 300), (40, 64), (2, 16)])
def test_the_distance_is_that_of_pytorch_fid(count, size):
    """Also with fewer images than features."""
    one, other = (fit(inception_like(count, size, seed)) for seed in (0, 1))
    assert one.distance(other) == pytest.approx(pytorch_fid(one, other), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3000, 500])
def test_the_fid_is_that_of_pytorch_fid(count):
    one, other = (fit(inception_like(count, 2048, seed)) for seed in (0, 1))
    assert one.distance(other) == pytest.approx(pytorch_fid(one, other), rel=1e-3)


def test_the_distance_is_that_of_torch_fidelity():
    torch = pytest.importorskip("torch", reason="needs torch")
    fidelity = pytest.importorskip("torch_fidelity.metric_fid", reason="needs torch-fidelity")
    features, others = (inception_like(500, 64, seed) for seed in (0, 1))
    statistics = (fidelity.fid_features_to_statistics(torch.tensor(x)) for x in (features, others))
    expected = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(features, others) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [100, 2500])
def test_mean_and_covariance_are_those_of_numpy(count):
    features = np.random.default_rng(0).normal(size=(count, 7)).astype(np.float32) * np.arange(1, 8)
    made = fit(features)
    np.testing.assert_allclose(made.mean, features.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(made.covariance, np.cov(features, rowvar=False), rtol=1e-12, atol=1e-12)
    assert made.count == count


def test_a_large_mean_does_not_drown_the_covariance():
    features = np.random.default_rng(0).normal(size=(300, 3))
    np.testing.assert_allclose(fit(features + 1e6).covariance, np.cov(features, rowvar=False), atol=1e-8)


def test_the_order_of_images_does_not_matter():
    features, others = np.random.default_rng(0).normal(size=(2, 60, 4))
    shuffled = np.random.default_rng(1).permutation(features)
    assert frechet_distance(shuffled, others) == pytest.approx(frechet_distance(features, others))


def test_files_are_those_of_pytorch_fid(tmp_path):
    one, other = (fit(inception_like(200, 8, seed)) for seed in (0, 1))
    np.savez_compressed(tmp_path / "statistics.npz", mu=one.mean, sigma=one.covariance)
    again = Gaussian.read(tmp_path / "statistics.npz")
    assert again.distance(other) == one.distance(other)
    assert again.count is None and not again.doubt()
    assert again.file == tmp_path / "statistics.npz"
    score = pytest.importorskip("pytorch_fid.fid_score", reason="needs pytorch-fid")
    mean, covariance = score.compute_statistics_of_path(str(tmp_path / "statistics.npz"), None, 1, 8, "cpu")
    np.testing.assert_array_equal(mean, one.mean)
    np.testing.assert_array_equal(covariance, one.covariance)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"mu": np.zeros(3)}, "sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, "mu of shape (3,) and sigma of shape (4, 4)"),
        ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.nan)}, "NaN"),
        ({"mu": np.array([{}]), "sigma": np.eye(1)}, "it holds Python objects"),
    ],
)
def test_other_files_are_refused(arrays, found, tmp_path):
    np.savez(tmp_path / "other.npz", **arrays)
    assert found in refusal(Gaussian.read, tmp_path / "other.npz")


def test_what_is_no_file_of_arrays_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("mu")
    for name in ("text.npz", "absent.npz"):
        sentence = refusal(Gaussian.read, tmp_path / name)
        assert name in sentence and "as pytorch-fid writes it" in sentence


@pytest.mark.parametrize("counts", [(1, 9), (9, 1)])
def test_too_few_images(counts):
    features, others = (np.zeros((count, 3)) for count in counts)
    assert "are of 1 images, but 2 or more are needed" in refusal(frechet_distance, features, others)


def test_too_few_images_for_the_features():
    features = np.random.default_rng(0).normal(size=(9, 8))
    assert not fit(features).doubt()
    assert fit(features[:8]).doubt().startswith("8 images are too few for a covariance of 8 features: ")


def test_features_that_cannot_be_compared():
    features = np.random.default_rng(0).normal(size=(9, 3))
    broken = features.copy()
    broken[[4, 7], 1] = np.nan
    sentence = refusal(frechet_distance, broken, features)
    assert sentence.startswith("features of 2 of 9 images hold NaN or infinity, first in row 4: ")
    assert "features of 3 numbers cannot be compared with features of 2" in refusal(
        frechet_distance, features, features[:, :2]
    )
    assert "of shape (9,)" in refusal(frechet_distance, features[:, 0], features)
    assert "0 images" in refusal(frechet_distance, features[:0], features)
