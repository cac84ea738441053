"""A discriminator in training: what it sees of an image, its own loss, and its part in the generator's loss.

Source: the training loop of the PyTorch release (algorithm 1 of Reed et al., ICML 2016).
"""

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

REAL, FAKE = range(2)  # whose draws: real and fake images are augmented and framed apart
R1_STEP = 0.03  # of the finite difference, in images of [-1, 1]; bfloat16 would not see much less


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

    def read(self, batch: dict, fake: dict) -> Tensor:
        """The text that the discriminator reads: sentences' embeddings, or the generator's means of these."""
        return batch["embedding"] if self.text == "embedding" else ops.stop_gradient(fake["mean"])

    def loss(self, batch: dict, fake: dict, global_batch: GlobalBatch) -> tuple:
        """Its loss and the scalars to log: real pairs against fakes, and against pairs with the next image's sentence.

        `fake` is what the generator makes of the batch, with what this discriminator sees of it.
        """
        text, mean = self.read(batch, fake), global_batch.mean
        real_features = self.parts.features(self.see(batch[self.image], batch, REAL))
        seen = {name: ops.stop_gradient(values) for name, values in fake["seen"][self.image].items()}
        fake_features = self.parts.features(seen)
        real_logits = self.parts.logits(real_features, text)
        mismatched = self._mismatched(real_features, text, batch, global_batch)
        fake_logits = self.parts.logits(fake_features, text)

        real = {name: mean(_over_parts(self.adversarial.real(x))) for name, x in real_logits.items()}
        fakes = {name: mean(_over_parts(self.adversarial.fake(x))) for name, x in fake_logits.items()}
        loss = losses.discriminator_loss([*real.values()], [mismatched, *fakes.values()])
        scalars = {
            "discriminator": loss,
            "mismatched": mismatched,
            **{_name("real", logits): value for logits, value in real.items()},
            **{_name("fake", logits): value for logits, value in fakes.items()},
        }
        if self.r1_weight:
            scalars["r1"] = self._r1(batch, real_logits, text, global_batch)
            loss += self.r1_weight * scalars["r1"]
        return loss, {named_by(self.image, name): value for name, value in scalars.items()}

    def generator_loss(self, seen: dict, text: Tensor, global_batch: GlobalBatch) -> Tensor:
        """The generator's loss: how far what is seen of fakes is from being taken for real images."""
        logits = self.parts.logits(self.parts.features(seen), text)
        return sum(global_batch.mean(_over_parts(self.adversarial.generator(x))) for x in logits.values())

    def _mismatched(self, features: dict, text, batch: dict, global_batch: GlobalBatch):
        """The loss on real images with the next image's sentence, but for pairs of one class."""
        next_text = global_batch.next_rows(text)
        pairs = ops.shape(next_text)[0]  # the last image of the global batch has no next sentence
        logits = self.parts.conditional({name: values[:pairs] for name, values in features.items()}, next_text)
        counted = batch["class_id"][:pairs] != global_batch.next_rows(batch["class_id"])
        return global_batch.mean_where(counted, _over_parts(self.adversarial.fake(logits)))

    def _r1(self, batch: dict, logits: dict, text, global_batch: GlobalBatch):
        """The R1 gradient penalty at real images: the mean over the kinds of logits."""
        moved = self.see(batch[self.image], batch, REAL, move=R1_STEP * batch["direction"])
        moved_logits = self.parts.logits(self.parts.features(moved), text)
        slopes = [losses.r1_penalty(logits[name], moved_logits[name], R1_STEP) for name in logits]
        return sum(global_batch.mean(ops.sum(slope, axis=-1)) for slope in slopes) / len(slopes)


def _over_parts(losses_):
    """The losses (B,) of logits (B, parts), summed over the discriminator's parts."""
    return ops.sum(losses_, axis=-1)


def _name(images: str, logits: str) -> str:
    return images if logits == "conditional" else f"{images}_{logits}"
