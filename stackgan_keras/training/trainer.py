"""The training loop: steps, checkpoints, resuming, figures and image grids on the way; any train step will do."""

import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras.config import Train
from stackgan_keras.data.pipeline import ImageStream
from stackgan_keras.errors import InputError, first_line
from stackgan_keras.files import write_lines
from stackgan_keras.training import health, logs
from stackgan_keras.training.distribution import has_other_machines, is_chief
from stackgan_keras.training.stopping import Stop

READ_EVERY = 10  # steps between reads of the losses: each waits for the device
ASTRAY = "lower the learning rates or use train.precision float32; the last checkpoint in"
STOP = "stop"  # among a step's scalars on several machines: how many of their devices are asked to stop
OnGrid = Callable[[Path], None] | None  # called with the path of every image grid that is written
SHOWN = ("discriminator", "generator", "pixel", "joint", "right_image")  # on the live line, where a step has them


@dataclass(frozen=True)
class Schedule:
    """For how long a run goes on, and how often it leaves something."""

    steps: int
    sample_every: int  # epochs
    save_every: int  # epochs
    jit_compile: bool = False

    @classmethod
    def of(cls, train: Train, epochs: int, steps_per_epoch: int) -> "Schedule":
        """So many epochs, or as many steps as the settings allow."""
        steps = min(epochs * steps_per_epoch, train.max_steps or math.inf)
        return cls(int(steps), train.sample_every, train.save_every, train.jit_compile)


class Outputs(Protocol):
    """What a run leaves for users on the way."""

    def figures(self) -> dict[str, float]:
        """Figures of the present state, beside the means of the epoch's losses."""

    def grid(self) -> np.ndarray:
        """An image grid (height, width, 3) uint8 of the present state."""

    def write_grid(self, epoch: int, grid: np.ndarray) -> Path:
        """Writes the grid of an epoch and returns its path."""

    def save(self) -> None:
        """Writes weights and curves."""


