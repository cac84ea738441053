"""AttnGAN's attention as images: where each word was looked at, laid over what was drawn."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from stackgan_keras.data import grids

SHOWN = 5  # words, the strongest first
DARKEST = 0.15  # of an image's brightness, where a word was not looked at


def strongest(words: Sequence[str], attention: np.ndarray) -> list[int]:
    """The places of the words that were looked at most, by their mean weight in `attention` (T, s, s); at most five."""
    weights = attention[: len(words)].mean(axis=(1, 2))
    return [int(place) for place in np.argsort(-weights, kind="stable")[:SHOWN]]


def overlay(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """An image (size, size, 3) uint8 that is as bright as the weights (s, s) of a word are large, the largest fully."""
    scaled = (weights - weights.min()) / max(float(weights.max() - weights.min()), 1e-8)
    small = Image.fromarray(np.asarray(scaled * 255, np.uint8))
    light = np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BICUBIC), np.float32)[..., None] / 255
    return np.rint(image * (DARKEST + (1 - DARKEST) * light)).astype(np.uint8)


def maps(image: np.ndarray, words: Sequence[str], attention: np.ndarray) -> np.ndarray:
    """An image (size, size, 3) uint8 and beside it an overlay for each of its strongest words, labelled, as one image.

    `attention` (T, s, s) holds the weights of the `words` and of what pads them.
    """
    chosen = strongest(words, attention)
    row = np.stack([image, *(overlay(image, attention[place]) for place in chosen)])
    return grids.labelled_grid([row], ["", *(words[place] for place in chosen)])
