"""A folder of images without captions, which StackGAN++ learns from without text: the two splits."""

from pathlib import Path

import numpy as np

from stackgan_keras.data.published import Dataset, first_rows
from stackgan_keras.data.sources.source import Source, hash_of, stem, walk_images
from stackgan_keras.errors import InputError

TEST_SHARE = 0.1  # of the images, by a hash of their names


def read(root: Path) -> tuple[Dataset, Dataset]:
    """Training and test set of all images below a folder: each a class of its own, with one caption of no words.

    Raises `InputError` where there are fewer than three images.
    """
    source = Source("folder")
    files = sorted(walk_images(Path(root), source)) if Path(root).is_dir() else []
    if len(files) < 3:
        raise InputError(f"{root} holds {len(files)} images: give a folder of three or more .jpg or .png files")
    held_out = [hash_of(stem(file)) < TEST_SHARE for file in files]
    if all(held_out) or not any(held_out):
        held_out = [place == 0 for place in range(len(files))]
    train, test = ([f for f, out in zip(files, held_out, strict=True) if out is split] for split in (False, True))
    return _dataset(Path(root), train, 0), _dataset(Path(root), test, len(train))


def _dataset(root: Path, files: list[str], first_class: int) -> Dataset:
    number = len(files)
    return Dataset(
        names=tuple(stem(file) for file in files),
        paths=tuple(root / file for file in files),
        boxes=None,
        class_ids=np.arange(first_class, first_class + number),
        captions=(("",),) * number,
        embeddings=np.zeros((number, 0), np.float32),
        first_embedding=first_rows([1] * number),
        packed={},
    )
