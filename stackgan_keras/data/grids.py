"""Image grids: equally large images in rows and columns, with sentences above them."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 2  # pixels between the images of a grid
PAPER = 255  # grey level of margins and labels' background
INK = 40  # grey level of labels
GAP = 16  # pixels between blocks
WIDTH = 1000  # pixels that a grid of blocks is wide at least, if there are enough
TALLEST = 2.5  # how much higher than wide a grid of blocks may be
SMALLEST = 128  # pixels: smaller images are enlarged on a labelled grid


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of equally large uint8 images, each (columns, size, size, 3), as one (height, width, 3)."""
    count = max(len(row) for row in rows)
    margins = ((MARGIN, 0), (MARGIN, 0), (0, 0))  # above and left of each image
    lines = [np.hstack([*np.pad(row, ((0, count - len(row)), *margins), constant_values=PAPER)]) for row in rows]
    return np.pad(np.vstack(lines), ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=PAPER)


def enlarge(pixels: np.ndarray, size: int) -> np.ndarray:
    """Images (N, s, s, 3) with every pixel repeated until they are at least `size` wide."""
    times = max(1, -(-size // pixels.shape[1]))
    return pixels.repeat(times, 1).repeat(times, 2)


def labelled_grid(rows: Sequence[np.ndarray], captions: Sequence[str], *, max_lines: int | None = 6) -> np.ndarray:
    """`grid` with each column's sentence above it, wrapped to the column's width, at least 128 pixels."""
    pixels = grid([enlarge(row, SMALLEST) for row in rows])
    step = (pixels.shape[1] - MARGIN) // max(len(row) for row in rows)
    labels = [label(caption, step - 3 * MARGIN, max_lines=max_lines) for caption in captions]
    strip = np.full((max(map(len, labels), default=0) + 2 * MARGIN, pixels.shape[1], 3), PAPER, np.uint8)
    for i, text in enumerate(labels):
        _put(strip, text, MARGIN, MARGIN + i * step)
    return np.concatenate([strip, pixels])


def sample_grid(real: np.ndarray, copies: Sequence[dict[str, np.ndarray]], captions: Sequence[str]) -> np.ndarray:
    """`labelled_grid` of real images (N, size, size, 3), and below them each of a generator's images, by its name.

    Smaller ones than the real images are enlarged. One caption a column.
    """
    rows = [real]
    for made in copies:
        rows += [enlarge(images, real.shape[1]) for images in made.values()]
    return labelled_grid(rows, captions)


def titles_of(images: Iterable[str]) -> dict[str, str]:
    """What readers call images that a generator makes together, by their names: by stage, or by size."""
    names = list(images)
    titles = {"stage1_image": "Stage I", "image": "Stage II" if "stage1_image" in names else "Stage I"}
    return {name: titles.get(name) or f"{name.removeprefix('image_')} pixels" for name in names}


def block_grid(captions: Sequence[str], blocks: Sequence[Sequence[np.ndarray]], names: Sequence[str]) -> np.ndarray:
    """Several grids in one (height, width, 3), each with its sentence above it and its rows' `names` left of it.

    Every block holds as many rows as there are names, each (columns, size, size, 3); smaller images are enlarged to
    the largest. As many blocks stand side by side as make it `WIDTH` pixels wide, more where it would become long.
    """
    size = max(SMALLEST, *(row.shape[1] for block in blocks for row in block))
    grids = [grid([enlarge(row, size) for row in block]) for block in blocks]
    number, (height, block_width) = len(grids), grids[0].shape[:2]
    per_line = 1
    while per_line < number and (
        per_line * block_width < WIDTH or -(-number // per_line) * height > TALLEST * per_line * block_width
    ):
        per_line += 1
    letters = max(15, per_line * block_width // 90)  # pixels: a wide grid is looked at from further away
    heads = [label(caption, block_width - 3 * MARGIN, size=letters) for caption in captions]
    texts = [label(name, 4 * SMALLEST) for name in names]
    margin = max(text.shape[1] for text in texts) + GAP
    lines = []
    for first in range(0, number, per_line):
        members = range(first, min(first + per_line, number))
        top = GAP + max(len(heads[i]) for i in members) + MARGIN  # of the images
        line = np.full((top + height, margin + per_line * (block_width + GAP), 3), PAPER, np.uint8)
        for row, text in enumerate(texts):
            middle = top + MARGIN + row * (height - MARGIN) // len(texts) + (size - len(text)) // 2
            _put(line, text, middle, GAP // 2)
        for column, i in enumerate(members):
            left = margin + column * (block_width + GAP)
            _put(line, heads[i], top - MARGIN - len(heads[i]), left + MARGIN)  # just above its images
            _put(line, grids[i], top, left)
        lines.append(line)
    return np.pad(np.concatenate(lines), ((0, GAP), (0, 0), (0, 0)), constant_values=PAPER)


def label(text: str, width: int, *, size: int = 12, max_lines: int | None = None) -> np.ndarray:
    """Text in dark letters of `size` pixels, wrapped at `width` pixels: (height, at most `width`, 3) uint8.

    Any text: what the font lacks becomes a box or a question mark. Lines over `max_lines` are left out, with "…".
    """
    try:
        import matplotlib  # only here: its font knows many alphabets, but some packages of it come without

        font: ImageFont.FreeTypeFont | ImageFont.ImageFont = ImageFont.truetype(
            f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size
        )
    except (ImportError, OSError):
        font = ImageFont.load_default(size)
    kept = "".join(c for c in text if unicodedata.category(c) != "Cf")  # what steers, such as the joiners between emoji
    printable = "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "\ufffd" for c in kept)
    lines = [line for paragraph in printable.split("\n") for line in _wrapped(paragraph, font, width)] or [""]
    if max_lines is not None and len(lines) > max_lines:
        words = lines[max_lines - 1].split()
        while words and font.getlength(f"{' '.join(words)} …") > width:
            words.pop()
        lines = [*lines[: max_lines - 1], " ".join([*words, "…"])]
    used = min(width, max(int(font.getlength(line)) + 1 for line in lines))
    paper = Image.new("RGB", (used, len(lines) * (size + 4)), (PAPER,) * 3)
    draw = ImageDraw.Draw(paper)
    for i, line in enumerate(lines):
        draw.text((0, i * (size + 4)), line, (INK,) * 3, font)
    return np.asarray(paper)


def _put(canvas: np.ndarray, pixels: np.ndarray, top: int, left: int) -> None:
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels


def _wrapped(text: str, font, width: int) -> list[str]:
    """Lines of at most `width` pixels, cut between words, or within one that is longer than a line."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            word = f"{lines.pop()} {word}"
        while font.getlength(word) > width and len(word) > 1:
            cut = next(end for end in range(2, len(word) + 1) if font.getlength(word[:end]) > width) - 1
            lines.append(word[:cut])
            word = word[cut:]
        lines.append(word)
    return lines
