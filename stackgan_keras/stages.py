"""How is a stage trained, from settings to weight files? What the training commands do, told once."""

import filecmp
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import (
    adversarial,
    config,
    curves,
    datasets,
    drawn_birds,
    engine,
    images,
    joint_embedding,
    models,
    sampler,
    text_encoder,
    weights,
)
from stackgan_keras.config import Folders, Settings
from stackgan_keras.datasets import PICTURE_ENCODER, TEXT_ENCODER, Records
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write
from stackgan_keras.stream import Stream, decode

NOISE_ENCODER = "noise_encoder.weights.h5"  # beside Stage I, with which it learned
TEXT_FOLDERS = {"both": "text", "pictures": "pictures"}  # of logs and results, by what is trained (`text.learns`)
PHASES = ("alone", "alike", "flow")  # before any discriminator learns, by name of their logs and grids
FLOW_BATCHES = 4  # in a step of the last one: to draw noise costs less than to draw pictures

MAY_CHANGE = {  # settings that a run may change between one command and the next
    "data.root",
    "data.cache",
    "text.epochs",
    "text.spread",
    "train.start_from",
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

    Leaves `weights/<run>/<stage>_gen.weights.h5` and, of a play, `…_dis.weights.h5`, grids and curves in
    `results/<run>/<stage>/`, checkpoints, metrics and the settings in `logs/<run>/<stage>/`. If that holds a
    checkpoint of the same settings, training goes on from there.
    """
    logs, results = folders.logs / stage.name, folders.results / stage.name
    for folder in (logs, results, folders.weights):
        _make_writable(folder)
    _check_same_run(settings, logs)
    _check_fits(stage, settings)
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
        fewest_captions=settings.data.fewest_captions,
        truncated=models.ARCHITECTURES[settings.generator.architecture].truncated,
        directions=settings.train.penalty_weight > 0,
        **(_sketches(stage, settings) if settings.train.anew_weight else {}),
        seed=settings.train.seed,
    )
    strategy = engine.make_strategy()
    preview = sampler.Preview(test_records, settings.data.image_size, seed=settings.train.seed)
    with strategy.scope():
        players = {"generator": stage.generator.build()}
        if settings.train.epochs:
            players["discriminator"] = _discriminator_recipe(stage, settings).build()
        noise_encoder = {}  # for Stage I, what reads the noise in real pictures that are to be made anew
        if _is_first(stage) and settings.train.makes_anew:
            noise_encoder["noise_encoder"] = _noise_encoder_recipe(settings).build()
        _start(stage, settings, folders, players | noise_encoder)
        stage.prepare(players["generator"])  # a Stage I of the run's own, whichever one `start_from` had
        if strategy.num_replicas_in_sync > 1:
            for network in (players | noise_encoder).values():
                models.synchronize(network)
        picture_encoder = _picture_encoder(settings, folders)
    _announce(stage, settings, folders, stream, players, strategy)
    learning = {"generator": players["generator"], **noise_encoder}
    phases = _phases(settings, learning, picture_encoder)
    for phase in phases:
        _train_alone(phase, stage, settings, folders, learning, stream, strategy, preview)
    if settings.train.epochs:
        beside = noise_encoder if settings.train.anew_weight else {}  # learns with the generator while the players play
        _play(stage, settings, folders, players, beside, picture_encoder, stream, strategy, preview)
    shown = "epoch" if settings.train.epochs else phases[-1].name
    return max(results.glob(f"{shown}_*.png"), default=results)  # other machines than the first draw none


@dataclass(frozen=True)
class Phase:
    """Epochs at the start of a stage in which its generator learns alone."""

    name: str  # of its folder of logs, and of its grids; one of `PHASES`
    epochs: int
    learning_rate: float
    make_update: Callable  # out of an optimizer
    learning: list[keras.Model | None]  # networks whose variables change
    told_most: int = 0  # of the epochs, those that are told by the most captions
    batches: int = 1  # of `train.batch_size` that are in a step, if there are enough pictures

    def stream(self, stream: Stream) -> Stream:
        """As the players see it but for crops and captions of its own, as other phases have others."""
        beyond = 2**31  # no train.seed is that large, so no training's play has the seed of a phase
        return replace(
            stream,
            seed=stream.seed + (1 + PHASES.index(self.name)) * beyond,
            batch_size=min(self.batches, stream.steps_per_epoch) * stream.batch_size,
            fewer_from=self.told_most * stream.steps_per_epoch,
            directions=False,
        )


def _phases(settings: Settings, learning: dict[str, keras.Model], picture_encoder: keras.Model | None) -> list[Phase]:
    """The phases asked for, in which what is `learning` does: a `generator` and, of Stage I, its `noise_encoder`."""
    train = settings.train
    make_alone = partial(
        adversarial.make_alone_update,
        **learning,
        noise_kl_weight=train.noise_kl_weight,
        edges_weight=train.edges_weight,
        kl_weight=train.kl_weight,
    )
    make_alike = partial(make_alone, likeness_weight=train.alike_weight, picture_encoder=picture_encoder)
    make_flow = partial(adversarial.make_flow_update, **learning)
    networks, flow = list(learning.values()), models.find_flow(learning["generator"])
    rate, most = train.generator_learning_rate, train.most_captions_epochs
    alone, alike, catching_up = PHASES
    phases = [
        Phase(alone, train.alone_epochs, rate, make_alone, networks, told_most=most),
        Phase(alike, train.alike_epochs, rate, make_alike, networks),
        Phase(catching_up, train.flow_epochs, train.flow_learning_rate, make_flow, [flow], batches=FLOW_BATCHES),
    ]
    return [phase for phase in phases if phase.epochs]


def _train_alone(
    phase: Phase,
    stage: Stage,
    settings: Settings,
    folders: Folders,
    learning: dict[str, keras.Model],
    stream: Stream,
    strategy: tf.distribute.Strategy,
    preview: sampler.Preview,
) -> None:
    """A phase in which the generator alone learns to make real pictures anew, unless the players have begun to play.

    What is `learning` is the `generator` and, for Stage I, the `noise_encoder`. Leaves their weights, grids `<phase>_…`
    among those of the stage, and the rest in `logs/<run>/<stage>/<phase>/`.
    """
    logs, results = folders.logs / stage.name, folders.results / stage.name
    generator = learning["generator"]
    if tf.train.latest_checkpoint(str(logs / "checkpoints")):
        return
    stream = replace(phase.stream(stream), **_sketches(stage, settings))
    make_run = _runner(settings, stream, strategy, phase.epochs)
    steps = make_run.keywords["steps"]
    with strategy.scope():
        optimizer = engine.make_cosine_adam(phase.learning_rate, steps)
        optimizer.build(_trainable(*phase.learning))
    run = make_run(
        update=phase.make_update(optimizer=optimizer),
        trained={**learning, "optimizer": optimizer},
        folder=logs / phase.name,
        sample=partial(preview.sheet, generator),
        on_sample=lambda epoch, sheet: images.write(results / f"{phase.name}_{epoch:05d}.png", sheet),
        save=partial(_save_generator, stage, settings, folders, **learning),
    )
    if run.done < steps:
        config.write(settings, logs / "config.yaml")
        print(f"{stage.name} of run {settings.run}: {steps} steps ({phase.name}) without a discriminator")
        run()


def _play(
    stage: Stage,
    settings: Settings,
    folders: Folders,
    players: dict[str, keras.Model],
    beside: dict[str, keras.Model],
    picture_encoder: keras.Model | None,
    stream: Stream,
    strategy: tf.distribute.Strategy,
    preview: sampler.Preview,
) -> None:
    """The epochs in which the `generator` and the `discriminator` play; a noise encoder may be `beside` them."""
    logs, results = folders.logs / stage.name, folders.results / stage.name
    with strategy.scope():
        halve_every = settings.train.halve_every * stream.steps_per_epoch
        optimizers = {
            "generator_optimizer": engine.make_adam(settings.train.generator_learning_rate, halve_every),
            "discriminator_optimizer": engine.make_adam(settings.train.discriminator_learning_rate, halve_every),
        }
        improving = {"generator": players["generator"], **beside}
        kept, averaged, after = improving, {}, None  # what is shown and saved, and what makes it
        if settings.train.average:
            recipes = {"generator": stage.generator, "noise_encoder": _noise_encoder_recipe(settings)}
            kept = {name: recipes[name].build() for name in improving}
            for name, network in improving.items():
                kept[name].set_weights(network.get_weights())
            averaged = {f"average_{name}": network for name, network in kept.items()}
            pairs = _variables(*kept.values()), _variables(*improving.values())
            after = engine.make_average(*pairs, settings.train.average)
        # before a checkpoint is restored into them
        optimizers["generator_optimizer"].build(_trainable(*improving.values()))
        optimizers["discriminator_optimizer"].build(_trainable(players["discriminator"]))

    def save():
        _save_generator(stage, settings, folders, **kept)
        recipe = _discriminator_recipe(stage, settings)
        weights.save(players["discriminator"], recipe, folders.weights / f"{stage.name}_dis.weights.h5")
        if (logs / "metrics.jsonl").is_file():  # not yet within the first epoch
            curves.plot(logs / "metrics.jsonl", results / "curves.png")

    run = _runner(settings, stream, strategy, settings.train.epochs)(
        update=adversarial.make_update(
            **players,
            **beside,
            **optimizers,
            text=settings.discriminator.text,
            penalty_weight=settings.train.penalty_weight,
            kl_weight=settings.train.kl_weight,
            likeness_weight=settings.train.likeness_weight,
            picture_encoder=picture_encoder,
            anew_weight=settings.train.anew_weight,
            noise_kl_weight=settings.train.noise_kl_weight,
            edges_weight=settings.train.edges_weight,
        ),
        trained={**players, **beside, **optimizers, **averaged},
        folder=logs,
        sample=partial(preview.sheet, kept["generator"]),
        on_sample=lambda epoch, sheet: images.write(results / f"epoch_{epoch:05d}.png", sheet),
        save=save,
        after=after,
    )
    config.write(settings, logs / "config.yaml")
    run()


def train_text(settings: Settings, folders: Folders) -> Path:
    """Trains the run's text encoder on the settings' data and returns the path of its weight file.

    Leaves sheets of what sentences find in `results/<run>/text/`, checkpoints, metrics and settings in
    `logs/<run>/text/`, and goes on from there. An encoder with which a stage was already trained is left as it is.
    With `text.learns` pictures it is the picture encoder alone that is trained, with `pictures/` for `text/`.
    """
    alone = settings.text.learns == "pictures"
    path, name = folders.weights / TEXT_ENCODER, TEXT_FOLDERS[settings.text.learns]
    if not alone and path.is_file() and any(folders.weights.glob("stage*_gen.weights.h5")):
        print(f"{path} is left as it is: a stage of this run was trained with it; for another one give another --run")
        return path
    logs, results = folders.logs / name, folders.results / name
    for folder in (logs, results, folders.weights):
        _make_writable(folder)
    _check_same_run(settings, logs)
    root = data_root(settings, folders)
    if alone:
        _bring_encoders(root, folders)
        if not path.is_file():
            raise InputError(
                f"text.learns is pictures but there is no text encoder {path}: put it there, or run "
                f"python -m stackgan_keras.train_text --run {settings.run} first"
            )
        _check_text_dim(path, settings)
    records = [datasets.read(root, split, text_dim=None) for split in datasets.SPLITS]
    start = settings.train.start_from
    if start is not None:
        start = sampler.find_run(folders.output_dir, start, holding=["picture_encoder" if alone else "text_encoder"])
    joint_embedding.train(*records, settings, path=path, start=start, logs=logs, results=results)
    return path.with_name(PICTURE_ENCODER) if alone else path


def data_root(settings: Settings, folders: Folders) -> Path:
    """The folder of the settings' data; draws the birds first if there is no `data.root`."""
    data = settings.data
    if data.root is not None:
        return data.root
    text_dim = settings.generator.text_dim
    root = folders.output_dir / "data" / f"drawn_{data.drawn_count}_{data.drawn_classes}_{text_dim}"
    return drawn_birds.write(
        root,
        count=data.drawn_count,
        classes=data.drawn_classes,
        test_classes=min(40, data.drawn_classes // 5),
        embedding_dim=text_dim,
        progress=True,
    )


def read_records(settings: Settings, folders: Folders) -> list[Records]:
    """The training and test records of the settings' data, with the embeddings of the run's text encoder.

    The run's encoder is the one in its weights folder, or else the one that lies with the data, which is copied
    there. Without any, the embeddings are those of the data.
    """
    root, own = data_root(settings, folders), folders.weights / TEXT_ENCODER
    _bring_encoders(root, folders)
    if own.is_file():
        _check_text_dim(own, settings)
    brought = root / TEXT_ENCODER
    if not own.is_file() or (brought.is_file() and filecmp.cmp(own, brought, shallow=False)):
        text_dim = settings.generator.text_dim
        return [datasets.read(root, split, text_dim=text_dim) for split in datasets.SPLITS]
    records = [datasets.read(root, split, text_dim=None) for split in datasets.SPLITS]
    return [_embedded(own, each, folders.logs / "cache") for each in records]


def _bring_encoders(root: Path, folders: Folders) -> None:
    """Copies the encoders that lie with the data to the run's weights, if it has no text encoder of its own."""
    brought = root / TEXT_ENCODER
    if brought.is_file() and not (folders.weights / TEXT_ENCODER).is_file():
        for file in (root / PICTURE_ENCODER, brought):
            if file.is_file():
                with atomic_write(folders.weights / file.name) as unfinished:
                    shutil.copyfile(file, unfinished)


def _check_text_dim(encoder: Path, settings: Settings) -> None:
    asked, known = settings.generator.text_dim, weights.read_recipe(encoder, "text_encoder").keywords["text_dim"]
    if known != asked:
        raise InputError(
            f"the text encoder {encoder} writes embeddings of {known} numbers but generator.text_dim is {asked}: "
            f"set generator.text_dim to {known}, or give another --run"
        )


def _embedded(encoder: Path, records: Records, cache: Path) -> Records:
    """The records that have captions, with the embeddings that the encoder in a weight file gives them.

    They are kept in `cache` and found again there as long as neither the file nor the captions change.
    """
    records = records.captioned()
    captions = [caption for captions in records.captions for caption in captions]
    digest = hashlib.sha256(encoder.read_bytes() + "\n".join(captions).encode("utf-8", "surrogatepass"))
    path = cache / f"embeddings_{digest.hexdigest()[:16]}.npy"
    if path.is_file():
        embeddings = np.load(path)
    else:
        embeddings = text_encoder.embed(weights.load(encoder), captions, progress=True)
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, embeddings)
    first = datasets.first_rows([len(captions) for captions in records.captions])
    return replace(records, embeddings=embeddings, first_embedding=first)


def _start(stage: Stage, settings: Settings, folders: Folders, networks: dict[str, keras.Model]) -> None:
    """Fills a stage's networks with the weights of the run that `train.start_from` names; a checkpoint comes over them.

    That run has a generator. What else it lacks, as runs do that are passed on to draw with, starts anew.
    """
    if settings.train.start_from is None:
        return
    home = sampler.find_run(folders.output_dir, settings.train.start_from)
    files = {
        "generator": f"{stage.name}_gen.weights.h5",
        "discriminator": f"{stage.name}_dis.weights.h5",
        "noise_encoder": NOISE_ENCODER,
    }
    for role, network in networks.items():
        path = home / files[role]
        if role == "generator" or path.is_file():
            weights.fill(network, path)
        else:
            print(f"there is no {path}: the {role.replace('_', ' ')} starts from random weights")


def _picture_encoder(settings: Settings, folders: Folders) -> keras.Model | None:
    """What reads the generator's pictures, frozen; None where that has no weight."""
    asked = next((name for name in ("alike_epochs", "likeness_weight") if getattr(settings.train, name)), None)
    if asked is None:
        return None
    path = folders.weights / PICTURE_ENCODER
    if not path.is_file():
        raise InputError(
            f"train.{asked} is {getattr(settings.train, asked)} but there is no picture encoder {path}: "
            f"run python -m stackgan_keras.train_text --run {settings.run} first, or set train.{asked} to 0"
        )
    encoder = weights.load(path)
    encoder.trainable = False
    return encoder


def text_keywords(settings: Settings) -> dict:
    """The keywords that every generator takes from the settings."""
    return {
        "image_size": settings.data.image_size,
        "filters": settings.generator.filters,
        "text_dim": settings.generator.text_dim,
        "condition_dim": settings.generator.condition_dim,
        "augment_condition": settings.generator.augment_condition,
        "condition_spread": settings.generator.condition_spread,
        "conditional_norm": settings.generator.conditional_norm,
        "palette": settings.generator.palette,
        "architecture": settings.generator.architecture,
    }


def stage1_keywords(settings: Settings) -> dict:
    """The keywords of `models.stage1_generator`."""
    return {
        **text_keywords(settings),
        "noise_dim": settings.generator.noise_dim,
        "flow_steps": settings.generator.flow_steps,
        "noise_spread": settings.generator.noise_spread,
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
            "architecture": settings.discriminator.architecture,
        },
    )


