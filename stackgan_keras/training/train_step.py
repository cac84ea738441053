"""One train step: the discriminator's, then the generator's; the same for both stages."""

import keras
import tensorflow as tf

from stackgan_keras.training.distribution import GlobalBatch
from stackgan_keras.training.objective import Losses, Objective, WarmupLosses


class TrainStep:
    """A function of a batch that trains both networks once and returns the scalars to log.

    It takes this replica's part of the global batch (`pipeline.AdversarialStream` says what is in it) and runs inside
    `strategy.run` or on one device. Every scalar is this replica's part of a mean over the global batch: sum them over
    the replicas.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        objective: Objective,
        pretrained: keras.Model | None = None,
    ):
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.losses = Losses(generator, discriminator, objective, pretrained)

    def __call__(self, batch: dict) -> dict:
        everyone = GlobalBatch(tf.shape(batch["image"])[0])

        with tf.GradientTape() as generator_tape:
            fake = self.losses.fake(batch)
        text = self.losses.text(batch["embedding"], fake)

        with tf.GradientTape() as tape:
            loss, scalars = self.losses.of_discriminator(batch, fake, text, everyone)
            loss = self.discriminator_optimizer.scale_loss(loss)
        _apply(self.discriminator_optimizer, tape, loss, self.discriminator.trainable_variables)

        with generator_tape:
            loss, of_generator = self.losses.of_generator(batch, fake, text, everyone)
            loss = self.generator_optimizer.scale_loss(loss)
        _apply(self.generator_optimizer, generator_tape, loss, self.generator.trainable_variables)
        return scalars | of_generator


class WarmupStep:
    """As `TrainStep` of a Stage II, but its generator learns alone, by `WarmupLosses`."""

    def __init__(self, generator: keras.Model, optimizer: keras.optimizers.Optimizer, kl_weight: float):
        self.losses, self.optimizer = WarmupLosses(generator, kl_weight), optimizer
        self.variables = generator.trainable_variables

    def __call__(self, batch: dict) -> dict:
        everyone = GlobalBatch(tf.shape(batch["image"])[0])
        with tf.GradientTape() as tape:
            loss, scalars = self.losses.of_generator(batch, everyone)
            loss = self.optimizer.scale_loss(loss)
        _apply(self.optimizer, tape, loss, self.variables)
        return scalars


def _apply(optimizer, tape, loss, variables):
    optimizer.apply(tape.gradient(loss, variables), variables)
