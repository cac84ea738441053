"""Kernel Inception Distance (KID) between the features of two sets of images, a pure function of arrays.

Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4. Unlike the Fréchet distance it is unbiased, so
it also compares few images.
"""

import numpy as np

from stackgan_keras.errors import whole_number
from stackgan_keras.evaluation.checks import check_comparable, check_rows

SUBSETS = 100
SUBSET_SIZE = 1000  # images
SEED = 2020  # torch-fidelity's, so that the same features give the same figure


def kid(
    features: np.ndarray,
    others: np.ndarray,
    *,
    subsets: int = SUBSETS,
    subset_size: int | None = None,
    seed: int = SEED,
) -> tuple[float, float]:
    """Mean and standard deviation, over random subsets of both sides, of the squared maximum mean discrepancy.

    `features` are (N, D), `others` (M, D). `subset_size` images of each side are drawn without replacement: 1000, or
    half of the smaller side where that has fewer, as subsets that hold everything do not differ. About 0, also below,
    for sets of one distribution. Raises `InputError` for too few images, NaN, and features of different numbers.
    """
    subsets = whole_number("subsets", subsets, 1)
    least = 2 if subset_size is None else whole_number("subset_size", subset_size, 2)
    features, others = (check_rows(rows, "features", least) for rows in (features, others))
    check_comparable(features.shape[1], others.shape[1])
    fewer = min(len(features), len(others))
    size = subset_size or (SUBSET_SIZE if fewer >= SUBSET_SIZE else max(2, fewer // 2))
    rng = np.random.RandomState(seed)  # draws as torch-fidelity does, in this order
    distances = [
        squared_mmd(*(rows[rng.choice(len(rows), size, replace=False)] for rows in (features, others)))
        for _ in range(subsets)
    ]
    return float(np.mean(distances)), float(np.std(distances))


def squared_mmd(features: np.ndarray, others: np.ndarray) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy of two sets of as many features, both (N, D).

    The kernel is (x'y / D + 1)^3. Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, lemma 6.
    """
    features, others = features.astype(np.float64), others.astype(np.float64)
    count = len(features)
    within = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(features, features), _kernel(others, others)))
    return within / (count * (count - 1)) - 2 * _kernel(features, others).mean()


def _kernel(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return (rows @ columns.T / rows.shape[1] + 1) ** 3
