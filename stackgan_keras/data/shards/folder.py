"""A folder of shards, and what it says of itself.

<home>/shards.json                                 what it holds; written last
<home>/text_encoder.weights.h5, vocabulary.json    what made the embeddings
<home>/<image size>/train-00000-of-00008.tfrecord, .index
"""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stackgan_keras.data.shards import records
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import atomic_write
from stackgan_keras.models.runs import IMAGE_ENCODER, TEXT_ENCODER, VOCABULARY

CONTENT = "shards.json"
LONGEST = 2**16  # bytes of that file
ENCODERS = (IMAGE_ENCODER, VOCABULARY, TEXT_ENCODER)  # files that go along


class Split(BaseModel):
    """What the shards of a split hold, each size the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    images: int = Field(ge=1, lt=2**40)
    shards: int = Field(ge=1, lt=100_000)  # files at one size
    most_captions: int = Field(ge=1, lt=2**20)  # of an image
    most_words: int = Field(ge=0, lt=2**20)  # of a caption


class Content(BaseModel):
    """`shards.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sizes: tuple[int, ...]  # pixels of the images that networks are trained on
    text_dim: int = Field(ge=1, lt=2**20)
    splits: dict[str, Split]

    def files(self, home: str, size: int, split: str) -> Iterator[str]:
        """The paths of shards without their suffixes, in order."""
        for number in range(self.splits[split].shards):
            yield records.file_of(f"{home}/{size}", split, number, self.splits[split].shards)


def read(home: str) -> Content:
    """What a folder of shards holds. Raises `InputError` where it is none."""
    path = f"{home}/{CONTENT}"
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return Content.model_validate_json(file.read(LONGEST))
    except tf.errors.OpError:
        raise InputError(f"there is no {path}: give data.shards the folder that prepare --shards has made") from None
    except ValidationError as problem:
        raise InputError(f"{path} is damaged ({first_line(problem)}): run prepare --shards again") from None


def write(home: str, content: Content) -> None:
    """Writes `shards.json`."""
    with tf.io.gfile.GFile(f"{home}/{CONTENT}.unfinished", "w") as file:
        file.write(content.model_dump_json(indent=1) + "\n")
    tf.io.gfile.rename(f"{home}/{CONTENT}.unfinished", f"{home}/{CONTENT}", overwrite=True)


def copy_encoders(home: str, weights: Path) -> None:
    """Copies the encoders that lie with the shards into a run's folder of weights."""
    for name in ENCODERS:
        if tf.io.gfile.exists(f"{home}/{name}"):
            weights.mkdir(parents=True, exist_ok=True)
            with atomic_write(weights / name) as unfinished:
                tf.io.gfile.copy(f"{home}/{name}", str(unfinished), overwrite=True)


def has_encoder(home: str, file: Path) -> bool:
    """Whether the text encoder that made the embeddings is the one in a file."""
    path = f"{home}/{TEXT_ENCODER}"
    if not tf.io.gfile.exists(path):
        return False
    with tf.io.gfile.GFile(path, "rb") as own:
        return own.read() == file.read_bytes()
