"""Which captions and which real images are runs evaluated on? And which captions are candidates of R-precision?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stackgan_keras.data import drawn_birds
from stackgan_keras.data.published import Dataset
from stackgan_keras.evaluation import r_precision
from stackgan_keras.evaluation.frechet import Gaussian

BIRDS = {"count": 600, "classes": 60, "test_classes": 40, "embedding_dim": 1}  # 400 are of the 40 test species
SEED = 2017  # other birds than those of any shipped config
CANDIDATES = 2000  # captions at most, of which those of other classes are drawn

Caption = tuple[int, int]  # a real image of a data set, and which of its captions


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Captions of a split of a data set, its real images, and those of the other split."""

    root: Path  # of the data
    split: str
    dataset: Dataset
    others: Dataset | None  # the other split, with which the real images of this one are compared
    captions: list[Caption]  # of which runs generate images
    seed: int  # of noise, crops and draws
    count: int | None = None  # real images of each split that are read at most; None: all
    reference: Gaussian | None = None  # statistics of features in place of those of the real images

    @cached_property
    def read(self) -> list[int]:
        """Which real images of the data set are read, to be compared with and to be scored."""
        return spread(len(self.dataset), self.count)

    @cached_property
    def real(self) -> Dataset:
        """These real images."""
        return _subset(self.dataset, self.count)

    @cached_property
    def real_others(self) -> Dataset | None:
        """As many of the other split, with which they are compared."""
        return None if self.others is None else _subset(self.others, self.count)

    def sentences(self, captions: list[Caption]) -> list[str]:
        return [self.dataset.captions[i][j] for i, j in captions]

    def candidates(self, images: Sequence[int] | None = None) -> tuple[list[Caption], np.ndarray]:
        """Candidate captions, and which of them, of other classes, stand beside the own one of each image, (N, 99).

        `images` are N real ones of the data set, or else one of each class. Raises `InputError` where other classes
        have too few captions.
        """
        among, classes = spread_captions(self.dataset.captions, CANDIDATES), self.dataset.class_ids
        own = np.unique(classes) if images is None else classes[images]
        of_candidates = classes[[i for i, _ in among]]
        return among, r_precision.sentences_of_other_classes(own, of_candidates, seed=self.seed)


def draw_birds(output_dir: Path, seed: int) -> Path:
    """The folder of the synthetic birds that runs are evaluated on without data of one's own; drawn once."""
    return drawn_birds.write(output_dir / "data" / f"evaluation_birds_{seed}", seed=seed, **BIRDS, progress=True)


def spread(number: int, count: int | None = None) -> list[int]:
    """The places of `number` things, or of `count` of them, evenly spread."""
    return [*range(number)] if count is None or count >= number else [k * number // count for k in range(count)]


def _subset(dataset: Dataset, count: int | None) -> Dataset:
    return dataset if count is None or count >= len(dataset) else dataset.subset(spread(len(dataset), count))


def spread_captions(captions: Sequence[Sequence[str]], count: int | None = None) -> list[Caption]:
    """All captions, or `count` of them, evenly spread over images and in turn of another wording; each once."""
    everything = [(i, j) for i, own in enumerate(captions) for j in range(len(own))]
    if count is None or count >= len(everything):
        return everything
    chosen = [everything[place][0] for place in spread(len(everything), count)]
    return [(i, k % len(captions[i])) for k, i in enumerate(chosen)]
