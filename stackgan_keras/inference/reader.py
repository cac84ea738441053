"""What a run reads of sentences: an embedding of each and, for AttnGAN, its words."""

from collections.abc import Iterable, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.models import text_encoder, word_encoder
from stackgan_keras.models.vocabulary import READ, Vocabulary


class Reader:
    """A text encoder of characters or, with its `vocabulary`, of words, as a function of sentences.

    Each sentence is read on its own, so that what is read of it depends on no other, to the bit.
    """

    def __init__(self, encoder: keras.Model, vocabulary: Vocabulary | None = None):
        self.encoder, self.vocabulary = encoder, vocabulary
        output = encoder.output if vocabulary is None else encoder.output["sentence"]
        self.text_dim = output.shape[-1]
        self._encode = tf.function(partial(encoder, training=False))

    def __call__(self, sentences: Sequence[str]) -> dict[str, np.ndarray]:
        """The `embedding` (N, text_dim) of sentences; of words also `words` (N, T, text_dim) and `mask` (N, T)."""
        if self.vocabulary is None:
            rows = text_encoder.encode(sentences)
            return {"embedding": _joined(np.asarray(self._encode(row[None]), np.float32) for row in rows)}
        rows = self.vocabulary.encode(sentences, READ)
        read = [self._encode({"captions": row[None]}) for row in rows]
        return {name: _joined(np.asarray(made[output]) for made in read) for name, output in word_encoder.TEXT.items()}

    def words_of(self, sentence: str) -> list[str]:
        """The words of a sentence that are read, in their order."""
        if self.vocabulary is None:
            return []
        return [self.vocabulary.words[number] for number in self.vocabulary.numbers_of(sentence)[:READ]]

    def unread(self, sentence: str) -> str:
        """What is not read of a sentence, in words; empty where all is."""
        return text_encoder.unread(sentence) if self.vocabulary is None else self.vocabulary.unread(sentence, READ)


def between(texts: dict[str, np.ndarray], along: np.ndarray) -> dict[str, np.ndarray]:
    """Texts (N, ...) at places `along` (N,), 0 to 1, of the way from the first of two to the second.

    Words are taken place by place, and a place of either counts.
    """
    made = {}
    for name, (start, end) in texts.items():
        if start.dtype == bool:
            made[name] = np.repeat((start | end)[None], len(along), axis=0)
        else:
            share = along.reshape(-1, *[1] * start.ndim).astype(np.float32)
            made[name] = (1 - share) * start + share * end
    return made


def _joined(rows: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([*rows])
