"""How often a sentence finds its class among images, and what it finds instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stackgan_keras.data import grids
from stackgan_keras.data.published import Dataset

GRID_SENTENCES, GRID_IMAGES = 8, 4  # on the grid that shows what sentences find
OTHERS = 99  # sentences beside an image's own, for R-precision


class Embedding(Protocol):
    """Encoders of sentences and of images into one space."""

    def embed_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Their embeddings (M, D)."""

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Those (N, D) of images, of which `inputs` is what the image encoder reads."""


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What the sentences of one split find among its images: N images, M sentences, C classes."""

    dataset: Dataset
    scores: np.ndarray  # (M, N) of every sentence with every image
    image_of: np.ndarray  # (M,) the image each sentence was written for

    @classmethod
    def of(cls, encoders: Embedding, dataset: Dataset, inputs: np.ndarray) -> "Retrieval":
        """`inputs` is what the image encoder reads of the N images, its `image_inputs`."""
        sentences = [caption for captions in dataset.captions for caption in captions]
        scores = encoders.embed_sentences(sentences) @ encoders.embed_inputs(inputs).T
        return cls(dataset, scores, np.repeat(np.arange(len(dataset)), [len(c) for c in dataset.captions]))

    def recall(self) -> float:
        """Share of sentences whose class is the one whose images, on average, fit them best."""
        classes, members = np.unique(self.dataset.class_ids, return_inverse=True)
        sums = np.stack([self.scores[:, members == i].mean(axis=1) for i in range(len(classes))], axis=1)
        return float(np.mean(sums.argmax(axis=1) == members[self.image_of]))

    def chance(self) -> float:
        return 1 / len(np.unique(self.dataset.class_ids))

    def r_precision(self) -> float:
        """Share of images that fit one of their sentences better than `OTHERS` drawn from those of other classes.

        It is what drawing them again and again comes to: of n such sentences b fit worse, and all that are drawn are
        among these with probability b (b - 1) … / n (n - 1) …. Where there are fewer sentences, all are taken.
        (Xu et al., CVPR 2018, section 4.)
        """
        classes, found = self.dataset.class_ids, []
        for sentence, image in enumerate(self.image_of):
            others = self.scores[classes[self.image_of] != classes[image], image]
            worse, drawn = np.sum(others < self.scores[sentence, image]), np.arange(min(OTHERS, len(others)))
            found.append(np.prod(np.maximum(worse - drawn, 0) / (len(others) - drawn)))
        return float(np.mean(found))

    def grid(self, images: np.ndarray) -> np.ndarray:
        """Sentences, evenly spread, each above the image it was written for and the images it finds."""
        chosen = np.unique(np.linspace(0, len(self.scores) - 1, GRID_SENTENCES).round().astype(int))
        best = np.argsort(-self.scores[chosen], axis=1)[:, :GRID_IMAGES]
        rows = [images[self.image_of[chosen]], *(images[column] for column in best.T)]
        sentences = [caption for captions in self.dataset.captions for caption in captions]
        return grids.labelled_grid(rows, [sentences[i] for i in chosen])
