"""A stage's training, from settings to trained weights: what `train_stage1` and `train_stage2` do."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import images
from stackgan_keras.data.noise import widths_of
from stackgan_keras.data.pipeline import AdversarialStream, decode
from stackgan_keras.data.published import Dataset
from stackgan_keras.models import weights
from stackgan_keras.models.blocks import ARCHITECTURES, precision, synchronize
from stackgan_keras.models.projected import FRAMING
from stackgan_keras.models.runs import TEXT_ENCODER, weight_file
from stackgan_keras.models.stages import Stage
from stackgan_keras.porting import extractors
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.distribution import make_strategy
from stackgan_keras.training.logs import plot_curves
from stackgan_keras.training.memorization import Memorization
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema
from stackgan_keras.training.precision import settled
from stackgan_keras.training.run import check_same_run, make_writable, read_datasets
from stackgan_keras.training.samples import SampleGrid
from stackgan_keras.training.train_step import TrainStep, WarmupStep
from stackgan_keras.training.trainer import OnGrid, Schedule, Trainer

WARMUP_SEED = 2**31  # added to train.seed, which is smaller: a warm-up has crops, captions and noise of its own


def train(stage: Stage, settings: Settings, folders: Folders, on_grid: OnGrid = None) -> Path:
    """Trains one stage adversarially and returns the path of its newest image grid.

    `on_grid` is called with the path of every grid that is written. Leaves `weights/<run>/<stage>_gen.weights.h5` and
    `…_dis.weights.h5`, grids and curves in `results/<run>/<stage>/`, checkpoints, metrics and the settings in
    `logs/<run>/<stage>/`. If that holds a checkpoint of the same settings, training goes on from there.
    """
    settings = settled(settings, folders.logs / stage.name)
    with precision(settings.train.precision):
        training = StageTraining(stage, settings, folders, on_grid)
        if settings.train.warmup_epochs:
            training.warm_up()
        training.train()
    return max(training.results.glob("epoch_*.png"), default=training.results)  # only the first machine draws any


class StageTraining:
    """The state of a stage's training: networks, stream and folders."""

    def __init__(self, stage: Stage, settings: Settings, folders: Folders, on_grid: OnGrid = None):
        self.stage, self.settings, self.folders, self.on_grid = stage, settings, folders, on_grid
        self.logs, self.results = folders.logs / stage.name, folders.results / stage.name
        make_writable(self.logs, self.results, folders.weights)
        check_same_run(settings, self.logs)
        train_set, test_set = read_datasets(settings, folders)
        keras.utils.set_random_seed(settings.train.seed)
        self.strategy = make_strategy()
        with self.strategy.scope():
            self.generator, self.discriminator = stage.build(settings.train.init_from, folders.output_dir)
            if self.strategy.num_replicas_in_sync > 1:
                synchronize(self.generator)
                synchronize(self.discriminator)
            features = settings.discriminator.features
            self.pretrained = None if features is None else extractors.projected_features(features)
        truncated = ARCHITECTURES[settings.generator.architecture].truncated_epsilon
        self.stream = self._stream(train_set, truncated)
        self.grid = SampleGrid(test_set, settings.data.image_size, truncated=truncated, seed=settings.train.seed)
        self.memorization = Memorization(train_set, test_set, settings.data.image_size, self.pretrained)
        self._announce()

    def _stream(self, dataset: Dataset, truncated: bool) -> AdversarialStream:
        data, train = self.settings.data, self.settings.train
        return AdversarialStream(
            dataset,
            decode(dataset, data.image_size, cache=data.cache, folder=self.folders.logs / "cache"),
            data.image_size,
            train.batch_size,
            widths=widths_of(self.generator),
            captions_per_embedding=data.captions_per_embedding,
            truncated=truncated,
            directions=train.r1_weight > 0,
            stage1_size=self.stage.stage1_size if train.pixel_weight or train.feature_weight else None,
            augmentations=2 * DRAWS if train.augmentation else 0,
            framings=2 * FRAMING if self.settings.discriminator.features else 0,
            seed=train.seed,
        )

    def warm_up(self) -> None:
        """Epochs in which the generator learns by the pixel loss alone, unless adversarial training has begun."""
        if tf.train.latest_checkpoint(str(self.logs / "checkpoints")):
            return
        train, seed = self.settings.train, WARMUP_SEED + self.settings.train.seed
        stream = replace(
            self.stream, seed=seed, directions=False, augmentations=0, framings=0, stage1_size=self.stage.stage1_size
        )
        schedule = Schedule.of(train, train.warmup_epochs, stream.steps_per_epoch)
        with self.strategy.scope():
            optimizer = make_cosine_adam(train.warmup_learning_rate, schedule.steps)
            optimizer.build(self.generator.trainable_variables)
        trainer = Trainer(
            strategy=self.strategy,
            train_step=WarmupStep(self.generator, optimizer, train.kl_weight),
            trained={"generator": self.generator, "optimizer": optimizer},
            stream=stream,
            schedule=schedule,
            folder=self.logs / "warmup",
            outputs=StageOutputs(self, self.generator, grids="warmup"),
            on_grid=self.on_grid,
        )
        if trainer.done < schedule.steps:
            config.write(self.settings, self.logs / "config.yaml")
            print(f"{self.stage.name} of run {self.settings.run}: {schedule.steps} steps of the pixel loss alone")
            trainer()

    def train(self) -> None:
        """The epochs in which generator and discriminator are trained alternately."""
        train = self.settings.train
        with self.strategy.scope():
            decay_every = train.lr_decay_epochs * self.stream.steps_per_epoch
            generator_optimizer = make_adam(train.generator_learning_rate, decay_every)
            discriminator_optimizer = make_adam(train.discriminator_learning_rate, decay_every)
            generator_optimizer.build(self.generator.trainable_variables)  # before a checkpoint is restored into them
            discriminator_optimizer.build(self.discriminator.trainable_variables)
            kept, after_step = self.generator, None
            if train.ema_decay:
                kept = self.stage.generator.build()
                kept.set_weights(self.generator.get_weights())
                after_step = make_ema(kept, self.generator, train.ema_decay)
        trainer = Trainer(
            strategy=self.strategy,
            train_step=TrainStep(
                self.generator,
                self.discriminator,
                generator_optimizer,
                discriminator_optimizer,
                Objective.of(self.settings),
                self.pretrained,
            ),
            trained={
                "generator": self.generator,
                "discriminator": self.discriminator,
                "generator_optimizer": generator_optimizer,
                "discriminator_optimizer": discriminator_optimizer,
                **({} if kept is self.generator else {"ema": kept}),
            },
            stream=self.stream,
            schedule=Schedule.of(train, train.epochs, self.stream.steps_per_epoch),
            folder=self.logs,
            outputs=StageOutputs(self, kept, grids="epoch"),
            on_grid=self.on_grid,
            after_step=after_step,
        )
        config.write(self.settings, self.logs / "config.yaml")
        trainer()

    def _announce(self) -> None:
        run, train = self.settings.run, self.settings.train
        if not (self.folders.weights / TEXT_ENCODER).is_file():
            print(
                f"run {run} has no text encoder, so `generate` will not be able to read sentences for it; "
                "train_text before Stage I makes one"
            )
        kind = "GPU(s)" if tf.config.list_physical_devices("GPU") else "CPU(s)"
        counts = {
            name: sum(v.shape.num_elements() for v in network.trainable_variables)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }
        print(
            f"{self.stage.name} of run {run}: {len(self.stream.dataset)} pictures at {self.settings.data.image_size} "
            f"pixels, {self.stream.steps_per_epoch} steps of {train.batch_size} an epoch, "
            f"on {self.strategy.num_replicas_in_sync} {kind}, trainable weights: "
            + ", ".join(f"{name} {count:,}" for name, count in counts.items())
        )


