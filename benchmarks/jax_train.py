"""Trains a stage with JAX, where there is no TensorFlow, on what `pack.py` has put into a folder.

python benchmarks/jax_train.py --config packed/stage1.yaml --output_dir packed --minutes 8
python benchmarks/jax_train.py --stage 2 --config packed/stage2.yaml --output_dir packed --minutes 8

Networks, losses, optimizers and EMA are those of `train_stage1` and `train_stage2`; batches are drawn on the device,
which holds all of the data. Leaves weights, image grids and metrics.jsonl where these commands leave them, every few
minutes and in the end, whatever train.sample_every and train.save_every say. The same command goes on from
logs/<run>/<stage>/checkpoints/jax_state.npz, so a killed run loses its last minutes.
"""

import os
import random
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported

import jax
import jax.numpy as jnp
import jax_step
import keras
import numpy as np
import packed
from jax_batches import Batches

from stackgan_keras import command_line, config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import grids, images, photographs
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write
from stackgan_keras.models import stages, weights
from stackgan_keras.models.blocks import ARCHITECTURES
from stackgan_keras.models.projected import FRAMING
from stackgan_keras.models.runs import weight_file
from stackgan_keras.porting import extractors
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.metrics_file import MetricsFile
from stackgan_keras.training.objective import Objective
from stackgan_keras.training.optimizers import make_adam, make_cosine_adam, make_ema
from stackgan_keras.training.run import check_same_run, make_writable

PRECISION = "mixed_bfloat16"  # what train.precision auto is here: GPUs with JAX compute in it
LINE_SECONDS = 5  # that the device works on its own before the losses are read
SAVE_SECONDS = 150  # between saves
WARMUP_SEED = 2**31  # added to train.seed, which is smaller
COPIES = 3  # rows of a grid
STATE = "checkpoints/jax_state.npz"


def main() -> None:
    started = time.monotonic()
    parser = command_line.Parser(prog="python benchmarks/jax_train.py", description=__doc__.splitlines()[0])
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="default 1; further options are settings")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which it saves and ends")
    given, words = parser.parse_known_args()
    size, preset = {1: 64, 2: 256}[given.stage], f"drawn_stage{given.stage}"
    settings, output_dir = config.from_command_line(
        words, prog=parser.prog, description="", preset=preset, defaults={"data": {"image_size": size}}
    )
    folders = Folders(output_dir, settings.run)
    stage = stages.stage2(settings, folders) if given.stage == 2 else stages.stage1(settings)
    Training(stage, settings, folders, started + 60 * given.minutes).train()


