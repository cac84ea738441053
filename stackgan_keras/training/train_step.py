"""One train step: the discriminator's, then the generator's; the same for both stages.

What differs between the stages is in the networks handed over: the discriminator's logits and the generator's frozen
part. Source: the training loop of the PyTorch release (algorithm 1 of Reed et al., ICML 2016).
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from stackgan_keras.models.discriminators import LOGITS
from stackgan_keras.models.generators import without_stage1
from stackgan_keras.training import losses
from stackgan_keras.training.augmentation import DRAWS, augment
from stackgan_keras.training.distribution import GlobalBatch

R1_STEP = 0.03  # of the finite difference, in images of [-1, 1]; bfloat16 would not see much less


@dataclass(frozen=True)
class Objective:
    """What the two networks are trained for: which text the discriminator reads, and the weights of the losses."""

    text: str = "mean"  # the generator's mean, or the `embedding`
    kl_weight: float = 2.0
    interpolation_weight: float = 0.0  # GAN-INT: Reed et al. 2016
    r1_weight: float = 0.0  # Mescheder et al. 2018
    pixel_weight: float = 0.0  # for Stage II alone: Ledig et al. 2017
    augmentation: str | None = None  # policy of `augmentation.augment`: Zhao et al. 2020


class TrainStep:
    """A function of a batch that trains both networks once and returns the scalars to log.

    It takes this replica's part of the global batch (`pipeline.AdversarialStream` says what is in it) and runs inside
    `strategy.run` or on one device. Every scalar is this replica's part of a mean over the global batch: sum them over
    the replicas.

    The R1 gradient penalty is measured by finite differences along a random `direction` of the batch: a gradient of
    gradients would need TensorFlow's `all_reduce` to be differentiable twice, and in a graph it is not (2.21: a wrong
    gradient).
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        objective: Objective,
    ):
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.objective = objective
        self.encode_image = discriminator.get_layer("encode_image")
        self.logits_of = {name: discriminator.get_layer(LOGITS[name]) for name in discriminator.output}
        self.refine = without_stage1(generator) if objective.pixel_weight else None

    def __call__(self, batch: dict) -> dict:
        everyone = GlobalBatch(tf.shape(batch["image"])[0])

        with tf.GradientTape() as generator_tape:
            fake = self.generator({name: batch[name] for name in self.generator.input}, training=True)
        text = self._text(batch["embedding"], fake)

        with tf.GradientTape() as tape:
            real = {**batch, "image": self._augmented(batch["image"], batch, 0)}
            made = self._augmented(tf.stop_gradient(fake["image"]), batch, 1)
            scalars = self._discriminator_losses(real, made, text, everyone)
            loss = scalars["discriminator"] + self.objective.r1_weight * scalars.get("r1", 0.0)
            loss = self.discriminator_optimizer.scale_loss(loss)
        _apply(self.discriminator_optimizer, tape, loss, self.discriminator.trainable_variables)

        with generator_tape:
            of_generator = self._generator_losses(batch, fake, text, everyone)
            loss = of_generator["generator"] + self.objective.kl_weight * of_generator["kl"]
            loss += self.objective.pixel_weight * of_generator.get("pixel", 0.0)
            loss += self.objective.interpolation_weight * of_generator.get("interpolated", 0.0)
            loss = self.generator_optimizer.scale_loss(loss)
        _apply(self.generator_optimizer, generator_tape, loss, self.generator.trainable_variables)
        return scalars | of_generator

    def _discriminator_losses(self, batch: dict, fake, text, everyone: GlobalBatch) -> dict:
        """Real pairs against fake images and against real images with the next picture's sentence."""
        real_features = self.encode_image(batch["image"], training=True)
        fake_features = self.encode_image(fake, training=True)
        real_logits = self._logits(real_features, text)
        next_text = everyone.next_rows(text)
        pairs = tf.shape(next_text)[0]  # the last picture of the global batch has no next sentence
        mismatched_logits = self.logits_of["conditional"](
            {"features": real_features[:pairs], "text": next_text}, training=True
        )
        fake_logits = self._logits(fake_features, text)

        real = {n: everyone.mean(losses.binary_cross_entropy(x, 1.0)) for n, x in real_logits.items()}
        fakes = {n: everyone.mean(losses.binary_cross_entropy(x, 0.0)) for n, x in fake_logits.items()}
        # mismatched pairs of one class do not count
        counted = batch["class_id"][:pairs] != everyone.next_rows(batch["class_id"])
        mismatched = everyone.mean_where(counted, losses.binary_cross_entropy(mismatched_logits, 0.0))
        scalars = {
            "discriminator": losses.discriminator_loss([*real.values()], [mismatched, *fakes.values()]),
            "mismatched": mismatched,
            **{_name("real", logits): loss for logits, loss in real.items()},
            **{_name("fake", logits): loss for logits, loss in fakes.items()},
        }
        if self.objective.r1_weight:
            moved = self.encode_image(batch["image"] + R1_STEP * batch["direction"], training=True)
            moved_logits = self._logits(moved, text)
            slopes = [losses.r1_penalty(real_logits[name], moved_logits[name], R1_STEP) for name in real_logits]
            scalars["r1"] = sum(everyone.mean(slope) for slope in slopes) / len(slopes)
        return scalars

    def _generator_losses(self, batch: dict, fake: dict, text, everyone: GlobalBatch) -> dict:
        """Fake images against the discriminator after its step, the KL, and Stage II's pixel loss."""
        features = self.encode_image(self._augmented(fake["image"], batch, 2), training=True)
        logits = self._logits(features, text)
        scalars = {
            "generator": sum(everyone.mean(losses.binary_cross_entropy(x, 1.0)) for x in logits.values()),
            "kl": kl_of(fake, everyone),
        }
        if self.refine is not None:
            scalars["pixel"] = pixel_loss_of(self.refine, batch, everyone)[1]
        if self.objective.interpolation_weight:
            scalars["interpolated"] = self._interpolated_loss(batch, everyone)
        return scalars

    def _interpolated_loss(self, batch: dict, everyone: GlobalBatch):
        """The generator's loss on embeddings half-way between each sentence's and the next one's, which no image has.

        Source: Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016, equation 5 with beta 0.5.
        """
        following = everyone.next_rows(batch["embedding"])
        part = {name: values[: tf.shape(following)[0]] for name, values in batch.items()}
        part["embedding"] = (part["embedding"] + following) / 2
        made = self.generator({name: part[name] for name in self.generator.input}, training=True)
        features = self.encode_image(self._augmented(made["image"], part, 2), training=True)
        logits = self._logits(features, self._text(part["embedding"], made))
        return sum(everyone.mean(losses.binary_cross_entropy(x, 1.0)) for x in logits.values())

    def _text(self, embedding, made: dict):
        """What the discriminator reads of sentences: their embeddings, or the generator's means of these."""
        return embedding if self.objective.text == "embedding" else tf.stop_gradient(made["mean"])

    def _augmented(self, images, batch: dict, turn: int):
        """The images as the discriminator sees them at one of its three turns: real, fake, for the generator."""
        if self.objective.augmentation is None:
            return images
        draws = batch["augmentation"][:, turn * DRAWS : (turn + 1) * DRAWS]
        return augment(images, draws, self.objective.augmentation)

    def _logits(self, features, text) -> dict:
        """The logits of images' features, each image with its own sentence."""
        inputs = {"conditional": {"features": features, "text": text}, "unconditional": features}
        return {name: layer(inputs[name], training=True) for name, layer in self.logits_of.items()}