def _stage1_keywords(stage: Stage) -> dict:
    return stage.generator.keywords.get("stage1", stage.generator.keywords)


def _is_first(stage: Stage) -> bool:
    return "stage1" not in stage.generator.keywords


def _noise_encoder_recipe(settings: Settings) -> weights.Recipe:
    sizes = {"image_size": settings.data.image_size, "filters": settings.discriminator.filters}
    return weights.Recipe("noise_encoder", {**sizes, "noise_dim": settings.generator.noise_dim})


def _save_generator(stage: Stage, settings: Settings, folders: Folders, generator, noise_encoder=None) -> None:
    """The generator's weight file and that of the noise encoder, if one learns along."""
    weights.save(generator, stage.generator, folders.weights / f"{stage.name}_gen.weights.h5")
    if noise_encoder is not None:
        weights.save(noise_encoder, _noise_encoder_recipe(settings), folders.weights / NOISE_ENCODER)


def _variables(*networks: keras.Model) -> list:
    return [variable for network in networks for variable in network.variables]


def _trainable(*networks: keras.Model) -> list:
    return [variable for network in networks for variable in network.trainable_variables]


def _sketches(stage: Stage, settings: Settings) -> dict:
    """What a `Stream` is asked for where real pictures are made anew of what is left of them."""
    cover = "all" if _is_first(stage) else "patches"
    return {
        "sketch_size": _stage1_keywords(stage)["image_size"],
        "recoloured": cover if settings.train.recolour else None,
    }


