"""Which colour has each part of a drawn bird? A small network that reads a picture, and what a caption asks for.

The judge looks at one drawn bird and names the colour of its crown, back, belly, wing, tail and beak. Beside the
parts that a sentence names this tells how well a generator did as it was told.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from stackgan_keras import images, metrics
from stackgan_keras.drawn_birds import BEAK, COLOURS, NOUNS, PLUMAGE
from stackgan_keras.errors import InputError

PARTS = {**{part: tuple(COLOURS) for part in PLUMAGE}, "beak": BEAK["beak"]}  # the colours that each may have
BATCH = 50  # pictures at a time: what fits beside a generator
UNSEEN = 0.5  # share of the patches that it does without in training, so that it looks at many

_PART_OF = {noun: part for part, nouns in NOUNS.items() for noun in nouns}
_NOUN = "|".join(sorted(_PART_OF, key=len, reverse=True))  # "wing feathers" before a shorter noun
_COLOUR = "|".join([*COLOURS, "gray"])
_PHRASES = (
    re.compile(rf"\b(?P<colour>{_COLOUR}) (?P<noun>{_NOUN})\b"),  # a black crown
    re.compile(rf"\b(?P<noun>{_NOUN}) (?:that )?(?:is|are) (?P<colour>{_COLOUR})\b"),  # wings that are yellow
)


# -- the network --------------------------------------------------------------------------------------------------


def judge(*, image_size: int = 128, filters: int = 24) -> keras.Model:
    """A picture to the colours of its bird.

    In: pictures (B, image_size, image_size, 3) in [-1, 1]; `image_size` is a multiple of 32. Out: for each of `PARTS`
    the probabilities of its colours, (B, 11), of the beak's (B, 5). The network names the colour of every small
    patch and, from the whole picture, the places of each part, where it then counts the colours. Were the colours
    read from the whole picture too, it would learn the species by heart.
    """
    if image_size < 32 or image_size % 32:
        raise InputError(f"image_size is {image_size}: it must be a multiple of 32")
    picture = keras.Input((image_size, image_size, 3), name="image")
    x = _convolve(picture, filters, "half", strides=2)
    patches = _convolve(x, 2 * filters, "quarter", strides=2)  # (B, s/4, s/4, 2 filters), each sees 7 pixels
    maps = [patches]
    for name in ("eighth", "sixteenth", "whole"):
        maps.append(_convolve(maps[-1], 3 * filters, name, strides=2))
    x = maps.pop()  # (B, s/32, s/32, 3 filters)
    for name in ("to_sixteenth", "to_eighth", "to_quarter"):
        x = layers.Concatenate(name=f"{name}_join")([layers.UpSampling2D(name=f"{name}_resize")(x), maps.pop()])
        x = _convolve(x, 2 * filters, name)
    where = _by_place(layers.Conv2D(len(PARTS), 1, name="where")(x), "sigmoid", "where")  # (B, places, parts)
    where = layers.Dropout(UNSEEN, dtype="float32", name="blink")(where)  # or it would trust few patches
    x = layers.Conv2D(4 * filters, 1, activation="relu", name="mix")(patches)
    colour = _by_place(layers.Conv2D(len(COLOURS), 1, name="colour")(x), "softmax", "colour")  # (B, places, colours)
    seen = layers.Dot(axes=1, dtype="float32", name="seen")([where, colour])  # (B, parts, colours)
    return keras.Model(picture, {part: _shares(seen[:, i], part) for i, part in enumerate(PARTS)}, name="judge")


def _by_place(x, activation: str, name: str):
    """A map (B, h, w, channels), place after place: (B, h * w, channels)."""
    x = layers.Reshape((x.shape[1] * x.shape[2], x.shape[3]), name=f"{name}_places")(x)
    return layers.Activation(activation, dtype="float32", name=f"{name}_{activation}")(x)


def _shares(seen, part: str):
    """The shares of the colours that the part may have, of what is seen of all colours."""
    own = ops.take(seen, [list(COLOURS).index(colour) for colour in PARTS[part]], axis=1) + 1e-6
    return own / ops.sum(own, axis=1, keepdims=True)


def _convolve(x, filters: int, name: str, strides: int = 1):
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def read(model: keras.Model, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """The colours that the judge sees: for each of `PARTS` an (N,) array of names.

    `pictures` is (N, size, size, 3) uint8 of any size, framed as in training.
    """
    found = {part: [] for part in PARTS}
    for start in range(0, len(pictures), BATCH):
        seen = model(fitted(pictures[start : start + BATCH], model.input.shape[1]), training=False)
        for part in PARTS:
            found[part].append(np.argmax(np.asarray(seen[part]), axis=-1))
    return {part: np.array(PARTS[part])[np.concatenate(found[part])] for part in PARTS}


def fitted(pictures: np.ndarray, size: int):
    """Pictures (N, s, s, 3) uint8 as the judge takes them: (N, size, size, 3) floats, smoothly resized."""
    pixels = ops.cast(pictures, "float32")
    if pictures.shape[1] != size:
        pixels = ops.image.resize(pixels, (size, size), interpolation="bilinear", antialias=True)
    return images.to_range(pixels)


def crops(pictures: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Random crops (N, size, size, 3) of larger pictures (N, s, s, 3): real birds framed as training sees them."""
    places = np.random.default_rng(seed).integers(pictures.shape[1] - size + 1, size=(len(pictures), 2))
    return np.stack([picture[y : y + size, x : x + size] for picture, (y, x) in zip(pictures, places, strict=True)])


