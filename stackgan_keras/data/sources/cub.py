"""CUB-200-2011: photographs and boxes, unpacked or through tensorflow-datasets, with the captions of Reed et al."""

import io
import re
from pathlib import Path

from PIL import Image

from stackgan_keras.data.sources.hub import hub_rows
from stackgan_keras.data.sources.source import Example, Source, reed_captions, stem, walk_pictures
from stackgan_keras.errors import InputError
from stackgan_keras.files import read_text

CLASSES = 200
# the class-disjoint test split that the embeddings were published for
TEST_CLASSES = frozenset((
    1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86, 91, 95, 96, 98, 101,
    102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166, 180, 183, 185, 186, 187, 197,
))  # fmt: skip

Found = dict[str, tuple[Path | None, tuple[float, ...] | None]]  # "class/name" -> file and box


def read(pictures: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """CUB-200-2011, split by class as published: 150 classes and 50.

    `pictures` is the unpacked archive; without it the pictures come through tensorflow-datasets.
    """
    source = Source("cub")
    texts = reed_captions(source, captions or pictures)
    found = _unpacked(pictures, source) if pictures else _from_hub(tfds_dir, source)
    for name, (file, box) in found.items():
        number = re.match(r"(\d{3})\.", name)
        class_id = int(number[1]) if number else 0
        if not 1 <= class_id <= CLASSES:
            source.skip("pictures in no folder such as 001.Black_footed_Albatross", name)
            continue
        lines, split = texts.read(texts.find(name)), "test" if class_id in TEST_CLASSES else "train"
        if lines and box is None:
            source.skip("pictures without a box", name)
        else:
            source.add(Example(name, name.partition("/")[0], lines, split, class_id, box, file))
    return source.finished(texts)


def _unpacked(pictures: Path, source: Source) -> Found:
    """The photographs of the unpacked archive."""
    homes = [home for home in (pictures / "CUB_200_2011", pictures, pictures.parent) if (home / "images").is_dir()]
    if not homes:
        raise InputError(
            f"{pictures} holds no CUB_200_2011/images: give --pictures the folder where CUB_200_2011.tgz was unpacked"
        )
    home = homes[0]
    boxes = _read_boxes(home)
    files = {stem(file): home / "images" / file for file in walk_pictures(home / "images", source)}
    if absent := len(boxes.keys() - files.keys()):
        source.notes.append(f"{absent:,} of the {len(boxes):,} photographs in images.txt are not there")
    return {name: (file, boxes.get(name)) for name, file in files.items()}


def _read_boxes(home: Path) -> dict[str, tuple[float, ...]]:
    """Name -> x, y, width, height in pixels."""
    names, boxes = _read_table(home / "images.txt", 2), _read_table(home / "bounding_boxes.txt", 5)
    try:
        return {stem(name): tuple(map(float, boxes[number])) for number, (name,) in names.items() if number in boxes}
    except ValueError as problem:
        raise InputError(f"{home / 'bounding_boxes.txt'}: {problem}; unpack CUB_200_2011.tgz again") from None


def _read_table(file: Path, words: int) -> dict[str, list[str]]:
    """First word -> the others of each line."""
    if not file.is_file():
        raise InputError(f"there is no file {file}: unpack CUB_200_2011.tgz again, it brings the boxes")
    rows = [line.split() for line in read_text(file).split("\n") if line.strip()]
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != words), None)
    if wrong:
        raise InputError(f"line {wrong} of {file} has not {words} words: unpack CUB_200_2011.tgz again")
    return {row[0]: row[1:] for row in rows}


def _from_hub(tfds_dir: Path | None, source: Source) -> Found:
    """The photographs of tensorflow-datasets, whose boxes are shares of the height and width."""
    found = {}
    for name, row in hub_rows(source, "caltech_birds2011", tfds_dir, "image/filename", "image", "bbox"):
        with Image.open(io.BytesIO(row["image"])) as picture:
            width, height = picture.size
        top, left, bottom, right = (float(share) for share in row["bbox"])
        box = (left * width, top * height, (right - left) * width, (bottom - top) * height)
        found[name] = None, tuple(round(value, 1) for value in box)
    return found
