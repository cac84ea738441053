"""A dataset's captions as numbers of words, and those that a step takes of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stackgan_keras.data.published import Dataset
from stackgan_keras.models.vocabulary import Vocabulary, padded


class NumberedCaptions:
    """The captions of N images by the numbers of their words, of which a step takes at most `limit`.

    The `longest` has so many words; where that is not given, all are counted.
    """

    def __init__(
        self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, limit: int, longest: int | None = None
    ):
        self.captions, self.vocabulary, self.limit = captions, vocabulary, limit
        if longest is None:
            longest = max(len(vocabulary.numbers_of(caption)) for each in captions for caption in each)
        self.longest = max(1, longest)

    def choose(self, index: np.ndarray, order: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """The numbers (B, count, limit) int32 of `count` captions of each image of `index` (B,), 0 past their ends.

        They are different ones, some again where an image has fewer: those that uniform draws `order` (B, most
        captions) put first. Which words of long ones are left out, `draws` (B, count, longest) say.
        """
        count, chosen = draws.shape[1], []
        for i, ranks in zip(index, order, strict=True):
            captions = self.captions[int(i)]
            places = np.resize(np.argsort(ranks[: len(captions)]), count)
            chosen += [self.vocabulary.numbers_of(captions[int(j)]) for j in places]
        return padded(chosen, self.limit, draws.reshape(len(chosen), -1)).reshape(len(index), count, -1)


def readable(dataset: Dataset, vocabulary: Vocabulary) -> Dataset:
    """The images that have captions, and of these the ones with a word of the vocabulary; without embeddings.

    Raises `InputError` if there is none.
    """
    captions = tuple(tuple(c for c in each if vocabulary.numbers_of(c)) for each in dataset.captions)
    return replace(dataset, captions=captions).captioned()
