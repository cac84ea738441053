"""A stand-in for a trained text encoder: sentences to vectors, by fixed random projections of their words."""

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

SPREAD = 0.144  # standard deviation of a vector's entries: length 4.6 at 1024, as the published vectors have
STOP_WORDS = frozenset((
    "a", "also", "an", "are", "bird", "feathers", "has", "have", "in", "is", "it", "its", "of", "on", "that",
    "the", "this", "to", "very", "which", "whose",
))  # fmt: skip
BREAKS = re.compile(r"[,.;:!?]|\b(?:and|with|while|but|has|have)\b")
WORD = re.compile(r"[^\W_]+")
SYNONYMS = {
    "cap": "crown", "breast": "belly", "chest": "belly", "wings": "wing", "bill": "beak", "pointed": "straight",
    "little": "small", "big": "large", "gray": "grey",
}  # fmt: skip


def embed(captions: Sequence[str], dim: int = 1024, *, progress: bool = False) -> np.ndarray:
    """One vector a caption, (N, dim) float32: a fixed random projection of its words and of its pairs of words.

    Pairs are neighbours within a clause, in either order, once the stop words are gone: "a black crown" and "the
    crown is black" share one. Entries have a standard deviation of about 0.14; a text without words gives zeros.
    `progress` shows a bar.
    """
    from tqdm import tqdm  # only here: data is also read where there is none

    vectors: dict[str, np.ndarray] = {}
    sums = np.zeros((len(captions), dim), np.float32)
    shown = tqdm(captions, "embedding captions", unit=" captions", disable=not progress, leave=False)
    for row, caption in zip(sums, shown, strict=True):
        for token in _tokens(caption):
            if token not in vectors:
                generator = np.random.default_rng(zlib.crc32(token.encode()))
                vectors[token] = generator.standard_normal(dim, np.float32)
            row += vectors[token]
    lengths = np.sqrt((sums**2).sum(1, keepdims=True))
    return np.divide(sums * np.float32(SPREAD * dim**0.5), lengths, out=sums, where=lengths > 0)


def _tokens(caption: str) -> Iterator[str]:
    """The words that matter and, within each clause, the pairs of neighbours in alphabetical order."""
    for clause in BREAKS.split(caption.lower()):
        words = [SYNONYMS.get(word, word) for word in WORD.findall(clause) if word not in STOP_WORDS]
        yield from words
        yield from (" ".join(sorted(pair)) for pair in pairwise(words))
