"""The published layout of birds and flowers to a `Dataset` in memory.

Birds (CUB-200-2011):

    <root>/CUB_200_2011/images/<class>/<name>.jpg, images.txt, bounding_boxes.txt
    <root>/text_c10/<class>/<name>.txt                     ten captions, one a line
    <root>/{train,test}/filenames.pickle                   "<class>/<name>", without suffix
    <root>/{train,test}/class_info.pickle                  one class number a picture
    <root>/{train,test}/char-CNN-RNN-embeddings.pickle     one (captions, 1024) array a picture
    <root>/{train,test}/{76,304}images.pickle              decoded pictures, not always there

Flowers (Oxford-102) have the same pickles, the names "jpg/image_00001", the captions
`text_c10/class_00001/image_00001.txt` and no boxes. Pictures are looked for below `<root>/CUB_200_2011/images`,
`<root>/Oxford102`, `<root>/images` and `<root>`, in this order, with the suffixes .jpg, .jpeg and .png in small or
large letters. Boxes are read where `<root>/CUB_200_2011` is, or where `<root>` itself holds a bounding_boxes.txt.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from stackgan_keras.data import pickles
from stackgan_keras.data.writing import SUFFIXES
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import read_text

SPLITS = ("train", "test")
EMBEDDINGS = "char-CNN-RNN-embeddings.pickle"
TEXT_ENCODER = "text_encoder.weights.h5"  # beside prepared data what made its embeddings, in a run its own
IMAGE_ENCODER = "image_encoder.weights.h5"  # beside it: the one it was trained with
PICTURE_FOLDERS = ("CUB_200_2011/images", "Oxford102", "images", "")  # below the root, first come first served


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one split of one source holds: N pictures with M captions in all, in the published order.

    Caption j of picture i and row j of `embeddings_of(i)` belong together where both are equally many.
    """

    names: tuple[str, ...]  # "class/name" as published, without suffix
    paths: tuple[Path, ...]  # one picture file each
    boxes: np.ndarray | None  # (N, 4) float64: x, y, width, height in pixels; None without boxes
    class_ids: np.ndarray  # (N,) int64
    captions: tuple[tuple[str, ...], ...]  # empty where there is no caption file
    embeddings: np.ndarray  # (M, D) float32, all captions of all pictures, one after the other
    first_embedding: np.ndarray  # (N + 1,) int64: picture i owns embeddings[first[i] : first[i + 1]]
    packed: dict[int, Path]  # side in pixels -> pickle of decoded pictures, where the source has them

    def __len__(self):
        return len(self.names)

    def embeddings_of(self, index):
        """The (captions, D) float32 embeddings of picture `index`, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        return self.embeddings[self.first_embedding[index] : self.first_embedding[index + 1]]

    def captioned(self):
        """The `Dataset` of the pictures that have captions. Raises InputError if none has."""
        kept = [i for i, captions in enumerate(self.captions) if captions]
        if not kept:
            raise InputError(
                f"none of the {len(self)} pictures, such as {self.paths[0]}, has a caption: put them into text_c10/, "
                "or have `prepare` make a folder from your own"
            )
        return self if len(kept) == len(self) else self.subset(kept)

    def subset(self, indices):
        """The `Dataset` of the pictures `indices`, in this order."""
        counts = np.diff(self.first_embedding)[indices]
        rows = [self.embeddings_of(i) for i in indices]
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            paths=tuple(self.paths[i] for i in indices),
            boxes=None if self.boxes is None else self.boxes[indices],
            class_ids=self.class_ids[indices],
            captions=tuple(self.captions[i] for i in indices),
            embeddings=np.concatenate(rows) if rows else self.embeddings[:0],
            first_embedding=first_rows(counts),
            packed={},
        )


def first_rows(counts):
    """Where each picture's rows begin, and where the last ones end, (N + 1,) int64, given how many each has."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def read(root, split, text_dim=1024):
    """Returns the `Dataset` of `split` ("train" or "test") below the folder `root`.

    `text_dim` is the length that every embedding must have; None reads no embeddings and leaves them empty. Raises
    InputError for whatever is missing, damaged, or does not fit together.
    """
    root = Path(root)
    folder = _split_folder(root, split)
    names = _read_names(folder / "filenames.pickle")
    class_ids = _read_class_ids(folder / "class_info.pickle", len(names))
    if text_dim is None:
        embeddings, first_embedding = np.zeros((0, 0), np.float32), first_rows([0] * len(names))
    else:
        embeddings, first_embedding = _read_embeddings(folder / EMBEDDINGS, names, text_dim)
    files = _Files()
    return Dataset(
        names=names,
        paths=_find_pictures(root, names, files),
        boxes=_read_boxes(root, names),
        class_ids=class_ids,
        captions=_read_captions(root / "text_c10", names, class_ids, files),
        embeddings=embeddings,
        first_embedding=first_embedding,
        packed=_find_packed(folder),
    )


