"""A stage's training, from settings to trained weights: what `train_stage1`, `train_stage2` and `train` do."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.noise import widths_of
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.shards.dataset import ShardedImages, TrainingSet
from stackgan_keras.errors import InputError
from stackgan_keras.models.blocks import ARCHITECTURES, precision, synchronize
from stackgan_keras.models.generators import images_of, named_by
from stackgan_keras.models.projected import FRAMING
from stackgan_keras.models.runs import weight_file
from stackgan_keras.models.stages import Stage
from stackgan_keras.porting import extractors
from stackgan_keras.training import objective
from stackgan_keras.training.adversary import RULES
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.distribution import is_chief, make_strategy, other_machines_needed
from stackgan_keras.training.memorization import Memorization
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema, make_released_ema
from stackgan_keras.training.outputs import AdversarialOutputs, WarmupOutputs
from stackgan_keras.training.precision import settled
from stackgan_keras.training.run import (
    check_encoders,
    check_nothing_is_lost,
    check_same_run,
    make_writable,
    own_text_encoder,
    read_datasets,
    remove_unfinished,
    start_over,
)
from stackgan_keras.training.samples import SampleGrid, TextsOf, embeddings_of
from stackgan_keras.training.train_step import TrainStep
from stackgan_keras.training.trainer import OnGrid, Schedule, Trainer
from stackgan_keras.training.words import Words

WARMUP_SEED = 2**31  # added to train.seed, which is smaller: a warm-up has crops, captions and noise of its own


def train(
    stage: Stage, settings: Settings, folders: Folders, on_grid: OnGrid = None, *, fresh: bool = False
) -> Path | None:
    """Trains one stage adversarially and returns the path of its newest image grid.

    `on_grid` is called with the path of every grid that is written. Leaves `weights/<run>/<stage>_gen.weights.h5` and
    `…_dis.weights.h5`, grids and curves in `results/<run>/<stage>/`, checkpoints, metrics and the settings in
    `logs/<run>/<stage>/`. If that holds a checkpoint of the same settings, training goes on from there, or with `fresh`
    starts over. Of several machines the first alone does that and prints, and the others return `None`.
    """
    strategy = make_strategy()  # before anything is computed: several machines have to find each other first
    logs, results = folders.logs / stage.name, folders.results / stage.name
    make_writable(logs, results, folders.weights)
    check_nothing_is_lost(weight_file(folders.weights, next(iter(stage.networks))), logs, fresh=fresh)
    stage.check_start(settings.train.init_from, folders.output_dir)  # before data is drawn or read, which takes long
    if (features := settings.discriminator.features) is not None:
        extractors.check_projected(features)
    check_encoders(settings, folders)
    chief = is_chief(strategy)
    if chief:
        remove_unfinished(folders)
        if fresh:
            start_over(logs, results)
    settings = settled(settings, logs, strategy, chief=chief)
    if not fresh:
        check_same_run(settings, logs)
    datasets = read_datasets(settings, folders)
    with precision(settings.train.precision), other_machines_needed(strategy):
        training = StageTraining.of(stage, settings, folders, datasets, strategy)
        if settings.train.warmup_epochs and not tf.train.latest_checkpoint(str(logs / "checkpoints")):
            training.warm_up(on_grid)
        training.adversarial(on_grid)
    return max(results.glob("epoch_*.png"), default=results) if chief else None


@dataclass(frozen=True, eq=False)
class StageTraining:
    """A stage's networks and data, on their way through its trainings."""

    stage: Stage
    settings: Settings
    folders: Folders
    strategy: tf.distribute.Strategy
    generator: keras.Model
    discriminators: dict[str, keras.Model]  # by the names of the images that they see
    pretrained: keras.Model | None  # whose features their heads read
    stream: AdversarialStream
    test_set: TrainingSet
    words: Words | None

    @classmethod
    def of(
        cls,
        stage: Stage,
        settings: Settings,
        folders: Folders,
        datasets: tuple[TrainingSet, TrainingSet],
        strategy: tf.distribute.Strategy,
    ) -> "StageTraining":
        """Builds the networks and the stream."""
        devices = strategy.num_replicas_in_sync
        if settings.train.interpolation_weight and settings.train.batch_size < 2 * devices:
            raise InputError(
                f"train.interpolation_weight is for sentences half-way between two on a device, but train.batch_size "
                f"{settings.train.batch_size} gives each of {devices} devices only one: ask for {2 * devices} or more"
            )
        keras.utils.set_random_seed(settings.train.seed)
        with strategy.scope():
            generator, discriminators = stage.build(settings.train.init_from, folders.output_dir)
            if strategy.num_replicas_in_sync > 1:
                for network in (generator, *discriminators.values()):
                    synchronize(network)
            features = settings.discriminator.features
            pretrained = None if features is None else extractors.projected_features(features)
            words = Words.of(settings, folders)
        train_set, test_set = datasets if words is None else map(words.readable, datasets)
        stream = _stream(settings, folders, train_set, generator, discriminators)
        if words is not None:
            stream = replace(stream, captions=words.captions(train_set))
        networks = (generator, discriminators, pretrained)
        training = cls(stage, settings, folders, strategy, *networks, stream, test_set, words)
        if is_chief(strategy):
            training.announce()
        return training

    def warm_up(self, on_grid: OnGrid) -> None:
        """Epochs in which the generator learns by the pixel loss alone."""
        train = self.settings.train
        sizes, seed = _others(images_of(self.generator)), WARMUP_SEED + train.seed
        stream = replace(self.stream, seed=seed, sizes=sizes, directions={}, augmentations=0, framings=0)
        schedule = Schedule.of(train, train.warmup_epochs, stream.steps_per_epoch)
        task = objective.warm_up(self.generator, self.settings)
        with self.strategy.scope():
            optimizer = make_cosine_adam(train.warmup_learning_rate, schedule.steps)
            optimizer.build(task.generator.trainable_variables)
        trainer = Trainer(
            strategy=self.strategy,
            train_step=TrainStep(task, {"generator": optimizer}),
            trained={"generator": self.generator, "optimizer": optimizer},
            stream=stream,
            schedule=schedule,
            folder=self.folders.logs / self.stage.name / "warmup",
            outputs=WarmupOutputs(self.stage, self.settings, self.folders, self.samples, self.generator),
            on_grid=on_grid,
        )
        if trainer.done < schedule.steps:
            if trainer.chief:
                self._write_settings()
                run = self.settings.run
                print(f"{self.stage.name} of run {run}: {schedule.steps} steps of the pixel loss alone")
            trainer()

    def adversarial(self, on_grid: OnGrid) -> None:
        """The epochs in which generator and discriminators are trained alternately."""
        train = self.settings.train
        task = objective.adversarial(self.generator, self.discriminators, self.settings, self.pretrained, self.words)
        networks = {"generator": self.generator, **{a.name: a.discriminator for a in task.adversaries}}
        with self.strategy.scope():
            optimizers = {name: self._adam(name, network) for name, network in networks.items()}
            kept, after_step = self.generator, None
            if train.ema_decay:
                kept = self.stage.generator.build()
                kept.set_weights(self.generator.get_weights())
                if self.settings.generator.family == "stackgan":
                    after_step = make_ema(kept, self.generator, train.ema_decay)
                else:
                    after_step = make_released_ema(kept, self.generator, train.ema_decay, train.restart_every)
        outputs = AdversarialOutputs(
            self.stage,
            self.settings,
            self.folders,
            self.samples,
            kept,
            task,
            Memorization(self.stream, self.test_set, self.settings.data.image_size, self.texts_of),
        )
        trainer = Trainer(
            strategy=self.strategy,
            train_step=TrainStep(task, optimizers),
            trained={
                **networks,
                **{f"{name}_optimizer": optimizer for name, optimizer in optimizers.items()},
                **({} if kept is self.generator else {"ema": kept}),
            },
            stream=self.stream,
            schedule=Schedule.of(train, train.epochs, self.stream.steps_per_epoch),
            folder=self.folders.logs / self.stage.name,
            outputs=outputs,
            on_grid=on_grid,
            after_step=after_step,
        )
        if trainer.chief:
            self._write_settings()
        trainer()

    def announce(self) -> None:
        """Prints what is about to be trained, on what."""
        run = self.settings.run
        if self.settings.generator.conditional and own_text_encoder(self.folders) is None:
            print(
                f"run {run} has no text encoder, so `generate` will not be able to read sentences for it; "
                "train_text before Stage I makes one"
            )
        for file in self.stage.missing(self.settings.train.init_from, self.folders.output_dir):
            print(f"there is no {file}: the discriminator starts from random weights")
        kind = "GPU(s)" if tf.config.list_physical_devices("GPU") else "CPU(s)"
        networks = {"generator": [self.generator], "discriminator": self.discriminators.values()}
        counts = {
            name: sum(v.shape.num_elements() for network in of_kind for v in network.trainable_variables)
            for name, of_kind in networks.items()
        }
        print(
            f"{self.stage.name} of run {run}: {len(self.stream.dataset)} images at {self.settings.data.image_size} "
            f"pixels, {self.stream.steps_per_epoch} steps of {self.settings.train.batch_size} an epoch, "
            f"on {self.strategy.num_replicas_in_sync} {kind}, trainable weights: "
            + ", ".join(f"{name} {count:,}" for name, count in counts.items())
        )

    def _write_settings(self) -> None:
        config.write(self.settings, self.folders.logs / self.stage.name / "config.yaml")

    @cached_property
    def samples(self) -> SampleGrid:
        """The image grid of the warm-up and of the training after it."""
        settings = self.settings
        return SampleGrid(
            self.test_set,
            settings.data.image_size,
            truncated=self.stream.truncated,
            seed=settings.train.seed,
            texts_of=self.texts_of,
        )

    @property
    def texts_of(self) -> TextsOf:
        return embeddings_of if self.words is None else self.words.texts_of

    def _adam(self, name: str, network: keras.Model) -> keras.optimizers.Optimizer:
        """The Adam of a network, built before a checkpoint is restored into it."""
        train = self.settings.train
        rate = train.generator_learning_rate if name == "generator" else train.discriminator_learning_rate
        optimizer = make_adam(rate, train.lr_decay_epochs * self.stream.steps_per_epoch)
        optimizer.build(network.trainable_variables)
        return optimizer


