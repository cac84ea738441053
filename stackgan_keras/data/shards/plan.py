"""Shards of a prepared folder: what each is to hold, who makes them, and what lies beside them."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stackgan_keras.data.preparing import record, steps
from stackgan_keras.data.preparing.request import Request
from stackgan_keras.data.preparing.summary import SHARDS
from stackgan_keras.data.shards import folder, making, records
from stackgan_keras.data.shards.making import Job
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.data.sources.source import Example
from stackgan_keras.files import atomic_write, write_lines
from stackgan_keras.models import sentence_reader
from stackgan_keras.models.runs import TEXT_ENCODER
from stackgan_keras.models.vocabulary import words_of


def write(request: Request, splits: dict[str, list[Example]], home: Path, text_dim: int) -> None:
    """Makes the shards of both splits at all sizes; those that are there are kept. `home` holds the images."""
    out = request.out / SHARDS
    splits = {split: _readable(examples, request.out / TEXT_ENCODER) for split, examples in splits.items()}
    _keep_if_made_of(splits, request, home)
    jobs = [job for split, examples in splits.items() for job in _jobs(request, split, examples, home)]
    if request.beam is None:
        making.in_processes(jobs)
    else:
        making.by_beam(jobs, request.beam)
    for name in folder.ENCODERS:
        if (request.out / name).is_file():
            with atomic_write(out / name) as unfinished:
                shutil.copyfile(request.out / name, unfinished)
    told = {split: _told(examples, request.shards or 1) for split, examples in splits.items()}
    folder.write(str(out), folder.Content(sizes=request.shard_sizes, text_dim=text_dim, splits=told))


def _keep_if_made_of(splits: dict[str, list[Example]], request: Request, home: Path) -> None:
    """Removes shards that an earlier, stopped command made of other images, captions or of another text encoder."""
    digest = hashlib.sha256(record.digest_of(request.out / TEXT_ENCODER).encode())
    for split, examples in splits.items():
        for example in examples:
            row = _row(example, home)
            digest.update(json.dumps([split, row, Path(row["path"]).stat().st_mtime_ns]).encode())
    note = request.out / UNFINISHED / "shards.txt"
    if not note.is_file() or note.read_text().strip() != digest.hexdigest():
        shutil.rmtree(request.out / SHARDS, ignore_errors=True)
        write_lines(note, [digest.hexdigest()])


def _jobs(request: Request, split: str, examples: Sequence[Example], home: Path) -> Iterator[Job]:
    """A job for each shard of a split at each size; shards of a split hold equally many images, or one less."""
    count = min(request.shards or 1, len(examples))
    for number in range(count):
        own = examples[number * len(examples) // count : (number + 1) * len(examples) // count]
        listed = request.out / UNFINISHED / SHARDS / f"{split}-{number}.jsonl"
        write_lines(listed, (json.dumps(_row(example, home)) for example in own))
        for size in request.shard_sizes:
            path = records.file_of(str(request.out / SHARDS / str(size)), split, number, count)
            yield Job(str(listed.resolve()), str(Path(path).resolve()), size, (request.out / TEXT_ENCODER).resolve())


def _row(example: Example, home: Path) -> dict:
    return {
        "name": example.name,
        "path": str(steps.copy_of(example, home).resolve()),
        "box": example.box,
        "class_id": example.class_id,
        "captions": example.captions,
    }


def _told(examples: Sequence[Example], shards: int) -> folder.Split:
    return folder.Split(
        images=len(examples),
        shards=min(shards, len(examples)),
        most_captions=max(len(example.captions) for example in examples),
        most_words=max(len(words_of(caption)) for example in examples for caption in example.captions),
    )


def _readable(examples: Sequence[Example], text_encoder: Path) -> list[Example]:
    """The examples with the captions of which a text encoder of words knows one; all of them for one of characters."""
    if not sentence_reader.reads_words(text_encoder):
        return [*examples]
    vocabulary = sentence_reader.vocabulary_of(text_encoder)
    kept = [replace(e, captions=tuple(c for c in e.captions if vocabulary.reads(c))) for e in examples]
    return [example for example in kept if example.captions]
