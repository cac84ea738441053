"""Attributes of drawn birds: which colours do captions name, and how many of the parts in images have them?

Attribute accuracy is the share of the named parts whose colour, as the attribute classifier predicts it, is the one
named: how well a generator heeds its sentence.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stackgan_keras.data.drawn_birds import BEAK, COLOURS, NOUNS, PLUMAGE
from stackgan_keras.errors import InputError
from stackgan_keras.files import LONG_TEXT, read_text

PARTS = {**{part: tuple(COLOURS) for part in PLUMAGE}, "beak": BEAK["beak"]}  # the colours that each may have
CLASSIFIER: dict[str, Any] = {"attributes": {part: list(colours) for part, colours in PARTS.items()}, "image_size": 128}

_PART_OF = {noun: part for part, nouns in NOUNS.items() for noun in nouns}
_NOUN = "|".join(sorted(_PART_OF, key=len, reverse=True))  # "wing feathers" before a shorter noun
_COLOUR = "|".join([*COLOURS, "gray"])
_PHRASES = (
    re.compile(rf"\b(?P<colour>{_COLOUR}) (?P<noun>{_NOUN})\b"),  # a black crown
    re.compile(rf"\b(?P<noun>{_NOUN}) (?:that )?(?:is|are) (?P<colour>{_COLOUR})\b"),  # wings that are yellow
)


class Phrase(NamedTuple):
    """The colour of a part, as a sentence names it, and where in the sentence the words for both begin."""

    part: str
    colour: str
    colour_at: int
    noun_at: int


def phrases(sentence: str) -> list[Phrase]:
    """What a sentence in the words of the drawn captions says of parts' colours."""
    found = []
    for pattern in _PHRASES:
        for match in pattern.finditer(sentence.lower()):
            part, colour = _PART_OF[match["noun"]], match["colour"].replace("gray", "grey")
            if colour in PARTS[part]:
                found.append(Phrase(part, colour, match.start("colour"), match.start("noun")))
    return found


def named_parts(sentence: str) -> dict[str, str]:
    """The parts whose colour a sentence in the words of the drawn captions names, such as {"wing": "yellow"}."""
    return {phrase.part: phrase.colour for phrase in phrases(sentence)}


def truth(root: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """The colours of the parts of the named images of a drawn set, as `drawn_birds.write` left them in `truth.jsonl`.

    Raises `InputError` where `root` holds no drawn birds, or not these.
    """
    path = Path(root) / "truth.jsonl"
    try:
        rows = [json.loads(line) for line in read_text(path, LONG_TEXT).splitlines()]
        birds = {row["name"]: {part: row[part] for part in PARTS} for row in rows}
        return [birds[name] for name in names]
    except FileNotFoundError:
        raise InputError(f"there is no {path}: give a folder of drawn birds, which prepare makes of `drawn`") from None
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"{path} is damaged or lacks images ({problem}): draw the birds again") from None


def accuracy(named: Sequence[dict[str, str]], predicted: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of named parts that have the colour named: for each of `PARTS`, and "all" of them together.

    `named` holds the `named_parts` of N sentences, `predicted` the colours of each part (N,) in their images. NaN where
    none is named.
    """
    right = {
        part: [colours[part] == predicted[part][i] for i, colours in enumerate(named) if part in colours]
        for part in PARTS
    }
    right["all"] = [hit for hits in right.values() for hit in hits]
    return {part: float(np.mean(hits)) if hits else float("nan") for part, hits in right.items()}


def chance(named: Sequence[dict[str, str]]) -> float:
    """The share of the named parts that colours picked at random would get right."""
    odds = [1 / len(PARTS[part]) for colours in named for part in colours]
    return float(np.mean(odds)) if odds else float("nan")