def read_packed(path, count, size):
    """Returns the (count, size, size, 3) uint8 pictures of a `76images.pickle` or `304images.pickle`.

    Grey pictures, (size, size) or (size, size, 1), become RGB. Each picture is let go as soon as it is copied, so
    that the memory never holds more than twice the result. Raises InputError for another count, size or type.
    """
    pictures = pickles.load(path)
    if not _is_list(pictures):
        raise InputError(f"{path} holds a {type(pictures).__name__}, expected a list of pictures: download it again")
    if len(pictures) != count:
        raise _lengths_differ(f"{Path(path).name} holds", len(pictures), count)
    pictures = list(pictures)
    result = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        picture, pictures[index] = pictures[index], None
        result[index] = _rgb(path, index, picture, size)
    return result


def _rgb(path, index, picture, size):
    """The picture in a shape that broadcasts to (size, size, 3)."""
    shape, kind = getattr(picture, "shape", ()), getattr(picture, "dtype", type(picture).__name__)
    if kind != np.uint8 or shape not in ((size, size), (size, size, 1), (size, size, 3)):
        raise InputError(
            f"picture {index} in {path} is {kind} of shape {shape}, expected uint8 of shape {(size, size, 3)}: "
            "download the file again, or remove it to use the photographs"
        )
    return picture[..., None] if picture.ndim == 2 else picture


def _is_list(value):
    """Whether it holds one thing a picture: a list, a tuple or an array with rows."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _lengths_differ(file_holds, rows, names):
    return InputError(f"{file_holds} {rows} rows but filenames.pickle lists {names}: download both files again")


def _split_folder(root, split):
    if split not in SPLITS:
        raise InputError(f'there is no split "{split}": choose "train" or "test"')
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: set data.root to the folder that holds train/ and test/")
    folder = root / split
    if not folder.is_dir():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:5]) or "nothing"
        raise InputError(
            f"{root} holds {found}, but no folder {split}/: set data.root to the folder that holds train/ and test/ "
            "with their filenames.pickle"
        )
    return folder


def _load(path, purpose):
    """The object in a pickle of the split; `purpose` completes the sentence for a file that is not there."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: expected {purpose}, as published with the data")
    return pickles.load(path)


# names and classes


def _read_names(path):
    names = _load(path, 'the pictures\' names, a list of "class/name"')
    if not _is_list(names):
        raise InputError(f"{path} holds a {type(names).__name__}, expected a list of names: download it again")
    if len(names) == 0:
        raise InputError(f"{path} lists no pictures, expected at least one name: download it again")
    return tuple(_checked_name(path, name) for name in names)


def _checked_name(path, name):
    """The name as a plain string without suffix; it must stay inside the picture folder on any system."""
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(name, str):
        raise InputError(f"{path} lists {name!a}, expected names: download it again")
    inside = name.isprintable() and not re.search(r"\\|^/|:|//|/$", name) and ".." not in name.split("/")
    if not (inside and name.strip(" ./")):
        raise InputError(f'{path} lists {name!a}, expected names like "class/name" inside the picture folder')
    return _without_suffix(str(name))


