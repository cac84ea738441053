"""Oxford-102: flowers, unpacked or through tensorflow-datasets, with the captions of Reed et al."""

import re
from pathlib import Path
from posixpath import basename

from stackgan_keras.data.pickles import load as load_pickle
from stackgan_keras.data.sources.hub import hub_rows
from stackgan_keras.data.sources.source import Example, Source, reed_captions, stem, walk_pictures
from stackgan_keras.errors import InputError
from stackgan_keras.files import read_text

CLASSES = 102
TEST_EVERY = 5  # without the published list: classes 5, 10, …, 100 are the test split, 20 as published


def read(pictures: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """Oxford-102, split by class as published: 82 classes and 20.

    The class is the folder of the caption file. Which classes are the test split is read from Reed's archive
    (testclasses.txt) or the published test/class_info.pickle; without either every fifth class is.
    """
    source = Source("oxford102")
    texts = reed_captions(source, captions or pictures)
    test_classes = _test_classes(texts.root, pictures, source)
    if pictures:
        found = _unpacked(pictures, source)
    else:
        found = {basename(name): None for name, _ in hub_rows(source, "oxford_flowers102", tfds_dir, "file_name")}
    for name, file in sorted(found.items()):
        text = texts.find(name)
        number = re.match(r"class_(\d{5})/", text or "")
        lines = texts.read(text) if number else ()
        class_id = int(number[1]) if number else 0
        label, split = f"class_{class_id:05d}", "test" if class_id in test_classes else "train"
        text_name = f"{label}/{name}"
        source.add(Example(f"jpg/{name}", label, lines, split, class_id, file=file, text_name=text_name))
    return source.finished(texts)


def _unpacked(pictures: Path, source: Source) -> dict[str, Path]:
    """Name -> file of each flower of the unpacked archive."""
    home = picture_folder(pictures)
    if home is None:
        raise InputError(
            f"{pictures} holds no jpg/image_00001.jpg: give --pictures the folder where 102flowers.tgz was unpacked"
        )
    return {basename(stem(file)): home / file for file in walk_pictures(home, source)}


def picture_folder(folder: Path) -> Path | None:
    """The folder of image_00001.jpg and so on, in the unpacked archive or around it."""
    candidates = [folder / inner for inner in ("", "jpg", "102flowers/jpg", "102flowers", "Oxford102/jpg")]
    return next((each for each in candidates if next(each.glob("image_?????.jpg"), None)), None)


def _test_classes(folder: Path, pictures: Path | None, source: Source) -> set[int]:
    homes = [home for home in (folder, folder.parent, pictures) if home]
    listed = [home / inner / "testclasses.txt" for home in homes for inner in ("", "flowers_icml", "cvpr2016_flowers")]
    file = next((f for f in [*listed, *(home / "test/class_info.pickle" for home in homes)] if f.is_file()), None)
    if file is None:
        source.notes.append(
            "neither testclasses.txt of Reed's archive (flowers_icml) nor published splits lie beside the captions: "
            f"every {TEST_EVERY}th of the classes is the test split, which is disjoint by class but not the published "
            "one"
        )
        return set(range(TEST_EVERY, CLASSES + 1, TEST_EVERY))
    source.notes.append(f"split by class as {file} says")
    is_text = file.suffix == ".txt"
    return set(map(int, re.findall(r"class_(\d+)", read_text(file)) if is_text else load_pickle(file)))
