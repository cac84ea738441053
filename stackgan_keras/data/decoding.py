"""A dataset's images, cropped and resized once: in memory, or in a file that the next run finds again."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import kept_arrays, photographs, published
from stackgan_keras.data.published import Dataset
from stackgan_keras.files import atomic_write


def decode(dataset: Dataset, image_size: int, *, cache: str = "auto", folder: Path | None = None) -> np.ndarray:
    """All images cropped around their boxes and resized for random crops: (N, s, s, 3) uint8, s = 76/64 image_size.

    `cache` is `memory`, `disk` (a file in `folder`, found again by the next run) or `auto`, which takes the memory
    if a quarter of the machine's is enough. Without a `folder` it is always the memory. Decoded images that come with
    the source (`76images.pickle`) are used as they are. Raises `InputError` naming the first that cannot be read.
    """
    size = photographs.load_size(image_size)
    if size in dataset.packed:
        return published.read_packed(dataset.packed[size], len(dataset), size)
    shape = (len(dataset), size, size, 3)
    if cache == "auto":
        cache = "memory" if np.prod(shape, dtype=np.int64) <= _machine_memory() // 4 else "disk"
    if cache == "memory" or folder is None:
        return _decode_into(np.empty(shape, np.uint8), dataset)
    path = folder / f"images_{size}_{fingerprint(dataset)}.npy"
    if (kept := kept_arrays.read(path, shape, np.uint8, memory_map=True)) is not None:
        return kept
    with atomic_write(path) as unfinished:
        images = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        _reserve(unfinished)
        _decode_into(images, dataset)
        images.flush()
    return np.load(path, mmap_mode="r")


def _reserve(path: Path) -> None:
    """Takes the room of a whole file on the disk: who writes to a memory map of a full one gets no error but dies."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _decode_into(images: np.ndarray, dataset: Dataset) -> np.ndarray:
    def decode_one(i: int) -> None:
        images[i] = dataset.image(i, images.shape[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without holding Python's lock
        jobs = [pool.submit(decode_one, i) for i in range(len(dataset))]
        try:
            for job in tqdm(jobs, "decoding", unit=" images", leave=False):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return images


def fingerprint(dataset: Dataset, *made_with: str | int) -> str:
    """Changes with the files, their sizes, their dates and their boxes, and with what something is `made_with`."""
    digest = hashlib.sha256()
    for i, path in enumerate(dataset.paths):
        status = path.stat()
        box = None if dataset.boxes is None else dataset.boxes[i].tolist()
        digest.update(repr((str(path), status.st_size, status.st_mtime_ns, box)).encode())
    digest.update("".join(f" {value}" for value in made_with).encode())
    return digest.hexdigest()[:16]


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes
