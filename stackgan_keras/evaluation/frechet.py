"""Fréchet distance between the features of two sets of pictures, a pure function of arrays."""

import numpy as np

from stackgan_keras.errors import InputError


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians that fit two sets of features, (N, D) and (M, D); 0 for equal ones.

    |mean difference|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)). Distances compare only between sets of as many pictures
    and the same features. Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NIPS 2017, equation 6.
    Raises `InputError` for fewer than two pictures.
    """
    if min(len(features), len(others)) < 2:
        raise InputError(
            f"a Fréchet distance needs two pictures or more on both sides, not {len(features)} and "
            f"{len(others)}: ask for more"
        )
    (mean, covariance), (other_mean, other_covariance) = (_gaussian(x) for x in (features, others))
    root = _square_root(covariance)
    # the trace of (C1 C2)^(1/2) is that of (C1^(1/2) C2 C1^(1/2))^(1/2), whose matrix is symmetric
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0)).sum()
    distance = ((mean - other_mean) ** 2).sum() + np.trace(covariance) + np.trace(other_covariance) - 2 * cross
    return max(float(distance), 0.0)  # rounding may bring that of equal sets below


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = np.asarray(features, np.float64)
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
