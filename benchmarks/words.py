"""Which words a run's text encoder hears: what one exchanged word changes, on captions of classes never trained on.

python benchmarks/words.py --run flowers --data.root DIR   DIR: Oxford-102 as `prepare oxford102` writes it

A caption that holds one word of a group is embedded as it is and with that word exchanged for each other one of the
group ("red petals", "blue petals"). `moves` is the distance between the two, as a share of that between captions of two
images; beside it stands the distance of two captions of one image. `fits` tells how often the caption's own image
fits it better than the exchanged one, by the inner products of the run's encoders: chance is 50 %. The group `bound`
exchanges two colours within a caption, so that the same words are there and only what has which colour differs.
"""

import re
from pathlib import Path

import numpy as np

from stackgan_keras import command_line
from stackgan_keras.data import published
from stackgan_keras.errors import whole_number
from stackgan_keras.evaluation.evaluation_set import spread_captions
from stackgan_keras.evaluation.features import Networks
from stackgan_keras.evaluation.real_images import framed
from stackgan_keras.models import text_encoder
from stackgan_keras.models.runs import find_run
from stackgan_keras.training.encoders import Encoders

SIZE = 256  # pixels of the images that the encoders read
SEED = 0  # of their crops
GROUPS = {
    "colours": ("red", "orange", "yellow", "white", "pink", "purple", "blue", "green", "brown", "black"),
    "parts": ("petals", "center", "stamen", "pistil", "leaves", "stem", "anther", "filaments", "sepals"),
    "shapes": ("round", "rounded", "pointed", "pointy", "oval", "long", "thin", "wide", "smooth", "ruffled", "curled"),
    "numbers": ("one", "two", "three", "four", "five", "six", "many", "several", "few"),
}
BOUND = "bound"


def main() -> None:
    parser = command_line.Parser(prog="python benchmarks/words.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data.root", dest="root", metavar="DIR", type=Path, required=True, help="photographs with captions")
    add("--run", metavar="NAME", default="flowers", help="whose encoders are asked (default flowers)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ (default .)")
    add("--count", metavar="N", default=1000, help="captions of each group, evenly spread (default 1000)")
    given = parser.parse_args()
    count = whole_number("--count", given.count, 2)
    folder = find_run(given.output_dir, given.run, holding=["text_encoder"])
    encoders = Encoders.load(folder, given.output_dir / "weights")
    dataset = published.read(given.root, "test", text_dim=None).captioned()
    real = framed(dataset, SIZE, SEED, range(len(dataset)))
    images = Networks(encoders=encoders).outputs_of_all(real, "images", len(dataset))["embeddings"]
    spread = text_encoder.embed(encoders.text, [captions[0] for captions in dataset.captions])
    unit = distance(spread, np.roll(spread, len(spread) // 2, axis=0))
    print("| exchanged | captions | moves | fits |\n|---|---|---|---|")
    for name in (*GROUPS, BOUND):
        print(f"| {name} | {' | '.join(measured(encoders, dataset.captions, images, name, count, unit))} |", flush=True)
    several = [captions[:2] for captions in dataset.captions if len(captions) > 1]
    if several:
        first, second = (text_encoder.embed(encoders.text, [pair[i] for pair in several]) for i in (0, 1))
        print(f"| two captions of one image | {len(several)} | {distance(first, second) / unit:.2f} | |")


def measured(encoders, captions, images, group: str, count: int, unit: float) -> list[str]:
    """How many captions, how far they move and how often they fit: the cells of a row."""
    taken = [tuple(caption for caption in several if exchanged(caption, group)) for several in captions]
    asked = spread_captions(taken, count)
    if not asked:
        return ["0", "-", "-"]
    sentences = [taken[i][j] for i, j in asked]
    changed = [exchanged(sentence, group) for sentence in sentences]
    place = np.repeat(np.arange(len(asked)), [len(several) for several in changed])
    own = text_encoder.embed(encoders.text, sentences)[place]
    others = text_encoder.embed(encoders.text, [other for several in changed for other in several])
    chosen = images[[i for i, _ in asked]][place]
    fits = np.sum(own * chosen, axis=1) > np.sum(others * chosen, axis=1)
    return [str(len(asked)), f"{distance(own, others) / unit:.2f}", f"{fits.mean():.0%}"]


def exchanged(caption: str, group: str) -> list[str]:
    """The caption with its one word of the group exchanged for each other one; none if it has no or several."""
    words = GROUPS["colours" if group == BOUND else group]
    found = list(re.finditer(rf"\b(?:{'|'.join(words)})\b", caption))
    if group == BOUND:
        if len(found) != 2 or found[0][0] == found[1][0]:
            return []
        (a, b), (c, d) = (match.span() for match in found)
        return [caption[:a] + caption[c:d] + caption[b:c] + caption[a:b] + caption[d:]]
    if len(found) != 1:
        return []
    start, end = found[0].span()
    return [caption[:start] + word + caption[end:] for word in words if word != caption[start:end]]


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """The root of the mean squared distance between rows."""
    return float(np.sqrt(np.mean(np.sum(np.square(first - second), axis=1))))


if __name__ == "__main__":
    command_line.run(main)