def _without_suffix(name):
    """The name without a picture's suffix; other dots belong to it."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


def _read_class_ids(path, count):
    """(count,) int64."""
    values = _load(path, "one class number a picture")
    try:
        class_ids = np.asarray(values)
    except ValueError:
        class_ids = np.empty(0, object)
    if class_ids.ndim != 1 or class_ids.dtype.kind not in "iu":
        raise InputError(f"{path} does not hold a list of class numbers: download it again")
    if len(class_ids) != count:
        raise _lengths_differ(f"{path.name} holds", len(class_ids), count)
    return class_ids.astype(np.int64)


# embeddings


def _read_embeddings(path, names, text_dim):
    """All embeddings (M, text_dim) float32, and where each picture's begin (N + 1,) int64."""
    rows = _load(path, f"the captions' embeddings, {EMBEDDINGS}, one (captions, {text_dim}) array a picture")
    if not _is_list(rows):
        raise InputError(f"{path} holds a {type(rows).__name__}, expected a list of arrays: download it again")
    if len(rows) != len(names):
        raise _lengths_differ("embeddings hold", len(rows), len(names))
    arrays = [_embedding_array(path, name, row, text_dim) for name, row in zip(names, rows, strict=True)]
    del rows
    first = first_rows([len(array) for array in arrays])
    embeddings = np.empty((first[-1], text_dim), np.float32)
    for index, name in enumerate(names):
        array, arrays[index] = arrays[index], None  # let go as soon as it is copied
        with np.errstate(over="ignore"):  # what overflows float32 is refused in the next line
            embeddings[first[index] : first[index + 1]] = array
        if not np.isfinite(embeddings[first[index] : first[index + 1]]).all():
            raise InputError(f"the embeddings of {name} in {path} are not all finite numbers: download the file again")
    return embeddings, first


def _embedding_array(path, name, row, text_dim):
    """One picture's embeddings as published, (captions, text_dim); a single (text_dim,) becomes one caption."""
    try:
        array = np.asarray(row)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or array.size == 0:
        raise InputError(
            f"the embeddings of {name} in {path} are {array.dtype} of shape {array.shape}, expected numbers of shape "
            f"(captions, {text_dim}): download the file again"
        )
    array = np.atleast_2d(array)
    if array.shape[1] != text_dim:
        raise InputError(
            f"the embeddings in {path} have {array.shape[1]} dimensions but {text_dim} are expected: "
            f"set generator.text_dim to {array.shape[1]}, or give the embeddings that fit"
        )
    return array


# pictures


class _Files:
    """What the folders hold, each listed once: thousands of names share a few hundred folders."""

    def __init__(self):
        self._listed = {}

    def below(self, folder, suffixes):
        """The files directly in `folder` with one of the `suffixes`, by name without suffix; the first suffix wins."""
        key = (folder, suffixes)
        if key not in self._listed:
            self._listed[key] = self._list(folder, suffixes)
        return self._listed[key]

    @staticmethod
    def _list(folder, suffixes):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            paths = [folder / entry.name for entry in entries if entry.name.lower().endswith(suffixes)]
        # the last of equal stems stays, so the preferred suffix comes last
        paths.sort(key=lambda path: (suffixes.index(path.suffix.lower()), path.name), reverse=True)
        return {path.stem: path for path in paths}


