"""The steps from a source's examples to the files of the published layout; what is there already is kept."""

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import published, writing
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.sources.source import Example, Source
from stackgan_keras.errors import InputError
from stackgan_keras.files import write_lines

AT_ONCE = 64  # images that are looked at together


def copy_images(source: Source, home: Path) -> list[Example]:
    """Puts the images below `home` and returns the examples of those that are whole."""
    there = {example.name for example in source.examples if _is_copied(example, home)}
    missing = [example for example in source.examples if example.name not in there]

    def copy(pair: tuple[Example, Path | bytes]) -> str | None:
        example, image = pair
        try:
            writing.write_image(image, home / example.name, upright=source.upright)
        except writing.BadImage as problem:
            return str(problem)
        return None

    bar = tqdm(desc="images", total=len(source.examples), initial=len(there), unit="")
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool, bar:
        warnings.simplefilter("ignore")  # of sizes and odd metadata, which hurt nothing
        for batch in _batched(source.open(missing)):
            for (example, _), problem in zip(batch, pool.map(copy, batch), strict=True):
                bar.update()
                if problem:
                    source.skip("files that are no whole images", f"{example.name} ({problem})")
                else:
                    there.add(example.name)
    return [example for example in source.examples if example.name in there]


def _is_copied(example: Example, home: Path) -> bool:
    """Whether the image is there, and not older than the one it was made of."""
    path = writing.find_image(home / example.name)
    return path is not None and (example.file is None or path.stat().st_mtime_ns >= example.file.stat().st_mtime_ns)


def copy_of(example: Example, home: Path) -> Path:
    """The file that `copy_images` made for an example."""
    if (path := writing.find_image(home / example.name)) is None:
        raise InputError(f"{home / example.name} has vanished: run the same command again")
    return path


def _batched(items: Iterable) -> Iterator[list]:
    items = iter(items)
    while batch := list(itertools.islice(items, AT_ONCE)):
        yield batch


def write_captions(examples: Sequence[Example], folder: Path) -> None:
    for example in tqdm(examples, "captions", unit=""):
        write_lines(folder / f"{example.text_name or example.name}.txt", example.captions)


def write_tables(examples: Sequence[Example], home: Path) -> None:
    """CUB's tables of the images in `home`."""
    writing.write_tables(
        home.parent,
        [example.name + copy_of(example, home).suffix for example in examples],
        [example.box for example in examples if example.box],
        [example.class_id for example in examples if example.class_id is not None],
        dict(sorted({each.class_id: each.label for each in examples if each.class_id is not None}.items())),
    )


def to_dataset(examples: Sequence[Example], home: Path) -> Dataset:
    """One split as the text encoder's training takes it: without embeddings, which it is to make."""
    has_boxes = all(example.box for example in examples)
    return Dataset(
        names=tuple(example.name for example in examples),
        paths=tuple(copy_of(example, home) for example in examples),
        boxes=np.array([example.box for example in examples], np.float64) if has_boxes else None,
        class_ids=np.array([example.class_id for example in examples], np.int64),
        captions=tuple(example.captions for example in examples),
        embeddings=np.zeros((0, 0), np.float32),
        first_embedding=published.first_rows([0] * len(examples)),
        packed={},
    )


def write_embeddings(embed: Callable, encoder: str, splits: dict[str, list[Example]], out: Path, notes: Path) -> None:
    """The embeddings of each split by `embed`, (M,) sentences to (M, text_dim) float32.

    Those that are there, of the same captions by the same `encoder` (a digest), as `notes` remembers, are kept.
    """
    for split, examples in splits.items():
        path, note = out / split / published.EMBEDDINGS, notes / f"embedded_{split}.txt"
        made_of = f"{digest(examples)} {encoder}"
        if path.is_file() and note.is_file() and note.read_text() == made_of:
            print(f"embeddings of {split}: kept")
            continue
        arrays = []
        with tqdm(desc=f"embeddings of {split}", total=len(examples), unit="") as bar:
            for batch in _batched(examples):
                vectors = embed([caption for example in batch for caption in example.captions])
                arrays += np.split(vectors, np.cumsum([len(example.captions) for example in batch])[:-1])
                bar.update(len(batch))
        writing.write_embeddings(path, arrays)
        note.write_text(made_of)


def write_lists(splits: dict[str, list[Example]], out: Path) -> None:
    """The pickles that make the folder a complete one, which come last."""
    for file, value in (("class_info.pickle", "class_id"), ("filenames.pickle", "name")):
        for split, examples in splits.items():
            writing.write_pickle(out / split / file, [getattr(example, value) for example in examples])


def digest(examples: Sequence[Example]) -> str:
    """What changes if any name, split or caption does."""
    rows = (json.dumps([example.name, example.split, *example.captions]) for example in examples)
    return hashlib.sha256("".join(rows).encode()).hexdigest()
