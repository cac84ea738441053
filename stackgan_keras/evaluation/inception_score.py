"""Inception Score of images from their class probabilities, a pure function of an array.

Source: Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 4. Scores compare only between
probabilities of the same network, and as many images.
"""

from itertools import pairwise

import numpy as np

from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.evaluation.checks import check_rows

PARTS = 10
SEED = 2020  # torch-fidelity's, so that the same probabilities give the same figure


def inception_score(probabilities: np.ndarray, *, parts: int = PARTS, seed: int = SEED) -> tuple[float, float]:
    """Mean and standard deviation of the score over `parts` parts of the shuffled images.

    `probabilities` are (N, K), each row with a sum of 1. The score of a part is exp(mean KL(p(y|x) || p(y))): 1 where
    all images look alike to the network, K where each is surely of one class and every class is as frequent.
    Raises `InputError` for fewer images than parts, NaN, and rows that are no probabilities.
    """
    probabilities = check_rows(probabilities, "class probabilities", whole_number("parts", parts, 1))
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.min() < 0 or abs(sums - 1).max() > 1e-3:
        found = f"as low as {probabilities.min():.4g}, with sums of {sums.min():.4g} to {sums.max():.4g}"
        raise InputError(f"class probabilities are {found}: give those after softmax, each row with a sum of 1")
    order = np.random.RandomState(seed).permutation(len(probabilities))
    limits = [part * len(order) // parts for part in range(parts + 1)]
    scores = [_score(probabilities[order[start:end]]) for start, end in pairwise(limits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(probabilities: np.ndarray) -> float:
    """The mean divergence is the entropy of the mean less the mean entropy."""
    probabilities = probabilities.astype(np.float64)
    return np.exp(_entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean())


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    smallest = np.finfo(np.float64).tiny  # 0 log 0 is 0
    return -(probabilities * np.log(np.maximum(probabilities, smallest))).sum(axis=-1)
