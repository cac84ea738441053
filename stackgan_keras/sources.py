"""What captioned pictures does a source hold?

Published sets, unpacked or through tensorflow-datasets, drawn birds and folders of people's own: each becomes one
`Source`, a plain list of `Example`s with the pictures on demand. What cannot be used is named with its reason.
"""

import csv
import hashlib
import io
import itertools
import json
import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from PIL import Image

from stackgan_keras import safe_pickle
from stackgan_keras.command_line import quietly
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import read_text

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")  # of equal names the first counts
TABLES = ("metadata.jsonl", "metadata.csv")
TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation", "dev")
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")  # left there by file managers; hidden files count as such too
TEST_SHARE = 0.1  # of the classes, or pictures, of a source that does not say
LONGEST_NAME = 100  # characters of a folder's or picture's name in the published layout

CUB_CLASSES = 200
# the class-disjoint test split that the embeddings were published for
CUB_TEST_CLASSES = frozenset((
    1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86, 91, 95, 96, 98, 101,
    102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166, 180, 183, 185, 186, 187, 197,
))  # fmt: skip
OXFORD_CLASSES = 102
OXFORD_EVERY = 5  # without the published list: classes 5, 10, …, 100 are the test split, 20 as published


@dataclass(frozen=True)
class Example:
    """One captioned picture."""

    name: str  # "class/name" in the published layout, without suffix
    label: str  # what its class is called; equal for pictures of one class
    captions: tuple[str, ...]  # at least one, each one line
    split: str | None = None  # "train" or "test"; None: `divide` decides
    class_id: int | None = None  # None: `divide` decides
    box: tuple[float, float, float, float] | None = None  # x, y, width, height in pixels
    file: Path | None = None  # None: its bytes come with `Source.pictures`
    text_name: str | None = None  # where the captions go below text_c10, where that is not `name`


Picture = Path | bytes


@dataclass
class Source:
    """Everything that a source holds."""

    kind: str  # drawn, cub, oxford102, coco, own
    examples: list[Example]
    skipped: dict[str, list[str]] = field(default_factory=dict)  # "pictures without captions" -> which
    notes: list[str] = field(default_factory=list)  # what else the user should know
    pictures: Callable[[Sequence[Example]], Iterable[tuple[Example, Picture]]] | None = None
    upright: bool = False  # whether photographs taken with a turned camera are to be turned

    def open(self, examples: Sequence[Example]) -> Iterable[tuple[Example, Picture]]:
        """Each of the examples with its picture, a file or its bytes, one after the other."""
        return self.pictures(examples) if self.pictures else ((example, example.file) for example in examples)


def recognise(folder: Path) -> str:
    """Which kind of source a folder is: `drawn`, `cub`, `oxford102`, `coco` or `own`."""
    if (folder / "truth.jsonl").is_file() and (folder / "CUB_200_2011").is_dir():
        return "drawn"
    if (folder / "CUB_200_2011").is_dir() or (folder / "bounding_boxes.txt").is_file():
        return "cub"
    if next((folder / "annotations").glob("captions_*.json"), None):
        return "coco"
    if _flower_folder(folder) or next((folder / "text_c10").glob("class_?????"), None):
        return "oxford102"
    return "own"


# -- who is in which split ----------------------------------------------------------------------------------------


