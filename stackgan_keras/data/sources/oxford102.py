"""Oxford-102: flowers, unpacked or through tensorflow-datasets, with the captions of Reed et al."""

import re
from pathlib import Path
from posixpath import basename

from stackgan_keras.data.pickles import load as load_pickle
from stackgan_keras.data.sources.hub import hub_rows, published_reader
from stackgan_keras.data.sources.source import Example, Source, reed_captions, stem, walk_images
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import read_text

CLASSES = 102
ARCHIVE = ("imagelabels.mat", "setid.mat")  # beside the archive's jpg/
TEST_EVERY = 5  # without the published list: classes 5, 10, …, 100 are the test split, 20 as published


def read(images: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """Oxford-102, split by class as published: 82 classes and 20.

    The class is the folder of the caption file. Which classes are the test split is read from Reed's archive
    (testclasses.txt) or the published test/class_info.pickle; without either every fifth class is.
    """
    source = Source("oxford102")
    texts = reed_captions(source, captions or images)
    test_classes = _test_classes(texts.root, images, source)
    found: dict[str, Path | None]
    if images is None:
        found = {basename(name): None for name, _ in hub_rows(source, "oxford_flowers102", tfds_dir, "file_name")}
    elif home := image_folder(images):
        found = {basename(stem(file)): home / file for file in walk_images(home, source)}
    else:
        raise InputError(f"{images} holds no jpg/image_00001.jpg: give --pictures the folder of the unpacked archive")
    for name, file in sorted(found.items()):
        text = texts.find(name)
        number = re.match(r"class_(\d{5})/", text or "")
        lines, class_id = (texts.read(text), int(number[1])) if number else ((), 0)
        label, split = f"class_{class_id:05d}", "test" if class_id in test_classes else "train"
        source.add(Example(f"jpg/{name}", label, lines, split, class_id, file=file, text_name=f"{label}/{name}"))
    return source.finished(texts)


def image_folder(folder: Path) -> Path | None:
    """The folder of image_00001.jpg and so on, in the unpacked archive or around it."""
    candidates = [folder / inner for inner in ("", "jpg", "102flowers/jpg", "102flowers", "Oxford102/jpg")]
    return next((each for each in candidates if next(each.glob("image_?????.jpg"), None)), None)


def _is_oxford102(folder: Path) -> bool:
    """Whether Reed's captions or the archive's own files are there; images of these names any camera makes."""
    return any((folder / "text_c10").glob("class_?????")) or any((folder / name).is_file() for name in ARCHIVE)


def _test_classes(folder: Path, images: Path | None, source: Source) -> set[int]:
    names = ("testclasses.txt", "flowers_icml/testclasses.txt", "cvpr2016_flowers/testclasses.txt")
    homes = [home for home in (folder, folder.parent, images) if home]
    files = (home / name for name in (*names, "test/class_info.pickle") for home in homes)
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        source.notes.append(
            f"every {TEST_EVERY}th of the classes is the test split, which is not the published one, as neither "
            "testclasses.txt of Reed's archive (flowers_icml) nor published splits lie beside the captions"
        )
        return set(range(TEST_EVERY, CLASSES + 1, TEST_EVERY))
    source.notes.append(f"split by class as {file} says")
    is_text = file.suffix == ".txt"
    numbers = re.findall(r"class_(\d{1,9})", read_text(file)) if is_text else load_pickle(file)
    try:
        return {int(number) for number in numbers}
    except (TypeError, ValueError, OverflowError) as problem:
        raise InputError(f"{file} is no list of class numbers ({first_line(problem)}): download it again") from None


READER = published_reader(
    "oxford102",
    2,
    _is_oxford102,
    read,
    config="flowers_stage1",
)
