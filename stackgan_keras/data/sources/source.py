"""Captioned images of any source: the examples, their division into splits, and what all sources look up alike."""

import hashlib
import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stackgan_keras.errors import InputError
from stackgan_keras.files import read_text

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")  # of equal names the first counts
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")  # left there by file managers; hidden files count as such too
TEST_SHARE = 0.1  # of the classes, or images, of a source that does not say
FEW_CLASSES = 10  # below which no class is held out as a whole
LONGEST_NAME = 100  # characters of a folder's or image's name in the published layout

Box = tuple[float, float, float, float]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Example:
    """One captioned image."""

    name: str  # "class/name" in the published layout, without suffix
    label: str  # what its class is called; equal for images of one class
    captions: tuple[str, ...]  # at least one, each one line
    split: str | None = None  # "train" or "test"; None: `divide` decides
    class_id: int | None = None  # None: `divide` decides
    box: Box | None = None
    file: Path | None = None  # None: its bytes come with `Source.images`
    text_name: str | None = None  # where the captions go below text_c10, where that is not `name`


@dataclass
class Source:
    """Everything that a source holds; what cannot be used is named with its reason."""

    kind: str  # drawn, cub, oxford102, coco, folder
    examples: list[Example] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # "images without captions" -> which
    notes: list[str] = field(default_factory=list)  # what else the user should know
    images: Callable[[Sequence[Example]], Iterable[tuple[Example, bytes]]] | None = None
    upright: bool = False  # whether photographs taken with a turned camera are to be turned
    others: list[Path] = field(default_factory=list)  # files that go along

    def open(self, examples: Sequence[Example]) -> Iterable[tuple[Example, Path | bytes]]:
        """Each of the examples with its image, a file or its bytes, one after the other."""
        return self.images(examples) if self.images else ((each, each.file) for each in examples if each.file)

    def add(self, example: Example) -> None:
        """Takes the example, if it has a caption."""
        if example.captions:
            self.examples.append(example)
        else:
            self.skip("images without captions", example.name)

    def skip(self, reason: str, *items: str) -> None:
        """Remembers what is left out, and why."""
        if items:
            self.skipped.setdefault(reason, []).extend(map(_printable, items))

    def finished(self, texts: "CaptionFiles | None" = None) -> "Source":
        """The source, which names the captions that nothing took. Raises `InputError` if it holds no example."""
        if texts:
            self.skip("captions without an image", *(f for f in texts.files.values() if f not in texts.taken))
        if self.examples:
            return self
        found = ", ".join(f"{len(items)} {reason}" for reason, items in self.skipped.items()) or "there are none"
        raise InputError(f"no image of {self.kind} has captions ({found}): check --pictures and --captions")


