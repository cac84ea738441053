"""How is a stage trained, from settings to weight files? What both training commands do, told once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from stackgan_keras import adversarial, config, curves, datasets, drawn_birds, engine, images, models, sampler, weights
from stackgan_keras.config import Folders, Settings
from stackgan_keras.errors import InputError
from stackgan_keras.stream import Stream, decode

MAY_CHANGE = {  # settings that a run may change between one command and the next
    "data.root",
    "data.cache",
    "train.epochs",
    "train.max_steps",
    "train.sample_every",
    "train.save_every",
    "train.jit_compile",
}


@dataclass(frozen=True)
class Stage:
    """What sets a stage apart: its name, its generator, and the heads of its discriminator."""

    name: str  # of its files and folders
    generator: weights.Recipe
    heads: tuple[str, ...]
    prepare: Callable[[keras.Model], None] = lambda generator: None  # fills what is not trained


def train(stage: Stage, settings: Settings, folders: Folders) -> Path:
    """Trains one stage and returns the path of its newest grid of pictures.

    Leaves `weights/<run>/<stage>_gen.weights.h5` and `…_dis.weights.h5`, grids and curves in
    `results/<run>/<stage>/`, checkpoints, metrics and the settings in `logs/<run>/<stage>/`. If that holds a
    checkpoint of the same settings, training goes on from there.
    """
    logs, results = folders.logs / stage.name, folders.results / stage.name
    for folder in (logs, results, folders.weights):
        _make_writable(folder)
    _check_same_run(settings, logs)
    train_records, test_records = read_records(settings, folders)

    keras.utils.set_random_seed(settings.train.seed)
    keras.config.set_dtype_policy(settings.train.precision)
    stream = Stream(
        train_records,
        decode(train_records, settings.data.image_size, cache=settings.data.cache, folder=folders.logs / "cache"),
        settings.data.image_size,
        settings.train.batch_size,
        noise_dim=_stage1_keywords(stage)["noise_dim"],
        condition_dim=settings.generator.condition_dim,
        stage1_condition_dim=stage.generator.keywords.get("stage1", {}).get("condition_dim"),
        mean_of_captions=settings.data.mean_of_captions,
        seed=settings.train.seed,
    )
    strategy = engine.make_strategy()
    discriminator_recipe = _discriminator_recipe(stage, settings)
    with strategy.scope():
        players = {"generator": stage.generator.build(), "discriminator": discriminator_recipe.build()}
        stage.prepare(players["generator"])
        halve_every = settings.train.halve_every * stream.steps_per_epoch
        optimizers = {
            "generator_optimizer": engine.make_adam(settings.train.generator_learning_rate, halve_every),
            "discriminator_optimizer": engine.make_adam(settings.train.discriminator_learning_rate, halve_every),
        }
        for player, optimizer in zip(players.values(), optimizers.values(), strict=True):
            optimizer.build(player.trainable_variables)  # before a checkpoint is restored into it
            if strategy.num_replicas_in_sync > 1:
                models.synchronize(player)

    preview = sampler.Preview(test_records, settings.data.image_size, seed=settings.train.seed)

    def save():
        weights.save(players["generator"], stage.generator, folders.weights / f"{stage.name}_gen.weights.h5")
        weights.save(players["discriminator"], discriminator_recipe, folders.weights / f"{stage.name}_dis.weights.h5")
        curves.plot(logs / "metrics.jsonl", results / "curves.png")

    run = engine.Run(
        strategy=strategy,
        update=adversarial.make_update(
            **players, **optimizers, text=settings.discriminator.text, kl_weight=settings.train.kl_weight
        ),
        trained={**players, **optimizers},
        batches=stream.batches,
        steps=_steps(settings, stream.steps_per_epoch),
        steps_per_epoch=stream.steps_per_epoch,
        batch_size=settings.train.batch_size,
        folder=logs,
        sample=partial(preview.sheet, players["generator"]),
        on_sample=lambda epoch, sheet: images.write(results / f"epoch_{epoch:05d}.png", sheet),
        save=save,
        sample_every=settings.train.sample_every,
        save_every=settings.train.save_every,
        jit_compile=settings.train.jit_compile,
    )
    config.write(settings, logs / "config.yaml")
    _announce(stage, settings, stream, players, strategy)
    run()
    return max(results.glob("epoch_*.png"), default=results)  # other machines than the first draw none


def read_records(settings: Settings, folders: Folders):
    """The training and test records of the settings' data; draws the birds first if there is no `data.root`."""
    root = settings.data.root
    if root is None:
        count, text_dim = settings.data.drawn_count, settings.generator.text_dim
        root = folders.output_dir / "data" / f"drawn_{count}_{text_dim}"
        drawn_birds.write(root, count=count, embedding_dim=text_dim, progress=True)
    return (datasets.read(root, split, text_dim=settings.generator.text_dim) for split in ("train", "test"))


def text_keywords(settings: Settings) -> dict:
    """The keywords that every generator takes from the settings."""
    return {
        "image_size": settings.data.image_size,
        "filters": settings.generator.filters,
        "text_dim": settings.generator.text_dim,
        "condition_dim": settings.generator.condition_dim,
        "augment_condition": settings.generator.augment_condition,
    }


def _discriminator_recipe(stage: Stage, settings: Settings) -> weights.Recipe:
    return weights.Recipe(
        "discriminator",
        {
            "image_size": settings.data.image_size,
            "filters": settings.discriminator.filters,
            "heads": stage.heads,
            "text": settings.discriminator.text,
            "text_dim": settings.generator.text_dim,
            "condition_dim": settings.generator.condition_dim,
        },
    )


def _stage1_keywords(stage: Stage) -> dict:
    return stage.generator.keywords.get("stage1", stage.generator.keywords)


def _steps(settings: Settings, steps_per_epoch: int) -> int:
    return min(settings.train.epochs * steps_per_epoch, settings.train.max_steps or float("inf"))


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder} cannot be made ({problem.strerror}): give another --output_dir") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to: give another --output_dir or change its permissions")


def _check_same_run(settings: Settings, logs: Path) -> None:
    """A checkpoint is only ever continued with the settings it was made with."""
    earlier_file = logs / "config.yaml"
    if not earlier_file.is_file() or not (logs / "checkpoints").is_dir():
        return
    earlier = config.make(config.read(earlier_file))
    differing = {k: v for k, v in earlier.changed(settings).items() if k not in MAY_CHANGE}
    if differing:
        listed = ", ".join(f"{key} {was} (now {now})" for key, (was, now) in differing.items())
        raise InputError(
            f"{logs} holds an unfinished or finished run made with {listed}: ask for the same to go on with it, "
            "give another --run, or delete that folder to start again"
        )


def _announce(stage: Stage, settings: Settings, stream: Stream, players: dict, strategy) -> None:
    kind = "GPU(s)" if tf.config.list_physical_devices("GPU") else "CPU(s)"
    sizes = {name: sum(v.shape.num_elements() for v in p.trainable_variables) for name, p in players.items()}
    print(
        f"{stage.name} of run {settings.run}: {len(stream.records)} pictures at {settings.data.image_size} pixels, "
        f"{stream.steps_per_epoch} steps of {settings.train.batch_size} an epoch, "
        f"on {strategy.num_replicas_in_sync} {kind}, trainable weights: "
        + ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    )
