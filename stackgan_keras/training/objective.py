"""What generator and discriminator are trained for: their losses on a batch, on any backend of Keras.

What differs between the stages is in the networks handed over: the discriminator's logits and the generator's frozen
part. Source: the training loop of the PyTorch release (algorithm 1 of Reed et al., ICML 2016).
"""

from dataclasses import dataclass
from typing import Protocol

import keras
from keras import ops

from stackgan_keras.config import Settings
from stackgan_keras.models.discriminators import Parts
from stackgan_keras.models.generators import without_stage1
from stackgan_keras.models.projected import FRAMING, frame
from stackgan_keras.training import losses
from stackgan_keras.training.augmentation import DRAWS, augment

REAL, FAKE = range(2)  # whose draws: real and fake images are augmented and framed apart
R1_STEP = 0.03  # of the finite difference, in images of [-1, 1]; bfloat16 would not see much less


@dataclass(frozen=True)
class Objective:
    """Which text the discriminator reads, and the weights of the losses."""

    text: str = "mean"  # the generator's mean, or the `embedding`
    kl_weight: float = 2.0
    interpolation_weight: float = 0.0  # GAN-INT: Reed et al. 2016
    r1_weight: float = 0.0  # Mescheder et al. 2018
    pixel_weight: float = 0.0  # for Stage II alone: Ledig et al. 2017
    feature_weight: float = 0.0  # the same, by what the discriminator's pretrained network sees: Johnson et al. 2016
    augmentation: str | None = None  # policy of `augmentation.augment`: Zhao et al. 2020

    @classmethod
    def of(cls, settings: Settings) -> "Objective":
        names = ("kl_weight", "interpolation_weight", "r1_weight", "pixel_weight", "feature_weight", "augmentation")
        return cls(settings.discriminator.text, **{name: getattr(settings.train, name) for name in names})


class Everyone(Protocol):
    """The global batch, seen from a part of it, as `distribution.GlobalBatch` has it over the replicas."""

    def mean(self, values):
        """This part's share of the mean over the global batch."""

    def mean_where(self, chosen, values):
        """This part's share of the mean over the chosen values alone, 0 if there are none."""

    def next_rows(self, values):
        """For each row of this part the next row of the global batch, without gradient; the very last has none."""


