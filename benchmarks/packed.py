"""A training split in a few files of limited size, to be carried to a machine without the data's own programs.

A folder of `part_000.npz`, `part_001.npz`, …, each with some of the pictures: as JPEG one after the other (`jpegs`, and
where each begins, `jpeg_places`), their class numbers and the embeddings of their captions in float16. The first part
also has what the image grids of a training show.
"""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write

QUALITY = 95  # of the JPEGs
PER_PICTURE = 1024  # bytes, more than a part's tables hold of each


@dataclass(frozen=True, eq=False)
class Packed:
    """N pictures with M captions in all, in the order of their data set."""

    pictures: np.ndarray  # (N, s, s, 3) uint8
    class_ids: np.ndarray  # (N,) int32
    embeddings: np.ndarray  # (M, text_dim) float16
    first_embedding: np.ndarray  # (N + 1,) int32: picture i owns embeddings[first[i] : first[i + 1]]
    grid: dict[str, np.ndarray]  # `real` (G, size, size, 3) uint8, `embeddings` (G, text_dim), `captions` (G,)


def write(folder: Path, packed: Packed, largest: int) -> list[Path]:
    """The paths of the parts, none larger than `largest` bytes. Those of an earlier time are removed.

    Raises `InputError` where a single picture is larger.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part_*.npz"):
        old.unlink()
    grid = {f"grid_{name}": np.asarray(value) for name, value in packed.grid.items()}
    paths, jpegs, first = [], [], 0
    room = largest - sum(value.nbytes for value in grid.values())
    for jpeg, rows in zip(_encoded(packed.pictures), np.diff(packed.first_embedding), strict=True):
        needed = len(jpeg) + rows * packed.embeddings.itemsize * packed.embeddings.shape[1] + PER_PICTURE
        if needed > room and jpegs:
            paths.append(_write_part(folder, packed, first, jpegs, grid if not paths else {}))
            first, jpegs, room = first + len(jpegs), [], largest
        if needed > room:
            raise InputError(f"a part of {largest:,} bytes is too small for a picture: ask for larger ones")
        jpegs.append(jpeg)
        room -= needed
    return [*paths, _write_part(folder, packed, first, jpegs, grid if not paths else {})]


def read(folder: Path) -> Packed:
    """What `write` has put into a folder. Raises `InputError` where parts are missing or are no such files."""
    paths = sorted(folder.glob("part_*.npz"))
    if not paths:
        raise InputError(f"{folder} holds no part_000.npz: give the folder that benchmarks/pack.py made as data.root")
    parts = []
    for path in paths:
        try:
            with np.load(path) as file:
                parts.append({name: file[name] for name in file.files})
        except (OSError, ValueError) as problem:
            raise InputError(f"{path} cannot be read ({problem}): copy it again") from None
    counts = [len(part["class_ids"]) for part in parts]
    if [int(part["start"]) for part in parts] != [0, *np.cumsum(counts)[:-1]] or sum(counts) != parts[0]["total"]:
        raise InputError(f"of {parts[0]['total']} pictures {folder} holds {sum(counts)}: copy the missing parts there")
    captions = np.concatenate([part["captions"] for part in parts])
    return Packed(
        pictures=_decoded(parts),
        class_ids=np.concatenate([part["class_ids"] for part in parts]),
        embeddings=np.concatenate([part["embeddings"] for part in parts]),
        first_embedding=np.concatenate([[0], np.cumsum(captions)]).astype(np.int32),
        grid={name.removeprefix("grid_"): value for name, value in parts[0].items() if name.startswith("grid_")},
    )


def _encoded(pictures: np.ndarray) -> Iterator[bytes]:
    def encode(pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(encode, pictures)


def _write_part(folder: Path, packed: Packed, first: int, jpegs: list[bytes], grid: dict) -> Path:
    path = folder / f"part_{len(list(folder.glob('part_*.npz'))):03d}.npz"
    places = packed.first_embedding[first : first + len(jpegs) + 1]
    arrays = {
        "start": first,
        "total": len(packed.pictures),
        "side": packed.pictures.shape[1],
        "jpegs": np.frombuffer(b"".join(jpegs), np.uint8),
        "jpeg_places": np.cumsum([0, *map(len, jpegs)]),
        "class_ids": packed.class_ids[first : first + len(jpegs)].astype(np.int32),
        "embeddings": packed.embeddings[places[0] : places[-1]].astype(np.float16),
        "captions": np.diff(places),
    }
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays, **grid)
    return path


def _decoded(parts: list[dict]) -> np.ndarray:
    side = int(parts[0]["side"])
    pictures = np.empty((int(parts[0]["total"]), side, side, 3), np.uint8)

    def decode_one(part: dict, i: int) -> None:
        start, end = part["jpeg_places"][i : i + 2]
        with Image.open(io.BytesIO(part["jpegs"][start:end].tobytes())) as picture:
            pictures[part["start"] + i] = np.asarray(picture.convert("RGB"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without holding Python's lock
        jobs = [pool.submit(decode_one, part, i) for part in parts for i in range(len(part["class_ids"]))]
        for job in jobs:
            job.result()
    return pictures
