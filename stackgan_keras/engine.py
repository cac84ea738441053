"""How does a training run go on, stop, and go on again? Strategy, loop, checkpoints, logs; any update will do."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stackgan_keras.errors import InputError, first_line

LOOK_EVERY = 10  # steps between looks at the losses: each look waits for the device


def make_strategy() -> tf.distribute.Strategy:
    """Several machines if `TF_CONFIG` names them, else all GPUs of this one, else its CPU.

    A CPU alone has nothing to mirror: the default strategy computes the same there in two thirds of the time
    (measured, Stage I, two cores: 400 ms a step where MirroredStrategy takes 620).
    """
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("CPU")) == 1 and not tf.config.list_physical_devices("GPU"):
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files: the first of several machines, or the only one."""
    resolver = strategy.cluster_resolver
    if not resolver or not resolver.task_type:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


@dataclass
class Run:
    """A training run: what it updates, from which stream, for how long, and where it leaves its traces.

    `update(batch)` changes the state in `trained` and returns scalars that sum to their mean over the replicas.
    `batches(first_step, last_step, replicas, mine)` gives each replica's shares (see `stream.Stream`). `sample()`
    returns a picture (height, width, 3) uint8 of the state, `save()` writes what users want of it.
    """

    strategy: tf.distribute.Strategy
    update: Callable[[dict], dict]
    trained: dict  # name: anything that tf.train.Checkpoint can hold
    batches: Callable
    steps: int
    steps_per_epoch: int
    batch_size: int
    folder: Path  # for checkpoints, metrics.jsonl and TensorBoard's files
    sample: Callable[[], np.ndarray]
    on_sample: Callable[[int, np.ndarray], None]  # epoch and picture
    save: Callable[[], None]
    sample_every: int  # epochs
    save_every: int  # epochs
    jit_compile: bool = False
    after: Callable[[tf.Tensor], None] | None = None  # called in the graph after each step, with their number

    def __post_init__(self):
        replicas = self.strategy.num_replicas_in_sync
        if self.batch_size % replicas:
            raise InputError(
                f"train.batch_size is {self.batch_size}, which {replicas} devices cannot share equally: "
                f"ask for a multiple of {replicas}"
            )
        if self.jit_compile and replicas > 1:
            raise InputError(f"train.jit_compile works on one device, not on {replicas}: switch it off")
        with self.strategy.scope():
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.chief = is_chief(self.strategy)
        checkpoint = tf.train.Checkpoint(step=self.step, **self.trained)
        self.scratch = None if self.chief else tempfile.TemporaryDirectory()  # all must save, one save is kept
        kept = self.scratch.name if self.scratch else str(self.folder / "checkpoints")
        self.manager = tf.train.CheckpointManager(checkpoint, kept, max_to_keep=2)
        self.metrics = Metrics(self.folder)
        self.done = self._resume()  # steps, before this run

    def _resume(self) -> int:
        """Restores the newest checkpoint, if there is one. Returns the number of steps already done."""
        kept = self.folder / "checkpoints"
        newest = tf.train.latest_checkpoint(str(kept))
        if not newest and any(kept.glob("ckpt-*.index")):
            raise InputError(
                f"{kept} holds checkpoints but its file `checkpoint` names none of them: "
                f"delete {self.folder} to start again, or give another --run"
            )
        if newest:
            try:
                self.manager.checkpoint.restore(newest).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as problem:
                raise InputError(
                    f"the checkpoint {newest} does not fit this run or is damaged ({first_line(problem)}): delete "
                    f"the folder {self.folder} to start again, or give another --run"
                ) from None
        return int(self.step.numpy())

    def __call__(self) -> None:
        """Trains from the newest checkpoint, or from the start, to the last step."""
        done = self.done
        if done >= self.steps:
            print(f"already trained for {done} steps; raise train.epochs (or train.max_steps) to go on")
            self._keep()
            return
        if self.chief:
            self.metrics.rewind(done)
        data = iter(self._distribute(done))
        advance = self._make_step()
        bar = tqdm(
            total=self.steps * self.batch_size,
            initial=done * self.batch_size,
            unit=" pictures",
            smoothing=0.05,
            disable=not self.chief,
            mininterval=0.5 if os.isatty(2) else 60,
        )
        try:
            with bar:
                for epoch in range(done // self.steps_per_epoch, -(-self.steps // self.steps_per_epoch)):
                    self._epoch(epoch, data, advance, bar)
        except KeyboardInterrupt:
            self._keep()
            print(f"\nstopped after step {int(self.step.numpy())}; the same command goes on from here")
            raise

    def _epoch(self, epoch: int, data, advance, bar) -> None:
        first, last = int(self.step.numpy()), min((epoch + 1) * self.steps_per_epoch, self.steps)
        unread, read, started = [], [], time.perf_counter()
        for step in range(first, last):
            unread.append(advance(next(data)))
            if len(unread) == LOOK_EVERY or step == last - 1:
                read += [_checked({k: float(v) for k, v in s.items()}, self.folder) for s in unread]
                bar.set_postfix({k: f"{v:.3f}" for k, v in read[-1].items()}, refresh=False)
                bar.update(len(unread) * self.batch_size)
                unread = []
        seconds, ended = time.perf_counter() - started, last == self.steps
        means = {k: float(np.mean([s[k] for s in read])) for k in read[0]}
        if self.chief:
            rate = len(read) * self.batch_size / seconds
            self.metrics.write(last, {"epoch": epoch + 1, **means, "pictures_per_second": rate})
            if (epoch + 1) % self.sample_every == 0 or ended:
                picture = self.sample()
                self.on_sample(epoch + 1, picture)
                self.metrics.write_picture(last, picture)
        if (epoch + 1) % self.save_every == 0 or ended:
            self._keep()

    def _keep(self) -> None:
        try:
            self.manager.save(checkpoint_number=self.step)
        except tf.errors.OpError as problem:
            raise InputError(
                f"the checkpoint could not be written to {self.folder} ({first_line(problem)}): "
                "make room or mend the folder; the same command then goes on from the last whole checkpoint"
            ) from None
        if self.chief:
            self.save()

    def _distribute(self, first_step: int):
        replicas = self.strategy.num_replicas_in_sync

        def for_pipeline(context: tf.distribute.InputContext):
            here = replicas // context.num_input_pipelines
            mine = range(context.input_pipeline_id * here, (context.input_pipeline_id + 1) * here)
            return self.batches(first_step, self.steps, replicas=replicas, mine=mine)

        return self.strategy.distribute_datasets_from_function(for_pipeline)

    def _make_step(self):
        update = tf.function(self.update, jit_compile=True) if self.jit_compile else self.update

        @tf.function
        def advance(batch):
            scalars = self.strategy.run(update, args=(batch,))
            self.step.assign_add(1)
            if self.after:
                self.after(self.step)
            return {k: self.strategy.reduce(tf.distribute.ReduceOp.SUM, v, axis=None) for k, v in scalars.items()}

        return advance


def _checked(scalars: dict[str, float], folder: Path) -> dict[str, float]:
    for name, value in scalars.items():
        if not np.isfinite(value):
            raise InputError(
                f"the {name} loss became {value}: lower the learning rates or use train.precision float32; "
                f"the last checkpoint in {folder} is untouched"
            )
    return scalars


class Metrics:
    """The run's figures: `metrics.jsonl`, one line an epoch, and the same for TensorBoard."""

    def __init__(self, folder: Path):
        self.path = folder / "metrics.jsonl"
        self.board = None

    def rewind(self, step: int) -> None:
        """Forgets the lines after `step`, which a resumed run will write again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            unfinished = self.path.with_suffix(".partial")
            unfinished.write_text("".join(f"{line}\n" for line in self._lines_up_to(step)))
            unfinished.replace(self.path)

    def _lines_up_to(self, step: int) -> Iterator[str]:
        for line in self.path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    yield line
            except ValueError:  # the run was killed while it wrote this line
                return

    def write(self, step: int, scalars: dict) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in scalars.items()}}) + "\n")
        with self._tensorboard().as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def write_picture(self, step: int, picture: np.ndarray) -> None:
        with self._tensorboard().as_default(step=step):
            tf.summary.image("pictures", picture[None])

    def _tensorboard(self):
        self.board = self.board or tf.summary.create_file_writer(str(self.path.parent / "tensorboard"))
        return self.board


def make_average(averaged: list, weights: list, decay: float) -> Callable[[tf.Tensor], None]:
    """A function of the number of steps done that moves each of the `averaged` variables towards its one of `weights`.

    The moving average starts short, (1 + steps) / (10 + steps), and keeps to `decay` once that is reached.
    """

    def move(steps):
        steps = tf.cast(steps, tf.float32)
        keep = tf.minimum(decay, (1 + steps) / (10 + steps))
        for slow, fast in zip(averaged, weights, strict=True):
            slow.value.assign_add((1 - keep) * (fast.value - slow.value))

    return move


def make_rmsprop(learning_rate: float, decay: float, decay_every: int) -> keras.optimizers.Optimizer:
    """The text encoder's RMSProp, whose rate is multiplied by `decay` every `decay_every` steps.

    Its mean squares are free of bias, which makes it Adam without momentum. Those of `keras.optimizers.RMSprop` start
    at zero, and its first step, 1 / sqrt(1 - rho) = 10 times too long, undoes what the weights it starts from know.
    """
    schedule = keras.optimizers.schedules.ExponentialDecay(learning_rate, decay_every, decay, staircase=True)
    return _scaled(keras.optimizers.Adam(schedule, beta_1=0.0, beta_2=0.99, epsilon=1e-8))


def make_cosine_adam(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Adam whose rate falls to nothing over so many steps, along a cosine."""
    return _scaled(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))


def make_adam(learning_rate: float, halve_every: int) -> keras.optimizers.Optimizer:
    """The release's Adam (beta 0.5 and 0.999) whose rate halves every `halve_every` steps, as the step count says."""
    schedule = keras.optimizers.schedules.ExponentialDecay(learning_rate, halve_every, 0.5, staircase=True)
    return _scaled(keras.optimizers.Adam(schedule, beta_1=0.5, beta_2=0.999, epsilon=1e-8))


def _scaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """With its loss scaled where the networks compute in float16, whose smallest numbers are too large."""
    if keras.config.dtype_policy().compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
