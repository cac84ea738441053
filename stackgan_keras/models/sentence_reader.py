"""A text encoder in its file, of characters or of words: sentences to embeddings."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.models import text_encoder, weights, word_encoder
from stackgan_keras.models.runs import VOCABULARY
from stackgan_keras.models.vocabulary import READ, Vocabulary


class SentenceReader(NamedTuple):
    """What reads sentences: `embed(sentences, progress=False)` gives (N, text_dim) float32."""

    embed: Callable[..., np.ndarray]
    unread: Callable[[str], str]  # what it does not read of a sentence, in words


def load(path: Path) -> SentenceReader:
    """The text encoder in a weight file, with the vocabulary beside it if it reads words.

    Raises `InputError` for other networks, and where the two do not belong together.
    """
    of_words = reads_words(path)
    model = weights.load(path)
    if not of_words:
        return SentenceReader(partial(text_encoder.embed, model), text_encoder.unread)
    vocabulary = vocabulary_of(path)
    return SentenceReader(partial(word_encoder.embed, model, vocabulary), partial(vocabulary.unread, limit=READ))


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
        raise InputError(f"{path} holds a {network} where a text encoder is expected: give the right file")
    return network == "word_encoder"
