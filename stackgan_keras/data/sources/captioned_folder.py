"""A folder of one's own: pictures with captions in text files beside them or in tables."""

import io
import itertools
import json
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd

from stackgan_keras.data.sources.source import (
    PICTURES,
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
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import read_text

TABLES = ("metadata.jsonl", "metadata.csv")
TRAIN_FOLDERS = {"train", "training"}
TEST_FOLDERS = {"test", "testing", "val", "valid", "validation", "dev"}


def read(root: Path, leave_out: Path | None = None) -> Source:
    """The pictures in a folder and its folders, with the captions that lie there.

    Captions: `NAME.txt` beside a picture or at its place in `text_c10/`, a line each; rows of `metadata.jsonl` and
    `metadata.csv` with `file_name` (from the table's folder) and `text` (a string or a list). Classes: the folders
    that pictures lie in, if there are several; folders called train and test (or validation) are splits.
    `leave_out` is not looked into. Raises `InputError` for links and names that lead outside, and where there are
    no pictures or no captions.
    """
    source = Source("folder", upright=True)
    files = list(walk(root, source, leave_out))
    pictures = sorted(
        (file for file in files if suffix(file) in PICTURES), key=lambda f: (stem(f), PICTURES.index(suffix(f)), f)
    )
    if not pictures:
        raise InputError(
            f"{root} holds no pictures ({', '.join(PICTURES)}) in {len(files)} files: name the folder they are in"
        )
    in_tables, texts, names = _table_captions(root, files, pictures, source), CaptionFiles(root, files), set()
    for file, (inside, label, split) in _places(pictures, source).items():
        beside = (stem(file), stem(file) + posixpath.splitext(file)[1], f"text_c10/{stem(inside)}")
        candidates = [text for path in beside if (text := texts.find(path))]
        is_taken = not texts.taken.isdisjoint(candidates)
        captions = in_tables.get(file, ())
        own = texts.read(next((text for text in candidates if text not in texts.taken), None))
        captions += tuple(caption for caption in own if caption not in captions)
        if is_taken and not captions:
            source.skip("pictures named like another one, which has the captions", file)
        elif not captions:
            source.skip("pictures without captions", file)
        else:
            name = "/".join(map(plain, stem(inside if "/" in inside else f"pictures/{inside}").split("/")))
            source.add(Example(_unique(name, suffix(file), names), label, captions, split, file=root / file))
    used = {*pictures, *(file for file in files if suffix(file) == ".txt" or _is_table(file))}
    source.skip("files that are neither pictures nor captions", *(file for file in files if file not in used))
    if not source.examples:
        raise InputError(
            f"{root} holds {len(pictures)} pictures but no caption of any: put a .txt beside each picture, or a "
            "metadata.jsonl or metadata.csv with file_name and text into the folder"
        )
    return source.finished(texts)


def _places(pictures: list[str], source: Source) -> dict[str, tuple[str, str, str | None]]:
    """Picture -> its path below the folder that all share, its class and its split, as its folders tell them."""
    shared = posixpath.commonpath([posixpath.dirname(picture) for picture in pictures])
    insides = {picture: posixpath.relpath(picture, shared or ".") for picture in pictures}
    tops = {inside.split("/")[0].lower() for inside in insides.values()}
    split_folders = TRAIN_FOLDERS | TEST_FOLDERS if tops & TRAIN_FOLDERS and tops & TEST_FOLDERS else set()
    if split_folders and tops - split_folders:
        source.notes.append("what lies beside the folders of the splits is used for training")
    places = {}
    for picture, inside in insides.items():
        top, folders = inside.split("/")[0].lower(), inside.split("/")[:-1]
        split = ("test" if top in TEST_FOLDERS else "train") if split_folders else None
        places[picture] = inside, "/".join(folders[1:] if top in split_folders else folders), split
    has_classes = len({folder for _, folder, _ in places.values()}) > 1
    return {
        picture: (inside, posixpath.join(shared, folder) if has_classes and folder else stem(picture), split)
        for picture, (inside, folder, split) in places.items()
    }


def _unique(name: str, suffix: str, names: set[str]) -> str:
    """The name, with something after it if another one would be the same file on some system; remembered."""
    endings = itertools.chain(["", f"_{suffix[1:]}"], (f"_{number}" for number in itertools.count(2)))
    unique = next(name + ending for ending in endings if (name + ending).casefold() not in names)
    names.add(unique.casefold())
    return unique


def _is_table(file: str) -> bool:
    return posixpath.basename(file).lower() in TABLES


def _table_captions(root: Path, files: list[str], pictures: list[str], source: Source) -> dict[str, tuple[str, ...]]:
    """Picture -> its captions in all tables, in their order."""
    captions = defaultdict(tuple)
    # a name is the same however its letters are composed, and, where that leads to one picture, whatever their case
    find = finder({unicodedata.normalize("NFC", picture): picture for picture in pictures}, str.casefold)
    for table in filter(_is_table, files):
        for line, row in (_json_rows if suffix(table) == ".jsonl" else _csv_rows)(root / table):
            name, texts = row.get("file_name"), _texts(row.get("text"))
            if not isinstance(name, str) or not name.strip():
                source.skip("rows of metadata that name no file", f"{table} line {line}")
                continue
            picture = find(unicodedata.normalize("NFC", path_inside(root, table, name.strip())))
            if texts and picture:
                captions[picture] += texts
            else:
                reason = "captions without a picture" if texts else "rows of metadata without a text"
                source.skip(reason, f"{table} line {line}: {name}")
    return captions


def _json_rows(table: Path) -> Iterator[tuple[int, dict]]:
    # not by pandas, which gives up the whole file at the first broken line, without its number
    for number, line in enumerate(read_text(table).split("\n"), start=1):
        if line.strip():
            row = None
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
            yield number, row if isinstance(row, dict) else {}


def _csv_rows(table: Path) -> Iterator[tuple[int, dict]]:
    text = read_text(table)
    lines = text.split("\n")
    delimiter = max(",;\t", key=lines[0].count)  # spreadsheets write the semicolon in half of the world
    as_it_is = {"header": None, "index_col": False, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
    width = range(1 + max(line.count(delimiter) for line in lines))  # more than columns: commas without quotes
    try:
        frame = pd.read_csv(io.StringIO(text), sep=delimiter, names=width, **as_it_is)
        columns, *rows = frame.fillna("").to_numpy().tolist()
    except ValueError as problem:  # pandas' own errors are such too
        raise InputError(f"{table} cannot be read ({first_line(problem)}): mend it") from None
    columns = [name.strip() for name in columns]
    if not {"file_name", "text"} <= {*columns}:
        raise InputError(
            f"{table} has the columns {', '.join(filter(None, columns)) or 'none'}: its first line must name the "
            "columns file_name and text"
        )
    last, line = columns.index("text"), 1
    for row in rows:
        line += 1 + "".join(row).count("\n")
        if not any(columns[last + 1 :]):
            row[last] = delimiter.join(row[last:]).rstrip(delimiter)
        if any(row):
            yield line, dict(zip(columns, row, strict=True))


def _texts(text) -> tuple[str, ...]:
    """The captions in a `text`: a string with one in each line, a list, or a list written as JSON."""
    if isinstance(text, str) and text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # a caption may begin with a bracket too
            text = json.loads(text)
    texts = text if isinstance(text, list) else [text]
    return tuple(line for item in texts if isinstance(item, str) for line in to_captions(item))
