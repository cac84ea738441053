"""AttnGAN's `captions.pickle`: the vocabulary that belongs to its released text encoder."""

import operator
from pathlib import Path

from stackgan_keras.data import pickles
from stackgan_keras.errors import InputError
from stackgan_keras.models.vocabulary import END, Vocabulary


def read(path: str | Path) -> Vocabulary:
    """The vocabulary in a `captions.pickle`: captions of train and test as numbers, number to word, word to number.

    Raises `InputError` for other files, and where the two tables do not say the same.
    """
    parts = pickles.load(path)
    wrong = InputError(
        f"{path} is no captions.pickle of AttnGAN, [train captions, test captions, number to word, word to number]: "
        "take the one that came with the text encoder"
    )
    if not isinstance(parts, (list, tuple)) or len(parts) != 4 or not all(isinstance(p, dict) for p in parts[2:]):
        raise wrong
    words, numbers = parts[2:]
    try:
        ordered = [words[number] for number in range(len(words))]
        back = [operator.index(numbers[word]) for word in ordered]
    except (KeyError, TypeError):
        raise wrong from None
    if ordered[:1] != [END] or not all(isinstance(word, str) for word in ordered) or back != [*range(len(words))]:
        raise wrong
    return Vocabulary(ordered)
