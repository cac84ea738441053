"""Images as [-1, 1] tensors, uint8 arrays, files and labelled grids; the crop of the published recipe."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from stackgan_keras.errors import InputError

MARGIN = 2  # pixels between the pictures of a grid
PAPER = 255  # grey level of margins and labels' background
INK = 40  # grey level of labels
GAP = 16  # pixels between the blocks of a sheet
TAPE = 2.5  # how much higher than wide a sheet of blocks may be
SMALLEST = 128  # pixels: smaller pictures are enlarged on a labelled grid


def to_range(pixels):
    """Pixels 0..255 as floats (NumPy or any backend's tensor), in [-1, 1] as the networks want them."""
    return pixels / 127.5 - 1.0


def to_pixels(values):
    """A network's [-1, 1] pictures as floats 0..255, the inverse of `to_range`."""
    return (values + 1.0) * 127.5


def to_uint8(values) -> np.ndarray:
    """A network's [-1, 1] pictures, of any shape, as uint8 pixels, rounded and clipped."""
    return np.clip(np.rint(to_pixels(np.asarray(values, np.float32))), 0, 255).astype(np.uint8)


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


def enlarge(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures (N, s, s, 3) with every pixel repeated until they are at least `size` wide."""
    times = max(1, -(-size // pictures.shape[1]))
    return pictures.repeat(times, 1).repeat(times, 2)


def labelled_grid(rows: Sequence[np.ndarray], captions: Sequence[str], *, max_lines: int | None = 6) -> np.ndarray:
    """`grid` with each column's sentence above it, wrapped to the column's width, at least 128 pixels."""
    sheet = grid([enlarge(row, SMALLEST) for row in rows])
    step = (sheet.shape[1] - MARGIN) // max(len(row) for row in rows)
    labels = [label(caption, step - 3 * MARGIN, max_lines=max_lines) for caption in captions]
    strip = _paper(max((len(text) for text in labels), default=0) + 2 * MARGIN, sheet.shape[1])
    for i, text in enumerate(labels):
        strip[MARGIN : MARGIN + len(text), MARGIN + i * step :][:, : text.shape[1]] = text
    return np.concatenate([strip, sheet])


def block_sheet(
    captions: Sequence[str], blocks: Sequence[Sequence[np.ndarray]], names: Sequence[str], *, width: int = 1000
) -> np.ndarray:
    """Several grids on one sheet (height, width, 3), each with its sentence above it and its rows' `names` left of it.

    Every block holds as many rows as there are names, each (columns, size, size, 3); smaller pictures are enlarged
    to the largest. As many blocks stand side by side as make the sheet `width` pixels wide, and more where it would
    become a long tape.
    """
    size = max(SMALLEST, *(row.shape[1] for block in blocks for row in block))
    grids = [grid([enlarge(row, size) for row in block]) for block in blocks]
    per_line = _blocks_per_line(len(grids), *grids[0].shape[:2], width)
    texts = [label(name, 4 * SMALLEST) for name in names]
    margin = _paper(len(grids[0]), max(text.shape[1] for text in texts) + GAP)
    for i, text in enumerate(texts):
        top = MARGIN + i * (grids[0].shape[0] - MARGIN) // len(texts) + (size - len(text)) // 2
        margin[top : top + len(text), GAP // 2 :][:, : text.shape[1]] = text
    letters = max(15, per_line * grids[0].shape[1] // 90)  # pixels: a wide sheet is looked at from further away
    lines = []
    for first in range(0, len(grids), per_line):
        labels = [label(c, grids[0].shape[1] - 3 * MARGIN, size=letters) for c in captions[first:][:per_line]]
        height = max(len(text) for text in labels)
        columns = [np.concatenate([_paper(height + MARGIN, margin.shape[1]), margin])]
        for text, pictures in zip(labels, grids[first:][:per_line], strict=True):
            head = _paper(height + MARGIN, pictures.shape[1] + GAP)
            head[height - len(text) : height, MARGIN : MARGIN + text.shape[1]] = text  # just above its pictures
            columns.append(np.concatenate([head, _widened(pictures, head.shape[1])]))
        lines.append(np.concatenate([_paper(GAP, sum(c.shape[1] for c in columns)), np.hstack(columns)]))
    return np.concatenate([_widened(line, lines[0].shape[1]) for line in lines] + [_paper(GAP, lines[0].shape[1])])


def _blocks_per_line(number: int, height: int, block_width: int, width: int) -> int:
    for count in range(1, number):
        lines = -(-number // count)
        if count * block_width >= width and lines * height <= TAPE * count * block_width:
            return count
    return number


def label(text: str, width: int, *, size: int = 12, max_lines: int | None = None) -> np.ndarray:
    """Text in dark letters of `size` pixels, wrapped at `width` pixels: (height, at most `width`, 3) uint8.

    Any text: what cannot be shown becomes a box or a question mark. Lines over `max_lines` are left out, with "…".
    """
    font = _font(size)
    lines = [line for paragraph in text.split("\n") for line in _wrapped(_printable(paragraph), font, width)] or [""]
    if max_lines is not None and len(lines) > max_lines:
        words = lines[max_lines - 1].split()
        while words and font.getlength(f"{' '.join(words)} …") > width:
            words.pop()
        lines = [*lines[: max_lines - 1], " ".join([*words, "…"])]
    paper = Image.new("RGB", (width, len(lines) * (size + 4)), (PAPER,) * 3)
    draw = ImageDraw.Draw(paper)
    for i, line in enumerate(lines):
        draw.text((0, i * (size + 4)), line, (INK,) * 3, font)
    used = max(int(font.getlength(line)) + 1 for line in lines)
    return np.asarray(paper)[:, : max(1, min(used, width))]


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _widened(sheet: np.ndarray, width: int) -> np.ndarray:
    return np.hstack([sheet, _paper(len(sheet), width - sheet.shape[1])])


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which knows many alphabets; some packages of matplotlib come without it."""
    try:
        return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _printable(text: str) -> str:
    """The text without characters that steer; spaces of all kinds become one kind, what is no character a "�"."""
    kept = (c for c in text if unicodedata.category(c) != "Cf")  # such as the joiners between emoji
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in kept)


def _wrapped(text: str, font, width: int) -> Iterator[str]:
    """Lines of at most `width` pixels, cut between words, or within one that is longer than a line."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        while font.getlength(word) > width and len(word) > 1:
            fitting = bisect_right(range(len(word)), width, key=lambda end, word=word: font.getlength(word[:end])) - 1
            cut = max(1, fitting)
            yield word[:cut]
            word = word[cut:]
        line = word
    if line:
        yield line


def write(path: Path, pixels: np.ndarray) -> None:
    """Saves (height, width, 3) uint8 as a PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


def write_gif(path: Path, frames: np.ndarray, milliseconds: Sequence[int]) -> None:
    """Saves (N, height, width, 3) uint8 as a GIF that runs for ever, each frame shown for its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(frame).quantize(256) for frame in frames]
    first.save(path, "GIF", save_all=True, append_images=others, duration=list(milliseconds), loop=0)
