"""The vocabulary of a run: the words of sentences to the numbers that AttnGAN's text encoder reads.

Words are as in the release: lower case, letters, digits and underscores, without what is not ASCII. It numbers them in
the order of a Python 2 dict, which cannot be had again, so its own list goes with its encoder (`data/captions_pickle`).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write, read_text

END = "<end>"  # number 0, which stands past the end of a sentence
LONGEST_FILE = 2**26  # bytes of a vocabulary
READ = 25  # words of a sentence that are read once an encoder is trained, as in the release for birds


class Vocabulary:
    """The words that a text encoder knows, `words`, by their numbers; the first is `END`."""

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def of(cls, sentences: Iterable[str]) -> "Vocabulary":
        """All words of the sentences, the most frequent first, equally frequent ones by the alphabet."""
        counts = Counter(word for sentence in sentences for word in words_of(sentence))
        return cls([END, *sorted(counts, key=lambda word: (-counts[word], word))])

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """The vocabulary in a file that `save` wrote. Raises `InputError` for any other."""
        try:
            words = json.loads(read_text(path, LONGEST_FILE))
        except OSError as problem:
            raise InputError(
                f"{path} cannot be read ({problem.strerror}): a text encoder of words needs the vocabulary it was "
                "trained with; copy the file there"
            ) from None
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or words[:1] != [END]:
            raise InputError(f"{path} is no vocabulary, a list of words that begins with {END}: copy it again")
        return cls(words)

    def save(self, path: Path) -> None:
        with atomic_write(path) as unfinished:
            unfinished.write_text(json.dumps(self.words, indent=0) + "\n", encoding="utf-8")

    def numbers_of(self, sentence: str) -> list[int]:
        """The numbers of the words of a sentence; unknown ones are left out, as in the release."""
        return [self.numbers[word] for word in words_of(sentence) if word in self.numbers]

    def encode(self, sentences: Iterable[str], limit: int | None = None) -> np.ndarray:
        """The numbers (N, T) int32 of the first `limit` words of each sentence, as `padded` puts them."""
        return padded([self.numbers_of(sentence) for sentence in sentences], limit)

    def reads(self, sentence: str) -> bool:
        """Whether `encode` reads anything of a sentence."""
        return bool(self.numbers_of(sentence))

    def unread(self, sentence: str, limit: int | None = None) -> str:
        """What `encode` does not read of a sentence, in words; empty where it reads all."""
        found = words_of(sentence)
        known = [word for word in found if word in self.numbers]
        unknown = ", ".join(dict.fromkeys(word for word in found if word not in self.numbers))
        if not known:
            reason = f"the text encoder knows none of its words ({unknown})" if found else "it holds no words"
            return f"{reason}, so its images show what is drawn when nothing is asked for"
        notes = []
        if limit and len(known) > limit:
            notes.append(f"only its first {limit} of {len(known)} words are read")
        if unknown:
            notes.append(f"left out as the text encoder does not know them: {unknown}")
        return "; ".join(notes)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The numbers of all words but `END`."""
        return {word: number for number, word in enumerate(self.words) if number}


def words_of(sentence: str) -> list[str]:
    """The words of a sentence as they stand in a vocabulary."""
    found = (word.encode("ascii", "ignore").decode() for word in re.findall(r"\w+", sentence.lower()))
    return [word for word in found if word]


def padded(sentences: Sequence[Sequence[int]], limit: int | None = None, draws: np.ndarray | None = None) -> np.ndarray:
    """Numbers of words in rows, (N, T) int32, 0 past each sentence's end; T is `limit`, or else the longest length.

    A sentence of more than `limit` words keeps the first of them. With `draws`, (N, most words) uniform, it keeps
    random ones in their order.
    """
    codes = np.zeros((len(sentences), limit or max([1, *map(len, sentences)])), np.int32)
    for i, sentence in enumerate(sentences):
        numbers = np.array(sentence, np.int32)
        if draws is not None and limit and len(numbers) > limit:
            numbers = numbers[np.sort(np.argsort(draws[i, : len(numbers)])[:limit])]
        numbers = numbers[: codes.shape[1]]
        codes[i, : len(numbers)] = numbers
    return codes


def lengths_of(codes: np.ndarray) -> np.ndarray:
    """How many words each sentence has, (N,) int64, given their numbers (N, T)."""
    return np.count_nonzero(codes, axis=1)
