"""Files of a data set in the published layout, written whole or not at all: images, pickles and CUB's tables."""

import io
import os
import pickle
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from stackgan_keras.data.photographs import open_image
from stackgan_keras.errors import first_line
from stackgan_keras.files import atomic_write, write_lines

KEPT = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # formats whose files are left as they are
SUFFIXES = (".jpg", ".jpeg", ".png")  # of images in this layout
JPEG_QUALITY = 95
SMALLEST = 4  # pixels, below which nothing can be seen


class BadImage(Exception):
    """What is wrong with an image: what Pillow says of a file that it cannot decode whole, or its size."""


def write_pickle(path: Path, content: object) -> None:
    """A pickle that Python 2 reads too, as the published ones were written by it."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        pickle.dump(content, file, protocol=2)


def write_embeddings(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """The pickle of a list of arrays."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        pickler = pickle.Pickler(file, protocol=2)
        pickler.fast = True  # or it would keep a copy of every array in memory
        pickler.dump(list(arrays))


def write_tables(
    folder: Path,
    files: Sequence[str],
    boxes: Sequence[tuple[float, float, float, float]],
    class_ids: Sequence[int],
    class_names: dict[int, str],
) -> None:
    """CUB's text tables, whose images are numbered from 1.

    `files` are "class/name.jpg", `boxes` x, y, width, height in pixels, both one an image, as are `class_ids`.
    """
    columns = {
        "images.txt": files,
        "bounding_boxes.txt": [" ".join(f"{value:.1f}" for value in box) for box in boxes],
        "image_class_labels.txt": class_ids,
    }
    for name, column in columns.items():
        write_lines(folder / name, [f"{number} {entry}" for number, entry in enumerate(column, start=1)])
    write_lines(folder / "classes.txt", [f"{class_id} {name}" for class_id, name in class_names.items()])


def find_image(target: Path) -> Path | None:
    """The file of an image that was written as `target`, a path without suffix, if there is one."""
    candidates = (target.with_name(target.name + suffix) for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def write_image(source: Path | bytes, target: Path, *, upright: bool) -> Path:
    """Puts an image, a file or its bytes, at `target` plus a suffix and returns that path.

    JPEG and PNG files stay as they are, to the byte (linked, else copied). Other formats become PNG, as do images
    with transparent parts, put on white, and with 16 bits; of several frames the first is taken. If `upright`,
    photographs taken with a turned camera are turned. Raises `BadImage` for a file that cannot be decoded whole, and
    for an image too small to show anything.
    """
    try:
        with open_image(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            if min(file.size) < SMALLEST:
                raise BadImage(f"{file.size[0]} x {file.size[1]} pixels, less than {SMALLEST} on a side")
            file.load()
            changed, suffix = _changed(file, upright), Path(os.fsdecode(file.filename or "")).suffix.lower()
            if changed or suffix not in SUFFIXES:
                suffix = KEPT.get(file.format or "", ".png")
    except BadImage:
        raise
    except Exception as problem:  # decoders of two dozen formats raise whatever a damaged file leads to
        raise BadImage(first_line(problem)) from None
    path = target.with_name(target.name + suffix)
    with atomic_write(path) as unfinished:
        if changed:
            changed.save(unfinished, "JPEG" if suffix == ".jpg" else "PNG", quality=JPEG_QUALITY)
        elif isinstance(source, bytes):
            unfinished.write_bytes(source)
        else:
            try:
                os.link(source.resolve(), unfinished)
            except OSError:  # on another disk, or another owner's file
                shutil.copyfile(source, unfinished)
    return path


def _changed(file: Image.Image, upright: bool) -> Image.Image | None:
    """What the layout can hold, in RGB, where that is not the file as it is."""
    turned = _turned(file) if upright else None
    image = turned or file
    if file.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if file.mode[0] in "IF":  # 16 bits, or whatever numbers
        levels = np.nan_to_num(np.asarray(image, np.float64))
        levels = levels / 257 if levels.max() > 255 else levels
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB") if turned or file.format not in KEPT else None


def _turned(file: Image.Image) -> Image.Image | None:
    """The image upright, where its camera was not."""
    try:
        is_upright = file.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
        return None if is_upright else ImageOps.exif_transpose(file)
    except Exception:  # metadata may be damaged where the image is not
        return None
