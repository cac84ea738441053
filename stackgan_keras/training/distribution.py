"""Several GPUs and machines: the strategy, and means over the global batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from stackgan_keras.errors import InputError, is_exhausted
from stackgan_keras.models import replicas


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
    if not has_other_machines(strategy):
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


@contextmanager
def other_machines_needed(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Raises `InputError` where the block fails because one of several machines is gone."""
    try:
        yield
    except tf.errors.OpError as problem:
        if not has_other_machines(strategy) or is_exhausted(problem):
            raise
        raise InputError(
            f"the machines of this training lost each other ({type(problem).__name__}): start the same command on all "
            "of them again, and they go on from the last checkpoint"
        ) from None


def has_other_machines(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is one of several machines."""
    resolver = strategy.cluster_resolver
    return bool(resolver and resolver.task_type)


def all_alike(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Whether all machines give the same small number."""
    if not has_other_machines(strategy):
        return True

    @tf.function
    def moments():
        def mine():
            return tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, tf.constant([number, number**2], tf.float32)
            )

        return strategy.run(mine)

    mean, of_squares = strategy.experimental_local_results(moments())[0].numpy()
    return bool(of_squares - mean**2 < 1e-5)  # the variance: one that differs of n makes it about 1 / n


class GlobalBatch:
    """The batch over all replicas, seen from one of them: means over all of it, and its rows."""

    def __init__(self, per_replica_size: int | tf.Tensor):
        self.context = tf.distribute.get_replica_context()
        self.size = per_replica_size
        self.total = per_replica_size * self.context.num_replicas_in_sync  # examples in the global batch
        self.first = self.context.replica_id_in_sync_group * per_replica_size  # row of this replica's first example

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """This replica's part of the global mean: a sum over its examples, divided by the global count."""
        return tf.reduce_sum(values) / tf.cast(self.total, values.dtype)

    def mean_where(self, chosen: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """This replica's part of the global mean over the chosen values alone, 0 if there are none."""
        weights = tf.cast(chosen, values.dtype)
        count = self.context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        return tf.math.divide_no_nan(tf.reduce_sum(weights * values), count)

    def next_rows(self, values: tf.Tensor) -> tf.Tensor:
        """For each row of this replica the next row of the global batch, without gradient; the very last has none."""
        rows = self.context.all_reduce(tf.distribute.ReduceOp.SUM, self._padded(tf.stop_gradient(values)))
        return rows[self.first + 1 : self.first + 1 + self.size]

    def all_rows(self, values: tf.Tensor) -> tf.Tensor:
        """The rows of all replicas, to all of which gradients flow back."""
        return replicas.total(self._padded(values))

    def _padded(self, values: tf.Tensor) -> tf.Tensor:
        """The rows where they are in the global batch, whose sum it is: TensorFlow 2.21's `all_gather` fails."""
        padding = [[self.first, self.total - self.first - self.size], *[[0, 0]] * (len(values.shape) - 1)]
        return tf.pad(values, padding)

    def share(self, value: tf.Tensor) -> tf.Tensor:
        """This replica's part of a scalar of the global batch that every replica computes alike."""
        return value / self.context.num_replicas_in_sync
