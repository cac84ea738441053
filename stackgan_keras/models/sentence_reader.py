"""A text encoder and how it takes sentences: by their characters, or by their words and a vocabulary.

Only this file knows which it is; a run's weight file tells.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from stackgan_keras.errors import InputError
from stackgan_keras.models import text_encoder, weights, word_encoder
from stackgan_keras.models.runs import VOCABULARY
from stackgan_keras.models.tensors import Tensor
from stackgan_keras.models.vocabulary import READ, Vocabulary

BATCH = 256  # sentences at a time


class SentenceReader(ABC):
    """What reads sentences by a text `encoder`, whose embeddings have `text_dim` dimensions."""

    def __init__(self, encoder: keras.Model, text_dim: int):
        self.encoder, self.text_dim = encoder, text_dim

    @abstractmethod
    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        """The codes (N, T) int32 of sentences, which the encoder takes."""

    @abstractmethod
    def read(self, codes: np.ndarray | Tensor) -> dict[str, Tensor]:
        """Of codes (N, T) the `embedding` (N, text_dim); of words also `words` (N, T, text_dim) and `mask` (N, T)."""

    @abstractmethod
    def words_of(self, sentence: str) -> list[str]:
        """The words of a sentence that are read, in their order; none by characters."""

    @abstractmethod
    def unread(self, sentence: str) -> str:
        """What is not read of a sentence, in words; empty where all is."""

    def __call__(self, sentences: Sequence[str], *, progress: bool = False) -> dict[str, np.ndarray]:
        """What `read` gives of one sentence or more; `progress` shows a bar."""
        parts = [*self._batches(sentences, progress)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def embed(self, sentences: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """The embeddings (N, text_dim) float32 of sentences; `progress` shows a bar."""
        none = np.empty((0, self.text_dim), np.float32)
        return np.concatenate([none, *(part["embedding"] for part in self._batches(sentences, progress))])

    def _batches(self, sentences: Sequence[str], progress: bool) -> Iterator[dict[str, np.ndarray]]:
        from tqdm import tqdm  # only here: networks are also built where there is none

        with tqdm(total=len(sentences), desc="embedding", unit=" sentences", disable=not progress, leave=False) as bar:
            for start in range(0, len(sentences), BATCH):
                codes = self.encode(sentences[start : start + BATCH])
                yield {name: ops.convert_to_numpy(values) for name, values in self.read(codes).items()}
                bar.update(len(codes))


class CharacterReader(SentenceReader):
    """Reads sentences by a `text_encoder`."""

    def __init__(self, encoder: keras.Model):
        super().__init__(encoder, encoder.output.shape[-1])

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        return text_encoder.encode(sentences)

    def read(self, codes: np.ndarray | Tensor) -> dict[str, Tensor]:
        return {"embedding": self.encoder(codes, training=False)}

    def words_of(self, sentence: str) -> list[str]:
        return []

    def unread(self, sentence: str) -> str:
        return text_encoder.unread(sentence)


class WordReader(SentenceReader):
    """Reads sentences by a `word_encoder`: the first `READ` words that its vocabulary has."""

    def __init__(self, encoder: keras.Model, vocabulary: Vocabulary):
        super().__init__(encoder, encoder.output["sentence"].shape[-1])
        self.vocabulary = vocabulary

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        return self.vocabulary.encode(sentences, READ)

    def read(self, codes: np.ndarray | Tensor) -> dict[str, Tensor]:
        made = self.encoder({"captions": codes}, training=False)
        return {name: made[output] for name, output in word_encoder.TEXT.items()}

    def words_of(self, sentence: str) -> list[str]:
        return [self.vocabulary.words[number] for number in self.vocabulary.numbers_of(sentence)[:READ]]

    def unread(self, sentence: str) -> str:
        return self.vocabulary.unread(sentence, READ)


def load(path: Path) -> SentenceReader:
    """The text encoder in a weight file, with the vocabulary beside it if it reads words.

    Raises `InputError` for other networks, and where the two do not belong together.
    """
    if reads_words(path):
        vocabulary = vocabulary_of(path)
        return WordReader(weights.load(path), vocabulary)
    return CharacterReader(weights.load(path))


def vocabulary_of(path: Path) -> Vocabulary:
    """The vocabulary beside a text encoder of words. Raises `InputError` if it is of another size."""
    vocabulary = Vocabulary.load(path.parent / VOCABULARY)
    known = weights.read_config(path, "word_encoder").keywords.get("vocabulary")
    if known != len(vocabulary):
        raise InputError(
            f"{path.parent / VOCABULARY} has {len(vocabulary)} words but the text encoder beside it knows {known}: "
            "copy both from one training"
        )
    return vocabulary


def text_dim_of(path: Path) -> int:
    """Dimensions of the embeddings of the text encoder in a weight file."""
    reads_words(path)
    return weights.read_config(path).keywords["text_dim"]


def reads_words(path: Path) -> bool:
    """Whether the text encoder in a weight file reads words, not characters."""
    network = weights.read_config(path).network
    if network not in ("text_encoder", "word_encoder"):
        raise InputError(f"{path} holds a {network} where a text_encoder is expected: give the right file")
    return network == "word_encoder"