# -- what is asked for, what is true, and how far they agree ------------------------------------------------------


def named_parts(sentence: str) -> dict[str, str]:
    """The parts whose colour a sentence in the words of the drawn captions names, such as {"wing": "yellow"}."""
    named = {}
    for phrase in _PHRASES:
        for match in phrase.finditer(sentence.lower()):
            part, colour = _PART_OF[match["noun"]], match["colour"].replace("gray", "grey")
            if colour in PARTS[part]:
                named[part] = colour
    return named


def truth(root: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """The colours of the parts of the named pictures of a drawn set, as `drawn_birds.write` left them in `truth.jsonl`.

    Raises `InputError` where `root` holds no drawn birds, or not these.
    """
    path = Path(root) / "truth.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        birds = {row["name"]: {part: row[part] for part in PARTS} for row in rows}
        return [birds[name] for name in names]
    except FileNotFoundError:
        raise InputError(f"there is no {path}: give a folder of drawn birds, which prepare makes of `drawn`") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path} is damaged or lacks pictures ({problem}): draw the birds again") from None


def agreement(asked: Sequence[dict[str, str]], seen: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of named parts that have the colour asked for: for each of `PARTS`, and "all" of them together.

    `asked` holds what each of N sentences names, `seen` what `read` found in its picture. NaN where nothing is named.
    """
    right = {
        part: [colours[part] == seen[part][i] for i, colours in enumerate(asked) if part in colours] for part in PARTS
    }
    right["all"] = [hit for hits in right.values() for hit in hits]
    return {part: float(np.mean(hits)) if hits else float("nan") for part, hits in right.items()}


def chance(asked: Sequence[dict[str, str]]) -> float:
    """The share of the named parts that colours picked at random would get right."""
    odds = [1 / len(PARTS[part]) for colours in asked for part in colours]
    return float(np.mean(odds)) if odds else float("nan")


class Scores:
    """How a generator does, sentence after sentence: do its pictures agree with what is asked, and do they differ?"""

    def __init__(self, model: keras.Model):
        self.model, self.asked, self.seen, self.diversities, self.pixels = model, [], [], [], 0

    def add(self, asked: Sequence[dict[str, str]], pictures: np.ndarray) -> None:
        """Counts a group of two pictures or more (N, size, size, 3) uint8, and what each was `asked` to show."""
        self.asked += asked
        self.seen.append(read(self.model, pictures))
        self.diversities.append(metrics.diversity(pictures))
        self.pixels = pictures.shape[1]

    def row(self) -> dict[str, float]:
        """`agreement` over all pictures, the mean `diversity` of their groups, and their size, `pixels`."""
        seen = {part: np.concatenate([group[part] for group in self.seen]) for part in PARTS}
        agreed = agreement(self.asked, seen)
        return {"pixels": self.pixels, **agreed, "diversity": float(np.mean(self.diversities))}


# -- training -----------------------------------------------------------------------------------------------------


def labels(birds: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    """What `truth` says as numbers for `fit`: for each of `PARTS` the places (N,) of the colours among its own."""
    return {part: np.array([colours.index(bird[part]) for bird in birds]) for part, colours in PARTS.items()}
