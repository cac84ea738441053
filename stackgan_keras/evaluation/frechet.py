"""Fréchet distance between the features of two sets of images: the FID, where the features are those of its network.

Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NIPS 2017,
equation 6. Distances compare only between sets of as many images and the same features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.evaluation.checks import check_comparable, check_rows
from stackgan_keras.porting.checkpoints import check_unpacked

BATCH = 1000  # images at a time


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The Gaussian that fits the features of a set of images."""

    mean: np.ndarray  # (D,) float64
    covariance: np.ndarray  # (D, D) float64, divided by the number of images less one
    count: int | None = None  # of images; None where a file does not tell
    file: Path | None = None  # that it was read from

    @classmethod
    def read(cls, path: Path) -> "Gaussian":
        """From an `.npz` with `mu` and `sigma`, as pytorch-fid writes it. Raises `InputError` for any other file."""
        try:
            check_unpacked(path)
            with np.load(path, allow_pickle=False) as arrays:
                mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
        except Exception as problem:  # numpy and zipfile raise a dozen kinds for files that are broken or foreign
            reason = f"{path} cannot be read as statistics of features ({first_line(problem)})"
            raise InputError(f"{reason}: give an .npz with mu and sigma, as pytorch-fid writes it") from None
        if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
            found = f"mu of shape {mean.shape} and sigma of shape {covariance.shape}"
            raise InputError(f"{path} holds {found}: give an .npz with mu (D,) and sigma (D, D)")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise InputError(f"{path} holds NaN or infinity: make it again")
        return cls(mean, covariance, file=path)

    def doubt(self) -> str:
        """Why distances to it say little, in a sentence; empty where images suffice, or their number is not known."""
        if self.count is None or self.count > len(self.mean):
            return ""
        return (
            f"{self.count} images are too few for a covariance of {len(self.mean)} features: a Fréchet distance "
            f"from them is too large and compares only with that of as many; take more than {len(self.mean)}, or KID"
        )

    def distance(self, other: "Gaussian") -> float:
        """The squared Fréchet distance, 0 for equal ones.

        |mean difference|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)). With C1 = A A' and C2 = B B' the trace of that root is
        the sum of the singular values of A' B: exact for singular covariances, too. Raises `InputError` where the
        features differ in number.
        """
        check_comparable(len(self.mean), len(other.mean))
        cross = np.linalg.svd(_factor(self.covariance).T @ _factor(other.covariance), compute_uv=False).sum()
        spread = np.trace(self.covariance) + np.trace(other.covariance)
        distance = ((self.mean - other.mean) ** 2).sum() + spread - 2 * cross
        return max(float(distance), 0.0)  # rounding may bring that of equal sets below


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """The squared Fréchet distance of the Gaussians that fit two sets of features, (N, D) and (M, D).

    Raises `InputError` for fewer than two images on a side, NaN, and features of different numbers.
    """
    return fit(features).distance(fit(others))


def fit(features: np.ndarray) -> Gaussian:
    """The Gaussian of features (N, D), of which no copy is made. Raises `InputError` for N below 2, and NaN."""
    features = check_rows(features, "features", 2)
    mean = features.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), BATCH):
        rows = features[start : start + BATCH] - mean
        scatter = scatter + rows.T @ rows
    return Gaussian(mean, scatter / (len(features) - 1), len(features))


def _factor(matrix: np.ndarray) -> np.ndarray:
    """A (D, rank) with A A' = `matrix`, a covariance (D, D)."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps  # the others are rounding
    return vectors[:, kept] * np.sqrt(values[kept])
