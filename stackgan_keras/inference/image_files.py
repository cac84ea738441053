"""The files that `generate` leaves, and their names: images and their grid, or an interpolation's strip and GIF."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.data import grids, rgb
from stackgan_keras.inference import attention
from stackgan_keras.inference.request import Request

COLUMNS = 8  # copies side by side on a grid
MOST_COPIES = 64  # of one sentence on a grid
PAGE = 96  # images on a grid, after which another begins
CAPTION = 201  # characters of a sentence on a grid: as many as the text encoder reads
STRIP = 12  # images in an interpolation's strip
STEP_MILLISECONDS, END_MILLISECONDS = 150, 750  # of a frame of a GIF, and of the two at its ends
STAGES = {"Stage I": "stage1", "Stage II": "stage2"}  # in file names


def write_images(
    made: Iterator[dict[str, np.ndarray]], asked: Request, folder: Path, words_of: Callable[[str], list[str]]
) -> list[str]:
    """A PNG of each image as `StackGAN.images` makes it, and grids of all; what was written, in lines.

    Where attention comes with them, the final image's is another PNG; `words_of` tells its words.
    """
    sentences, number, count = asked.sentences, len(asked.sentences), asked.count
    suffix = _suffix(asked)
    others = f"-and-{number - 1}-more-{_code(chr(10).join(sentences))}" if number > 1 else ""
    stem = f"grid_{_tag(sentences[0])}{others}_{suffix}_copies{count}"
    per_page = max(1, PAGE // min(count, MOST_COPIES))
    lines: list[str] = []
    page: dict[str, list[dict[str, np.ndarray]]] = {}  # caption -> its copies, each an image of each stage or size
    with tqdm(desc="drawing", total=number * count, unit=" images", leave=False, disable=None) as bar:
        for place, sentence in enumerate(sentences, start=1):
            kept = page.setdefault(f"{place}. {_caption(sentence)}", [])
            for copy in range(1, count + 1):
                drawn = next(made)
                weights = {name: drawn.pop(name) for name in [*drawn] if name.startswith("attention_")}
                images = _titled(drawn)
                name = f"{place:02d}_{_tag(sentence)}_{suffix}_copy{copy:02d}"
                for title, pixels in images.items():
                    rgb.write(folder / f"{name}_{STAGES.get(title, title.split()[0])}.png", pixels)
                if weights:
                    *_, final = images.values()
                    row = attention.maps(final, words_of(sentence), [*weights.values()][-1])
                    rgb.write(folder / f"{name}_attention.png", row)
                if copy <= MOST_COPIES:
                    kept.append(images)
                bar.update()
            if len(page) == per_page or place == number:
                ending = f"_page{len(lines) + 1}" if number > per_page else ""
                rgb.write(folder / f"{stem}{ending}.png", _page(page))
                lines.append(f"grid: {folder / stem}{ending}.png")
                page = {}
    if count > MOST_COPIES:
        lines.insert(0, f"note: the grid shows the first {MOST_COPIES} of {count} copies")
    kind = "stage" if images.keys() <= STAGES.keys() else "size"
    return [f"images: {folder}: {count} of each {kind} for each of {number} sentence{'s' * (number > 1)}", *lines]


def _page(copies: dict[str, list[dict[str, np.ndarray]]]) -> np.ndarray:
    """The grid of some sentences: rows of copies, in each of which small images stand above large ones."""
    first = next(iter(copies.values()))
    starts, images = range(0, len(first), COLUMNS), first[0]
    names = [f"{title}\n{len(images[title])} pixels" if title in STAGES else title for _ in starts for title in images]
    blocks = [
        [np.stack([made[title] for made in kept[i : i + COLUMNS]]) for i in starts for title in images]
        for kept in copies.values()
    ]
    return grids.block_grid(list(copies), blocks, names)


def write_interpolation(made: dict[str, np.ndarray], asked: Request, folder: Path) -> list[str]:
    """Of what `StackGAN.interpolate` made the strip, small images above large ones, and the GIF; as lines."""
    *_, best = made.values()
    steps = len(best)
    first, last = asked.sentences
    stem = folder / f"interpolation_{_tag(first)}_to_{_tag(last)}_{_suffix(asked)}_steps{steps}"
    chosen = np.unique(np.linspace(0, steps - 1, min(steps, STRIP)).round().astype(int))
    captions = [_caption(first), *[""] * (len(chosen) - 2), _caption(last)]
    rows = [grids.enlarge(row[chosen], best.shape[1]) for row in made.values()]
    rgb.write(Path(f"{stem}.png"), grids.labelled_grid(rows, captions, max_lines=None))
    there_and_back = rgb.there_and_back(steps)
    times = [END_MILLISECONDS if step in (0, steps - 1) else STEP_MILLISECONDS for step in there_and_back]
    rgb.write_gif(Path(f"{stem}.gif"), grids.enlarge(best[there_and_back], grids.SMALLEST), times)
    return [f"strip: {stem}.png", f"animation: {stem}.gif"]


def _suffix(asked: Request) -> str:
    """The part of a file's name that tells how the noise was drawn."""
    scales = {"epsilon": asked.epsilon_scale, "noise": asked.noise_scale}
    parts = [f"seed{asked.seed}", *(f"{name}{scale}" for name, scale in scales.items() if scale != 1)]
    if isinstance(asked.conditions, np.ndarray):
        parts.append(f"embedded-{_code(asked.conditions.tobytes())}")
    return "_".join([*parts, *["samenoise"] * asked.same_noise])


def _caption(sentence: str) -> str:
    """The sentence for a label."""
    text = " ".join(sentence[:CAPTION].split()) or "(nothing)"
    return text + (" …" if len(sentence) > CAPTION else "")


def _titled(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images that were made together under their titles, the final one last."""
    titles = grids.titles_of(made)
    return {titles[name]: values for name, values in made.items()}


def _tag(sentence: str) -> str:
    """A sentence for a file name: a to z, digits and dashes, at most 49 of them; with a code unless they say it all."""
    plain = unicodedata.normalize("NFKD", sentence).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    says_it_all = slug and slug.replace("-", " ") == sentence.lower()
    return slug if says_it_all else f"{slug}-{_code(sentence)}".lstrip("-")


def _code(content: str | bytes) -> str:
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:8]
