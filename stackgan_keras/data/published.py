"""The published layout of birds and flowers to a `Dataset` in memory.

Birds (CUB-200-2011):

    <root>/CUB_200_2011/images/<class>/<name>.jpg, images.txt, bounding_boxes.txt
    <root>/text_c10/<class>/<name>.txt                     ten captions, one a line
    <root>/{train,test}/filenames.pickle                   "<class>/<name>", without suffix
    <root>/{train,test}/class_info.pickle                  one class number an image
    <root>/{train,test}/char-CNN-RNN-embeddings.pickle     one (captions, 1024) array an image
    <root>/{train,test}/{76,304}images.pickle              decoded images, not always there

Flowers (Oxford-102) have the same pickles, the names "jpg/image_00001", the captions
`text_c10/class_00001/image_00001.txt` and no boxes. Images are looked for below `<root>/CUB_200_2011/images`,
`<root>/Oxford102`, `<root>/images` and `<root>`, in this order, with the suffixes .jpg, .jpeg and .png in small or
large letters. Boxes are read where `<root>/CUB_200_2011` is, or where `<root>` itself holds a bounding_boxes.txt.
"""

import operator
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path, PurePosixPath

import numpy as np

from stackgan_keras.data import photographs, pickles
from stackgan_keras.data.writing import SUFFIXES
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import read_text

SPLITS = ("train", "test")
EMBEDDINGS = "char-CNN-RNN-embeddings.pickle"
IMAGE_FOLDERS = ("CUB_200_2011/images", "Oxford102", "images", "")  # below the root, first come first served


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one split of one source holds: N images with M captions in all, in the published order.

    Caption j of image i and row j of `embeddings_of(i)` belong together where both are equally many.
    """

    names: tuple[str, ...]  # "class/name" as published, without suffix
    paths: tuple[Path, ...]  # one image file each
    boxes: np.ndarray | None  # (N, 4) float64: x, y, width, height in pixels; None without boxes
    class_ids: np.ndarray  # (N,) int64
    captions: tuple[tuple[str, ...], ...]  # empty where there is no caption file
    embeddings: np.ndarray  # (M, D) float32, all captions of all images, one after the other
    first_embedding: np.ndarray  # (N + 1,) int64: image i owns embeddings[first[i] : first[i + 1]]
    packed: dict[int, Path]  # side in pixels -> pickle of decoded images, where the source has them

    def __len__(self) -> int:
        return len(self.names)

    @property
    def text_dim(self) -> int:
        """Numbers of an embedding."""
        return self.embeddings.shape[1]

    @cached_property
    def most_captions(self) -> int:
        """Captions or embeddings of the image that has most."""
        return max(max(map(len, self.captions)), int(np.diff(self.first_embedding).max()))

    def embeddings_of(self, index: int) -> np.ndarray:
        """The (captions, D) float32 embeddings of image `index`, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self.embeddings[self.first_embedding[index] : self.first_embedding[index + 1]]

    def box_of(self, index: int) -> np.ndarray | None:
        """The box of image `index`: x, y, width and height in pixels, or None where the source has no boxes."""
        return None if self.boxes is None else self.boxes[index]

    def image(self, index: int, size: int) -> np.ndarray:
        """Image `index`, cropped around its box and resized: (size, size, 3) uint8."""
        return photographs.read(self.paths[index], self.box_of(index), size)

    def captioned(self) -> "Dataset":
        """The `Dataset` of the images that have captions. Raises InputError if none has."""
        kept = [i for i, captions in enumerate(self.captions) if captions]
        if not kept:
            raise InputError(
                f"none of the {len(self)} images, such as {self.paths[0]}, has a caption: put them into text_c10/, "
                "or have `prepare` make a folder from your own"
            )
        return self if len(kept) == len(self) else self.subset(kept)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """The `Dataset` of the images `indices`, in this order."""
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


