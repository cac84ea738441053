"""A discriminator in training: what it sees of an image, its own loss, and its part in the generator's loss.

Source: the training loop of the PyTorch release (algorithm 1 of Reed et al., ICML 2016).
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from stackgan_keras.config import Settings
from stackgan_keras.models.discriminators import Parts
from stackgan_keras.models.generators import named_by
from stackgan_keras.models.projected import FRAMING, frame
from stackgan_keras.models.tensors import Tensor
from stackgan_keras.training import losses
from stackgan_keras.training.augmentation import DRAWS, augment
from stackgan_keras.training.distribution import GlobalBatch

REAL, FAKE, WRONG = range(3)  # whose draws: real, fake and wrong images are augmented and framed apart
R1_STEP = 0.03  # of the finite difference, in images of [-1, 1]; bfloat16 would not see much less


class Rules(NamedTuple):
    """In what the training of discriminators differs within StackGAN's family."""

    wrong_images: bool = False  # mismatched pairs have another image, which is real by itself; else another sentence
    mismatched_last: bool = False  # of the conditional logits: batch norm's moving statistics tell
    any_class: bool = False  # mismatched sentences count even if both images are of one class
    summed: bool = False  # losses with unconditional ones are summed, not averaged
    text_gradient: bool = False  # the generator also learns by the text that discriminators read


RULES = {
    "stackgan": Rules(),
    "stackgan_v2": Rules(wrong_images=True, summed=True, text_gradient=True),
    "attngan": Rules(mismatched_last=True, any_class=True),
}


