"""Arrays that were computed once and are kept in a file: read again, unless the file is damaged."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import DTypeLike

from stackgan_keras.errors import first_line
from stackgan_keras.files import atomic_write


def read(path: Path, shape: tuple[int | None, ...], dtype: DTypeLike, *, memory_map: bool = False) -> np.ndarray | None:
    """The array in a `.npy` file, whose shape is this but for lengths of None; None where there is no file.

    One that holds something else is named and removed, so that it is made anew. With `memory_map` nothing is read yet.
    """
    if not path.is_file():
        return None
    try:
        found = np.load(path, mmap_mode="r")  # which takes no memory, whatever size a damaged file tells
        fits = len(found.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape, strict=True))
        if not fits or found.dtype != dtype:
            raise ValueError(f"it holds {found.dtype} of {found.shape}")
    except OSError:
        raise
    except Exception as problem:  # numpy raises what a damaged head leads to
        path.unlink(missing_ok=True)
        print(f"{path} is damaged ({first_line(problem)}): it is made anew")
        return None
    return found if memory_map else np.array(found)


def write(path: Path, array: np.ndarray) -> None:
    """Keeps an array in a `.npy` file."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.save(SimpleNamespace(write=file.write), array)  # of a plain file numpy does not say that the disk is full
