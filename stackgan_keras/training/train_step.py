"""One train step: every discriminator's, then the generator's; the same for all stages and for the warm-up."""

import keras
import tensorflow as tf

from stackgan_keras.models import replicas
from stackgan_keras.training.distribution import GlobalBatch
from stackgan_keras.training.objective import Objective


class TrainStep:
    """A function of a batch that trains all networks of an `Objective` once and returns the scalars to log.

    It takes a per-replica batch (`pipeline.AdversarialStream` says what is in it) and runs inside `strategy.run` or on
    one device. Every scalar is this replica's share of a mean over the global batch: sum them over the replicas.
    """

    def __init__(self, objective: Objective, optimizers: dict[str, keras.optimizers.Optimizer]):
        """`optimizers` holds that of the `generator`, and by their names those of the objective's adversaries."""
        self.objective, self.optimizers = objective, optimizers

    def __call__(self, batch: dict) -> dict:
        objective, global_batch = self.objective, GlobalBatch(tf.shape(batch["class_id"])[0])
        scalars: dict = {}
        batch = objective.complete(batch)

        with tf.GradientTape() as generator_tape:
            fake = objective.fake(batch)

        for adversary in objective.adversaries:
            optimizer = self.optimizers[adversary.name]
            with replicas.aside(), tf.GradientTape() as tape:
                loss, found = adversary.loss(batch, fake, global_batch)
                loss = optimizer.scale_loss(loss)
            _apply(optimizer, tape, loss, adversary.discriminator.trainable_variables)
            scalars |= found

        optimizer = self.optimizers["generator"]
        with generator_tape:
            loss, found = objective.generator_loss(batch, fake, global_batch)
            loss = optimizer.scale_loss(loss)
        _apply(optimizer, generator_tape, loss, objective.generator.trainable_variables)
        return scalars | found


def _apply(optimizer, tape, loss, variables):
    gradients = tape.gradient(loss, variables)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _finite_everywhere(gradients)
    optimizer.apply(gradients, variables)


def _finite_everywhere(gradients: list) -> list:
    """The gradients, of which none is a number if any replica's are not finite.

    A step that overflows in float16 is left out, but Keras's `LossScaleOptimizer` (3.15) looks at the gradients of one
    replica alone, before they are summed: those of another would end in the weights, or machines wait for each other.
    """
    zeros = tf.add_n([tf.reduce_sum(0 * gradient) for gradient in gradients if gradient is not None])
    zero = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, zeros)
    return [None if gradient is None else gradient + zero for gradient in gradients]