def _stream(
    settings: Settings, folders: Folders, dataset: TrainingSet, generator: keras.Model, discriminators: dict
) -> AdversarialStream:
    data, train, made = settings.data, settings.train, images_of(generator)
    seen = {name: made[name] for name in discriminators}
    wrong = RULES[settings.generator.family].wrong_images and "embedding" in generator.input
    turns = 3 if wrong else 2  # of images that a discriminator sees
    images: np.ndarray | ShardedImages
    if isinstance(dataset, Dataset):
        images = decode(dataset, data.image_size, cache=data.cache, folder=folders.logs / "cache")
    else:
        images = dataset.images
    return AdversarialStream(
        dataset,
        images,
        data.image_size,
        train.batch_size,
        widths=widths_of(generator),
        captions_per_embedding=data.captions_per_embedding,
        truncated=ARCHITECTURES[settings.generator.architecture].truncated_epsilon,
        sizes=_others(made if train.pixel_weight else seen),
        bilinear=settings.generator.family != "stackgan",
        wrong=wrong,
        directions={named_by(name, "direction"): size for name, size in seen.items()} if train.r1_weight else {},
        augmentations=turns * DRAWS if train.augmentation else 0,
        framings=turns * FRAMING if settings.discriminator.features else 0,
        seed=train.seed,
    )


def _others(sizes: dict[str, int]) -> dict[str, int]:
    """Names and pixels of the images other than the final one, which is in every batch."""
    return {name: pixels for name, pixels in sizes.items() if name != "image"}