class Training:
    """A stage's training on one device: networks, data and folders, as `training.stage.StageTraining` has them."""

    def __init__(self, stage: stages.Stage, settings: Settings, folders: Folders, deadline: float):
        """It ends at `deadline`, by `time.monotonic`, if it is not finished before."""
        self.stage, self.folders, self.deadline = stage, folders, deadline
        self.logs, self.results = folders.logs / stage.name, folders.results / stage.name
        make_writable(self.logs, self.results, folders.weights)
        if settings.train.precision == "auto":
            settings = settings.model_copy(update={"train": settings.train.model_copy(update={"precision": PRECISION})})
        self.settings = settings
        check_same_run(settings, self.logs)
        if settings.train.precision == "mixed_float16":
            raise InputError(
                "train.precision is mixed_float16, whose loss scaling is not made here: use mixed_bfloat16"
            )
        self.packed = _read(settings)
        random.seed(settings.train.seed)  # decides Keras's initial weights
        keras.config.set_dtype_policy(settings.train.precision)
        self.generator, self.discriminator = stage.build(settings.train.init_from, folders.output_dir)
        config.write(settings, self.logs / "config.yaml")
        names = ("pictures", "class_ids", "embeddings", "first_embedding")
        self.data = {name: jax.device_put(getattr(self.packed, name)) for name in names}

    @cached_property
    def batches(self) -> Batches:
        data, train, packed_ = self.settings.data, self.settings.train, self.packed
        return Batches(
            count=len(packed_.pictures),
            most_captions=int(np.diff(packed_.first_embedding).max()),
            image_size=data.image_size,
            batch_size=train.batch_size,
            widths={name: x.shape[1] for name, x in self.generator.input.items() if name != "embedding"},
            captions_per_embedding=data.captions_per_embedding,
            truncated=ARCHITECTURES[self.settings.generator.architecture].truncated_epsilon,
            directions=train.r1_weight > 0,
            stage1_size=self.stage.stage1_size if train.pixel_weight or train.feature_weight else None,
            augmentations=2 * DRAWS if train.augmentation else 0,
            framings=2 * FRAMING if self.settings.discriminator.features else 0,
            seed=train.seed,
        )

    def train(self) -> None:
        """What `train.epochs` ask for, after the warm-up; both go on from their last saved state."""
        if not self.settings.train.warmup_epochs or (self.logs / STATE).is_file() or self._warm_up():
            self._train()

    def _warm_up(self) -> bool:
        """Whether the warm-up came to its end."""
        train, steps = self.settings.train, self._steps(self.settings.train.warmup_epochs)
        optimizer = make_cosine_adam(train.warmup_learning_rate, steps)
        optimizer.build(self.generator.trainable_variables)
        step = jax_step.WarmupStep(self.generator, optimizer, train.kl_weight)
        plain = {"directions": False, "augmentations": 0, "stage1_size": self.stage.stage1_size}
        batches = replace(self.batches, seed=WARMUP_SEED + train.seed, **plain)
        loop = Loop(step, batches, steps, self.logs / "warmup", Outputs(self, self.generator, "warmup"))
        return loop(self.data, self.deadline)

    def _train(self) -> None:
        train, networks = self.settings.train, {"generator": self.generator, "discriminator": self.discriminator}
        optimizers = {}
        for name, network in networks.items():
            rate = getattr(train, f"{name}_learning_rate")
            optimizers[name] = make_adam(rate, train.lr_decay_epochs * self.batches.steps_per_epoch)
            optimizers[name].build(network.trainable_variables)
        kept, ema = self.generator, None
        if train.ema_decay:
            kept = self.stage.generator.build()
            kept.set_weights(self.generator.get_weights())
            ema = (kept, make_ema(kept, self.generator, train.ema_decay))
        features = self.settings.discriminator.features
        pretrained = None if features is None else extractors.projected_features(features)
        step = jax_step.TrainStep(networks, optimizers, Objective.of(self.settings), ema, pretrained)
        loop = Loop(step, self.batches, self._steps(train.epochs), self.logs, Outputs(self, kept, "epoch"))
        loop(self.data, self.deadline)

    def _steps(self, epochs: int) -> int:
        """So many epochs, or as many steps as the settings allow."""
        return int(min(epochs * self.batches.steps_per_epoch, self.settings.train.max_steps or float("inf")))


@dataclass(frozen=True)
class Outputs:
    """What a training leaves for users: weights and image grids of always the same sentences and noise."""

    training: Training
    generator: keras.Model  # whose weights are kept and whose images are shown
    grids: str  # how their names begin

    def save(self, epoch: int) -> None:
        stage, folder = self.training.stage, self.training.folders.weights
        weights.save(self.generator, stage.generator, weight_file(folder, f"{stage.name}_gen"))
        if self.grids == "epoch":
            weights.save(self.training.discriminator, stage.discriminator, weight_file(folder, f"{stage.name}_dis"))
        images.write(self.training.results / f"{self.grids}_{epoch:05d}.png", self._grid())

    def _grid(self) -> np.ndarray:
        shown = self.training.packed.grid
        embeddings, copies = jnp.array(shown["embeddings"]), []
        for copy in range(COPIES):
            inputs = self.training.batches.inputs(2**31 - 1 - copy, len(embeddings))  # no step's
            outputs = self.generator({"embedding": embeddings, **inputs}, training=False)
            copies.append({name: images.to_uint8(value) for name, value in outputs.items() if name.endswith("image")})
        return grids.sample_grid(shown["real"], copies, shown["captions"].tolist())


