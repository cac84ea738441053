"""Checks of what metrics compare: finite rows of numbers, enough of them, as many on both sides."""

import numpy as np

from stackgan_keras.errors import InputError


def check_rows(values: np.ndarray, what: str, least: int = 1) -> np.ndarray:
    """`values`, called `what` in messages, as floats (N, D), N at least `least`.

    Raises `InputError` for another shape, for fewer rows, and where a number is NaN or infinite.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "fiub":
        found = f"an array of shape {values.shape} and type {values.dtype}"
        raise InputError(f"{what} are {found}: give numbers of shape (images, numbers of each)")
    if len(values) < least:
        raise InputError(f"{what} are of {len(values)} images, but {least} or more are needed: ask for more images")
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise InputError(
            f"{what} of {len(broken)} of {len(values)} images hold NaN or infinity, first in row {broken[0]}: "
            "look for NaN in these images and in the weights that made them"
        )
    return values


def check_comparable(width: int, other_width: int) -> None:
    """Raises `InputError` unless features of `width` numbers are compared with such of as many."""
    if width != other_width:
        raise InputError(
            f"features of {width} numbers cannot be compared with features of {other_width}: "
            "take both from the same feature extractor"
        )
