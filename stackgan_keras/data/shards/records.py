"""A shard: a TFRecord file of images with captions and embeddings, and an index, by which any of them is read alone.

A record is a `tf.train.Example` of `image` (its pixels, (size, size, 3) uint8), `name`, `class_id`, `captions`, and
`embeddings` (one row a caption, float32, little endian). Paths are those of `tf.io.gfile`: local, `gs://` and others.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from stackgan_keras.errors import InputError, first_line

INDEX = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4"), ("class_id", "<i8")])  # of a record's content
AGAIN = "delete the shard and its index, and run prepare --shards again"
BEFORE, AFTER = 12, 4  # bytes of TFRecord's own around it: length and checksums


@dataclass(frozen=True, eq=False)
class Record:
    """One image with what belongs to it."""

    name: str
    image: np.ndarray  # (size, size, 3) uint8
    class_id: int
    captions: tuple[str, ...]
    embeddings: np.ndarray  # (captions, D) float32


def open_file(path: str) -> BinaryIO:
    """A file, local or of another place, to be read. TensorFlow's own reads half a megabyte for any piece of it."""
    return tf.io.gfile.GFile(path, "rb") if "://" in path else Path(path).open("rb", buffering=0)


def file_of(home: str, split: str, number: int, count: int) -> str:
    """The path of a shard, without its suffix."""
    return f"{home}/{split}-{number:05d}-of-{count:05d}"


def write(path: str, records: Iterable[Record]) -> None:
    """Writes `path`.tfrecord and then `path`.index, so that whoever finds the index finds a whole shard."""
    unfinished, rows, offset = f"{path}.tfrecord.unfinished", [], 0
    try:
        with tf.io.TFRecordWriter(unfinished) as file:
            for record in records:
                content = _to_bytes(record)
                rows.append((offset + BEFORE, len(content), zlib.crc32(content), record.class_id))
                offset += BEFORE + len(content) + AFTER
                file.write(content)
        tf.io.gfile.rename(unfinished, f"{path}.tfrecord", overwrite=True)
    finally:
        if tf.io.gfile.exists(unfinished):
            tf.io.gfile.remove(unfinished)
    with tf.io.gfile.GFile(f"{path}.index.unfinished", "wb") as file:
        file.write(np.array(rows, INDEX).tobytes())
    tf.io.gfile.rename(f"{path}.index.unfinished", f"{path}.index", overwrite=True)


def read_index(path: str) -> np.ndarray:
    """The index (N,) of a shard. Raises `InputError` for one that is missing, damaged, or of another shard."""
    try:
        with open_file(f"{path}.index") as file:
            content = file.read()
        size = tf.io.gfile.stat(f"{path}.tfrecord").length
    except (OSError, tf.errors.OpError) as problem:
        raise InputError(f"the shard {path} cannot be read ({first_line(problem)}): {AGAIN}") from None
    if not content or len(content) % INDEX.itemsize:
        raise InputError(f"{path}.index is damaged, its {len(content)} bytes are no whole rows: {AGAIN}")
    rows = np.frombuffer(content, INDEX)
    ends = rows["offset"] + rows["length"] + AFTER
    if rows["offset"].max() > size or rows["length"].min() < 1 or ends.max() != size:
        raise InputError(f"{path}.index does not belong to the {size:,} bytes of its shard: {AGAIN}")
    return rows


def read(path: str, row: np.void, size: int, text_dim: int) -> Record:
    """The record of a `row` of a shard's index. Raises `InputError` where it is not what the index says."""
    content = b""
    try:
        with open_file(f"{path}.tfrecord") as file:
            file.seek(int(row["offset"]))
            content = file.read(int(row["length"]))
        if len(content) != row["length"] or zlib.crc32(content) != row["crc32"]:
            raise ValueError("its checksum is another")
        return _from_bytes(content, size, text_dim)
    except (OSError, tf.errors.OpError, ValueError, LookupError) as problem:
        raise InputError(
            f"the record at byte {row['offset']} of {path}.tfrecord cannot be read ({first_line(problem)}): {AGAIN}"
        ) from None


def _to_bytes(record: Record) -> bytes:
    def of_bytes(*values: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    features = {
        "image": of_bytes(record.image.tobytes()),
        "name": of_bytes(record.name.encode()),
        "class_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[record.class_id])),
        "captions": of_bytes(*(caption.encode() for caption in record.captions)),
        "embeddings": of_bytes(record.embeddings.astype("<f4").tobytes()),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _from_bytes(content: bytes, size: int, text_dim: int) -> Record:
    try:
        features = tf.train.Example.FromString(content).features.feature
    except Exception as problem:  # protobuf's own error, which has moved between its versions
        raise ValueError(str(problem)) from None
    captions = tuple(caption.decode() for caption in features["captions"].bytes_list.value)
    embeddings = np.frombuffer(features["embeddings"].bytes_list.value[0], "<f4").reshape(len(captions), text_dim)
    if not captions or not np.isfinite(embeddings).all():
        raise ValueError("it has no captions, or embeddings that are not finite")
    return Record(
        features["name"].bytes_list.value[0].decode(),
        np.frombuffer(features["image"].bytes_list.value[0], np.uint8).reshape(size, size, 3),
        features["class_id"].int64_list.value[0],
        captions,
        embeddings,
    )
