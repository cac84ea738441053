"""Fréchet distance between the features of two sets of pictures: the FID, where the features are those of its network.

Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NIPS 2017,
equation 6. Distances compare only between sets of as many pictures and the same features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.evaluation.checks import check_comparable, check_rows
from stackgan_keras.files import atomic_write

BATCH = 1000  # pictures at a time


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The Gaussian that fits the features of a set of pictures."""

    mean: np.ndarray  # (D,) float64
    covariance: np.ndarray  # (D, D) float64, divided by the number of pictures less one
    count: int | None = None  # of pictures; None where a file does not tell
    file: Path | None = None  # that it was read from

    @classmethod
    def read(cls, path: Path) -> "Gaussian":
        """From an `.npz` with `mu` and `sigma`, as pytorch-fid writes it. Raises `InputError` for any other file."""
        try:
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

    def write(self, path: Path) -> None:
        """To an `.npz` with `mu` and `sigma`, which pytorch-fid reads, too."""
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, mu=self.mean, sigma=self.covariance)

    def doubt(self) -> str:
        """Why distances to it say little, in a sentence; empty where pictures suffice, or their number is not known."""
        if self.count is None or self.count > len(self.mean):
            return ""
        return (
            f"{self.count} pictures are too few for a covariance of {len(self.mean)} features: a Fréchet distance "
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


class Moments:
    """Mean and covariance of features that come in batches, in constant memory.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    def __init__(self):
        self.count, self.mean, self.scatter = 0, np.zeros(0), np.zeros((0, 0))

    def add(self, features: np.ndarray) -> None:
        """Counts a batch (B, D), of any size. Raises `InputError` for NaN, and for a D unlike that of the others."""
        features = check_rows(features, "features").astype(np.float64)
        if not self.count:
            width = features.shape[1]
            self.mean, self.scatter = np.zeros(width), np.zeros((width, width))
        check_comparable(features.shape[1], len(self.mean))
        share = len(features) / (self.count + len(features))
        step = features.mean(axis=0) - self.mean
        between = np.sqrt(self.count * share) * step  # how far apart the means are, as one more row
        rows = np.vstack([features - features.mean(axis=0), between])
        self.scatter += rows.T @ rows
        self.mean = self.mean + share * step
        self.count += len(features)

    def gaussian(self) -> Gaussian:
        """The Gaussian that fits all features so far. Raises `InputError` for fewer than two pictures."""
        if self.count < 2:
            raise InputError(f"the covariance of features needs two pictures or more, not {self.count}: ask for more")
        return Gaussian(self.mean, self.scatter / (self.count - 1), self.count)


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """The squared Fréchet distance of the Gaussians that fit two sets of features, (N, D) and (M, D).

    Raises `InputError` for fewer than two pictures on a side, NaN, and features of different numbers.
    """
    return fit(features).distance(fit(others))


def fit(features: np.ndarray) -> Gaussian:
    """The Gaussian of features (N, D), of which no copy is made. Raises `InputError` for N below 2, and NaN."""
    features, moments = check_rows(features, "features"), Moments()
    for start in range(0, len(features), BATCH):
        moments.add(features[start : start + BATCH])
    return moments.gaussian()


def _factor(matrix: np.ndarray) -> np.ndarray:
    """A (D, rank) with A A' = `matrix`, a covariance (D, D)."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps  # the others are rounding
    return vectors[:, kept] * np.sqrt(values[kept])
