"""Which captions and which real images are runs evaluated on? And which captions are candidates of R-precision?"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    reference: Gaussian | None = None  # statistics of features in place of those of the real images

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


def spread_captions(captions: Sequence[Sequence[str]], count: int | None = None) -> list[Caption]:
    """All captions, or `count` of them, evenly spread over images and in turn of another wording; each once."""
    everything = [(i, j) for i, own in enumerate(captions) for j in range(len(own))]
    if count is None or count >= len(everything):
        return everything
    chosen = [everything[k * len(everything) // count][0] for k in range(count)]
    return [(i, k % len(captions[i])) for k, i in enumerate(chosen)]