def _runner(settings: Settings, stream: Stream, strategy: tf.distribute.Strategy, epochs: int) -> partial:
    """An `engine.Run` of so many epochs that still lacks what is trained, how, and what is shown and saved of it."""
    return partial(
        engine.Run,
        strategy=strategy,
        batches=stream.batches,
        steps=min(epochs * stream.steps_per_epoch, settings.train.max_steps or float("inf")),
        steps_per_epoch=stream.steps_per_epoch,
        batch_size=stream.batch_size,
        sample_every=settings.train.sample_every,
        save_every=settings.train.save_every,
        jit_compile=settings.train.jit_compile,
    )


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder} cannot be made ({problem.strerror}): give another --output_dir") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to: give another --output_dir or change its permissions")


def _check_fits(stage: Stage, settings: Settings) -> None:
    """Something is to be trained, what is asked of real pictures made anew needs some, and a flow a Stage I."""
    train = settings.train
    if not (train.epochs or train.alone_epochs or train.alike_epochs):
        raise InputError(
            "train.epochs, train.alone_epochs and train.alike_epochs are all 0, so nothing would be trained: "
            "give at least one of them"
        )
    if train.recolour and not train.makes_anew:
        raise InputError(
            "train.recolour is about real pictures that a generator makes anew: "
            "give train.alone_epochs or train.anew_weight, or leave it off"
        )
    if train.flow_epochs and not _is_first(stage):
        raise InputError(f"train.flow_epochs is about the noise of Stage I: leave it 0 for {stage.name}")
    if train.flow_epochs and not settings.generator.flow_steps:
        raise InputError(
            f"train.flow_epochs is {train.flow_epochs} but generator.flow_steps is 0, so there is no noise flow to "
            "learn: set generator.flow_steps above 0 or train.flow_epochs to 0"
        )
    if train.flow_epochs and not (train.alone_epochs or train.alike_epochs):
        raise InputError(
            f"train.flow_epochs is {train.flow_epochs} but nothing learns to read noise in pictures before: "
            "give train.alone_epochs, or set train.flow_epochs to 0"
        )