def _find_pictures(root, names, files):
    """One path a name; one sentence for all that are missing."""
    bases = [root / folder for folder in PICTURE_FOLDERS if (root / folder).is_dir()]
    paths = [_find_picture(bases, name, files) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        remedy = _remedy(root, bases[0], missing[0])
        raise InputError(
            f"{len(missing)} of {len(names)} photographs are missing, the first is {missing[0]}.jpg: {remedy}"
        )
    return tuple(paths)


def _find_picture(bases, name, files):
    inside = PurePosixPath(name)
    for base in bases:
        path = files.below(base / inside.parent, SUFFIXES).get(inside.name)
        if path is not None:
            return path
    return None


def _remedy(root, base, name):
    """Where a missing picture should be, and what brings it there."""
    if name.startswith("jpg/"):
        archive = "102flowers.tgz of Oxford-102"
    else:
        archive = "CUB_200_2011.tgz of CUB-200-2011"
        base = root / PICTURE_FOLDERS[0] if base == root else base
    return f"expected it at {base / name}.jpg; unpack {archive} in {root}, or copy your own pictures"


def _find_packed(folder):
    """Side in pixels -> file, for each `<side>images.pickle`."""
    matches = [(re.fullmatch(r"(\d+)images\.pickle", entry.name), entry) for entry in sorted(folder.iterdir())]
    return {int(match[1]): entry for match, entry in matches if match}


# boxes


def _read_boxes(root, names):
    """(N, 4) float64 boxes in the order of `names`, or None for a source without boxes."""
    home = root / "CUB_200_2011"
    if not home.is_dir():
        if not (root / "bounding_boxes.txt").is_file():
            return None
        home = root
    pictures = _read_table(home / "images.txt", ["id", "name"], {"id": np.int64, "name": str})
    boxes = _read_table(home / "bounding_boxes.txt", ["id", "x", "y", "width", "height"], np.float64)
    pictures["name"] = pictures["name"].map(_without_suffix)
    ids = _look_up(pictures, "name", names, names, home / "images.txt")["id"]
    values = _look_up(boxes, "id", ids, names, home / "bounding_boxes.txt").to_numpy()
    wrong = ~(np.isfinite(values).all(axis=1) & (values[:, 2:] > 0).all(axis=1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"the box of {names[first]} in {home / 'bounding_boxes.txt'} is {values[first].tolist()}, expected x, y, "
            "and a width and height above 0 in pixels: download CUB_200_2011 again"
        )
    return values


def _read_table(path, columns, types):
    """A complete table of words parted by any white space."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: expected it beside the pictures, as CUB_200_2011 has it")
    expected = f"expected {', '.join(columns)} in each line: download CUB_200_2011 again"
    try:
        # one column more than there should be, as pandas drops what has no column
        table = pd.read_csv(path, sep=r"\s+", header=None, names=[*columns, "more"], dtype=types, encoding="latin-1")
    except ValueError as error:  # pandas' own parser errors are ValueErrors
        raise InputError(f"{path} cannot be read ({first_line(error)}), {expected}") from None
    wrong = table[columns].isna().any(axis=1) | table["more"].notna()
    if wrong.any():
        raise InputError(f"line {int(np.argmax(wrong)) + 1} of {path} has too few or too many words, {expected}")
    if table.empty:
        raise InputError(f"{path} is empty, {expected}")
    return table[columns].copy()


def _look_up(table, key, values, names, path):
    """The rows of the table at these values of its column `key`, one a picture."""
    repeated = table[key][table[key].duplicated()]
    if len(repeated):
        raise InputError(f"{path} lists {repeated.iloc[0]} twice: download CUB_200_2011 again")
    known = pd.Index(values).isin(table[key])
    if not known.all():
        raise InputError(
            f"{path} lacks {np.sum(~known)} of {len(names)} pictures, the first is {names[int(np.argmin(known))]}: "
            "use the file that belongs to these pictures"
        )
    return table.set_index(key).loc[list(values)]


# captions


def _read_captions(folder, names, class_ids, files):
    """The captions of each picture, empty where it has no caption file."""
    if not folder.is_dir():
        return ((),) * len(names)
    elsewhere = _Captions(folder, files)
    paths = [elsewhere.find(name, class_id) for name, class_id in zip(names, class_ids, strict=True)]
    return tuple(_read_lines(path) if path else () for path in paths)


class _Captions:
    """Finds caption files: at the picture's own name, under its class number, or in any one class folder."""

    def __init__(self, folder, files):
        self.folder = folder
        self.files = files
        self._anywhere = None

    def find(self, name, class_id):
        inside = PurePosixPath(name)
        for parent in (inside.parent, f"class_{class_id:05d}"):
            path = self.files.below(self.folder / parent, (".txt",)).get(inside.name)
            if path is not None:
                return path
        return self.anywhere().get(inside.name)

    def anywhere(self):
        """All caption files by name alone, without the names that stand in several folders."""
        if self._anywhere is None:
            listings = [self.files.below(path, (".txt",)) for path in sorted(self.folder.iterdir()) if path.is_dir()]
            count = Counter(stem for listing in listings for stem in listing)
            self._anywhere = {stem: path for each in listings for stem, path in each.items() if count[stem] == 1}
        return self._anywhere


def _read_lines(path):
    """The lines of a text without the blank ones."""
    # only line ends part captions: str.splitlines would also break at \x85 and others
    lines = (line.strip() for line in read_text(path).split("\n"))
    return tuple(line for line in lines if line)
