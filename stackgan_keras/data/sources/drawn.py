"""Birds drawn on the spot, or a folder of them: CUB's layout, with splits, boxes and classes of its own."""

import json
from pathlib import Path

from stackgan_keras.data import drawn_birds
from stackgan_keras.data.sources.reader import UNFINISHED, Option, Reader
from stackgan_keras.data.sources.source import Example, Source, to_captions
from stackgan_keras.files import read_text


def read(root: Path) -> Source:
    """The birds in a folder that `drawn_birds.write` made."""
    source = Source("drawn", others=[root / "truth.jsonl"])
    for line in read_text(root / "truth.jsonl").splitlines():
        truth = json.loads(line)
        name = truth["name"]
        captions = to_captions(read_text(root / "text_c10" / f"{name}.txt"))
        file = root / "CUB_200_2011/images" / f"{name}.jpg"
        label, box = name.partition("/")[0], tuple(truth["box"])
        source.examples.append(Example(name, label, captions, truth["split"], truth["class_id"], box, file))
    return source


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