def divide(examples: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """The examples with the splits and class numbers that their source left open, and notes for the user.

    Where nothing is said, about a tenth of the classes is the test split, or of the pictures if there are fewer than
    three classes, by a hash of their names, so that more pictures do not move those that were there. Where training
    has fewer than two classes, every picture becomes a class of its own, as a picture needs others that its sentence
    does not fit. Raises `InputError` where a split would be empty.
    """
    notes, labels = [], {example.label for example in examples}
    if any(example.split is None for example in examples):
        by_class = len(labels) >= 3
        keys = labels if by_class else {example.name for example in examples}
        held_out = _held_out(keys)
        key = (lambda example: example.label) if by_class else (lambda example: example.name)
        examples = [replace(e, split=e.split or ("test" if key(e) in held_out else "train")) for e in examples]
        what = "classes" if by_class and len(labels) < len(examples) else "pictures"
        notes.append(f"no splits given: the test split is {len(held_out)} of {len(keys)} {what}, chosen by their names")
    counts = Counter(example.split for example in examples)
    if counts["train"] < 2 or counts["test"] < 1:
        raise InputError(
            f"{counts['train']} usable pictures are for training and {counts['test']} for the test, where at least 2 "
            "and 1 are needed: give more pictures"
        )
    if len({example.label for example in examples if example.split == "train"}) < 2:
        examples = [replace(example, label=example.name, class_id=None) for example in examples]
        notes.append("fewer than two classes to train on: every picture counts as a class of its own")
    numbers = {label: number for number, label in enumerate(sorted({e.label for e in examples}), start=1)}
    return [replace(e, class_id=numbers[e.label] if e.class_id is None else e.class_id) for e in examples], notes


def _held_out(keys: set[str]) -> set[str]:
    """About a tenth of the keys, at least one and, where chance would have it otherwise, at most a fifth."""
    ranked = sorted(keys, key=_place)
    count = sum(_place(key) < TEST_SHARE for key in ranked)
    return set(ranked[: max(1, min(count, len(ranked) // 5))])


def _place(key: str) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


# -- a folder of people's own -------------------------------------------------------------------------------------


def own_folder(root: Path, leave_out: Path | None = None) -> Source:
    """The pictures in a folder and its folders, with the captions that lie there.

    Captions: `NAME.txt` beside a picture or at its place in `text_c10/`, a line each; rows of `metadata.jsonl` and
    `metadata.csv` with `file_name` (from the table's folder) and `text` (a string or a list). Classes: the folders
    that pictures lie in, if there are several; folders called train and test (or validation) are splits.
    `leave_out` is not looked into. Raises `InputError` for links and names that lead outside, and where there are
    no pictures or no captions.
    """
    skipped = defaultdict(list)
    files = list(_walk(root, skipped, leave_out))
    pictures = sorted((f for f in files if _suffix(f) in PICTURES), key=_by_name_then_suffix)
    if not pictures:
        raise InputError(
            f"{root} holds no pictures ({', '.join(PICTURES)}) in {len(files)} files: name the folder they are in"
        )
    told = _table_captions(root, files, pictures, skipped)
    texts = {_stem(f): f for f in files if _suffix(f) == ".txt"}
    places = _Places(pictures)
    taken, names, examples = set(), set(), []
    for file in pictures:
        beside = (_stem(file), f"{_stem(file)}{posixpath.splitext(file)[1]}", f"text_c10/{_stem(places.inside(file))}")
        others = any(key in taken for key in beside)
        text = next((key for key in beside if key in texts and key not in taken), None)
        captions = told.get(file, ())
        if text is not None:
            taken.add(text)
            captions = (*captions, *(c for c in _lines(read_text(root / texts[text])) if c not in captions))
        if captions:
            name = _unique(places.name(file), _suffix(file), names)
            examples.append(Example(name, places.label(file), captions, places.split(file), file=root / file))
        elif others:
            skipped["pictures named like another one, which has the captions"].append(file)
        else:
            skipped["pictures without captions"].append(file)
    skipped["captions without a picture"] += [file for key, file in texts.items() if key not in taken]
    skipped["files that are neither pictures nor captions"] += [
        file for file in files if _suffix(file) not in (*PICTURES, ".txt") and _base(file).lower() not in TABLES
    ]
    if not examples:
        raise InputError(
            f"{root} holds {len(pictures)} pictures but no caption of any: put a .txt beside each picture, or a "
            "metadata.jsonl or metadata.csv with file_name and text into the folder"
        )
    return Source("own", examples, _without_empty(skipped), places.notes, upright=True)


class _Places:
    """Where pictures lie below the folder that they all share: classes, splits and names follow from that."""

    def __init__(self, pictures: list[str]):
        self.shared = posixpath.commonpath([posixpath.dirname(picture) for picture in pictures])
        tops = {PurePosixPath(self.inside(picture)).parts[0].lower() for picture in pictures}
        self.has_splits = bool(tops & {*TRAIN_FOLDERS}) and bool(tops & {*TEST_FOLDERS})
        self.classes = {self._class(picture) for picture in pictures}
        self.notes = []
        if self.has_splits and not tops <= {*TRAIN_FOLDERS, *TEST_FOLDERS}:
            self.notes.append("what lies beside the folders of the splits is used for training")

    def inside(self, picture: str) -> str:
        return posixpath.relpath(picture, self.shared) if self.shared else picture

    def split(self, picture: str) -> str | None:
        top = PurePosixPath(self.inside(picture)).parts[0].lower()
        return ("test" if top in TEST_FOLDERS else "train") if self.has_splits else None

    def _class(self, picture: str) -> str:
        """The folders between the split's and the picture."""
        folders = PurePosixPath(self.inside(picture)).parent.parts
        if self.has_splits and folders and folders[0].lower() in (*TRAIN_FOLDERS, *TEST_FOLDERS):
            folders = folders[1:]
        return "/".join(folders)

    def label(self, picture: str) -> str:
        """The class, or the picture itself where folders do not tell classes apart."""
        label = self._class(picture) if len(self.classes) > 1 else ""
        return posixpath.join(self.shared, label) if label else _stem(picture)

    def name(self, picture: str) -> str:
        path = PurePosixPath(_stem(self.inside(picture)))
        return "/".join(_plain(part) for part in (path.parent.parts or ("pictures",)) + (path.name,))


def _table_captions(root: Path, files: list[str], pictures: list[str], skipped: dict) -> dict[str, tuple[str, ...]]:
    """Picture -> its captions in all metadata files, in their order."""
    captions = defaultdict(tuple)
    find = _finder(pictures)
    for table in (file for file in files if _base(file).lower() in TABLES):
        read = _json_rows if _suffix(table) == ".jsonl" else _csv_rows
        for line, row in read(root, table):
            name, texts = row.get("file_name"), _texts(row.get("text"))
            if not isinstance(name, str) or not name.strip():
                skipped["rows of metadata that name no file"].append(f"{table} line {line}")
                continue
            path = _path_inside(root, table, name.strip())
            if not texts:
                skipped["rows of metadata without a text"].append(f"{table} line {line}: {name}")
            elif (picture := find(path)) is None:
                skipped["captions without a picture"].append(f"{table} line {line}: {name}")
            else:
                captions[picture] += texts
    return captions


def _json_rows(root: Path, table: str) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(read_text(root / table).split("\n"), start=1):
        if line.strip():
            row = None
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
            yield number, row if isinstance(row, dict) else {}


def _csv_rows(root: Path, table: str) -> Iterator[tuple[int, dict]]:
    text = read_text(root / table)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)  # spreadsheets write the semicolon in half of the world
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [(name or "").strip() for name in reader.fieldnames or ()]
    if not {"file_name", "text"} <= {*columns}:
        raise InputError(
            f"{root / table} has the columns {', '.join(columns) or 'none'}: its first line must name the columns "
            "file_name and text"
        )
    reader.fieldnames = columns
    try:
        for row in reader:
            if row.get(None) and columns[-1] == "text":  # commas in a caption without quotes
                row["text"] = delimiter.join([row["text"], *row[None]])
            yield reader.line_num, row
    except csv.Error as problem:
        raise InputError(f"line {reader.line_num + 1} of {root / table} cannot be read ({problem}): mend it") from None


def _texts(text) -> tuple[str, ...]:
    """The captions in a `text`: a string with one in each line, a list, or a list written as JSON."""
    if isinstance(text, str) and text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # a caption may begin with a bracket too
            text = json.loads(text)
    texts = text if isinstance(text, list) else [text]
    return tuple(line for item in texts if isinstance(item, str) for line in _lines(item))


def _path_inside(root: Path, table: str, name: str) -> str:
    """The path from `root` that a name in a table means; one that leads outside is refused."""
    name = name.replace("\\", "/")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(table), name))
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or path.split("/")[0] == "..":
        raise InputError(
            f"{root / table} names {name!a}, which lies outside {root}: write names from the table's own folder, and "
            "move the pictures there"
        )
    return path


def _finder(paths: Iterable[str]) -> Callable[[str], str | None]:
    """Finds a path by its name, however its letters are composed, and else whatever their case."""
    exact = {unicodedata.normalize("NFC", path): path for path in paths}
    folded = defaultdict(list)
    for key, path in exact.items():
        folded[key.casefold()].append(path)

    def find(name: str) -> str | None:
        key = unicodedata.normalize("NFC", name)
        alike = folded.get(key.casefold(), ())
        return exact.get(key) or (alike[0] if len(alike) == 1 else None)

    return find


# -- files and names ----------------------------------------------------------------------------------------------


def _walk(root: Path, skipped: dict, leave_out: Path | None = None) -> Iterator[str]:
    """The files below a folder as paths from it, in order, without hidden ones; links that lead outside are refused."""
    home = root.resolve()
    folders = [""]
    while folders:
        folder = folders.pop()
        inner = []
        with os.scandir(root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = posixpath.join(folder, entry.name)
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES:
                continue
            if entry.is_symlink() and not _is_usable_link(Path(entry.path), home):
                skipped["links to other folders or to nothing"].append(path)
            elif entry.is_dir():
                if leave_out is None or os.path.realpath(entry.path) != os.path.realpath(leave_out):
                    inner.append(path)
            elif entry.is_file():
                yield path
        folders += reversed(inner)


def _is_usable_link(link: Path, home: Path) -> bool:
    target = Path(os.path.realpath(link))  # which, unlike `resolve`, follows a loop without an error
    if not target.is_relative_to(home):
        raise InputError(
            f"{_shown(link)} is a link to {_shown(target)}, outside the folder: put the file itself there (cp -L "
            "copies what links lead to)"
        )
    return target.is_file()


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _stem(path: str) -> str:
    """The path without its suffix, its letters composed: é is one character, however the disk keeps it."""
    return unicodedata.normalize("NFC", posixpath.splitext(path)[0])


def _base(path: str) -> str:
    return posixpath.basename(path)


def _by_name_then_suffix(path: str):
    return _stem(path), PICTURES.index(_suffix(path)), path


def _plain(part: str) -> str:
    """One part of a name, as every system and `datasets` take it."""
    part = "".join(c if c.isprintable() and c not in '\\/:*?"<>|' else "_" for c in part)
    part = part.strip(" .")[:LONGEST_NAME].rstrip(" .")
    stem, suffix = posixpath.splitext(part)  # what looks like a suffix would be taken for one
    return (f"{stem}_{suffix[1:]}" if suffix.lower() in PICTURES else part) or "_"


def _unique(name: str, suffix: str, names: set[str]) -> str:
    """The name, with something after it if another one would be the same file on some system; remembered."""
    endings = itertools.chain(["", f"_{suffix[1:]}"], (f"_{number}" for number in itertools.count(2)))
    unique = next(name + ending for ending in endings if (name + ending).casefold() not in names)
    names.add(unique.casefold())
    return unique


def _shown(path) -> str:
    """A path that can be printed, whatever bytes it is made of."""
    return str(path).encode("utf-8", "replace").decode()


def _without_empty(skipped: dict) -> dict[str, list[str]]:
    return {reason: [_shown(item) for item in items] for reason, items in skipped.items() if items}


def _lines(text: str) -> tuple[str, ...]:
    """The captions in a text, a line each, without what is no character."""
    lines = (re.sub(r"[\x00-\x1f\x7f-\x9f\s]+", " ", line).strip() for line in re.split(r"[\r\n]+", text))
    return tuple(line.encode("utf-8", "replace").decode() for line in lines if line)


# -- published sets -----------------------------------------------------------------------------------------------


def drawn(root: Path) -> Source:
    """Birds that `drawn_birds.write` drew, with its splits."""
    examples = []
    for line in (root / "truth.jsonl").read_text(encoding="utf-8").splitlines():
        truth = json.loads(line)
        name = truth["name"]
        examples.append(
            Example(
                name,
                label=name.partition("/")[0],
                captions=_lines(read_text(root / "text_c10" / f"{name}.txt")),
                split=truth["split"],
                class_id=truth["class_id"],
                box=tuple(truth["box"]),
                file=root / "CUB_200_2011" / "images" / f"{name}.jpg",
            )
        )
    return Source("drawn", examples)


def cub(pictures: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """CUB-200-2011 with Reed's captions and boxes, split by class as published: 150 classes and 50.

    `pictures` is the unpacked archive; without it the pictures come through tensorflow-datasets.
    """
    skipped, notes = defaultdict(list), []
    texts = _Texts(_text_folder(captions, pictures, "cub"), skipped)
    hub = None if pictures else _Hub("caltech_birds2011", tfds_dir)
    found = _unpacked_cub(pictures, skipped, notes) if pictures else _hub_cub(hub)
    examples = []
    for name, place in found.items():
        number = re.match(r"(\d{3})\.", name)
        if not number or not 1 <= int(number[1]) <= CUB_CLASSES:
            skipped["pictures in no folder such as 001.Black_footed_Albatross"].append(name)
            continue
        lines = texts.take(name)
        if not lines:
            skipped["pictures without captions"].append(name)
        elif place["box"] is None:
            skipped["pictures without a box"].append(name)
        else:
            class_id = int(number[1])
            split = "test" if class_id in CUB_TEST_CLASSES else "train"
            examples.append(Example(name, name.partition("/")[0], lines, split, class_id, **place))
    return _published("cub", examples, skipped, notes, texts, hub)


def _unpacked_cub(pictures: Path, skipped: dict, notes: list) -> dict[str, dict]:
    """Name -> file and box of each photograph of the unpacked archive."""
    homes = [home for home in (pictures / "CUB_200_2011", pictures, pictures.parent) if (home / "images").is_dir()]
    if not homes:
        raise InputError(
            f"{pictures} holds no CUB_200_2011/images: give --pictures the folder where CUB_200_2011.tgz was unpacked"
        )
    home = homes[0]
    boxes = _read_boxes(home)
    files = [file for file in _walk(home / "images", skipped) if _suffix(file) in PICTURES]
    absent = len(boxes.keys() - {_stem(file) for file in files})
    if absent:
        notes.append(f"{absent:,} of the {len(boxes):,} photographs in images.txt are not there")
    return {_stem(file): {"file": home / "images" / file, "box": boxes.get(_stem(file))} for file in files}


def _read_boxes(home: Path) -> dict[str, tuple]:
    """Name -> x, y, width, height in pixels."""
    tables = []
    for file, words in (("images.txt", 2), ("bounding_boxes.txt", 5)):
        if not (home / file).is_file():
            raise InputError(f"there is no file {home / file}: unpack CUB_200_2011.tgz again, it brings the boxes")
        rows = [line.split() for line in read_text(home / file).split("\n") if line.strip()]
        wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != words), None)
        if wrong:
            raise InputError(f"line {wrong} of {home / file} has not {words} words: unpack CUB_200_2011.tgz again")
        tables.append({row[0]: row[1:] for row in rows})
    names, boxes = tables
    try:
        return {_stem(name): tuple(map(float, boxes[number])) for number, (name,) in names.items() if number in boxes}
    except ValueError as problem:
        raise InputError(f"{home / 'bounding_boxes.txt'}: {problem}; unpack CUB_200_2011.tgz again") from None


def _hub_cub(hub) -> dict[str, dict]:
    """Name -> box of each photograph, as tensorflow-datasets has them: shares of the height and width."""
    found = {}
    for row in hub.rows("image", "image/filename", "bbox"):
        with Image.open(io.BytesIO(row["image"])) as picture:
            width, height = picture.size
        top, left, bottom, right = (float(share) for share in row["bbox"])
        box = (left * width, top * height, (right - left) * width, (bottom - top) * height)
        found[_hub_name(row["image/filename"])] = {"box": tuple(round(value, 1) for value in box)}
    return found


def oxford102(pictures: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """Oxford-102 with Reed's captions, split by class as published: 82 classes and 20.

    The class is the folder of the caption file. Which classes are the test split is read from Reed's archive
    (testclasses.txt) or the published test/class_info.pickle; without either every fifth class is.
    """
    skipped, notes = defaultdict(list), []
    folder = _text_folder(captions, pictures, "oxford102")
    texts = _Texts(folder, skipped)
    test_classes = _flower_test_classes(folder, pictures, notes)
    hub = None if pictures else _Hub("oxford_flowers102", tfds_dir)
    if pictures:
        home = _flower_folder(pictures)
        if home is None:
            raise InputError(
                f"{pictures} holds no jpg/image_00001.jpg: give --pictures the folder where 102flowers.tgz was unpacked"
            )
        found = {_base(_stem(file)): home / file for file in _walk(home, skipped) if _suffix(file) in PICTURES}
    else:
        found = {_base(_hub_name(row["file_name"])): None for row in hub.rows("file_name")}
    examples = []
    for stem, file in sorted(found.items()):
        place = texts.place(stem)
        number = re.match(r"class_(\d{5})/", place or "")
        lines = texts.take(stem)
        if not lines or not number:
            skipped["pictures without captions"].append(stem)
            continue
        class_id = int(number[1])
        split = "test" if class_id in test_classes else "train"
        label = f"class_{class_id:05d}"
        examples.append(Example(f"jpg/{stem}", label, lines, split, class_id, file=file, text_name=f"{label}/{stem}"))
    return _published("oxford102", examples, skipped, notes, texts, hub)


def _flower_folder(folder: Path) -> Path | None:
    """The folder of image_00001.jpg and so on, in the unpacked archive or around it."""
    candidates = (folder, *(folder / inner for inner in ("jpg", "102flowers/jpg", "102flowers", "Oxford102/jpg")))
    return next((each for each in candidates if next(each.glob("image_?????.jpg"), None)), None)


def _flower_test_classes(folder: Path, pictures: Path | None, notes: list) -> set[int]:
    homes = [home for home in (folder, folder.parent, pictures) if home]
    listed = [home / inner / "testclasses.txt" for home in homes for inner in ("", "flowers_icml", "cvpr2016_flowers")]
    for file in [*listed, *(home / "test" / "class_info.pickle" for home in homes)]:
        if file.is_file():
            notes.append(f"split by class as {file} says")
            if file.suffix == ".txt":
                return {int(number) for number in re.findall(r"class_(\d+)", read_text(file))}
            return {int(number) for number in safe_pickle.load(file)}
    notes.append(
        f"neither testclasses.txt of Reed's archive (flowers_icml) nor published splits lie beside the captions: every "
        f"{OXFORD_EVERY}th of the classes is the test split, which is disjoint by class but not the published one"
    )
    return set(range(OXFORD_EVERY, OXFORD_CLASSES + 1, OXFORD_EVERY))


def coco(pictures: Path | None, captions: Path | None, tfds_dir: Path | None) -> Source:
    """COCO: training and validation pictures are the splits, every picture is a class of its own.

    `captions` is an annotations JSON or the folder of captions_train2014.json and captions_val2014.json; `pictures`
    holds their pictures or folders of them. Without both, everything comes through tensorflow-datasets.
    """
    skipped = defaultdict(list)
    hub = None if pictures else _Hub("coco_captions", tfds_dir)
    told = _annotated(_coco_files(captions or pictures), pictures, skipped) if pictures else _hub_coco(hub)
    examples = []
    for stem, (split, texts, file) in sorted(told.items()):
        lines = tuple(line for text in texts for line in _lines(text))
        name = f"{split or 'pictures'}/{_plain(stem)}"
        if lines:
            examples.append(Example(name, name, lines, split, file=file))
        else:
            skipped["pictures without captions"].append(stem)
    if {example.split for example in examples} != {"train", "test"}:  # one annotations file alone
        examples = [replace(example, split=None) for example in examples]
    return _published("coco", examples, skipped, [], None, hub)


def _hub_coco(hub) -> dict[str, tuple]:
    """Stem -> split, captions, no file of each picture that tensorflow-datasets has."""
    found = {}
    for row in hub.rows("image/filename", "captions"):
        stem = _base(_hub_name(row["image/filename"]))
        found[stem] = (_coco_split(stem), tuple(text.decode() for text in row["captions"]["text"]), None)
    return found


def _coco_split(text: str) -> str:
    return "test" if re.search(r"val|test", text) else "train"


def _coco_files(captions: Path) -> list[Path]:
    if captions.is_file():
        return [captions]
    files = [file for folder in (captions, captions / "annotations") for file in sorted(folder.glob("captions_*.json"))]
    if not files:
        raise InputError(
            f"{captions} holds no captions_….json: give --captions the annotations file, or the folder of "
            "captions_train2014.json and captions_val2014.json"
        )
    return files


def _annotated(files: list[Path], pictures: Path, skipped: dict) -> dict[str, tuple]:
    """Stem -> split, captions, file of each picture that annotations files list."""
    there = [file for file in _walk(pictures, skipped) if _suffix(file) in PICTURES]
    by_name = {_base(file): file for file in there}
    told = {}
    for file in files:
        try:
            content = json.loads(read_text(file))
            names = {image["id"]: image["file_name"] for image in content["images"]}
            texts = defaultdict(list)
            for annotation in content["annotations"]:
                texts[annotation["image_id"]].append(annotation["caption"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{file} is no annotations file with images (id, file_name) and annotations (image_id, caption): "
                "give captions_train2014.json or one like it"
            ) from None
        for number, name in names.items():
            path = by_name.get(_base(_path_inside(file.parent, file.name, str(name))))
            if path is None:
                skipped["captions without a picture"].append(f"{file.name}: {name}")
            else:
                told[_base(_stem(path))] = (_coco_split(file.stem), tuple(map(str, texts[number])), pictures / path)
    return told


def _published(kind: str, examples: list, skipped: dict, notes: list, texts, hub) -> Source:
    """The source, if it holds anything."""
    if texts is not None:
        skipped["captions without a picture"] += texts.left()
    if not examples:
        problems = ", ".join(f"{len(items)} {reason}" for reason, items in skipped.items() if items)
        raise InputError(
            f"no picture of {kind} has captions ({problems or 'there are none'}): check --pictures and --captions"
        )
    return Source(kind, examples, _without_empty(skipped), notes, hub and hub.pictures)


def _text_folder(captions: Path | None, pictures: Path | None, kind: str) -> Path:
    """The folder of Reed's caption files: text_c10, in the folder that was given."""
    given = captions or pictures
    candidates = [given / "text_c10", given, *sorted(given.glob("*/text_c10"))] if given else []
    for folder in candidates:
        if next(folder.glob("*/*.txt"), None):
            return folder
    raise InputError(
        f"{kind} has captions of its own by Reed et al., and {given or 'nothing'} was given for them: unpack their "
        "archive and give --captions the folder that holds text_c10/"
    )


class _Texts:
    """Reed's caption files, <class>/<name>.txt, found by "class/name" or by the name alone."""

    def __init__(self, folder: Path, skipped: dict):
        self.folder = folder
        files = [file for file in _walk(folder, skipped) if _suffix(file) == ".txt"]
        self._files = {_stem(file): file for file in files}
        count = Counter(_base(stem) for stem in self._files)
        self._alone = {_base(stem): stem for stem in self._files if count[_base(stem)] == 1}
        self._taken = set()

    def place(self, name: str) -> str | None:
        return name if name in self._files else self._alone.get(_base(name))

    def take(self, name: str) -> tuple[str, ...]:
        place = self.place(name)
        if place is None:
            return ()
        self._taken.add(place)
        return _lines(read_text(self.folder / self._files[place]))

    def left(self) -> list[str]:
        return [file for stem, file in self._files.items() if stem not in self._taken]


class _Hub:
    """A data set of tensorflow-datasets, which is gone through from its beginning each time."""

    FILE_NAMES = ("image/filename", "file_name")

    def __init__(self, name: str, folder: Path | None):
        with quietly():
            import tensorflow_datasets as tfds

        self._tfds = tfds
        try:
            self._builder = tfds.builder(name, data_dir=folder)
            self._builder.download_and_prepare()
        except ImportError as problem:
            raise InputError(
                f"tensorflow-datasets needs the package {problem.name or problem} to get {name}: pip install "
                "'stackgan_keras[hub]', or give --pictures an unpacked folder"
            ) from None
        except Exception as problem:  # no network, a dead address, a full disk: it has a kind for each
            reason = first_line(problem)
            raise InputError(
                f"tensorflow-datasets could not get {name} ({reason}): download and unpack the pictures yourself, and "
                "give --pictures their folder, or --tfds_dir a folder that has the data set"
            ) from None

    def rows(self, *features: str) -> Iterator[dict]:
        """These features of each example; an image as the bytes of its file."""
        decode = self._tfds.decode
        decoders = {"image": decode.SkipDecoding()} if "image" in features else {}
        partial = decode.PartialDecoding(dict.fromkeys(features, True), decoders=decoders)
        for split in sorted(self._builder.info.splits):
            yield from self._tfds.as_numpy(self._builder.as_dataset(split=split, decoders=partial))

    def pictures(self, examples: Sequence[Example]) -> Iterator[tuple[Example, bytes]]:
        """The examples with their pictures, in the data set's own order."""
        wanted = {_base(example.name): example for example in examples}
        (file_name,) = (name for name in self.FILE_NAMES if name in self._builder.info.features)
        if not wanted:
            return
        for row in self.rows("image", file_name):
            example = wanted.get(_base(_hub_name(row[file_name])))
            if example is not None:
                yield example, row["image"]


def _hub_name(file_name: bytes) -> str:
    """ "class/name" out of a path in an archive, without suffix."""
    return "/".join(_stem(file_name.decode()).split("/")[-2:])
