"""What a stage's training leaves for users on the way: image grids, curves, weights, and a check of memorization."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import rgb
from stackgan_keras.files import atomic_write
from stackgan_keras.models import weights
from stackgan_keras.models.runs import weight_file
from stackgan_keras.models.stages import Stage
from stackgan_keras.training import curves, logs
from stackgan_keras.training.memorization import Memorization
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.run import own_text_encoder
from stackgan_keras.training.samples import SampleGrid


@dataclass(frozen=True, eq=False)
class WarmupOutputs:
    """Grids and weights of a generator that trains alone."""

    stage: Stage
    settings: Settings
    folders: Folders
    samples: SampleGrid
    generator: keras.Model  # the one whose images are shown and whose weights are kept

    name = "warmup"  # of its grids

    def figures(self) -> dict[str, float]:
        return {}

    def grid(self) -> np.ndarray:
        return self.samples(self.generator)

    def write_grid(self, epoch: int, grid: np.ndarray) -> Path:
        path = self.folders.results / self.stage.name / f"{self.name}_{epoch:05d}.png"
        rgb.write(path, grid)
        return path

    def save(self) -> None:
        encoder = own_text_encoder(self.folders)
        read = {
            "discriminator_features": self.settings.discriminator.features,
            "text_encoder": encoder and weights.read_checksum(encoder),
        }
        read = {name: value for name, value in read.items() if value is not None}
        file = weight_file(self.folders.weights, next(iter(self.stage.networks)))
        weights.save(self.generator, self.stage.generator, file, read)


@dataclass(frozen=True, eq=False)
class AdversarialOutputs(WarmupOutputs):
    """As `WarmupOutputs`, with the discriminators' weights, curves, and how well they know the training images."""

    objective: Objective
    memorization: Memorization

    name = "epoch"

    def figures(self) -> dict[str, float]:
        return self.memorization(self.objective) | {"spread": self.samples.spread(self.generator)}

    def save(self) -> None:
        super().save()
        _, *files = self.stage.networks
        for file, adversary in zip(files, self.objective.adversaries, strict=True):
            config = self.stage.discriminators[adversary.image]
            weights.save(adversary.discriminator, config, weight_file(self.folders.weights, file))
        figure = curves.draw(logs.read(self.folders.logs / self.stage.name / "metrics.jsonl"))
        if figure is not None:  # not yet within the first epoch
            with atomic_write(self.folders.results / self.stage.name / "curves.png") as unfinished:
                figure.savefig(unfinished, format="png", dpi=100)
