"""Files of a data set in the published layout, written whole or not at all: pictures, pickles and CUB's tables."""

import errno
import io
import os
import pickle
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stackgan_keras.files import atomic_write, write_lines

KEPT = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # formats whose files are left as they are
SUFFIXES = (".jpg", ".jpeg", ".png")  # of pictures in this layout
JPEG_QUALITY = 95


class BadPicture(Exception):
    """What is wrong with a file that cannot be used as a picture, as in "skipped …"."""


def write_pickle(path: Path, content) -> None:
    """A pickle that Python 2 reads too, as the published ones were written by it."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        pickle.dump(content, file, protocol=2)


def write_embeddings(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """The pickle of a list of arrays, which are taken and let go one by one: it never needs memory for two."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        file.write(pickle.PROTO + b"\x02" + pickle.EMPTY_LIST + pickle.MARK)
        for array in arrays:
            file.write(_pickled(array))
        file.write(pickle.APPENDS + pickle.STOP)


def _pickled(array: np.ndarray) -> bytes:
    """The instructions for one array, which number nothing and so may stand anywhere."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=2)
    pickler.fast = True
    pickler.dump(array)
    return stream.getvalue().removeprefix(pickle.PROTO + b"\x02").removesuffix(pickle.STOP)


def write_tables(
    folder: Path,
    files: Sequence[str],
    boxes: Sequence[tuple[float, float, float, float]],
    class_ids: Sequence[int],
    class_names: dict[int, str],
) -> None:
    """CUB's text tables, whose pictures are numbered from 1.

    `files` are "class/name.jpg", `boxes` x, y, width, height in pixels, both one a picture, as are `class_ids`.
    """
    numbered = list(enumerate(zip(files, boxes, class_ids, strict=True), start=1))
    write_lines(folder / "images.txt", [f"{i} {file}" for i, (file, _, _) in numbered])
    write_lines(
        folder / "bounding_boxes.txt", [" ".join([str(i), *(f"{v:.1f}" for v in box)]) for i, (_, box, _) in numbered]
    )
    write_lines(folder / "image_class_labels.txt", [f"{i} {class_id}" for i, (_, _, class_id) in numbered])
    write_lines(folder / "classes.txt", [f"{i} {name}" for i, name in class_names.items()])


def find_picture(target: Path) -> Path | None:
    """The file of a picture that was written as `target`, a path without suffix, if there is one."""
    candidates = (target.with_name(target.name + suffix) for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def write_picture(source: Path | bytes, target: Path, *, upright: bool) -> Path:
    """Puts a picture, a file or its bytes, at `target` plus a suffix and returns that path.

    JPEG and PNG files stay as they are, to the byte (linked, else copied). Other formats become PNG, as do pictures
    with transparent parts, put on white, and with 16 bits; of several frames the first is taken. If `upright`,
    photographs taken with a turned camera are turned. Raises `BadPicture` for a file that cannot be decoded whole.
    """
    changed, suffix = _decode(source, upright)
    path = target.with_name(target.name + suffix)
    with atomic_write(path) as unfinished:
        if changed:
            changed.save(unfinished, "JPEG" if suffix == ".jpg" else "PNG", quality=JPEG_QUALITY)
        elif isinstance(source, bytes):
            unfinished.write_bytes(source)
        else:
            _link(source.resolve(), unfinished)
    return path


def _decode(source: Path | bytes, upright: bool) -> tuple[Image.Image | None, str]:
    """The picture, if it must be written anew, and its suffix."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            file.load()
            changed, suffix = _changed(file, upright), Path(file.filename or "").suffix.lower()
            return changed, suffix if suffix in SUFFIXES and not changed else KEPT.get(file.format, ".png")
    except UnidentifiedImageError:
        raise BadPicture("files named like pictures that are none") from None
    except PermissionError:
        raise BadPicture("pictures that may not be read") from None
    except Image.DecompressionBombError:
        raise BadPicture(f"pictures of more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except Exception:  # decoders of two dozen formats raise whatever a damaged file leads to
        raise BadPicture("pictures that are truncated or damaged") from None


def _changed(file: Image.Image, upright: bool) -> Image.Image | None:
    """What the layout can hold, in RGB, where that is not the file as it is."""
    turned = _turned(file) if upright else None
    picture = turned or file
    if file.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 255:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    if file.mode[0] in "IF":  # 16 bits, or whatever numbers
        levels = np.nan_to_num(np.asarray(picture, np.float64))
        levels = levels / 257 if levels.max() > 255 else levels
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB") if turned or file.format not in KEPT else None


def _turned(file: Image.Image) -> Image.Image | None:
    """The picture upright, where its camera was not."""
    try:
        is_upright = file.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
        return None if is_upright else ImageOps.exif_transpose(file)
    except Exception:  # metadata may be damaged where the picture is not
        return None


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none: on another disk, or for another owner's file."""
    try:
        os.link(source, target)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.copyfile(source, target)
