"""KID: answers that are known, and torch-fidelity's."""

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.evaluation.kernel_distance import kid, squared_mmd


def drawn(count: int, size: int = 16, seed: int = 0, shift: float = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, size)).astype(np.float32)


def test_two_pairs_by_hand():
    """Of single numbers: the kernel is (x y + 1)^3, the mean of pairs of one side leaves out those with themselves."""
    features, others = np.array([[0], [1]]), np.array([[1], [2]])
    assert squared_mmd(features, others) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_sets_of_one_distribution_are_at_about_none():
    mean, deviation = kid(drawn(2000), drawn(2000, seed=1), subsets=20, subset_size=500)
    assert abs(mean) < 0.02
    assert 0 < deviation < 0.05
    far, _ = kid(drawn(2000), drawn(2000, seed=1, shift=1), subsets=5, subset_size=500)
    assert far > 1


def test_it_is_unbiased():
    """The mean over many pairs of small sets is 0; with the pairs of an image with itself it would be 0.4."""
    distances = [squared_mmd(drawn(20, seed=2 * seed), drawn(20, seed=2 * seed + 1)) for seed in range(2000)]
    assert abs(np.mean(distances)) < 0.02


def test_subsets_follow_from_the_seed():
    features, others = drawn(60), drawn(50, seed=1, shift=0.5)
    assert kid(features, others, seed=1) == kid(features, others, seed=1) != kid(features, others, seed=2)


def test_few_images_are_halved_so_that_subsets_differ():
    features, others = drawn(60), drawn(50, seed=1, shift=0.5)
    assert kid(features, others) == kid(features, others, subset_size=25)
    assert kid(features, others)[1] > 0
    assert kid(features[:2], others[:3], subsets=1)[1] == 0


def test_the_order_of_images_does_not_matter_for_the_whole():
    features, others = drawn(60), drawn(60, seed=1, shift=0.5)
    mean, deviation = kid(features, others, subset_size=60, subsets=3)
    assert mean == pytest.approx(squared_mmd(features[::-1], others))
    assert deviation == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("counts", "size"), [((400, 300), 100), ((1200, 1000), None)])
def test_it_is_that_of_torch_fidelity(counts, size):
    torch = pytest.importorskip("torch", reason="needs torch")
    fidelity = pytest.importorskip("torch_fidelity.metric_kid", reason="needs torch-fidelity")
    features, others = (abs(drawn(count, 64, seed, seed / 10)) for seed, count in enumerate(counts))
    for kind, tolerance in ((np.float32, 1e-3), (np.float64, 1e-9)):  # what it computes in
        expected = fidelity.kid_features_to_metric(
            torch.tensor(features.astype(kind)),
            torch.tensor(others.astype(kind)),
            kid_subsets=5,
            kid_subset_size=size or 1000,
            verbose=False,
        )
        assert kid(features, others, subsets=5, subset_size=size) == pytest.approx(
            tuple(expected[f"kernel_inception_distance_{name}"] for name in ("mean", "std")), rel=tolerance
        )


def test_what_cannot_be_compared_is_refused():
    features = drawn(5)
    assert "features are of 1 images, but 2 or more are needed" in refusal(kid, features[:1], features)
    assert "features of 16 numbers cannot be compared with features of 15" in refusal(kid, features, features[:, 1:])
    assert "NaN or infinity, first in row 0" in refusal(kid, features, features * np.inf)
    assert "6 or more are needed" in refusal(lambda: kid(features, features, subset_size=6))
    assert "subset_size is 1" in refusal(lambda: kid(features, features, subset_size=1))
    assert "subsets is 0" in refusal(lambda: kid(features, features, subsets=0))
