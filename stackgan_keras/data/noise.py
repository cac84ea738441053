"""Random numbers as functions of (seed, purpose, index), the same in training, inference and exported models.

A training step's draws have the step as their index; a generated image's have its sentence's place and its copy's
number. So any batch or image can be drawn again on its own, whatever was drawn before.
"""

from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

(ORDER, TOP, LEFT, MIRROR, CAPTION, NOISE, EPSILON, STAGE1_EPSILON, DIRECTION, AUGMENTATION, FRAMING) = range(11)
(WRONG, WORDS, KEEP) = range(11, 14)
PURPOSES = 16  # room to add some without changing the draws of the others
GENERATOR_INPUTS = {"noise": NOISE, "epsilon": EPSILON, "stage1_epsilon": STAGE1_EPSILON}

Integer: TypeAlias = int | tf.Tensor  # a scalar
Integers: TypeAlias = Sequence[int] | np.ndarray | tf.Tensor  # (B,)


def uniform(shape: Sequence[int], seed: Integer, purpose: int, index: Integer, limit: int | None = None) -> tf.Tensor:
    """Uniform floats in [0, 1), or integers below `limit`."""
    key = _key(seed, purpose, index)
    if limit is None:
        return tf.random.stateless_uniform(shape, key)
    return tf.random.stateless_uniform(shape, key, minval=0, maxval=limit, dtype=tf.int32)


def normal(shape: Sequence[int], seed: Integer, purpose: int, index: Integer, truncated: bool = False) -> tf.Tensor:
    """Standard normal floats; `truncated` ones stay within two deviations."""
    draw = tf.random.stateless_truncated_normal if truncated else tf.random.stateless_normal
    return draw(shape, _key(seed, purpose, index))


def shuffle(values: tf.Tensor, seed: Integer, purpose: int, index: Integer) -> tf.Tensor:
    """The values in random order."""
    return tf.random.experimental.stateless_shuffle(values, _key(seed, purpose, index))


def widths_of(generator: keras.Model) -> dict[str, int]:
    """The widths of a generator's random inputs, by name."""
    return {name: x.shape[1] for name, x in generator.input.items() if name in GENERATOR_INPUTS}


def generator_inputs(
    widths: dict[str, int], seed: Integer, places: Integers, copies: Integers, truncated: bool = False
) -> dict[str, tf.Tensor]:
    """What a generator takes beside its embedding: those of `GENERATOR_INPUTS` in `widths`, each (B, width).

    Image i is copy `copies[i]` of the sentence at `places[i]`; its rows depend on these and the seed alone. `truncated`
    is about the epsilons, as the TensorFlow release draws them. A Stage I draws the same image with and without a Stage
    II: without, its epsilon is the one that Stage II calls `stage1_epsilon`.
    """
    purposes = dict(GENERATOR_INPUTS)
    if "stage1_epsilon" not in widths:
        purposes["epsilon"] = STAGE1_EPSILON
    index = tf.cast(places, tf.int64) * 2**32 + tf.cast(copies, tf.int64)

    def rows(name: str):
        within = truncated and name != "noise"
        return tf.map_fn(
            lambda i: normal((widths[name],), seed, purposes[name], i, within), index, fn_output_signature=tf.float32
        )

    return {name: rows(name) for name in purposes if name in widths}


def _key(seed, purpose: int, index):
    return tf.stack([tf.cast(seed, tf.int64) * PURPOSES + purpose, tf.cast(index, tf.int64)])