class Losses:
    """The losses of both networks on a batch (`pipeline.AdversarialStream` says what is in it).

    Each is given as what its network is trained to make small, and the scalars to log: shares of means over `everyone`.

    The R1 gradient penalty is measured by finite differences along a random `direction` of the batch: a gradient of
    gradients would need TensorFlow's `all_reduce` to be differentiable twice, and in a graph it is not (2.21: a wrong
    gradient).
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        objective: Objective,
        pretrained: keras.Model | None = None,
    ):
        self.generator, self.objective, self.pretrained = generator, objective, pretrained
        self.discriminator = Parts(discriminator)
        reconstructs = objective.pixel_weight or objective.feature_weight
        self.refine = without_stage1(generator) if reconstructs else None

    def fake(self, batch: dict) -> dict:
        """What the generator makes of a batch, and as `seen` what the discriminator sees of it, in both its steps."""
        made = self.generator({name: batch[name] for name in self.generator.input}, training=True)
        return {**made, "seen": self._seen(made["image"], batch, FAKE)}

    def text(self, embedding, made: dict):
        """What the discriminator reads of sentences: their embeddings, or the generator's means of these."""
        return embedding if self.objective.text == "embedding" else ops.stop_gradient(made["mean"])

    def of_discriminator(self, batch: dict, fake: dict, text, everyone: Everyone) -> tuple:
        """Real pairs against fake images and against real images with the next picture's sentence."""
        real_features = self.discriminator.features(self._seen(batch["image"], batch, REAL))
        fake_features = self.discriminator.features({n: ops.stop_gradient(x) for n, x in fake["seen"].items()})
        real_logits = self.discriminator.logits(real_features, text)
        next_text = everyone.next_rows(text)
        pairs = ops.shape(next_text)[0]  # the last picture of the global batch has no next sentence
        pictures = {name: features[:pairs] for name, features in real_features.items()}
        mismatched_logits = self.discriminator.conditional(pictures, next_text)
        fake_logits = self.discriminator.logits(fake_features, text)

        real = {n: everyone.mean(_cross_entropy(x, 1.0)) for n, x in real_logits.items()}
        fakes = {n: everyone.mean(_cross_entropy(x, 0.0)) for n, x in fake_logits.items()}
        # mismatched pairs of one class do not count
        counted = batch["class_id"][:pairs] != everyone.next_rows(batch["class_id"])
        mismatched = everyone.mean_where(counted, _cross_entropy(mismatched_logits, 0.0))
        scalars = {
            "discriminator": losses.discriminator_loss([*real.values()], [mismatched, *fakes.values()]),
            "mismatched": mismatched,
            **{_name("real", logits): loss for logits, loss in real.items()},
            **{_name("fake", logits): loss for logits, loss in fakes.items()},
        }
        if self.objective.r1_weight:
            scalars["r1"] = self._r1(batch, real_logits, text, everyone)
        return scalars["discriminator"] + self.objective.r1_weight * scalars.get("r1", 0.0), scalars

    def _r1(self, batch: dict, logits: dict, text, everyone: Everyone):
        """The R1 gradient penalty at real images: the mean over the kinds of logits."""
        moved = self._seen(batch["image"], batch, REAL, move=R1_STEP * batch["direction"])
        moved_logits = self.discriminator.logits(self.discriminator.features(moved), text)
        slopes = [losses.r1_penalty(logits[name], moved_logits[name], R1_STEP) for name in logits]
        return sum(everyone.mean(ops.sum(slope, axis=-1)) for slope in slopes) / len(slopes)

    def of_generator(self, batch: dict, fake: dict, text, everyone: Everyone) -> tuple:
        """Fake images against the discriminator after its step, the KL, and Stage II's pixel and feature losses."""
        objective = self.objective
        scalars = {"generator": self._adversarial(fake, text, everyone), "kl": _kl_of(fake, everyone)}
        if self.refine is not None:
            made, scalars["pixel"] = _pixel_loss_of(self.refine, batch, everyone)
            if objective.feature_weight:
                scalars["feature"] = self._feature_loss(made["image"], batch, everyone)
        if objective.interpolation_weight:
            scalars["interpolated"] = self._interpolated(batch, everyone)
        loss = scalars["generator"] + objective.kl_weight * scalars["kl"]
        loss += objective.pixel_weight * scalars.get("pixel", 0.0)
        loss += objective.feature_weight * scalars.get("feature", 0.0)
        loss += objective.interpolation_weight * scalars.get("interpolated", 0.0)
        return loss, scalars

    def _adversarial(self, fake: dict, text, everyone: Everyone):
        """The generator's loss: how far fake images are from being taken for real ones."""
        logits = self.discriminator.logits(self.discriminator.features(fake["seen"]), text)
        return sum(everyone.mean(_cross_entropy(x, 1.0)) for x in logits.values())

    def _feature_loss(self, images, batch: dict, everyone: Everyone):
        """How far the pretrained features of images are from those of the real ones, both framed alike."""
        draws = batch["framing"][:, FAKE * FRAMING :]
        made, real = (self.pretrained(frame(x, draws), training=False) for x in (images, batch["image"]))
        distances = [losses.feature_loss(made[name], ops.stop_gradient(real[name])) for name in made]
        return sum(everyone.mean(distance) for distance in distances) / len(distances)

    def _interpolated(self, batch: dict, everyone: Everyone):
        """The generator's loss on embeddings half-way between each sentence's and the next one's, which no image has.

        Source: Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016, equation 5 with beta 0.5.
        """
        following = everyone.next_rows(batch["embedding"])
        part = {name: values[: ops.shape(following)[0]] for name, values in batch.items()}
        part["embedding"] = (part["embedding"] + following) / 2
        made = self.fake(part)
        return self._adversarial(made, self.text(part["embedding"], made), everyone)

    def _seen(self, images, batch: dict, turn: int, move=None) -> dict:
        """What the discriminator sees of real or fake images: the augmented image and its pretrained features.

        `move` is added after the augmentation.
        """
        if self.objective.augmentation is not None:
            draws = batch["augmentation"][:, turn * DRAWS : (turn + 1) * DRAWS]
            images = augment(images, draws, self.objective.augmentation)
        images = images if move is None else images + move
        seen = {"image": images} if "image" in self.discriminator.encoders else {}
        if self.pretrained is not None:
            draws = batch["framing"][:, turn * FRAMING : (turn + 1) * FRAMING]
            seen |= self.pretrained(ops.cast(frame(images, draws), "float32"), training=False)
        return seen


class WarmupLosses:
    """As `Losses` of a Stage II, but its generator learns alone, by the pixel loss on real images made small.

    Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017, section 3.2.
    """

    def __init__(self, generator: keras.Model, kl_weight: float):
        self.refine, self.kl_weight = without_stage1(generator), kl_weight

    def of_generator(self, batch: dict, everyone: Everyone) -> tuple:
        made, pixel = _pixel_loss_of(self.refine, batch, everyone)
        kl = _kl_of(made, everyone)
        return pixel + self.kl_weight * kl, {"pixel": pixel, "kl": kl}


def _pixel_loss_of(refine: keras.Model, batch: dict, everyone: Everyone):
    """What `without_stage1` makes of real images made small, and how far it is from the real images."""
    made = refine({name: batch[name] for name in refine.input}, training=True)
    return made, everyone.mean(losses.pixel_loss(made["image"], batch["image"]))


def _kl_of(made: dict, everyone: Everyone):
    """The KL divergence of the conditioning augmentation; 0 where there is none."""
    if "log_variance" not in made:
        return ops.zeros((), made["image"].dtype)
    return everyone.mean(losses.kl_divergence(made["mean"], made["log_variance"]))


def _cross_entropy(logits, target: float):
    """The cross-entropy (B,) of logits (B, parts), summed over the discriminator's parts."""
    return ops.sum(losses.binary_cross_entropy(logits, target), axis=-1)


def _name(images: str, logits: str) -> str:
    return images if logits == "conditional" else f"{images}_{logits}"