def first_rows(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each image's rows begin, and where the last ones end, (N + 1,) int64, given how many each has."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def read(root: str | Path, split: str, text_dim: int | None = 1024) -> Dataset:
    """Returns the `Dataset` of `split` ("train" or "test") below the folder `root`.

    `text_dim` is the length that every embedding must have; None reads no embeddings and leaves them empty. Raises
    InputError for whatever is missing, damaged, or does not fit together.
    """
    root = Path(root)
    folder = _split_folder(root, split)
    names = _read_names(folder / "filenames.pickle")
    class_ids = _read_class_ids(folder / "class_info.pickle", len(names))
    embeddings, first_embedding = np.zeros((0, 0), np.float32), first_rows([0] * len(names))
    if text_dim is not None:
        embeddings, first_embedding = _read_embeddings(folder / EMBEDDINGS, names, text_dim)
    return Dataset(
        names=names,
        paths=_find_images(root, names),
        boxes=_read_boxes(root, names),
        class_ids=class_ids,
        captions=_read_captions(root / "text_c10", names, class_ids),
        embeddings=embeddings,
        first_embedding=first_embedding,
        packed=_find_packed(folder),
    )


def read_packed(path: str | Path, count: int, size: int) -> np.ndarray:
    """Returns the (count, size, size, 3) uint8 images of a `76images.pickle` or `304images.pickle`.

    Grey images, (size, size) or (size, size, 1), become RGB. Each image is let go as soon as it is copied, so
    that the memory never holds more than twice the result. Raises InputError for another count, size or type.
    """
    images = list(_load(Path(path), "a list of images", count))
    result = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        image, images[index] = images[index], None
        shape, kind = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
        if kind != np.uint8 or shape not in ((size, size), (size, size, 1), (size, size, 3)):
            raise InputError(
                f"image {index} in {path} is {kind} of shape {shape}, expected uint8 of shape {(size, size, 3)}: "
                "download the file again, or remove it to use the photographs"
            )
        _check_size(Path(path), (index + 1) * size * size)
        result[index] = image[..., None] if image.ndim == 2 else image
    return result


def _split_folder(root, split):
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: set data.root to the folder that holds train/ and test/")
    folder = root / split
    if not folder.is_dir():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:5]) or "nothing"
        raise InputError(
            f"{root} holds {found}, but no folder {split}/: set data.root to the folder that holds train/ and test/"
        )
    return folder


def _load(path, expected, count=None):
    """The list in a pickle, or array with rows, which must have `count` items."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: expected {expected}, as published with the data")
    rows = pickles.load(path)
    if not isinstance(rows, (list, tuple, np.ndarray)) or getattr(rows, "shape", None) == ():
        raise InputError(f"{path} holds a {type(rows).__name__}, expected {expected}: download it again")
    if count is not None and len(rows) != count:
        raise InputError(
            f"{path.name} holds {len(rows)} rows but filenames.pickle lists {count}: download both files again"
        )
    return rows


def _check_size(path, numbers):
    """Refuses a pickle that names one array many times: each number takes a byte at least."""
    if numbers > path.stat().st_size:
        raise InputError(
            f"{path} names the same arrays again and again, expected one for each image: download it again"
        )


def _read_names(path):
    """The names as plain strings without suffix; they must stay inside the image folder on any system."""
    names = []
    for name in _load(path, 'the images\' names, a list of "class/name"'):
        name = name.decode("latin-1") if isinstance(name, bytes) else name
        plain = isinstance(name, str) and name.isprintable() and name.strip(" ./") and len(name) < 1000
        if not plain or re.search(r"\\|^/|:|//|/$", name) or ".." in name.split("/"):
            raise InputError(f'{path} lists {name!a}, expected names like "class/name" inside the image folder')
        names.append(_without_suffix(str(name)))
    if not names:
        raise InputError(f"{path} lists no images, expected at least one name: download it again")
    return tuple(names)


def _without_suffix(name):
    """The name without an image's suffix; other dots belong to it."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


def _read_class_ids(path, count):
    try:
        return np.array([operator.index(v) for v in _load(path, "one class number an image", count)], np.int64)
    except (TypeError, OverflowError) as error:
        raise InputError(f"{path} is no list of class numbers ({first_line(error)}): download it again") from None


def _read_embeddings(path, names, text_dim):
    """All embeddings (M, text_dim) float32, and where each image's begin (N + 1,) int64."""
    expected = f"the captions' embeddings, {EMBEDDINGS}, one (captions, {text_dim}) array an image"
    rows = _load(path, expected, len(names))
    arrays, numbers = [], 0
    for name, row in zip(names, rows, strict=True):
        arrays.append(_embedding_array(path, name, row, text_dim))
        numbers += arrays[-1].size
        _check_size(path, numbers)
    return np.concatenate(arrays), first_rows([len(array) for array in arrays])


def _embedding_array(path, name, row, text_dim):
    """One image's embeddings, (captions, text_dim) float32; a single (text_dim,) becomes one caption."""
    try:
        with np.errstate(over="ignore"):  # what overflows float32 is not finite, and so refused
            array = np.atleast_2d(np.asarray(row).astype(np.float32, casting="same_kind", copy=False))
        if array.ndim > 2 or array.size == 0 or not np.isfinite(array).all():
            raise ValueError(f"they are of shape {array.shape} or not all finite")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the embeddings of {name} in {path} cannot be used ({first_line(error)}), expected numbers of shape "
            f"(captions, {text_dim}): download the file again"
        ) from None
    if array.shape[1] != text_dim:
        raise InputError(
            f"the embeddings in {path} have {array.shape[1]} dimensions but {text_dim} are expected: "
            f"set generator.text_dim to {array.shape[1]}, or give the embeddings that fit"
        )
    return array