@dataclass
class Trainer:
    """A training run: its train step, its stream, for how long, and where it leaves its traces.

    `train_step(batch)` changes the state in `trained` and returns scalars that sum to their mean over the replicas.
    """

    strategy: tf.distribute.Strategy
    train_step: Callable[[dict], dict]
    trained: dict  # name: anything that tf.train.Checkpoint can hold
    stream: ImageStream
    schedule: Schedule
    folder: Path  # for checkpoints, metrics.jsonl and TensorBoard's files
    outputs: Outputs
    on_grid: OnGrid = None
    after_step: Callable[[tf.Tensor], None] | None = None  # called in the graph with the number of steps

    def __post_init__(self) -> None:
        replicas = self.strategy.num_replicas_in_sync
        if self.stream.batch_size % replicas:
            raise InputError(
                f"train.batch_size is {self.stream.batch_size}, which {replicas} devices cannot share equally: "
                f"ask for a multiple of {replicas}"
            )
        if self.schedule.jit_compile and replicas > 1:
            raise InputError(f"train.jit_compile works on one device, not on {replicas}: switch it off")
        with self.strategy.scope():
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.chief = is_chief(self.strategy)
        self.alone = not has_other_machines(self.strategy)
        checkpoint = tf.train.Checkpoint(step=self.step, **self.trained)
        self.scratch = None if self.chief else tempfile.TemporaryDirectory()  # all must save, one save is kept
        kept = self.scratch.name if self.scratch else str(self.folder / "checkpoints")
        self.metrics = logs.Metrics(self.folder)
        self.warned: set[str] = set()
        self.pending: list[dict[str, tf.Tensor]] = []  # losses of the last steps, not yet read
        self.read: list[dict[str, float]] = []  # those of the epoch's steps before them
        self.to_stop = False  # as all machines have agreed
        self.done = self._resume(checkpoint)  # steps, before this run
        self.manager = tf.train.CheckpointManager(checkpoint, kept, max_to_keep=2)

    def _resume(self, checkpoint: tf.train.Checkpoint) -> int:
        """Restores the newest checkpoint that is whole, if there is one. Returns the number of steps already done."""
        kept, damaged = self.folder / "checkpoints", []
        there = _newest_first(kept)
        for number, prefix in enumerate(there):
            try:
                checkpoint.restore(prefix).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError, UnicodeDecodeError) as problem:
                damaged.append(f"{prefix} does not fit this run or is damaged ({first_line(problem)})")
                continue
            if self.chief:
                for sentence in damaged:  # whose place the next checkpoints take, so that two whole ones are kept
                    print(f"the checkpoint {sentence}: going on from {prefix}")
                _list(kept, there[number:])
            return int(self.step.numpy())
        if damaged:
            raise InputError(
                f"the checkpoint {damaged[0]}: put back whole files, give another --run, or --fresh to start over"
            )
        return 0

    def __call__(self) -> None:
        """Trains from the newest checkpoint, or from the start, to the last step."""
        done = self.done
        if done >= self.schedule.steps:
            if self.chief:
                print(f"already trained for {done} steps; raise train.epochs (or train.max_steps) to go on")
            self._checkpoint()
            return
        if self.chief:
            self.metrics.rewind(done)
        data = iter(self._distribute(done))
        advance = self._make_step()
        bar = tqdm(
            total=self.schedule.steps * self.stream.batch_size,
            initial=done * self.stream.batch_size,
            unit=" images",
            smoothing=0.05,
            disable=not self.chief,
            mininterval=0.5 if os.isatty(2) or "ipykernel" in sys.modules else 60,  # a log file grows by every line
        )
        with Stop() as stop:
            try:
                with bar:
                    per_epoch = self.stream.steps_per_epoch
                    epochs = -(-self.schedule.steps // per_epoch)
                    self.read = self.metrics.unfinished(done, done % per_epoch)
                    for epoch in range(done // per_epoch, epochs):
                        bar.set_description(f"epoch {epoch + 1} of {epochs}", refresh=False)
                        self._epoch(epoch, data, advance, bar, stop)
            except KeyboardInterrupt:
                self._stopped()
                raise

    def _stopped(self) -> None:
        """Saves what an interrupted training needs to go on as if it had not been."""
        self._read_pending()
        self._checkpoint()
        if self.chief:
            step = int(self.step.numpy())
            self.metrics.keep_unfinished(step, self.read)
            print(f"\nstopped after step {step}; the same command goes on from here")

    def _epoch(self, epoch: int, data, advance, bar, stop: Stop) -> None:
        first, last = int(self.step.numpy()), min((epoch + 1) * self.stream.steps_per_epoch, self.schedule.steps)
        started = time.perf_counter()
        for step in range(first, last):
            if self.to_stop or (self.alone and stop.asked):
                raise KeyboardInterrupt
            self.pending.append(advance(next(data), tf.constant(float(stop.asked))))
            if len(self.pending) == READ_EVERY or step == last - 1:
                count = self._read_pending()
                losses = {k: f"{v:.3f}" for k, v in self.read[-1].items() if k.rstrip("_0123456789") in SHOWN}
                bar.set_postfix(losses, refresh=False)
                bar.update(count * self.stream.batch_size)
        seconds, ended = time.perf_counter() - started, last == self.schedule.steps
        means = {k: float(np.mean([s[k] for s in self.read])) for k in self.read[0]}
        self.read = []
        if self.chief:
            rate = (last - first) * self.stream.batch_size / seconds
            figures = {"epoch": epoch + 1, **means, **self.outputs.figures(), "images_per_second": rate}
            self.metrics.write(last, figures)
            self._warn(bar)
            if (epoch + 1) % self.schedule.sample_every == 0 or ended:
                grid = self.outputs.grid()
                path = self.outputs.write_grid(epoch + 1, grid)
                self.metrics.write_image(last, grid)
                bar.write(f"epoch {epoch + 1}: images {path}")
                if self.on_grid:
                    self.on_grid(path)
        if (epoch + 1) % self.schedule.save_every == 0 or ended:
            self._checkpoint()
            if self.chief:
                bar.write(f"epoch {epoch + 1}: checkpoint {self.manager.latest_checkpoint}")

    def _read_pending(self) -> int:
        """Reads the losses of the last steps, and whether a machine asked to stop in them. Returns their number."""
        first, count = int(self.step.numpy()) + 1 - len(self.pending), len(self.pending)
        for step, scalars in enumerate(self.pending, start=first):
            self.to_stop |= float(scalars.pop(STOP, 0)) > 0
            self.read.append(self._checked(scalars, step))
        self.pending = []
        return count

    def _warn(self, bar) -> None:
        """Tells once of each sign that the training goes wrong, and again if it went and came back."""
        found = health.warnings(logs.read(self.metrics.path))
        for name, sentence in found.items():
            if name not in self.warned:
                bar.write(f"warning: {sentence}")
        self.warned = {*found}

    def _checked(self, scalars: dict[str, tf.Tensor], step: int) -> dict[str, float]:
        values = {name: float(value) for name, value in scalars.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise InputError(f"the {name} loss became {value} in step {step}: {ASTRAY} {self.folder} is untouched")
        return values

    def _checkpoint(self) -> None:
        for name, part in self.trained.items():
            if any(not tf.reduce_all(tf.math.is_finite(v)) for v in getattr(part, "weights", ())):
                step = int(self.step.numpy())
                raise InputError(
                    f"the {name}'s weights are not finite at step {step}: {ASTRAY} {self.folder} is untouched"
                )
        try:
            self.manager.save(checkpoint_number=self.step)
        except tf.errors.OpError as problem:
            reason = first_line(problem).rpartition("}} ")[2]  # without the name of TensorFlow's node
            raise InputError(
                f"the checkpoint could not be written to {self.folder} ({reason}): "
                "make room or mend the folder; the same command then goes on from the last whole checkpoint"
            ) from None
        if self.chief:
            self.outputs.save()

    def _distribute(self, first_step: int):
        replicas = self.strategy.num_replicas_in_sync

        def for_pipeline(context: tf.distribute.InputContext):
            here = replicas // context.num_input_pipelines
            mine = range(context.input_pipeline_id * here, (context.input_pipeline_id + 1) * here)
            return self.stream.batches(first_step, self.schedule.steps, replicas=replicas, mine=mine)

        return self.strategy.distribute_datasets_from_function(for_pipeline)

    def _make_step(self):
        step = self.train_step
        if self.schedule.jit_compile:
            step = tf.function(step, jit_compile=True)

        @tf.function
        def advance(batch, stop):
            scalars = self.strategy.run(step, args=(batch,))
            if not self.alone:
                scalars[STOP] = self.strategy.run(tf.identity, args=(stop,))
            self.step.assign_add(1)
            if self.after_step:
                self.after_step(self.step)
            return {k: self.strategy.reduce(tf.distribute.ReduceOp.SUM, v, axis=None) for k, v in scalars.items()}

        return advance


def _list(folder: Path, newest_first: list[str]) -> None:
    """Writes the list by which TensorFlow's manager goes on; it deletes only what has a time."""
    names = [Path(prefix).name for prefix in newest_first]
    times = [Path(f"{prefix}.index").stat().st_mtime for prefix in newest_first]
    lines = [f'model_checkpoint_path: "{names[0]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in reversed(names)]
    write_lines(folder / "checkpoint", lines + [f"all_model_checkpoint_timestamps: {time}" for time in reversed(times)])


def _newest_first(folder: Path) -> list[str]:
    """What the files of each checkpoint in a folder begin with; the index of a checkpoint is written last."""
    numbers = [re.fullmatch(r"ckpt-(\d+)\.index", file.name) for file in folder.glob("ckpt-*.index")]
    return [str(folder / f"ckpt-{number}") for number in sorted((int(n[1]) for n in numbers if n), reverse=True)]
