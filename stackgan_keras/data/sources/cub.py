"""CUB-200-2011: photographs and boxes, unpacked or through tensorflow-datasets, with the captions of Reed et al."""

import io
import re
from pathlib import Path

import pandas as pd
from PIL import Image

from stackgan_keras.data.sources.hub import hub_rows, published_reader
from stackgan_keras.data.sources.source import Box, Example, Source, reed_captions, stem, walk_images
from stackgan_keras.errors import InputError, first_line

CLASSES = 200
# the class-disjoint test split that the embeddings were published for
TEST_CLASSES = frozenset((
    1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86, 91, 95, 96, 98, 101,
    102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166, 180, 183, 185, 186, 187, 197,
))  # fmt: skip


def read(images: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """CUB-200-2011, split by class as published: 150 classes and 50.

    `images` is the unpacked archive; without it the images come through tensorflow-datasets.
    """
    source = Source("cub")
    texts = reed_captions(source, captions or images)
    found: dict[str, tuple[Path | None, Box | None]]
    found = {**_unpacked(images, source)} if images else {**_from_hub(tfds_dir, source)}
    for name, (file, box) in found.items():
        class_id = int(name[:3]) if re.match(r"\d{3}\.", name) else 0
        lines, split = texts.read(texts.find(name)), "test" if class_id in TEST_CLASSES else "train"
        if not 1 <= class_id <= CLASSES:
            source.skip("images in no folder such as 001.Black_footed_Albatross", name)
        elif lines and box is None:
            source.skip("images without a box", name)
        else:
            source.add(Example(name, name.partition("/")[0], lines, split, class_id, box, file))
    return source.finished(texts)


def _unpacked(images: Path, source: Source) -> dict[str, tuple[Path, Box | None]]:
    """The file and the box of each photograph of the unpacked archive, by its "class/name"."""
    candidates = (images / "CUB_200_2011", images, images.parent)
    home = next((folder for folder in candidates if (folder / "images").is_dir()), None)
    if home is None:
        raise InputError(f"{images} holds no CUB_200_2011/images: give --pictures the folder of the unpacked archive")
    boxes = _read_boxes(home)
    files = walk_images(home / "images", source)
    return {stem(file): (home / "images" / file, boxes.get(stem(file))) for file in files}


def _read_boxes(home: Path) -> dict[str, Box]:
    tables = []
    for file, columns in (("images.txt", ["name"]), ("bounding_boxes.txt", ["x", "y", "width", "height"])):
        try:
            table = pd.read_csv(home / file, sep=r"\s+", header=None, index_col=0, dtype=str)
            table.columns = columns  # refuses another number of them
            tables.append(table if file == "images.txt" else table.astype(float))
        except (OSError, ValueError) as problem:
            raise InputError(
                f"{home / file} cannot be read ({first_line(problem)}): unpack CUB_200_2011.tgz again"
            ) from None
    joined = tables[0].join(tables[1], how="inner").dropna()
    return {stem(name): (x, y, width, height) for name, x, y, width, height in joined.itertuples(index=False)}


def _from_hub(tfds_dir: Path | None, source: Source) -> dict[str, tuple[None, Box]]:
    """The photographs of tensorflow-datasets, whose boxes are shares of the height and width."""
    found = {}
    for name, row in hub_rows(source, "caltech_birds2011", tfds_dir, "image/filename", "image", "bbox"):
        with Image.open(io.BytesIO(row["image"])) as image:
            width, height = image.size
        top, left, bottom, right = (float(share) for share in row["bbox"])
        x, y, across, down = (left * width, top * height, (right - left) * width, (bottom - top) * height)
        found[name] = None, (round(x, 1), round(y, 1), round(across, 1), round(down, 1))
    return found


READER = published_reader(
    "cub",
    1,
    lambda folder: (folder / "CUB_200_2011").is_dir() or (folder / "bounding_boxes.txt").is_file(),
    read,
    config="birds_stage1",
)
