"""Shards out of prepared images: jobs of one shard each, which processes of this machine or Apache Beam do.

A job is a list of images, a file of JSON lines, and a place to write to. It depends on nothing else, and a shard that
is there is kept; so any number of workers may do the jobs, in any order, and again.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras import processes
from stackgan_keras.data import photographs
from stackgan_keras.data.shards import records
from stackgan_keras.data.shards.records import Record
from stackgan_keras.errors import InputError
from stackgan_keras.models import sentence_reader

AT_ONCE = 64  # images whose captions are embedded together


@dataclass(frozen=True)
class Job:
    """One shard to make."""

    images: str  # file of JSON lines: name, path, box, class_id, captions
    path: str  # of the shard, without its suffix
    image_size: int  # pixels of the images that networks are trained on
    text_encoder: Path  # a file that every worker can read


def make(job: Job) -> None:
    """Makes the shard of a job, unless it is there."""
    if not tf.io.gfile.exists(f"{job.path}.index"):
        tf.io.gfile.makedirs(job.path.rpartition("/")[0])
        records.write(job.path, _records(job))


def in_processes(jobs: Sequence[Job]) -> None:
    """Does the jobs in as many processes as there are cores."""
    with processes.mapped(make, jobs, min(len(jobs), processes.cores())) as done:
        for _ in tqdm(done, "shards", total=len(jobs), unit=""):
            pass


def by_beam(jobs: Sequence[Job], options: str) -> None:
    """Does the jobs by Apache Beam, on the runner that `options` name as Beam's own command line does.

    Raises `InputError` where Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise InputError("--beam needs Apache Beam: pip install 'stackgan_keras[beam]', or leave --beam out") from None
    with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
        _ = pipeline | beam.Create(jobs) | beam.Reshuffle() | beam.Map(make)


def _records(job: Job) -> Iterator[Record]:
    reader = _reader(job.text_encoder)
    with tf.io.gfile.GFile(job.images, "r") as file:
        rows = [json.loads(line) for line in file]
    for start in range(0, len(rows), AT_ONCE):
        batch = rows[start : start + AT_ONCE]
        vectors = reader.embed([caption for row in batch for caption in row["captions"]])
        parts = np.split(vectors, np.cumsum([len(row["captions"]) for row in batch])[:-1])
        for row, embeddings in zip(batch, parts, strict=True):
            with records.open_file(row["path"]) as image_file:
                content = BytesIO(image_file.read())
            image = photographs.read(content, row["box"], photographs.load_size(job.image_size), name=row["path"])
            yield Record(row["name"], image, row["class_id"], tuple(row["captions"]), embeddings)


@lru_cache(1)
def _reader(text_encoder: Path) -> sentence_reader.SentenceReader:
    return sentence_reader.load(text_encoder)
