"""Images as [-1, 1] tensors, uint8 arrays, files and labelled grids; the crop of the published pipeline."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from stackgan_keras.errors import InputError, first_line

MARGIN = 2  # pixels between the pictures of a grid
PAPER = 255  # grey level of margins and labels' background
INK = 40  # grey level of labels
GAP = 16  # pixels between the blocks of a sheet
WIDTH = 1000  # pixels that a sheet of blocks is wide at least, if there are enough
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

    `box` is (x, y, width, height) in pixels or None for the whole picture. Raises `InputError` for an unreadable file.
    """
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except Exception as problem:  # decoders of two dozen formats raise whatever a damaged file leads to
        raise InputError(
            f"the picture {path} cannot be read ({first_line(problem)}): replace it or leave it out of filenames.pickle"
        ) from None
    if box is not None:
        picture = picture.crop(crop_box(box, *picture.size))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def crop_box(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The square of the published pipeline around a box (x, y, w, h), clipped to the picture: left, top, right, bottom.

    Its half-side is 0.75 max(w, h), so that the object fills about three quarters of it. A box that leaves nothing
    of the picture gives the whole picture.
    """
    x, y, w, h = box
    centre_x, centre_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    half = int(0.75 * max(w, h))
    left, right = max(0, centre_x - half), min(width, centre_x + half)
    top, bottom = max(0, centre_y - half), min(height, centre_y + half)
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, width, height)


def centre_crops(pictures: np.ndarray, size: int) -> np.ndarray:
    """The middles (N, size, size, 3) of larger pictures (N, s, s, 3), as they stand in a training crop on average."""
    start = (pictures.shape[1] - size) // 2
    return np.ascontiguousarray(pictures[:, start : start + size, start : start + size])


def ten_crops(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle of a picture (s, s, 3) and its four corners, and their mirror images: (10, size, size, 3)."""
    far = picture.shape[0] - size
    places = ((far // 2, far // 2), (0, 0), (0, far), (far, 0), (far, far))
    crops = [picture[y : y + size, x : x + size] for y, x in places]
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)])


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of equally large uint8 pictures, each (columns, size, size, 3), on one sheet (height, width, 3)."""
    count = max(len(row) for row in rows)
    margins = ((MARGIN, 0), (MARGIN, 0), (0, 0))  # above and left of each picture
    lines = [np.hstack(np.pad(row, ((0, count - len(row)), *margins), constant_values=PAPER)) for row in rows]
    return np.pad(np.vstack(lines), ((0, MARGIN), (0, MARGIN), (0, 0)), constant_values=PAPER)


def enlarge(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures (N, s, s, 3) with every pixel repeated until they are at least `size` wide."""
    times = max(1, -(-size // pictures.shape[1]))
    return pictures.repeat(times, 1).repeat(times, 2)


def labelled_grid(rows: Sequence[np.ndarray], captions: Sequence[str], *, max_lines: int | None = 6) -> np.ndarray:
    """`grid` with each column's sentence above it, wrapped to the column's width, at least 128 pixels."""
    sheet = grid([enlarge(row, SMALLEST) for row in rows])
    step = (sheet.shape[1] - MARGIN) // max(len(row) for row in rows)
    labels = [label(caption, step - 3 * MARGIN, max_lines=max_lines) for caption in captions]
    strip = np.full((max(map(len, labels), default=0) + 2 * MARGIN, sheet.shape[1], 3), PAPER, np.uint8)
    for i, text in enumerate(labels):
        _put(strip, text, MARGIN, MARGIN + i * step)
    return np.concatenate([strip, sheet])


def sample_grid(real: np.ndarray, copies: Sequence[dict[str, np.ndarray]], captions: Sequence[str]) -> np.ndarray:
    """`labelled_grid` of real pictures (N, size, size, 3), and below them the `image` of each of a generator's outputs.

    Where these hold a `stage1_image`, it stands above the image, enlarged. One caption a column.
    """
    rows = [real]
    for made in copies:
        if "stage1_image" in made:
            rows.append(enlarge(made["stage1_image"], real.shape[1]))
        rows.append(made["image"])
    return labelled_grid(rows, captions)


def block_sheet(captions: Sequence[str], blocks: Sequence[Sequence[np.ndarray]], names: Sequence[str]) -> np.ndarray:
    """Several grids on one sheet (height, width, 3), each with its sentence above it and its rows' `names` left of it.

    Every block holds as many rows as there are names, each (columns, size, size, 3); smaller pictures are enlarged
    to the largest. As many blocks stand side by side as make it `WIDTH` pixels wide, more where it would become long.
    """
    size = max(SMALLEST, *(row.shape[1] for block in blocks for row in block))
    grids = [grid([enlarge(row, size) for row in block]) for block in blocks]
    number, (height, block_width) = len(grids), grids[0].shape[:2]
    per_line = 1
    while per_line < number and (
        per_line * block_width < WIDTH or -(-number // per_line) * height > TAPE * per_line * block_width
    ):
        per_line += 1
    letters = max(15, per_line * block_width // 90)  # pixels: a wide sheet is looked at from further away
    heads = [label(caption, block_width - 3 * MARGIN, size=letters) for caption in captions]
    texts = [label(name, 4 * SMALLEST) for name in names]
    margin = max(text.shape[1] for text in texts) + GAP
    lines = []
    for first in range(0, number, per_line):
        shown = range(first, min(first + per_line, number))
        top = GAP + max(len(heads[i]) for i in shown) + MARGIN  # of the pictures
        line = np.full((top + height, margin + per_line * (block_width + GAP), 3), PAPER, np.uint8)
        for row, text in enumerate(texts):
            middle = top + MARGIN + row * (height - MARGIN) // len(texts) + (size - len(text)) // 2
            _put(line, text, middle, GAP // 2)
        for column, i in enumerate(shown):
            left = margin + column * (block_width + GAP)
            _put(line, heads[i], top - MARGIN - len(heads[i]), left + MARGIN)  # just above its pictures
            _put(line, grids[i], top, left)
        lines.append(line)
    return np.pad(np.concatenate(lines), ((0, GAP), (0, 0), (0, 0)), constant_values=PAPER)


def label(text: str, width: int, *, size: int = 12, max_lines: int | None = None) -> np.ndarray:
    """Text in dark letters of `size` pixels, wrapped at `width` pixels: (height, at most `width`, 3) uint8.

    Any text: what cannot be shown becomes a box or a question mark. Lines over `max_lines` are left out, with "…".
    """
    try:
        import matplotlib  # only here: its font knows many alphabets, but some packages of it come without

        font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    except (ImportError, OSError):
        font = ImageFont.load_default(size)
    kept = "".join(c for c in text if unicodedata.category(c) != "Cf")  # what steers, such as the joiners between emoji
    shown = "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "\ufffd" for c in kept)
    lines = [line for paragraph in shown.split("\n") for line in _wrapped(paragraph, font, width)] or [""]
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


def _put(sheet: np.ndarray, pixels: np.ndarray, top: int, left: int) -> None:
    sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels


def _wrapped(text: str, font, width: int) -> list[str]:
    """Lines of at most `width` pixels, cut between words, or within one that is longer than a line."""
    lines = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            word = f"{lines.pop()} {word}"
        while font.getlength(word) > width and len(word) > 1:
            cut = next(end for end in range(2, len(word) + 1) if font.getlength(word[:end]) > width) - 1
            lines.append(word[:cut])
            word = word[cut:]
        lines.append(word)
    return lines


def write(path: Path, pixels: np.ndarray, about: dict | None = None) -> None:
    """Saves (height, width, 3) uint8 as a PNG, making its folder; what is said `about` it is kept in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngInfo()
    for key, value in (about or {}).items():
        text.add_itxt(key, str(value))
    Image.fromarray(pixels).save(path, "PNG", pnginfo=text)


def write_gif(path: Path, frames: np.ndarray, milliseconds: Sequence[int]) -> None:
    """Saves (N, height, width, 3) uint8 as a GIF that runs for ever, each frame shown for its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(frame).quantize(256) for frame in frames]
    first.save(path, "GIF", save_all=True, append_images=others, duration=list(milliseconds), loop=0)
