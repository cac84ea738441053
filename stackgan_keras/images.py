"""How do [-1, 1] tensors, uint8 arrays, grids and picture files turn into each other?

The only file that knows the range of a network's pictures, and the crop of the published recipe.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from stackgan_keras.errors import InputError

MARGIN = 2  # pixels between the pictures of a grid
PAPER = 255  # grey level of margins and labels' background


def to_range(pixels):
    """Pixels 0..255 as floats (NumPy or any backend's tensor), in [-1, 1] as the networks want them."""
    return pixels / 127.5 - 1.0


def to_uint8(values) -> np.ndarray:
    """A network's [-1, 1] pictures, of any shape, as uint8 pixels, rounded and clipped."""
    return np.clip(np.rint((np.asarray(values, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def load_size(image_size: int) -> int:
    """Pixels to which a crop is resized so that a random crop of `image_size` can be taken: 64 -> 76, 256 -> 304."""
    return image_size * 76 // 64


def read(path: Path, box: Sequence[float] | None, size: int) -> np.ndarray:
    """One picture file, cropped around its box and resized: (size, size, 3) uint8.

    `box` is (x, y, width, height) in pixels or None for the whole picture. Raises `InputError` naming a file that
    is missing, truncated or no picture.
    """
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except FileNotFoundError:
        raise InputError(f"the picture {path} is missing: put it there or leave it out of filenames.pickle") from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        reason = str(problem).replace(str(path), "it").rstrip(".")
        raise InputError(f"the picture {path} cannot be read ({reason}): replace the file") from None
    if box is not None:
        picture = picture.crop(crop_box(box, *picture.size))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def crop_box(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The square of the published recipe around a box (x, y, w, h), clipped to the picture: left, top, right, bottom.

    Its half-side is 0.75 max(w, h), so that the object fills about three quarters of it. A box that leaves nothing
    of the picture gives the whole picture.
    """
    x, y, w, h = box
    centre_x, centre_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    half = int(0.75 * max(w, h))
    left, right = max(0, centre_x - half), min(width, centre_x + half)
    top, bottom = max(0, centre_y - half), min(height, centre_y + half)
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, width, height)


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of equally large uint8 pictures, each (columns, size, size, 3), on one sheet (height, width, 3)."""
    count, size = max(len(row) for row in rows), rows[0].shape[1]
    step = size + MARGIN
    sheet = np.full((len(rows) * step + MARGIN, count * step + MARGIN, 3), PAPER, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = MARGIN + i * step, MARGIN + j * step
            sheet[top : top + size, left : left + size] = picture
    return sheet


def labelled_grid(rows: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """`grid` with each column's sentence above it, wrapped to the column's width, at least 128 pixels."""
    enlarge = max(1, -(-128 // rows[0].shape[1]))
    sheet = grid([row.repeat(enlarge, 1).repeat(enlarge, 2) for row in rows])
    step = rows[0].shape[1] * enlarge + MARGIN
    font = ImageFont.load_default(12)
    per_line = max(8, int(step / font.getlength("e" * 20) * 20))
    texts = ["\n".join(textwrap.wrap(caption, per_line, max_lines=6, placeholder=" …")) for caption in captions]
    height = 15 * max((text.count("\n") + 1 for text in texts), default=0) + 2 * MARGIN
    label = Image.new("RGB", (sheet.shape[1], height), (PAPER,) * 3)
    draw = ImageDraw.Draw(label)
    for i, text in enumerate(texts):
        draw.multiline_text((MARGIN + i * step + 1, MARGIN), text, (40, 40, 40), font, spacing=2)
    return np.concatenate([np.asarray(label), sheet])


def write(path: Path, pixels: np.ndarray) -> None:
    """Saves (height, width, 3) uint8 as a PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")
