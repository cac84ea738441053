"""Attributes of drawn birds: which colour has each part, and which does a caption ask for?

Attribute accuracy is the share of the named parts that have the colour asked for, as the attribute classifier reads
the pictures: how well a generator heeds its sentence.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from stackgan_keras.data import images
from stackgan_keras.data.drawn_birds import BEAK, COLOURS, NOUNS, PLUMAGE
from stackgan_keras.errors import InputError
from stackgan_keras.models.attribute_classifier import with_features

PARTS = {**{part: tuple(COLOURS) for part in PLUMAGE}, "beak": BEAK["beak"]}  # the colours that each may have
CLASSIFIER = {"attributes": {part: list(colours) for part, colours in PARTS.items()}, "image_size": 128}
BATCH = 50  # pictures at a time: what fits beside a generator

_PART_OF = {noun: part for part, nouns in NOUNS.items() for noun in nouns}
_NOUN = "|".join(sorted(_PART_OF, key=len, reverse=True))  # "wing feathers" before a shorter noun
_COLOUR = "|".join([*COLOURS, "gray"])
_PHRASES = (
    re.compile(rf"\b(?P<colour>{_COLOUR}) (?P<noun>{_NOUN})\b"),  # a black crown
    re.compile(rf"\b(?P<noun>{_NOUN}) (?:that )?(?:is|are) (?P<colour>{_COLOUR})\b"),  # wings that are yellow
)


class Reader:
    """An attribute classifier and its features, over any number of pictures."""

    def __init__(self, classifier: keras.Model):
        self.model = with_features(classifier)

    def __call__(self, pictures: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The colours that it reads, for each of `PARTS` an (N,) array of names, and the features (N, D) float32.

        `pictures` is (N, size, size, 3) uint8 of any size, framed as in training.
        """
        made: dict[str, list] = {}
        for start in range(0, len(pictures), BATCH):
            seen = self.model(_fitted(pictures[start : start + BATCH], self.model.input.shape[1]), training=False)
            for name, values in seen.items():
                made.setdefault(name, []).append(np.asarray(values))
        rows = {name: np.concatenate(parts) for name, parts in made.items()}
        return {part: np.array(PARTS[part])[rows[part].argmax(axis=-1)] for part in PARTS}, rows["features"]


def resized(pictures: np.ndarray, size: int):
    """Pictures (N, s, s, 3) uint8 smoothly resized for a network of one size: (N, size, size, 3) floats."""
    pixels = ops.cast(pictures, "float32")
    if pictures.shape[1] != size:
        pixels = ops.image.resize(pixels, (size, size), interpolation="bilinear", antialias=True)
    return pixels


def _fitted(pictures: np.ndarray, size: int):
    """Pictures (N, s, s, 3) uint8 of any size as the classifier takes them, in [-1, 1]."""
    return images.to_range(resized(pictures, size))


def crops(pictures: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Random crops (N, size, size, 3) of larger pictures (N, s, s, 3): real birds framed as training sees them."""
    places = np.random.default_rng(seed).integers(pictures.shape[1] - size + 1, size=(len(pictures), 2))
    return np.stack([picture[y : y + size, x : x + size] for picture, (y, x) in zip(pictures, places, strict=True)])


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


def accuracy(asked: Sequence[dict[str, str]], seen: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of named parts that have the colour asked for: for each of `PARTS`, and "all" of them together.

    `asked` holds what each of N sentences names, `seen` what a `Reader` reads in its picture. NaN where none is named.
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
