"""A training command on several CPU devices, in a process of its own: `on_devices.py COUNT COMMAND WORD …`.

It computes in float64, where nothing but a fault tells one order of sums from another, unless it is given a
`--train.precision`. Where the environment has `DIES_AT`, the process is killed before the step of that number, by
`STOPS_AT` politely; `PROCESSOR` is what Linux says that its processor can do.
"""

import importlib
import os
import signal
import sys
from contextlib import contextmanager

import keras
import tensorflow as tf

from stackgan_keras import command_line
from stackgan_keras.data.pipeline import ImageStream
from stackgan_keras.models.blocks import precision
from stackgan_keras.training import precision as training_precision
from stackgan_keras.training import stage
from stackgan_keras.training.trainer import Trainer


@contextmanager
def in_float64(_):
    """In place of a training's precision; a text encoder is read before, as its file has it."""
    keras.config.set_floatx("float64")
    with precision("float64"):
        yield


def wide(batch):
    return {name: tf.cast(value, tf.float64) if value.dtype == tf.float32 else value for name, value in batch.items()}


def signalled(distribute, at, number):
    def batches(trainer, first):
        for step, batch in enumerate(distribute(trainer, first), start=first):
            if step == at:
                os.kill(os.getpid(), number)
            yield batch

    return batches


if __name__ == "__main__":
    count, command, *sys.argv[1:] = sys.argv[1:]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(count)
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    if "--train.precision" not in sys.argv:
        stage.precision, batches = in_float64, ImageStream.batches
        ImageStream.batches = lambda *given, **shares: batches(*given, **shares).map(wide)
    if "PROCESSOR" in os.environ:
        training_precision._processor_flags = lambda: {*os.environ["PROCESSOR"].split()}
    for variable, number in (("DIES_AT", signal.SIGKILL), ("STOPS_AT", signal.SIGTERM)):
        if variable in os.environ:
            Trainer._distribute = signalled(Trainer._distribute, int(os.environ[variable]), number)
    command_line.run(importlib.import_module(f"stackgan_keras.{command}").main)