def divide(examples: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """The examples with the splits and class numbers that their source left open, and notes for the user.

    Where the source does not tell, about a tenth of the classes is the test split, by a hash of their names, so that
    more images do not move those that were there. It is a tenth of the images where there are fewer than ten classes,
    or where those classes do not hold between a twentieth and a fifth of the images. Where training has fewer than two
    classes, every image becomes a class of its own, as an image needs others that its sentence does not fit. Raises
    `InputError` where a split would be empty.
    """
    notes = []
    if any(example.split is None for example in examples):
        splits, note = _held_out(examples)
        examples = [replace(e, split=e.split or split) for e, split in zip(examples, splits, strict=True)]
        notes.append(f"no splits given: {note}")
    counts = Counter(example.split for example in examples)
    if counts["train"] < 2 or counts["test"] < 1:
        found = f"{counts['train']} usable images are for training and {counts['test']} for the test"
        raise InputError(f"{found}, where at least 2 and 1 are needed: give more images")
    if len({example.label for example in examples if example.split == "train"}) < 2:
        examples = [replace(example, label=example.name, class_id=None) for example in examples]
        notes.append("fewer than two classes to train on: every image counts as a class of its own")
    numbers = {label: number for number, label in enumerate(sorted({e.label for e in examples}), start=1)}
    return [replace(e, class_id=numbers[e.label] if e.class_id is None else e.class_id) for e in examples], notes


def _held_out(examples: Sequence[Example]) -> tuple[list[str], str]:
    """The split of each example, as `divide` says, and in words what is held out and why."""
    labels, names = [example.label for example in examples], [example.name for example in examples]
    classes, why = len({*labels}), ""
    if 1 < classes < len(examples):
        splits, count = _share_out(labels, least=2)
        held = splits.count("test") / len(examples)
        if classes >= FEW_CLASSES and 0.05 <= held <= 0.2:
            return splits, f"the test split is {count} of {classes} classes, chosen by their names"
        why = f", as the {classes} classes are few or of unequal size"
    splits, count = _share_out(names, least=1)
    return splits, f"the test split is {count} of {len(examples)} images, chosen by their names{why}"


def _share_out(keys: Sequence[str], least: int) -> tuple[list[str], int]:
    """The split of each key, equal ones together, by their hashes, and how many different ones are held out."""
    ranked = sorted({*keys}, key=hash_of)
    # and, where chance would have it otherwise, at most a fifth
    count = max(least, min(sum(hash_of(key) < TEST_SHARE for key in ranked), len(ranked) // 5))
    test = set(ranked[:count])
    return ["test" if key in test else "train" for key in keys], count


def hash_of(key: str) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class CaptionFiles:
    """The .txt files among `files`, a caption in each line; `find` takes their path below `root` without suffix."""

    def __init__(self, root: Path, files: Iterable[str], loosely: Callable[[str], str] = str):
        self.root = root
        self.taken: set[str] = set()
        self.files = {stem(file): file for file in files if suffix(file) == ".txt"}
        self.find = finder(self.files, loosely)

    def read(self, file: str | None) -> tuple[str, ...]:
        """The captions in a file that `find` found; none where it found none."""
        if file is None:
            return ()
        self.taken.add(file)
        return to_captions(read_text(self.root / file))


def finder(values: dict[str, str], loosely: Callable[[str], str]) -> Callable[[str], str | None]:
    """Finds a value by its key, or else by what `loosely` makes of the key, where that is unambiguous."""
    counts = Counter(map(loosely, values))
    loose = {loosely(key): value for key, value in values.items() if counts[loosely(key)] == 1}
    return lambda key: values.get(key) or loose.get(loosely(key))


def reed_captions(source: Source, given: Path | None) -> CaptionFiles:
    """The captions of Reed et al., `text_c10/<class>/<name>.txt`, in or below the folder that was given."""
    folders = [given / "text_c10", given, *sorted(given.glob("*/text_c10"))] if given else []
    folder = next((each for each in folders if next(each.glob("*/*.txt"), None)), None)
    if folder is None:
        found = f"the captions of {source.kind} by Reed et al. are not in {given or 'what was given'}"
        raise InputError(f"{found}: unpack their archive and give --captions the folder that holds text_c10/")
    return CaptionFiles(folder, walk(folder, source), posixpath.basename)


def to_captions(text: str) -> tuple[str, ...]:
    """The captions in a text, a line each, without what is no character."""
    lines = (re.sub(r"[\x00-\x1f\x7f-\x9f\s]+", " ", line).strip() for line in re.split(r"[\r\n]+", text))
    return tuple(_printable(line) for line in lines if line)


def walk(root: Path, source: Source, leave_out: Path | None = None) -> Iterator[str]:
    """The files below a folder as paths from it, in order, without hidden ones; links that lead outside are refused."""
    home, left_out = root.resolve(), leave_out and leave_out.resolve()
    for folder, folders, files in os.walk(root, onerror=_raise):
        folders[:] = [
            name for name in sorted(folders) if _is_visible(name) and Path(folder, name).resolve() != left_out
        ]
        for name in sorted([*folders, *filter(_is_visible, files)]):  # links to folders are not followed
            path = Path(folder, name)
            # `realpath`, unlike `resolve`, follows a loop without an error
            if path.is_symlink() and not Path(target := os.path.realpath(path)).is_relative_to(home):
                raise InputError(f"{path} is a link to {target}, outside the folder: put the file itself there (cp -L)")
            if path.is_file():
                yield path.relative_to(root).as_posix()
            elif path.is_symlink():
                source.skip("links to other folders or to nothing", path.relative_to(root).as_posix())


def walk_images(root: Path, source: Source) -> list[str]:
    return [file for file in walk(root, source) if suffix(file) in IMAGES]


def _raise(problem: OSError) -> None:
    raise problem


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in SYSTEM_FILES


def path_inside(root: Path, table: str, name: str) -> str:
    """The path from `root` that a name in a table means; one that leads outside is refused."""
    name = name.replace("\\", "/")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(table), name))
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or path.split("/")[0] == "..":
        raise InputError(f"{root / table} names {name!a}, which lies outside {root}: move the images into it")
    return path


def suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def stem(path: str) -> str:
    """The path without its suffix, its letters composed: é is one character, however the disk keeps it."""
    return unicodedata.normalize("NFC", posixpath.splitext(path)[0])


def plain(part: str) -> str:
    """One part of a name, as every system and the reader of the published layout take it."""
    part = "".join(c if c.isprintable() and c not in '\\/:*?"<>|' else "_" for c in part)
    part = part.strip(" .")[:LONGEST_NAME].rstrip(" .")
    name, ending = posixpath.splitext(part)  # what looks like a suffix would be taken for one
    return (f"{name}_{ending[1:]}" if ending.lower() in IMAGES else part) or "_"


def _printable(text: str) -> str:
    """A text or path that can be printed, whatever bytes it is made of."""
    return text.encode("utf-8", "replace").decode()
