"""COCO: annotations files and their images, or both through tensorflow-datasets."""

import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from posixpath import basename

from stackgan_keras.data.sources.hub import hub_rows, published_reader
from stackgan_keras.data.sources.source import Example, Source, path_inside, plain, stem, to_captions, walk_images
from stackgan_keras.errors import InputError
from stackgan_keras.files import LONG_TEXT, read_text


def read(images: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """COCO: training and validation images are the splits, every image is a class of its own.

    `captions` is an annotations JSON or the folder of captions_train2014.json and captions_val2014.json; `images`
    holds their images or folders of them. Without `images`, everything comes through tensorflow-datasets.
    """
    source = Source("coco")
    found: dict[str, tuple[str, list[str], Path | None]]
    if images:
        found = {**_unpacked(captions or images, images, source)}
    else:
        rows = hub_rows(source, "coco_captions", tfds_dir, "image/filename", "captions")
        texts = {name: [text.decode() for text in row["captions"]["text"]] for name, row in rows}
        found = {basename(name): (_split(basename(name)), lines, None) for name, lines in texts.items()}
    for key, (split, lines, file) in sorted(found.items()):
        name = f"{split}/{plain(key)}"
        source.add(Example(name, name, to_captions("\n".join(lines)), split, file=file))
    if len({example.split for example in source.examples}) < 2:  # one annotations file alone
        source.examples = [replace(example, split=None) for example in source.examples]
    return source.finished()


def _unpacked(captions: Path, images: Path, source: Source) -> dict[str, tuple[str, list[str], Path]]:
    """Name -> split, captions and file of each image that annotations files list."""
    inside = [*captions.glob("captions_*.json"), *captions.glob("annotations/captions_*.json")]
    files = [captions] if captions.is_file() else sorted(inside)
    if not files:
        raise InputError(f"{captions} holds no captions_….json: give --captions an annotations file or its folder")
    paths = {basename(file): file for file in walk_images(images, source)}
    found = {}
    for file in files:
        for name, texts in _read_annotations(file):
            path = paths.get(basename(path_inside(file.parent, file.name, name)))
            if path is None:
                source.skip("captions without an image", f"{file.name}: {name}")
            else:
                found[basename(stem(path))] = _split(file.stem), texts, images / path
    return found


def _read_annotations(file: Path) -> list[tuple[str, list[str]]]:
    """The file's name and captions of each image."""
    try:
        content = json.loads(read_text(file, LONG_TEXT))
        texts = defaultdict(list)
        for annotation in content["annotations"]:
            texts[annotation["image_id"]].append(str(annotation["caption"]))
        return [(str(image["file_name"]), texts[image["id"]]) for image in content["images"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        expected = "images (id, file_name) and annotations (image_id, caption), such as captions_train2014.json"
        raise InputError(f"{file} cannot be read as COCO's captions: give a JSON file of {expected}") from None


def _split(name: str) -> str:
    return "test" if re.search(r"val|test", name) else "train"


READER = published_reader(
    "coco",
    3,
    lambda folder: any((folder / "annotations").glob("captions_*.json")),
    read,
    config="coco_stage1",
)