@dataclass(frozen=True)
class StageOutputs:
    """What a stage's training leaves for users: image grids, curves and weights."""

    training: StageTraining
    generator: keras.Model  # the one whose images are shown and whose weights are kept
    grids: str  # how their names begin

    def figures(self) -> dict[str, float]:
        """What the discriminator thinks of real pictures, while there is one."""
        if self.grids != "epoch":
            return {}
        training = self.training
        text = training.settings.discriminator.text
        return training.memorization(training.generator, training.discriminator, text)

    def grid(self) -> np.ndarray:
        return self.training.grid(self.generator)

    def write_grid(self, epoch: int, grid: np.ndarray) -> Path:
        path = self.training.results / f"{self.grids}_{epoch:05d}.png"
        images.write(path, grid)
        return path

    def save(self) -> None:
        stage, folder, logs = self.training.stage, self.training.folders.weights, self.training.logs
        features = self.training.settings.discriminator.features
        read = {} if features is None else {"discriminator_features": features}
        weights.save(self.generator, stage.generator, weight_file(folder, f"{stage.name}_gen"), read)
        if self.grids == "epoch":
            weights.save(self.training.discriminator, stage.discriminator, weight_file(folder, f"{stage.name}_dis"))
            if (logs / "metrics.jsonl").is_file():  # not yet within the first epoch
                plot_curves(logs / "metrics.jsonl", self.training.results / "curves.png")
