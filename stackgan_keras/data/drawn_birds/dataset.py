"""Writing a set of drawn birds in the published layout: all of it or nothing, in one process or in several."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_keras import processes
from stackgan_keras.data.drawn_birds.captions import describe
from stackgan_keras.data.drawn_birds.embedding import embed
from stackgan_keras.data.drawn_birds.painting import draw
from stackgan_keras.data.drawn_birds.species import MOST_SPECIES, Bird, individual, invent_species, species_names
from stackgan_keras.data.writing import write_pickle, write_tables
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.files import read_text, write_lines

FORMAT = 3  # raise it when the same settings no longer give the same files
JPEG_QUALITY = 95
FEW = 64  # up to so many images, one process is done before others have started
LOWEST = {"count": 1, "classes": 3, "test_classes": 1, "seed": 0, "embedding_dim": 1}

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass(frozen=True)
class _Image:
    """An image to be drawn."""

    number: int
    name: str  # class/image, without suffix
    class_id: int
    split: str
    species: dict[str, str]


def write(
    root: str | Path,
    count: int = 2000,  # images
    classes: int = 50,  # species, training and test together
    test_classes: int = 10,
    seed: int = 0,
    workers: int | None = None,  # processes; None takes one for each core
    embedding_dim: int = 1024,
    progress: bool = False,  # show bars
) -> Path:
    """Draws a data set of captioned birds under `root`, in the published layout, and returns `root`.

    Beside the published files lie `truth.jsonl`, the attributes of each image, and `drawn.json`, the settings. The
    set appears as a whole or not at all; one that is already there with the same settings is left as it is.
    Raises `InputError` for impossible settings and where `root` holds anything else.
    """
    root = Path(root)
    given = {
        "count": count,
        "classes": classes,
        "test_classes": test_classes,
        "seed": seed,
        "embedding_dim": embedding_dim,
    }
    settings = {"format": FORMAT} | {name: whole_number(name, given[name], least) for name, least in LOWEST.items()}
    workers = None if workers is None else whole_number("workers", workers, 1)
    _check(settings)
    if _is_drawn(root, settings):
        return root
    draft = root.resolve().with_name(f".{root.resolve().name}.{os.getpid()}.part")
    try:
        draft.mkdir(parents=True)
        _write_set(draft, settings, workers, progress)
        _move(draft, root, settings)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root


def _move(draft: Path, root: Path, settings: dict[str, int]) -> None:
    """Puts the finished set in its place, unless another process was faster with the same one."""
    try:
        if root.exists():
            root.rmdir()
        draft.rename(root)
    except OSError:
        if not _is_drawn(root, settings):
            raise


def _check(settings: dict[str, int]) -> None:
    """Refuses numbers that do not go together."""
    count, classes, test_classes = settings["count"], settings["classes"], settings["test_classes"]
    if classes > MOST_SPECIES:
        raise InputError(f"classes is {classes}, but there are names for {MOST_SPECIES} species: ask for fewer")
    if classes - test_classes < 2:
        raise InputError(
            f"{test_classes} of {classes} classes for the test leave fewer than 2 for training: lower test_classes or "
            f"raise classes"
        )
    if count < classes:
        raise InputError(f"count is {count}, fewer images than the {classes} classes: raise count or lower classes")


def _is_drawn(root: Path, settings: dict[str, int]) -> bool:
    """Whether `root` holds this very set; False where it is free; raises where it holds something else."""
    if not root.exists():
        return False
    record = root / "drawn.json"
    if not record.is_file():
        if root.is_dir() and not any(root.iterdir()):
            return False
        raise InputError(f"{root} already holds something other than drawn birds: name a new or an empty folder")
    if read_text(record).rstrip() != json.dumps(settings):
        raise InputError(f"{root} holds birds drawn with other settings (see {record}): name another folder")
    return True


def _write_set(folder: Path, settings: dict[str, int], workers: int | None, progress: bool) -> None:
    """All files of the set, the record of its settings last."""
    images, class_names = _plan(settings, progress)
    for class_name in class_names.values():
        (folder / "CUB_200_2011" / "images" / class_name).mkdir(parents=True)
        (folder / "text_c10" / class_name).mkdir(parents=True)
    drawn = list(_draw_all(folder, images, settings["seed"], workers, progress))
    write_tables(
        folder / "CUB_200_2011",
        [f"{image.name}.jpg" for image in images],
        [box for _, box, _ in drawn],
        [image.class_id for image in images],
        class_names,
    )
    for split in ("train", "test"):
        pairs = [(image, texts) for image, (_, _, texts) in zip(images, drawn, strict=True)]
        of_split = [pair for pair in pairs if pair[0].split == split]
        _write_split(folder / split, of_split, settings["embedding_dim"], progress)
    truths = [
        {"name": image.name, "split": image.split, "class_id": image.class_id, "box": box} | asdict(bird)
        for image, (bird, box, _) in zip(images, drawn, strict=True)
    ]
    write_lines(folder / "truth.jsonl", [json.dumps(truth) for truth in truths])
    write_lines(folder / "drawn.json", [json.dumps(settings)])


def _plan(settings: dict[str, int], progress: bool = False) -> tuple[list[_Image], dict[int, str]]:
    """The images of the set in order, and the names of its classes by their numbers, which count from 1."""
    count, classes, test_classes = settings["count"], settings["classes"], settings["test_classes"]
    rng = np.random.default_rng(settings["seed"])
    species = invent_species(classes - test_classes, test_classes, rng, progress=progress)
    ids = (rng.permutation(classes) + 1).tolist()  # class number of each species
    by_id, test_ids = dict(zip(ids, species, strict=True)), set(ids[classes - test_classes :])
    class_names = {i: f"{i:03d}.{name}" for i, name in enumerate(species_names(classes, rng), start=1)}
    images: list[_Image] = []
    seen: Counter[int] = Counter()
    for number in range(count):
        class_id = 1 + number * classes // count
        seen[class_id] += 1
        class_name = class_names[class_id]
        name = f"{class_name}/{class_name.partition('.')[2]}_{seen[class_id]:04d}"
        split = "test" if class_id in test_ids else "train"
        images.append(_Image(number, name, class_id, split, by_id[class_id]))
    return images, class_names


def _draw_all(
    folder: Path, images: list[_Image], seed: int, workers: int | None, progress: bool
) -> Iterator[tuple[Bird, Box, list[str]]]:
    """The images' birds, boxes and captions in order, drawn in this process or in several."""
    if workers is None:
        workers = 1 if len(images) <= FEW else processes.cores()
    from tqdm import tqdm  # only here: data is also read where there is none

    draw_one = partial(_draw_one, folder, seed)
    bar: dict[str, Any] = {"total": len(images), "desc": "drawing birds", "unit": "bird", "disable": not progress}
    if workers == 1:
        yield from tqdm(map(draw_one, images), **bar)
        return
    with processes.mapped(draw_one, images, workers, chunksize=16) as drawn:
        yield from tqdm(drawn, **bar)


def _draw_one(folder: Path, seed: int, image: _Image) -> tuple[Bird, Box, list[str]]:
    """Draws and saves one image and its captions; its random numbers depend on the seed and its number only."""
    rng = np.random.default_rng([seed, image.number])
    bird = individual(image.species, rng)
    drawing, box = draw(bird, rng)
    sentences = describe(bird, rng)
    drawing.save(folder / "CUB_200_2011" / "images" / f"{image.name}.jpg", quality=JPEG_QUALITY)
    write_lines(folder / "text_c10" / f"{image.name}.txt", sentences)
    return bird, box, sentences


def _write_split(folder: Path, pairs: list[tuple[_Image, list[str]]], embedding_dim: int, progress: bool) -> None:
    """The three pickles of one split, from its images and their captions."""
    vectors = embed([text for _, texts in pairs for text in texts], embedding_dim, progress=progress)
    write_pickle(folder / "filenames.pickle", [image.name for image, _ in pairs])
    write_pickle(folder / "class_info.pickle", [image.class_id for image, _ in pairs])
    write_pickle(folder / "char-CNN-RNN-embeddings.pickle", list(vectors.reshape(len(pairs), -1, embedding_dim)))
