"""Nearest neighbours: does a generator copy its training pictures? Generated ones beside those that look most alike."""

from pathlib import Path

import numpy as np

from stackgan_keras.data import grids
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation.readings import Readers, framed, read_real

NEAREST = 5  # training pictures of each


def nearest(features: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """The places (N, count) of the `others` (M, D) nearest to each of `features` (N, D), by Euclidean distance."""
    squares = (features**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * features @ others.T
    return np.argsort(squares, axis=1, kind="stable")[:, :count]


def sheet(
    pictures: np.ndarray, sentences: list[str], train_set: Dataset, readers: Readers, seed: int, cache: Path
) -> np.ndarray:
    """Pictures (N, size, size, 3) uint8 under their sentences, and below each its nearest training pictures.

    Near is what the extractor of `readers` gives like features. Returns (height, width, 3) uint8.
    """
    size = pictures.shape[1]
    known = read_real(Readers(readers.extractor), train_set, size, seed, cache)["features"]
    places = nearest(readers.extractor(pictures)[0], known, min(NEAREST, len(train_set)))
    found = [np.stack([*framed(train_set, size, seed, row)]) for row in places.T]
    return grids.labelled_grid([pictures, *found], sentences)
