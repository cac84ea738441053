"""Does a generator copy its training images? Generated images beside their nearest neighbours among those."""

from pathlib import Path

import numpy as np

from stackgan_keras.config import Folders
from stackgan_keras.data import grids, rgb
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError
from stackgan_keras.evaluation.features import Networks
from stackgan_keras.evaluation.real_images import framed, real_outputs
from stackgan_keras.evaluation.request import Request
from stackgan_keras.evaluation.scores import Evaluation, Run, drawn
from stackgan_keras.porting.extractors import Extractor

GENERATED = 8  # images whose neighbours are found
NEAREST = 5  # training images of each


def write(request: Request, evaluation: Evaluation, run: Run) -> Path:
    """Writes a grid of some of a run's images, of evenly spread captions, each above its nearest training images.

    Returns its path. Raises `InputError` where there are no training images.
    """
    data = evaluation.evaluation_set
    train_set = data.dataset if data.split == "train" else data.others
    extractor = evaluation.networks.extractor
    if train_set is None or extractor is None:
        raise InputError("--neighbours needs the training images of the data, which cannot be read: see the notes")
    captions = data.captions[:: max(1, len(data.captions) // GENERATED)][:GENERATED]
    generated = drawn(run, evaluation.read(run, captions), 1, data.seed)
    made = np.stack([[*images.values()][-1] for images in generated])
    sentences = [(data.dataset.captions[i] or ("",) * (j + 1))[j] for i, j in captions]
    path = Folders(request.output_dir, run.name).results / "neighbours.png"
    rgb.write(path, grid(made, sentences, train_set, extractor, data.seed, evaluation.cache))
    return path


def grid(
    generated: np.ndarray, sentences: list[str], train_set: Dataset, extractor: Extractor, seed: int, cache: Path
) -> np.ndarray:
    """Images (N, size, size, 3) uint8 under their sentences, and below each its nearest training images.

    Near is what has like features by the extractor. Returns (height, width, 3) uint8.
    """
    size = generated.shape[1]
    known = real_outputs(Networks(extractor), train_set, size, seed, cache)["features"]
    places = nearest(extractor(generated)[0], known, min(NEAREST, len(train_set)))
    found = [np.stack([*framed(train_set, size, seed, row)]) for row in places.T]
    return grids.labelled_grid([generated, *found], sentences)


def nearest(features: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """The places (N, count) of the `others` (M, D) nearest to each of `features` (N, D), by Euclidean distance."""
    squares = (features**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * features @ others.T
    return np.argsort(squares, axis=1, kind="stable")[:, :count]
