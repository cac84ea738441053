"""A prepared folder from beginning to end: each step leaves out what an earlier, stopped command did."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from stackgan_keras.command_line import quietly
from stackgan_keras.data import published
from stackgan_keras.data.preparing import record, steps
from stackgan_keras.data.preparing.request import Request
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.data.sources.source import divide
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write, leftovers
from stackgan_keras.models.runs import TEXT_ENCODER, VOCABULARY
from stackgan_keras.models.vocabulary import Vocabulary

Train = Callable[[tuple[Dataset, Dataset]], None]  # puts a text encoder, trained on the splits, into the folder


def make(request: Request, asked: dict, train: Train) -> dict:
    """Makes the folder and returns its record.

    What `published` reads comes last, so no unfinished folder is taken for a finished one.
    """
    out, unfinished = request.out, request.out / UNFINISHED
    if request.text_encoder:
        with quietly():
            from stackgan_keras.models import sentence_reader
        sentence_reader.reads_words(request.text_encoder)  # refuses what reads nothing
    source = request.read()
    for leftover in leftovers(out):
        leftover.unlink()
    record.write(unfinished, {"asked": asked})

    has_boxes = all(example.box for example in source.examples)
    home = out / ("CUB_200_2011/images" if has_boxes else "images")
    examples, notes = divide(steps.copy_images(source, home))
    notes += _unread([caption for example in examples for caption in example.captions], request)
    steps.write_captions(examples, out / "text_c10")
    if has_boxes:
        steps.write_tables(examples, home)
    for file in source.others:
        with atomic_write(out / file.name) as copy:
            shutil.copyfile(file, copy)
    splits = {split: [e for e in examples if e.split == split] for split in published.SPLITS}
    train_set, test_set = (steps.to_dataset(part, home) for part in splits.values())
    embed, text_dim = _text_encoder(request, partial(train, (train_set, test_set)))
    if request.shards:
        with quietly():
            from stackgan_keras.data.shards import plan
        plan.write(request, splits, home, text_dim)
    in_memory = {"test": splits["test"]} if request.shards else splits  # those for training may be too many
    steps.write_embeddings(embed, record.digest_of(out / TEXT_ENCODER), in_memory, out, unfinished)
    steps.write_lists(splits, out)
    made = {
        "asked": asked,
        "run": request.settings.run,
        "text_dim": text_dim,
        "content": steps.digest(source.examples),
        "splits": {split: record.counts(part) for split, part in splits.items()},
        "notes": source.notes + notes,
        "skipped": source.skipped,
    }
    record.write(out, made)
    shutil.rmtree(unfinished)
    return made


def check_unchanged(request: Request, made: dict) -> None:
    """Raises `InputError` if the source is no longer what the record says."""
    is_on_disk = request.folder or request.options.get("pictures")  # what is drawn or comes from a hub never changes
    if is_on_disk and made.get("content") != steps.digest(request.read().examples):
        raise InputError(
            f"{request.source} has changed since it became {request.out}: delete that, or name another --out"
        )


def _unread(captions: list[str], request: Request) -> list[str]:
    """A note of how many captions the text encoder will not read in full. Raises `InputError` if it reads none."""
    with quietly():
        from stackgan_keras.models import sentence_reader, text_encoder

    reader: Any = text_encoder
    if request.text_encoder is not None and sentence_reader.reads_words(request.text_encoder):
        reader = sentence_reader.vocabulary_of(request.text_encoder)
    elif request.text_encoder is None and request.settings.text.loss == "damsm":
        reader = Vocabulary.of(captions)
    unread = [caption for caption in captions if not reader.reads(caption)]
    if len(unread) == len(captions):
        raise InputError(
            f"the text encoder reads nothing of any caption, such as {unread[0][:40]!r}: it knows a to z, digits and "
            "punctuation, so give captions in English"
        )
    in_part = [caption for caption in captions if reader.unread(caption)]
    if not in_part:
        return []
    return [
        f"of {len(captions):,} captions the text encoder reads {len(in_part) - len(unread):,} in part and "
        f"{len(unread):,} not at all, such as {in_part[0][:40]!r}: {reader.unread(in_part[0])}"
    ]


def _text_encoder(request: Request, train: Callable[[], None]) -> tuple[Callable, int]:
    """Puts the text encoder that is given, or trained, into place; what embeds by it, and its text_dim."""
    with quietly():  # only now, as it takes seconds: wrong arguments and folders are answered at once
        from stackgan_keras.models import sentence_reader

    path = request.out / TEXT_ENCODER
    if request.text_encoder is None:
        train()
    else:
        given = request.text_encoder
        for source, name in ((given.parent / VOCABULARY, VOCABULARY), (given, TEXT_ENCODER)):
            if source.is_file():
                with atomic_write(request.out / name) as unfinished:
                    shutil.copyfile(source, unfinished)
    return sentence_reader.load(path).embed, sentence_reader.text_dim_of(path)