def _files_in(folder, suffixes):
    """The files directly in `folder` with one of the `suffixes`, by name without suffix; the first suffix wins."""
    entries = sorted(folder.glob("*"), reverse=True)
    # the last of equal stems stays, so the preferred suffix comes last
    return {path.stem: path for suffix in reversed(suffixes) for path in entries if path.suffix.lower() == suffix}


def _find(name, bases, files_in):
    """The file of a name in the first of the folders `bases` that has one, or None."""
    inside = PurePosixPath(name)
    found = (files_in(base / inside.parent).get(inside.name) for base in bases)
    return next(filter(None, found), None)


def _check_links(root, paths):
    """Refuses files that are links to what lies outside the data's folder; links to folders are their owner's."""
    home = os.path.realpath(root)
    for path in paths:
        if path and path.is_symlink() and not Path(target := os.path.realpath(path)).is_relative_to(home):
            raise InputError(f"{path} is a link to {target}, outside {root}: put the file itself there (cp -L)")


def _find_images(root, names):
    """One path a name; one sentence for all that are missing."""
    files_in = cache(partial(_files_in, suffixes=SUFFIXES))  # thousands of names share a few hundred folders
    bases = [root / folder for folder in IMAGE_FOLDERS if (root / folder).is_dir()]
    paths = [_find(name, bases, files_in) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        base, archive = root / IMAGE_FOLDERS[0], "CUB_200_2011.tgz of CUB-200-2011"
        if missing[0].startswith("jpg/"):
            base, archive = root, "102flowers.tgz of Oxford-102"
        raise InputError(
            f"{len(missing)} of {len(names)} photographs are missing, the first is {missing[0]}.jpg: expected it at "
            f"{base / missing[0]}.jpg; unpack {archive} in {root}, or copy your own images"
        )
    _check_links(root, paths)
    return tuple(paths)


def _find_packed(folder):
    """Side in pixels -> file, for each `<side>images.pickle`."""
    matches = [(re.fullmatch(r"(\d+)images\.pickle", entry.name), entry) for entry in sorted(folder.iterdir())]
    return {int(match[1]): entry for match, entry in matches if match}


def _read_boxes(root, names):
    """(N, 4) float64 boxes in the order of `names`, or None for a source without boxes."""
    home = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
    if home == root and not (root / "bounding_boxes.txt").is_file():
        return None
    files = f"images.txt and bounding_boxes.txt in {home}"
    sizes = dict.fromkeys(["x", "y", "width", "height"], np.float64)
    try:
        images = _read_table(home / "images.txt", {"id": np.int64, "name": str})
        boxes = _read_table(home / "bounding_boxes.txt", {"id": np.int64, **sizes})
        table = images.merge(boxes, on="id", validate="one_to_one")
        table["name"] = table["name"].map(_without_suffix, na_action="ignore")
        table = table.set_index("name", verify_integrity=True)[list(sizes)].reindex(names)
    except (OSError, ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{files} cannot be read ({first_line(error)}): download CUB_200_2011 again") from None
    wrong = table[~(np.isfinite(table).all(axis=1) & (table[["width", "height"]] > 0).all(axis=1))]
    if len(wrong):
        raise InputError(
            f"{files} give {len(wrong)} of {len(names)} images no x, y, and width and height above 0 in pixels, the "
            f"first is {wrong.index[0]} with {wrong.iloc[0].tolist()}: use the files that belong to these images"
        )
    return table.to_numpy()


def _read_table(path, types):
    """A table of words parted by any white space."""
    import pandas as pd  # only here: it takes a second, and what has no boxes does without

    return pd.read_csv(
        path, sep=r"\s+", header=None, names=list(types), index_col=False, dtype=types, encoding="latin-1"
    )


def _read_captions(folder, names, class_ids):
    """The captions of each image, empty where it has no caption file.

    The file lies at the image's own name, under its class number, or in any one class folder.
    """
    if not folder.is_dir():
        return ((),) * len(names)
    files_in = cache(partial(_files_in, suffixes=(".txt",)))
    listings = [files_in(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    count = Counter(stem for listing in listings for stem in listing)
    anywhere = {stem: path for listing in listings for stem, path in listing.items() if count[stem] == 1}
    captions = []
    for name, class_id in zip(names, class_ids, strict=True):
        stem = PurePosixPath(name).name
        path = _find(name, [folder], files_in) or _find(f"class_{class_id:05d}/{stem}", [folder], files_in)
        path = path or anywhere.get(stem)
        _check_links(folder.parent, [path])
        # only line ends part captions: str.splitlines would also break at \x85 and others
        lines = read_text(path).split("\n") if path else ()
        captions.append(tuple(line.strip() for line in lines if line.strip()))
    return tuple(captions)
