"""Whether a run's flowers have the colour that a sentence names, measured against photographs.

python benchmarks/colours.py --run flowers --data.root DIR   DIR: Oxford-102 as `prepare oxford102` writes it

For each colour the run draws "this flower has petals that are COLOUR" with 16 noises. The petals of an image are its
inner pixels that are neither green nor dark; their mean, hue as a direction and saturation as a length, is compared
with the mean of the photographs whose captions agree on a colour. An image is right if the nearest is the one asked
for. One half of the photographs makes the means, the other is scored as the images are, to tell what the measure can.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import rgb_to_hsv

from stackgan_keras import command_line
from stackgan_keras.data import photographs, published
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.evaluation.features import resized
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.runs import find_run

COLOURS = ("red", "orange", "yellow", "white", "pink", "purple", "blue")
SENTENCE = "this flower has petals that are {}"
ONE = "|".join(COLOURS)
NAMED = re.compile(rf"petals (?:that|which) are (?:\w+ )?({ONE})\b|\b({ONE}) petals\b|petals are ({ONE})\b")
SIZE = 64  # pixels at which all are compared
PHOTOGRAPHS = 80  # of each colour at most
LEAVES = (0.17, 0.47)  # hues, where the pixel is not grey
DARK = 0.35


def main() -> None:
    parser = command_line.Parser(prog="python benchmarks/colours.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data.root", dest="root", metavar="DIR", type=Path, required=True, help="photographs with captions")
    add("--run", metavar="NAME", default="flowers", help="whose images are measured (default flowers)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ (default .)")
    add("--count", metavar="N", default=16, help="images of each colour (default 16)")
    add("--seed", metavar="N", default=0, help="of their noise (default 0)")
    given = parser.parse_args()
    count, seed = whole_number("--count", given.count, 1), whole_number("--seed", given.seed, 0)
    model = StackGAN.load(find_run(given.output_dir, given.run))
    means, held_out = petals_of(given.root)
    made = model.generate([SENTENCE.format(colour) for colour in COLOURS], count=count, seed=seed)
    columns = {"photographs": held_out}
    for images in made.values():  # of either stage
        columns[f"{images.shape[2]} pixels"] = [petals(np.asarray(resized(some, SIZE))) for some in images]
    right = {title: [share_right(found, means, i) for i, found in enumerate(of)] for title, of in columns.items()}
    print(f"| petals | {' | '.join(right)} |\n{'|---' * (len(right) + 1)}|")
    for colour, *shares in zip(COLOURS, *right.values(), strict=True):
        print(f"| {colour} | {' | '.join(f'{share:.0%}' for share in shares)} |")
    print(f"| all (chance {1 / len(COLOURS):.0%}) | {' | '.join(f'{np.mean(s):.0%}' for s in right.values())} |")


def petals_of(root: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """The mean petal colour of each of `COLOURS` (7, 3), and those of other photographs of it, 7 of (N, 3)."""
    dataset = published.read(root, "train", text_dim=None)
    named = [named_colour(captions) for captions in dataset.captions]
    means, held_out = [], []
    for colour in COLOURS:
        chosen = np.random.default_rng(0).permutation([i for i, name in enumerate(named) if name == colour])
        if len(chosen) < 2:
            raise InputError(
                f"{root} has {len(chosen)} photographs whose captions agree on {colour} petals: give others"
            )
        found = petals(np.stack([photographs.read(dataset.paths[i], None, SIZE) for i in chosen[:PHOTOGRAPHS]]))
        means.append(found[::2].mean(axis=0))
        held_out.append(found[1::2])
    return np.stack(means), held_out


def named_colour(captions: Sequence[str]) -> str | None:
    """The colour that two captions or more give the petals, if no caption gives them another."""
    found = [next(filter(None, match.groups())) for caption in captions for match in NAMED.finditer(caption)]
    return found[0] if len(found) > 1 and len({*found}) == 1 else None


def petals(images: np.ndarray) -> np.ndarray:
    """The mean colour (N, 3) of petals in images (N, s, s, 3) of 0..255: hue by saturation on two axes, and value."""
    edge = images.shape[1] // 6
    pixels = images[:, edge:-edge, edge:-edge].reshape(len(images), -1, 3) / 255.0
    hue, saturation, value = np.moveaxis(rgb_to_hsv(pixels), -1, 0)
    is_leaf = (hue > LEAVES[0]) & (hue < LEAVES[1]) & (saturation > 0.15)
    weights = (~is_leaf & (value > DARK)).astype(float)
    angle = 2 * np.pi * hue
    parts = np.stack([np.cos(angle) * saturation, np.sin(angle) * saturation, value], axis=-1)
    return (weights[..., None] * parts).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)[:, None]


def share_right(found: np.ndarray, means: np.ndarray, asked: int) -> float:
    """How many of the colours (N, 3) are nearest to the mean that was asked for."""
    return float(np.mean(np.square(found[:, None] - means).sum(axis=-1).argmin(axis=1) == asked))


if __name__ == "__main__":
    command_line.run(main)
