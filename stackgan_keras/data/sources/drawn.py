"""Birds drawn on the spot, or a folder of them: CUB's layout, with splits, boxes and classes of its own."""

import json
import operator
from pathlib import Path

from stackgan_keras.data import drawn_birds
from stackgan_keras.data.sources.reader import UNFINISHED, Option, Reader
from stackgan_keras.data.sources.source import Example, Source, plain, to_captions
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import LONG_TEXT, read_text


def read(root: Path) -> Source:
    """The birds in a folder that `drawn_birds.write` made."""
    source = Source("drawn", others=[root / "truth.jsonl"])
    for number, line in enumerate(read_text(root / "truth.jsonl", LONG_TEXT).splitlines(), start=1):
        try:
            source.examples.append(_example(root, json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            found = f"line {number} of {root / 'truth.jsonl'} tells of no drawn bird"
            raise InputError(f"{found} ({first_line(problem)}): draw them again") from None
    return source


def _example(root: Path, truth: dict) -> Example:
    name, split, class_id = truth["name"], truth["split"], operator.index(truth["class_id"])
    label, _, bird = name.partition("/")
    if plain(label) != label or plain(bird) != bird or split not in ("train", "test"):
        raise ValueError(f"{name!a} in {split!a}")
    left, top, width, height = map(float, truth["box"])
    captions = to_captions(read_text(root / "text_c10" / f"{name}.txt"))
    file = root / "CUB_200_2011/images" / f"{name}.jpg"
    return Example(name, label, captions, split, class_id, (left, top, width, height), file)


def _read_or_draw(folder: Path | None, out: Path, *, count: int, classes: int, seed: int) -> Source:
    """The birds in a folder, else new ones, which wait below `out` until they have found their place."""
    if folder is None:
        folder, test_classes = out / UNFINISHED / "drawn", max(1, min(40, classes // 5))
        drawn_birds.write(folder, count, classes, test_classes, seed=seed, embedding_dim=1, progress=True)
    return read(folder)


READER = Reader(
    "drawn",
    0,
    recognises=lambda folder: (folder / "CUB_200_2011").is_dir() and (folder / "truth.jsonl").is_file(),
    read=_read_or_draw,
    options=(
        Option("count", "N", "images (default 2000)", int, 2000),
        Option("classes", "N", "species, a fifth, at most 40, to test (default 50)", int, 50),
        Option("seed", "N", "another number draws other birds (default 0)", int, 0),
    ),
    begins="drawing birds …",
    config="drawn_stage1",
    text_config="drawn_text",
    few=0,  # they are easier than photographs
)
