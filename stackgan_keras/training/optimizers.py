"""Optimizers whose learning rate follows from their step, and the moving average of a network's weights."""

import math
from collections.abc import Callable

import keras
from keras import ops

from stackgan_keras.models.tensors import Tensor


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


def make_damsm_adam(learning_rate: float, decay: float, steps: int) -> keras.optimizers.Optimizer:
    """AttnGAN's Adam for its encoders, made anew every epoch of so many `steps`, in which its rate stays the same.

    From epoch to epoch the rate is multiplied by `decay`, until it is a tenth.
    """
    return _loss_scaled(AdamOfEpochs(FallingRate(learning_rate, decay, steps), steps))


class FallingRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is multiplied by `decay` every so many `steps`, until it is a tenth or less."""

    def __init__(self, rate: float, decay: float, steps: int):
        self.rate, self.decay, self.steps = rate, decay, steps
        self.times = math.ceil(math.log(0.1) / math.log(decay)) if decay < 1 else 0

    def __call__(self, step: Tensor) -> Tensor:
        dtype = keras.config.floatx()
        times = ops.minimum(ops.floor_divide(step, self.steps), self.times)
        rate, decay = (ops.convert_to_tensor(number, dtype) for number in (self.rate, self.decay))
        return rate * ops.power(decay, ops.cast(times, dtype))


class AdamOfEpochs(keras.optimizers.Adam):
    """Adam (beta 0.5 and 0.999) whose moments begin at zero again after every so many `steps`.

    Its epsilon is added to the root of the corrected moment, as in PyTorch.
    """

    def __init__(self, learning_rate: keras.optimizers.schedules.LearningRateSchedule, steps: int):
        super().__init__(learning_rate, beta_1=0.5, beta_2=0.999, epsilon=1e-8)
        self.steps = steps

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        dtype = variable.dtype
        step = ops.cast(self.iterations % self.steps, dtype)  # of the epoch, from 0
        kept = ops.cast(step > 0, dtype)
        gradient, learning_rate = ops.cast(gradient, dtype), ops.cast(learning_rate, dtype)
        corrected = []
        for moments, new, beta in (
            (self._momentums, gradient, self.beta_1),
            (self._velocities, ops.square(gradient), self.beta_2),
        ):
            moment = moments[self._get_variable_index(variable)]
            self.assign(moment, beta * kept * moment + (1 - beta) * new)
            corrected.append(moment / (1 - ops.power(ops.convert_to_tensor(beta, dtype), step + 1)))
        mean, square = corrected
        self.assign_sub(variable, learning_rate * mean / (ops.sqrt(square) + self.epsilon))


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