@dataclass(frozen=True, eq=False)  # JAX wants a hash
class Loop:
    """Steps until the last one or the deadline, in a folder that has their state."""

    step: jax_step.TrainStep | jax_step.WarmupStep
    batches: Batches
    steps: int
    folder: Path
    outputs: Outputs

    def __call__(self, data: dict, deadline: float) -> bool:
        """Whether the last step is done."""
        state = self._resume()
        done, count = int(state["step"]), 1
        metrics = MetricsFile(self.folder / "metrics.jsonl")
        metrics.rewind(done)
        advance, saved = jax.jit(self._advance, donate_argnums=0), time.monotonic()
        try:
            while done < self.steps and time.monotonic() < deadline:
                started, count = time.monotonic(), min(count, self.steps - done)
                state, sums = advance(state, data, count)
                means = {name: float(value) / count for name, value in sums.items()}
                done, seconds = done + count, time.monotonic() - started
                self._check(means)
                rate = {"pictures_per_second": count * self.batches.batch_size / seconds}
                metrics.write(done, {"epoch": round(done / self.batches.steps_per_epoch, 4), **means, **rate})
                count = max(1, min(10 * count, int(LINE_SECONDS * count / seconds)))  # the first one was compiled
                if time.monotonic() > saved + SAVE_SECONDS:
                    self._save(state)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            self._save(state)
            raise
        self._save(state)
        print(f"{done} of {self.steps} steps done; the same command goes on" if done < self.steps else f"{done} steps")
        return done >= self.steps

    def _advance(self, state: dict, data: dict, count):
        """The state after `count` more steps, and the sums of their scalars."""

        def one(state):
            return self.step(state, self.batches(data, state["step"]))

        def next_one(_, carried):
            state, sums = carried
            state, scalars = one(state)
            return state, jax.tree.map(jnp.add, sums, scalars)

        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, state)[1])
        return jax.lax.fori_loop(0, count, next_one, (state, nothing))

    def _check(self, means: dict) -> None:
        for name, value in means.items():
            if not np.isfinite(value):
                raise InputError(
                    f"the {name} loss became {value}: lower the learning rates or use train.precision float32; "
                    f"the last state in {self.folder} is untouched"
                )

    def _resume(self) -> dict:
        """The saved state, or that of the networks as they are. Raises `InputError` for one of other networks."""
        state = self.step.state()
        if not (self.folder / STATE).is_file():
            return state
        leaves, shape = jax.tree.flatten(state)
        with np.load(self.folder / STATE) as file:
            kept = [file[name] for name in file.files]
        if [x.shape for x in kept] != [x.shape for x in leaves]:
            raise InputError(
                f"{self.folder / STATE} is of other networks: delete it to start again, or give another --run"
            )
        state = jax.tree.unflatten(shape, [jnp.array(value) for value in kept])
        self.step.write_back(state)
        return state

    def _save(self, state: dict) -> None:
        with atomic_write(self.folder / STATE) as unfinished, unfinished.open("wb") as file:
            np.savez(file, *jax.tree.leaves(jax.device_get(state)))
        self.step.write_back(state)
        self.outputs.save(-(-int(state["step"]) // self.batches.steps_per_epoch))


def _read(settings: Settings) -> packed.Packed:
    """The packed data of the settings. Raises `InputError` where it does not fit them."""
    if settings.data.root is None:
        raise InputError("data.root is none: give the folder that benchmarks/pack.py made")
    found = packed.read(settings.data.root)
    asked = (photographs.load_size(settings.data.image_size), settings.generator.text_dim)
    there = (found.pictures.shape[1], found.embeddings.shape[1])
    if there != asked:
        raise InputError(
            f"{settings.data.root} has pictures of {there[0]} pixels and embeddings of {there[1]} dimensions but the "
            f"settings ask for {asked[0]} and {asked[1]}: pack it with the settings that you train with"
        )
    if len(found.pictures) < settings.train.batch_size:
        raise InputError(
            f"train.batch_size is {settings.train.batch_size} but there are {len(found.pictures)} pictures"
        )
    return found


if __name__ == "__main__":
    command_line.run(main)
