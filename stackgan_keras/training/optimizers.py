"""Optimizers whose learning rate follows from their step, and the moving average of a network's weights."""

from collections.abc import Callable

import keras
from keras import ops


def make_adam(learning_rate: float, decay_every: int) -> keras.optimizers.Optimizer:
    """The release's Adam (beta 0.5 and 0.999) whose rate halves every `decay_every` steps."""
    schedule = keras.optimizers.schedules.ExponentialDecay(learning_rate, decay_every, 0.5, staircase=True)
    return _loss_scaled(keras.optimizers.Adam(schedule, beta_1=0.5, beta_2=0.999, epsilon=1e-8))


def make_cosine_adam(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Adam whose rate falls to nothing over so many steps, along a cosine."""
    return _loss_scaled(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))


def make_rmsprop(learning_rate: float, decay: float, decay_every: int) -> keras.optimizers.Optimizer:
    """The text encoder's RMSProp, whose rate is multiplied by `decay` every `decay_every` steps.

    Its mean squares are free of bias, which makes it Adam without momentum. Those of `keras.optimizers.RMSprop` start
    at zero, and its first step, 1 / sqrt(1 - rho) = 10 times too long, undoes what the weights it starts from know.
    """
    schedule = keras.optimizers.schedules.ExponentialDecay(learning_rate, decay_every, decay, staircase=True)
    return _loss_scaled(keras.optimizers.Adam(schedule, beta_1=0.0, beta_2=0.99, epsilon=1e-8))


def make_ema(averaged: keras.Model, model: keras.Model, decay: float) -> Callable:
    """A function of the number of steps done that moves the variables of `averaged` towards those of `model`.

    All variables, batch norm's too (Karras et al., "Progressive Growing of GANs", ICLR 2018). The average starts short,
    (1 + steps) / (10 + steps), and keeps to `decay` once that is reached.
    """

    def move(steps):
        steps = ops.cast(steps, keras.config.floatx())
        keep = ops.minimum(decay, (1 + steps) / (10 + steps))
        for slow, fast in zip(averaged.variables, model.variables, strict=True):
            slow.assign_add((1 - keep) * (fast - slow))

    return move


def make_released_ema(
    averaged: keras.Model, model: keras.Model, decay: float, restart_every: int | None = None
) -> Callable:
    """As `make_ema`, but as the release of StackGAN++ averages.

    The decay is the same from the first step on, and batch norm's moving statistics are those of `model`. After every
    `restart_every` steps `model` goes on from the average, which the release does when it saves.
    """
    trained = [*zip(averaged.trainable_variables, model.trainable_variables, strict=True)]
    others = [*zip(averaged.non_trainable_variables, model.non_trainable_variables, strict=True)]

    def restart():
        for slow, fast in trained:
            fast.assign(slow)

    def move(steps):
        for slow, fast in trained:
            slow.assign_add((1 - decay) * (fast - slow))
        for slow, fast in others:
            slow.assign(fast)
        if restart_every is not None:
            ops.cond(steps % restart_every == 0, restart, lambda: None)

    return move


def _loss_scaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """With its loss scaled where the networks compute in float16, whose smallest numbers are too large."""
    if keras.config.dtype_policy().compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
