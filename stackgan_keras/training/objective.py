"""What a training consists of, as data: a generator, the discriminators of its images, and the terms of its loss.

A new term of the generator's loss is a function here that returns a `Term`, and an entry in `adversarial`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import keras
from keras import ops

from stackgan_keras.config import Settings
from stackgan_keras.models.generators import images_of, without_stage1
from stackgan_keras.models.tensors import Tensor
from stackgan_keras.training import damsm, losses
from stackgan_keras.training.adversary import FAKE, Adversary
from stackgan_keras.training.distribution import GlobalBatch
from stackgan_keras.training.words import Words

COVARIANCE = 5.0  # weight of the difference of colours' covariances, beside 1 of their means (Zhang et al. 2018)


class Term(NamedTuple):
    """A part of the generator's loss: `of(batch, fake, global_batch)` is this replica's share of its global mean."""

    name: str
    weight: float
    of: Callable[[dict, dict, GlobalBatch], Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """A generator, what it is trained against, and what for (`pipeline.AdversarialStream` says what is in a batch)."""

    generator: keras.Model
    adversaries: tuple[Adversary, ...]
    terms: tuple[Term, ...]
    complete: Callable[[dict], dict] = lambda batch: batch  # adds what networks outside the training make of a batch

    def fake(self, batch: dict) -> dict:
        """What the generator makes of a batch, and as `seen` what each discriminator sees of it, in both steps."""
        return _fake(self.generator, self.adversaries, batch)

    def generator_loss(self, batch: dict, fake: dict, global_batch: GlobalBatch) -> tuple:
        """The sum of the weighted terms, and each of them, to log."""
        found = {term.name: term.of(batch, fake, global_batch) for term in self.terms}
        return sum(term.weight * found[term.name] for term in self.terms), found


def adversarial(
    generator: keras.Model,
    discriminators: dict[str, keras.Model],
    settings: Settings,
    pretrained: keras.Model | None = None,
    words: Words | None = None,
) -> Objective:
    """Generator against discriminators, which are named by the image that each sees; `pretrained` feeds their heads.

    `words` is what AttnGAN's training has of sentences.
    """
    weights = settings.train
    adversaries = [Adversary(image, network, settings, pretrained) for image, network in discriminators.items()]
    terms = [
        _adversarial(adversaries),
        _kl(weights.kl_weight),
        _consistency(weights.consistency_weight),
        _colour(weights.colour_weight, tuple(images_of(generator))),
        _interpolation(weights.interpolation_weight, generator, adversaries),
    ]
    if weights.pixel_weight:
        terms.append(_pixel(weights.pixel_weight, without_stage1(generator)))
    if words is not None:
        terms.append(damsm_term(weights.damsm_weight, words.encoders.see, [*images_of(generator)][-1]))
    terms = [term for term in terms if term.weight]
    made = Objective(generator, tuple(adversaries), tuple(terms))
    return made if words is None else replace(made, complete=words.complete)


def warm_up(generator: keras.Model, settings: Settings) -> Objective:
    """Stage II's generator alone, by the pixel loss of what it makes of real images made small.

    Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017, section 3.2.
    """
    return Objective(without_stage1(generator), (), (_pixel(1.0), _kl(settings.train.kl_weight)))


def _adversarial(adversaries: Sequence[Adversary]) -> Term:
    def of(batch, fake, global_batch):
        return sum(a.generator_loss(fake["seen"][a.image], a.read(batch, fake), global_batch) for a in adversaries)

    return Term("generator", 1.0, of)


def _kl(weight: float) -> Term:
    """The KL divergence of the conditioning augmentation; 0 where there is none."""

    def of(batch, fake, global_batch):
        if "log_variance" not in fake:
            return ops.zeros(())
        return global_batch.mean(losses.kl_divergence(fake["mean"], fake["log_variance"]))

    return Term("kl", weight, of)


def _consistency(weight: float) -> Term:
    """How far Stage II's images, made small, are from the Stage-I images that they come from."""

    def of(batch, fake, global_batch):
        return global_batch.mean(losses.consistency_loss(fake["image"], fake["stage1_image"]))

    return Term("consistency", weight, of)


def _colour(weight: float, images: tuple[str, ...]) -> Term:
    """How far the colours of each image are from those of the next smaller one, by mean and covariance.

    `images` are their names, by size.
    """

    def of(batch, fake, global_batch):
        losses_ = [losses.colour_consistency(fake[large], fake[small]) for small, large in pairwise(images)]
        return sum(global_batch.mean(of_means + COVARIANCE * of_covariances) for of_means, of_covariances in losses_)

    return Term("colour", weight, of)


def damsm_term(weight: float, see: Callable[[Tensor], dict[str, Tensor]], image: str) -> Term:
    """How well the final `image` fits its words and its sentence: the four losses of AttnGAN's DAMSM.

    `see` gives the `regions` (B, R, D) and the `code` (B, D) of images.
    """

    def of(batch, fake, global_batch):
        everything = global_batch.all_rows
        seen = {name: everything(values) for name, values in see(fake[image]).items()}
        read = {name: everything(batch[name]) for name in ("embedding", "words")}
        read["mask"] = everything(ops.cast(batch["mask"], "int32")) > 0
        classes = everything(batch["class_id"])
        found = damsm.pair_losses(read, seen, classes[:, None] != classes)
        return global_batch.share(sum(ops.mean(loss) for loss in found.values()))

    return Term("damsm", weight, of)


def _pixel(weight: float, refine: keras.Model | None = None) -> Term:
    """How far what Stage II makes of real images made small is from these images.

    `refine`, Stage II without its Stage I, makes it, where the generator's images are made of Stage I's.
    """

    def of(batch, fake, global_batch):
        made = fake if refine is None else _fake(refine, (), batch)
        return global_batch.mean(losses.pixel_loss(made["image"], batch["image"]))

    return Term("pixel", weight, of)


def _interpolation(weight: float, generator: keras.Model, adversaries: Sequence[Adversary]) -> Term:
    """The adversarial loss on embeddings half-way between each sentence's and the next one's, which no image has.

    Source: Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016, equation 5 with beta 0.5.
    """
    adversarial = _adversarial(adversaries)

    def of(batch, fake, global_batch):
        following = global_batch.next_rows(batch["embedding"])
        part = {name: values[: ops.shape(following)[0]] for name, values in batch.items()}
        part["embedding"] = (part["embedding"] + following) / 2
        return adversarial.of(part, _fake(generator, adversaries, part), global_batch)

    return Term("interpolated", weight, of)


def _fake(generator: keras.Model, adversaries: Sequence[Adversary], batch: dict) -> dict:
    made = generator({name: batch[name] for name in generator.input}, training=True)
    return {**made, "seen": {a.image: a.see(made[a.image], batch, FAKE) for a in adversaries}}
