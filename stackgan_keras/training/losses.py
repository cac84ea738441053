"""Losses: adversarial functions of logits, KL of the conditioning augmentation, gradient penalty, joint embedding.

Most give one value per example and leave the mean to the caller, who knows how many examples the other replicas hold.
Source, where no other is named: equations 1 to 4 of the paper, as the PyTorch release computes them.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from stackgan_keras.models.tensors import Tensor


def binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy (B,) of logits (B,) against one target for all: 1 real, 0 fake."""
    return ops.softplus(logits) - target * logits


class Adversarial(NamedTuple):
    """Losses, each of the shape of the logits: the discriminator's on real and on fake images, and the generator's."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


ADVERSARIAL = {
    "cross_entropy": Adversarial(
        lambda logits: binary_cross_entropy(logits, 1.0),
        lambda logits: binary_cross_entropy(logits, 0.0),
        lambda logits: binary_cross_entropy(logits, 1.0),
    ),
    # Lim & Ye, "Geometric GAN", 2017, equations 10 and 11
    "hinge": Adversarial(
        lambda logits: ops.relu(1 - logits), lambda logits: ops.relu(1 + logits), lambda logits: -logits
    ),
}


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) (B,), averaged over the dimensions as released, not summed as published."""
    return ops.mean(0.5 * (ops.square(mean) + ops.exp(log_variance) - 1 - log_variance), axis=-1)


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean of the averaged losses on what is real plus mean of those on what is fake or mismatched.

    Stage I: real + (mismatched + fake) / 2. Stage II, with unconditional logits:
    (real + real_unconditional) / 2 + (mismatched + fake + fake_unconditional) / 3.
    """
    return sum(real) / len(real) + sum(fake) / len(fake)


def r1_penalty(logits: Tensor, moved_logits: Tensor, step: float) -> Tensor:
    """R1 gradient penalty (B,) by finite differences: half the squared slope along directions of length `step`.

    In directions drawn from a standard normal its mean is half the squared length of the gradient, as `step` nears 0.
    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
    """
    return 0.5 * ops.square((moved_logits - logits) / step)


def pixel_loss(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference (B,) of images (B, s, s, 3) to their targets (Ledig et al., CVPR 2017, equation 4)."""
    return ops.mean(ops.square(images - targets), axis=(1, 2, 3))


def consistency_loss(images: Tensor, smaller: Tensor) -> Tensor:
    """Mean absolute difference (B,) of images (B, S, S, 3), made as small as those they come from, to these.

    Source: the self-regularization of Shrivastava et al., "Learning from Simulated and Unsupervised Images through
    Adversarial Training", CVPR 2017, equation 6, with making small as their feature transform.
    """
    small = ops.average_pool(images, images.shape[1] // smaller.shape[1], padding="valid")
    return ops.mean(ops.abs(small - ops.stop_gradient(smaller)), axis=(1, 2, 3))


def colour_consistency(images: Tensor, smaller: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared differences (B,) of the mean colours of images and smaller ones, and of their colours' covariances.

    `images` is (B, S, S, 3) and `smaller` (B, s, s, 3), which stay as they are. The means are over the 3 and the 9
    entries, as the release of StackGAN++ computes them; section 4.2 of its paper (Zhang et al., TPAMI 2018) has sums.
    """
    mean, covariance = colour_statistics(images)
    target_mean, target_covariance = (ops.stop_gradient(values) for values in colour_statistics(smaller))
    of_means = ops.mean(ops.square(mean - target_mean), axis=-1)
    return of_means, ops.mean(ops.square(covariance - target_covariance), axis=(-2, -1))


def colour_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean colour (B, 3) of images (B, s, s, 3), and the covariance (B, 3, 3) of its pixels' colours."""
    pixels = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
    mean = ops.mean(pixels, axis=1)
    centred = pixels - mean[:, None]
    return mean, ops.matmul(ops.swapaxes(centred, 1, 2), centred) / pixels.shape[1]


def joint_embedding(scores: Tensor, counted: Tensor) -> Tensor:
    """Hinge loss of a text and an image encoder for scores (..., B, B), row: sentence, column: image; a scalar.

    Each wrong pair should score at least 1 less than the right one of its sentence, and of its image: the mean
    shortfall over the pairs `counted` (B, B), both ways round; right pairs, on the diagonal, are not to be counted.
    Source: Reed et al., CVPR 2016, equation 5, made symmetric.
    """
    right = ops.diagonal(scores, axis1=-2, axis2=-1)
    counted = ops.broadcast_to(ops.cast(counted, scores.dtype), ops.shape(scores))
    of_sentences = ops.relu(1 + scores - right[..., :, None])
    of_images = ops.relu(1 + scores - right[..., None, :])
    return ops.sum(counted * (of_sentences + of_images)) / ops.maximum(ops.sum(counted), 1)


def contrastive(scores: Tensor, counted: Tensor) -> Tensor:
    """As `joint_embedding`, but the cross-entropy of finding the right one among all: a scalar.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    right = ops.diagonal(scores, axis1=-2, axis2=-1)
    choices = ops.where(ops.logical_or(counted, ops.eye(scores.shape[-1], dtype="bool")), scores, -1e9)
    return sum(ops.mean(ops.logsumexp(choices, axis=axis) - right) for axis in (-1, -2))