class WarmupStep:
    """As `TrainStep` of a Stage II, but its generator learns alone, by the pixel loss on real images made small.

    Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017, section 3.2.
    """

    def __init__(self, generator: keras.Model, optimizer: keras.optimizers.Optimizer, kl_weight: float):
        self.refine, self.optimizer, self.kl_weight = without_stage1(generator), optimizer, kl_weight
        self.variables = generator.trainable_variables

    def __call__(self, batch: dict) -> dict:
        everyone = GlobalBatch(tf.shape(batch["image"])[0])
        with tf.GradientTape() as tape:
            made, pixel = pixel_loss_of(self.refine, batch, everyone)
            kl = kl_of(made, everyone)
            loss = self.optimizer.scale_loss(pixel + self.kl_weight * kl)
        _apply(self.optimizer, tape, loss, self.variables)
        return {"pixel": pixel, "kl": kl}


def pixel_loss_of(refine: keras.Model, batch: dict, everyone: GlobalBatch):
    """What `without_stage1` makes of real images made small, and how far it is from the real images."""
    made = refine({name: batch[name] for name in refine.input}, training=True)
    return made, everyone.mean(losses.pixel_loss(made["image"], batch["image"]))


def kl_of(made: dict, everyone: GlobalBatch):
    """The KL divergence of the conditioning augmentation; 0 where there is none."""
    if "log_variance" not in made:
        return tf.zeros((), made["image"].dtype)
    return everyone.mean(losses.kl_divergence(made["mean"], made["log_variance"]))


def _name(images: str, logits: str) -> str:
    return images if logits == "conditional" else f"{images}_{logits}"


def _apply(optimizer, tape, loss, variables):
    optimizer.apply(tape.gradient(loss, variables), variables)