def _check_same_run(settings: Settings, logs: Path) -> None:
    """A checkpoint is only ever continued with the settings it was made with."""
    earlier_file = logs / "config.yaml"
    if not earlier_file.is_file() or not any(
        (place / "checkpoints").is_dir() for place in (logs, *(logs / name for name in PHASES))
    ):
        return
    earlier = config.make(config.read(earlier_file))
    differing = {k: v for k, v in earlier.changed(settings).items() if k not in MAY_CHANGE}
    if differing:
        listed = ", ".join(f"{key} {was} (now {now})" for key, (was, now) in differing.items())
        raise InputError(
            f"{logs} holds an unfinished or finished run made with {listed}: ask for the same to go on with it, "
            "give another --run, or delete that folder to start again"
        )


def _announce(stage: Stage, settings: Settings, folders: Folders, stream: Stream, players: dict, strategy) -> None:
    if not (folders.weights / TEXT_ENCODER).is_file():
        print(
            f"run {settings.run} has no text encoder, so `generate` will not be able to read sentences for it; "
            "train_text before Stage I makes one"
        )
    kind = "GPU(s)" if tf.config.list_physical_devices("GPU") else "CPU(s)"
    sizes = {name: sum(v.shape.num_elements() for v in p.trainable_variables) for name, p in players.items()}
    print(
        f"{stage.name} of run {settings.run}: {len(stream.records)} pictures at {settings.data.image_size} pixels, "
        f"{stream.steps_per_epoch} steps of {settings.train.batch_size} an epoch, "
        f"on {strategy.num_replicas_in_sync} {kind}, trainable weights: "
        + ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    )
