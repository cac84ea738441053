"""Photographs and other images of the data: read from files, cropped as the published pipeline crops them."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from stackgan_keras.errors import InputError, first_line

# others are not tried, whatever a file is called: of EPS, for one, Pillow has Ghostscript run the program in the file
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
MOST_PIXELS = 2**26  # of an image, 8192 x 8192: a file of 100 KB can be one of any size


def load_size(image_size: int) -> int:
    """Pixels to which a crop is resized so that a random crop of `image_size` can be taken: 64 -> 76, 256 -> 304."""
    return image_size * 76 // 64


def read(
    source: Path | BytesIO, box: Sequence[float] | np.ndarray | None, size: int, *, name: str | None = None
) -> np.ndarray:
    """One image file, cropped around its box and resized: (size, size, 3) uint8.

    `box` is (x, y, width, height) in pixels or None for the whole image. Raises `InputError` for an unreadable file,
    which it calls by its `name` where the content is given.
    """
    try:
        with open_image(source) as file:
            transparent = file.mode == "P" and "transparency" in file.info  # of which Pillow warns
            image = (file.convert("RGBA") if transparent else file).convert("RGB")
    except Exception as problem:  # decoders of two dozen formats raise whatever a damaged file leads to
        raise InputError(
            f"the image {name or source} cannot be read ({first_line(problem)}): replace it or leave it out of "
            "filenames.pickle"
        ) from None
    if box is not None:
        image = image.crop(crop_box(box, *image.size))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def open_image(source: Path | BytesIO) -> ImageFile:
    """An image file, not yet decoded. Raises an exception for one of another format, and of too many pixels."""
    Image.init()  # makes known which formats this Pillow reads
    file = Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    if file.width * file.height > MOST_PIXELS:
        file.close()
        raise ValueError(f"{file.width} x {file.height} pixels, more than {MOST_PIXELS:,}")
    return file


def crop_box(box: Sequence[float] | np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The square of the published pipeline around a box (x, y, w, h), clipped to the image: left, top, right, bottom.

    Its half-side is 0.75 max(w, h), so that the object fills about three quarters of it. A box that leaves nothing
    of the image gives the whole image.
    """
    x, y, w, h = box
    centre_x, centre_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    half = int(0.75 * max(w, h))
    left, right = max(0, centre_x - half), min(width, centre_x + half)
    top, bottom = max(0, centre_y - half), min(height, centre_y + half)
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, width, height)


def centre_crops(images: np.ndarray, size: int) -> np.ndarray:
    """The middles (N, size, size, 3) of larger images (N, s, s, 3), as they stand in a training crop on average."""
    start = (images.shape[1] - size) // 2
    return np.ascontiguousarray(images[:, start : start + size, start : start + size])


def ten_crops(image: np.ndarray, size: int) -> np.ndarray:
    """The middle of an image (s, s, 3) and its four corners, and their mirror images: (10, size, size, 3)."""
    far = image.shape[0] - size
    places = ((far // 2, far // 2), (0, 0), (0, far), (far, 0), (far, far))
    crops = [image[y : y + size, x : x + size] for y, x in places]
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)])