class Adversary:
    """The discriminator of one of the generator's images; `image` is the image's name, in batches too.

    The R1 gradient penalty is measured by finite differences along a random `direction` of the batch: a gradient of
    gradients would need TensorFlow's `all_reduce` to be differentiable twice, and in a graph it is not (2.21: a wrong
    gradient).
    """

    def __init__(
        self, image: str, discriminator: keras.Model, settings: Settings, pretrained: keras.Model | None = None
    ):
        self.image, self.discriminator, self.pretrained = image, discriminator, pretrained
        self.parts, self.text = Parts(discriminator), settings.discriminator.text
        self.rules, self.unconditional_weight = RULES[settings.generator.family], settings.train.unconditional_weight
        self.augmentation, self.r1_weight = settings.train.augmentation, settings.train.r1_weight
        self.adversarial = losses.ADVERSARIAL[settings.train.adversarial_loss]

    @property
    def name(self) -> str:
        """Of its optimizer, of its loss, and of its place in checkpoints."""
        return named_by(self.image, "discriminator")

    def see(self, images: Tensor, batch: dict, turn: int, move: Tensor | None = None) -> dict:
        """What the discriminator sees of images, `REAL` or `FAKE`: the augmented image and its pretrained features.

        `move` is added after the augmentation.
        """
        if self.augmentation is not None:
            draws = batch["augmentation"][:, turn * DRAWS : (turn + 1) * DRAWS]
            images = augment(images, draws, self.augmentation)
        images = images if move is None else images + move
        framing = None if self.pretrained is None else batch["framing"][:, turn * FRAMING : (turn + 1) * FRAMING]
        return self.inputs(images, framing)

    def inputs(self, images: Tensor, framing: Tensor | None) -> dict:
        """The discriminator's inputs, but for the text, of images as they are; `framing` is draws of `frame`."""
        seen = {"image": images} if "image" in self.parts.encoders else {}
        if self.pretrained is not None:
            seen |= self.pretrained(ops.cast(frame(images, framing), "float32"), training=False)
        return seen

    def read(self, batch: dict, fake: dict) -> Tensor | None:
        """The text that the discriminator reads, if any: sentences' embeddings, or the generator's means of these."""
        if "conditional" not in self.parts.heads:
            return None
        return batch["embedding"] if self.text == "embedding" else fake["mean"]

    def loss(self, batch: dict, fake: dict, global_batch: GlobalBatch) -> tuple:
        """Its loss and the scalars to log: real pairs against fakes, and against mismatched pairs.

        `fake` is what the generator makes of the batch, with what this discriminator sees of it.
        """
        text = self.read(batch, fake)
        text = None if text is None else ops.stop_gradient(text)
        features = self._features(batch, fake)
        real_logits = self.parts.logits(features["real"], text)
        real = self._means("real", self.adversarial.real, real_logits, global_batch)
        false: dict[str, Tensor] = {}
        for kind in ("fake", "mismatched") if self.rules.mismatched_last else ("mismatched", "fake"):
            if kind == "fake":
                logits = self.parts.logits(features["fake"], text)
                false |= self._means("fake", self.adversarial.fake, logits, global_batch)
            elif "wrong" in features:
                logits = self.parts.logits(features["wrong"], text)
                of_image = {"unconditional": logits.pop("unconditional")} if "unconditional" in logits else {}
                false |= self._means("mismatched", self.adversarial.fake, logits, global_batch)
                real |= self._means("mismatched", self.adversarial.real, of_image, global_batch)
            elif text is not None:
                false["mismatched"] = self._with_next_sentences(features["real"], text, batch, global_batch)

        loss = self._total(real, false)
        scalars = {"discriminator": loss, **real, **false}
        if self.r1_weight:
            scalars["r1"] = self._r1(batch, real_logits, text, global_batch)
            loss += self.r1_weight * scalars["r1"]
        return loss, {named_by(self.image, name): value for name, value in scalars.items()}

    def _features(self, batch: dict, fake: dict) -> dict[str, dict]:
        """Of real images, of wrong ones if mismatched pairs are made with these, and of fakes, without gradient."""
        features = {"real": self.parts.features(self.see(batch[self.image], batch, REAL))}
        if self.rules.wrong_images and "conditional" in self.parts.heads:
            wrong = batch[named_by(self.image, "wrong_image")]
            features["wrong"] = self.parts.features(self.see(wrong, batch, WRONG))
        seen = {name: ops.stop_gradient(values) for name, values in fake["seen"][self.image].items()}
        return features | {"fake": self.parts.features(seen)}

    def _means(self, kind: str, loss: Callable, logits: dict, global_batch: GlobalBatch) -> dict[str, Tensor]:
        """The averaged losses of logits, by their names in the log."""
        return {_name(kind, name): global_batch.mean(_over_parts(loss(values))) for name, values in logits.items()}

    def _total(self, real: dict[str, Tensor], false: dict[str, Tensor]) -> Tensor:
        """The loss, of the averaged losses on what counts as real and on what does not."""
        both = {**real, **false}
        if self.rules.summed and {*map(_is_unconditional, both)} == {True, False}:
            return sum(self._weight(name) * value for name, value in both.items())
        return losses.discriminator_loss([*real.values()], [*false.values()])

    def _weight(self, name: str) -> float:
        return self.unconditional_weight if _is_unconditional(name) else 1.0

    def generator_loss(self, seen: dict, text: Tensor | None, global_batch: GlobalBatch) -> Tensor:
        """The generator's loss: how far what is seen of fakes is from being taken for real images."""
        if text is not None and not self.rules.text_gradient:
            text = ops.stop_gradient(text)
        logits = self.parts.logits(self.parts.features(seen), text)
        found = self._means("generator", self.adversarial.generator, logits, global_batch)
        return sum(self._weight(name) * value for name, value in found.items())

    def _with_next_sentences(self, features: dict, text, batch: dict, global_batch: GlobalBatch):
        """The loss on real images with the next image's sentence, but for pairs of one class."""
        next_text = global_batch.next_rows(text)
        pairs = ops.shape(next_text)[0]  # the last image of the global batch has no next sentence
        logits = self.parts.conditional({name: values[:pairs] for name, values in features.items()}, next_text)
        next_class = global_batch.next_rows(batch["class_id"])
        counted = ops.logical_or(batch["class_id"][:pairs] != next_class, self.rules.any_class)
        return global_batch.mean_where(counted, _over_parts(self.adversarial.fake(logits)))

    def _r1(self, batch: dict, logits: dict, text, global_batch: GlobalBatch):
        """The R1 gradient penalty at real images: the mean over the kinds of logits."""
        moved = self.see(batch[self.image], batch, REAL, move=R1_STEP * batch[named_by(self.image, "direction")])
        moved_logits = self.parts.logits(self.parts.features(moved), text)
        slopes = [losses.r1_penalty(logits[name], moved_logits[name], R1_STEP) for name in logits]
        return sum(global_batch.mean(ops.sum(slope, axis=-1)) for slope in slopes) / len(slopes)


def _over_parts(losses_):
    """The losses (B,) of logits (B, parts), summed over the discriminator's parts."""
    return ops.sum(losses_, axis=-1)


def _name(images: str, logits: str) -> str:
    return images if logits == "conditional" else f"{images}_{logits}"


def _is_unconditional(name: str) -> bool:
    return name.endswith("_unconditional")
