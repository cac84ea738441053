"""A folder of one's own: images with captions in text files beside them or in tables."""

import csv
import io
import json
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stackgan_keras.data.sources.reader import Reader
from stackgan_keras.data.sources.source import (
    IMAGES,
    CaptionFiles,
    Example,
    Source,
    finder,
    path_inside,
    plain,
    stem,
    suffix,
    to_captions,
    walk,
)
from stackgan_keras.errors import InputError
from stackgan_keras.files import LONG_TEXT, read_text

TABLES = ("metadata.jsonl", "metadata.csv")
SPLITS = {  # names of folders
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev"), "test"),
}


def read(root: Path, leave_out: Path | None = None) -> Source:
    """The images in a folder and its folders, with the captions that lie there.

    Captions: `NAME.txt` beside an image or at its place in `text_c10/`, a line each; rows of `metadata.jsonl` and
    `metadata.csv` with `file_name` (from the table's folder) and `text` (a string or a list). Classes: the folders
    that images lie in, if there are several; folders called train and test (or validation) are splits.
    `leave_out` is not looked into. Raises `InputError` for links and names that lead outside, and where there are
    no images or no captions.
    """
    source = Source("folder", upright=True)
    files = list(walk(root, source, leave_out))
    tables = [file for file in files if posixpath.basename(file).lower() in TABLES]
    images = sorted(
        (file for file in files if suffix(file) in IMAGES), key=lambda f: (stem(f), IMAGES.index(suffix(f)), f)
    )
    if not images:
        raise InputError(f"{root} holds no images ({', '.join(IMAGES)}): name the folder they are in")
    in_tables, texts, names = _table_captions(root, tables, images, source), CaptionFiles(root, files), set()
    for file, (inside, label, split) in _places(images, source).items():
        places = (stem(file), stem(file) + posixpath.splitext(file)[1], f"text_c10/{stem(inside)}")
        fitting = [text for place in places if (text := texts.find(place))]
        text = next((text for text in fitting if text not in texts.taken), None)
        captions = in_tables.get(file, ())
        captions += tuple(caption for caption in texts.read(text) if caption not in captions)
        if not captions:
            if fitting and text is None:
                source.skip("images whose captions are another image's", f"{file}, {fitting[0]}")
            else:
                source.skip("images without captions", file)
            continue
        name = "/".join(map(plain, stem(inside if "/" in inside else f"images/{inside}").split("/")))
        while name.casefold() in names:  # the same file on some systems
            name += "_"
        names.add(name.casefold())
        source.add(Example(name, label, captions, split, file=root / file))
    others = (file for file in files if suffix(file) not in (*IMAGES, ".txt") and file not in tables)
    source.skip("files that are neither images nor captions", *others)
    if not source.examples:
        found = f"{root} holds {len(images)} images but no caption of any"
        raise InputError(f"{found}: put a .txt beside each, or a metadata.csv with file_name and text into the folder")
    return source.finished(texts)


def _places(images: list[str], source: Source) -> dict[str, tuple[str, str, str | None]]:
    """Image -> its path below the folder that all share, its class and its split, as its folders tell them."""
    shared = posixpath.commonpath([posixpath.dirname(image) for image in images])
    insides = {image: posixpath.relpath(image, shared or ".") for image in images}
    tops = {posixpath.dirname(inside).split("/")[0].lower() for inside in insides.values()}
    has_splits = {"train", "test"} <= {SPLITS.get(top) for top in tops}
    if has_splits and tops - SPLITS.keys():
        source.notes.append("what lies beside the folders of the splits is used for training")
    places = {}
    for image, inside in insides.items():
        folder, split = posixpath.dirname(inside), None
        if has_splits:
            top, _, below = folder.partition("/")
            split = SPLITS.get(top.lower(), "train")
            folder = below if top.lower() in SPLITS else folder
        places[image] = inside, folder, split
    has_classes = len({folder for _, folder, _ in places.values()}) > 1
    return {
        image: (inside, posixpath.join(shared, folder) if has_classes and folder else stem(image), split)
        for image, (inside, folder, split) in places.items()
    }


def _table_captions(root: Path, tables: list[str], images: list[str], source: Source) -> dict[str, tuple[str, ...]]:
    """Image -> its captions in all tables, in their order."""
    captions: dict[str, tuple[str, ...]] = defaultdict(tuple)
    # a name is the same however its letters are composed, and, where that leads to one image, whatever their case
    find = finder({unicodedata.normalize("NFC", image): image for image in images}, str.casefold)
    for table in tables:
        for line, row in (_json_rows if suffix(table) == ".jsonl" else _csv_rows)(root / table):
            name, texts = str(row.get("file_name") or "").strip(), _texts(row.get("text"))
            image = find(unicodedata.normalize("NFC", path_inside(root, table, name)))
            if texts and image:
                captions[image] += texts
            else:
                reason = "captions without an image" if texts else "rows of metadata without a text"
                source.skip(reason, f"{table} line {line}: {name}")
    return captions


def _json_rows(table: Path) -> Iterator[tuple[int, dict]]:
    """The number and the content of each line."""
    for number, line in enumerate(read_text(table, LONG_TEXT).split("\n"), start=1):
        if line.strip():
            try:
                yield number, dict(json.loads(line))
            except (ValueError, TypeError, RecursionError) as problem:
                raise InputError(f"line {number} of {table} cannot be read ({problem}): mend it") from None


def _csv_rows(table: Path) -> Iterator[tuple[int, dict]]:
    """The number of the last line, and the content, of each row."""
    text = read_text(table, LONG_TEXT)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)  # half of the world's spreadsheets write the semicolon
    rows = csv.DictReader(io.StringIO(text), restval="", delimiter=delimiter, strict=True)
    try:
        columns = rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        if not {"file_name", "text"} <= {*columns}:
            found = f"{table} has the columns {', '.join(columns) or 'none'}"
            raise InputError(f"{found}: its first line must name the columns file_name and text")
        for row in rows:
            if columns[-1] == "text":  # with what stands beyond it, after commas that nobody quoted
                row["text"] = delimiter.join([row["text"], *row.get(None, ())]).rstrip(delimiter)
            if any(row.values()):
                yield rows.line_num, row
    except csv.Error as problem:
        raise InputError(f"{table} cannot be read after line {rows.line_num} ({problem}): mend it") from None


def _texts(text) -> tuple[str, ...]:
    """The captions in a `text`: a string with one in each line, a list, or a list written as JSON."""
    if isinstance(text, str) and text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # a caption may begin with a bracket too
            text = json.loads(text)
    texts = text if isinstance(text, list) else [text]
    return tuple(line for item in texts if isinstance(item, str) for line in to_captions(item))


READER = Reader("folder", 99, recognises=lambda folder: True, read=read, by_name=False)
