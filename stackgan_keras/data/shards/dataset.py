"""One split of a folder of shards, read record by record: memory for an index alone, however many images there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from stackgan_keras.data.photographs import load_size
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.shards import folder, records
from stackgan_keras.data.shards.records import Record
from stackgan_keras.errors import InputError

KEPT = 2**28  # bytes of records that were read last


@dataclass(frozen=True, eq=False)
class ShardedDataset:
    """What one split holds, as `published.Dataset` has it, each record read when it is asked for.

    The records of a batch are asked for several times, for their images and for their texts, so the last ones are kept.
    """

    files: tuple[str, ...]  # of shards, without their suffixes
    shards: np.ndarray  # (N,) int32: in which of them an image is
    rows: np.ndarray  # (N,) of their indices
    size: int  # pixels of the images
    text_dim: int
    most_captions: int
    most_words: int

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def record(self) -> Callable[[int], Record]:
        """What gives image i with all that belongs to it."""
        return lru_cache(max(1, KEPT // int(self.rows["length"].max())))(self._read)

    def _read(self, index: int) -> Record:
        return records.read(self.files[self.shards[index]], self.rows[index], self.size, self.text_dim)

    @property
    def class_ids(self) -> np.ndarray:
        """(N,) int64."""
        return self.rows["class_id"]

    @property
    def captions(self) -> "Lazily":
        """The captions of each image."""
        return Lazily(len(self), lambda i: self.record(i).captions)

    @property
    def images(self) -> "ShardedImages":
        """The decoded images."""
        return ShardedImages(self)

    def embeddings_of(self, index: int) -> np.ndarray:
        """The (captions, text_dim) float32 embeddings of image `index`."""
        return self.record(int(index)).embeddings

    def image(self, index: int, size: int) -> np.ndarray:
        """Image `index`, (size, size, 3) uint8."""
        image = Image.fromarray(self.record(int(index)).image)
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ShardedDataset":
        """The images `indices`, in this order."""
        chosen = np.asarray(indices)
        return replace(self, shards=self.shards[chosen], rows=self.rows[chosen])


TrainingSet: TypeAlias = Dataset | ShardedDataset  # of either, trainings ask the same


class Lazily(Sequence):
    """A sequence whose items are made when they are asked for."""

    def __init__(self, length: int, item: Any):
        self.length, self.item = length, item

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.item(int(index))


class ShardedImages:
    """The images of a data set, asked for as those of an array (N, s, s, 3) are: `[i, rows, columns]`, `[indices]`."""

    def __init__(self, dataset: ShardedDataset):
        self.dataset = dataset
        self.shape = (len(dataset), dataset.size, dataset.size, 3)

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, tuple):
            index, *place = key
            return self.dataset.record(int(index)).image[tuple(place)]
        return np.stack([self.dataset.record(int(index)).image for index in key])


def read(home: str, split: str, image_size: int) -> ShardedDataset:
    """A split of the shards in a folder, for training at `image_size` pixels.

    Raises `InputError` where they are missing, damaged, or made for other sizes.
    """
    content = folder.read(home)
    if image_size not in content.sizes:
        raise InputError(
            f"{home} holds images for {' and '.join(map(str, content.sizes))} pixels but data.image_size is "
            f"{image_size}: run prepare --shards with --shard_sizes {image_size}"
        )
    if split not in content.splits:
        raise InputError(f"{home} holds no split {split}: run prepare --shards again")
    files, told = tuple(content.files(home, image_size, split)), content.splits[split]
    indices = [records.read_index(file) for file in files]
    rows = np.concatenate(indices)
    if len(rows) != told.images:
        raise InputError(f"the shards of {split} hold {len(rows)} images, expected {told.images}: {records.AGAIN}")
    return ShardedDataset(
        files,
        np.repeat(np.arange(len(files), dtype=np.int32), [len(index) for index in indices]),
        rows,
        load_size(image_size),
        content.text_dim,
        told.most_captions,
        told.most_words,
    )
