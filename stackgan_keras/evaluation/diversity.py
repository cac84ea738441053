"""Diversity of images by MS-SSIM, a pure function of arrays."""

from itertools import combinations

import numpy as np

from stackgan_keras.errors import InputError

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, Wang et al. 2003
WINDOW = 11  # pixels of the window in which structure is compared: the smallest scale must be as large


def diversity(images: np.ndarray) -> float:
    """How much images of one sentence differ: the mean over all pairs of 1 - MS-SSIM, 0 for equal ones.

    `images` is (N, size, size, 3) uint8, N at least 2. MS-SSIM compares structure at five scales, each half the one
    before; where the fifth would be smaller than its window, there are fewer (64 pixels: three), their weights brought
    to a sum of 1. So figures compare only between images of one size. Source: Odena et al. 2017 (arXiv:1610.09585),
    section 4.2, with Wang et al. 2003's MS-SSIM. Raises `InputError` for a single image and for smaller ones.
    """
    import tensorflow as tf  # only here, as networks also load where Keras runs on another backend and it is not needed

    if len(images) < 2:
        raise InputError(f"diversity compares two images or more, not {len(images)}: ask for more of each sentence")
    first, second = np.array(list(combinations(range(len(images)), 2))).T
    scales = SCALE_WEIGHTS[: _scales(images.shape[1])]
    weights = np.array(scales) / sum(scales)
    similarity = tf.image.ssim_multiscale(
        tf.constant(images[first]), tf.constant(images[second]), 255, power_factors=weights, filter_size=WINDOW
    )
    return float(1 - np.mean(similarity))


def _scales(size: int) -> int:
    """How many of the five scales leave the window room."""
    if size < WINDOW:
        raise InputError(f"diversity compares images of {WINDOW} pixels or more, not {size}: draw larger ones")
    return min(len(SCALE_WEIGHTS), (size // WINDOW).bit_length())
