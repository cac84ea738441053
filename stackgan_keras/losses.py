"""What does each player pay? Pure functions of logits and moments.

Every function gives one value per example and leaves the averaging to the caller, who knows how many examples the
other replicas hold. Source: equations 1 to 4 of the paper, as the PyTorch release computes them.
"""

from keras import ops

SCALES = 3  # at which steps between neighbouring pixels are compared


def binary_cross_entropy(logits, truth: float):
    """Cross-entropy (B,) of logits (B,) against one truth for all: 1 for yes, 0 for no."""
    return ops.softplus(logits) - truth * logits


def kl_divergence(mean, log_variance):
    """KL(N(mean, variance) || N(0, 1)) (B,), averaged over the dimensions as released, not summed as published."""
    return ops.mean(0.5 * (ops.square(mean) + ops.exp(log_variance) - 1 - log_variance), axis=-1)


def flow_divergence(noise, log_volume, log_variance):
    """KL(N(mean, variance) || what a flow makes of N(0, 1)) (B,) at one draw, averaged over the dimensions.

    The draw came from `noise` (B, D) in a flow that on the way back enlarges volumes by exp(`log_volume`) (B,); of the
    Gaussian it is from, only `log_variance` (B, D) matters. What does not depend on any weight is taken at its mean:
    where there is no flow, the mean over draws is `kl_divergence`.
    """
    return ops.mean(0.5 * (ops.square(noise) - 1 - log_variance), axis=-1) - log_volume / noise.shape[-1]


def discriminator_loss(real: list, fake: list):
    """Mean of what it should call real plus mean of what it should call fake, from averaged cross-entropies.

    Stage I has one head: real + (mismatched + fake) / 2. Stage II has two:
    (real + real_unconditional) / 2 + (mismatched + fake + fake_unconditional) / 3.
    """
    return sum(real) / len(real) + sum(fake) / len(fake)


def gradient_penalty(logits, nudged, step: float):
    """Half the squared slope (B,) of logits (B,) along directions in which inputs were nudged by `step`.

    In directions drawn from a standard normal its mean is half the squared length of the gradient, as `step` nears 0.
    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
    """
    return 0.5 * ops.square((nudged - logits) / step)


def joint_embedding(scores, counted):
    """What a text and a picture encoder pay for scores (..., B, B), row: sentence, column: picture; a scalar.

    Each wrong pair should score at least 1 less than the right one of its sentence, and of its picture: the mean
    shortfall over the pairs `counted` (B, B), both ways round; right pairs, on the diagonal, are not to be counted.
    Source: Reed et al., CVPR 2016, equation 5, made symmetric.
    """
    right = ops.diagonal(scores, axis1=-2, axis2=-1)
    counted = ops.broadcast_to(ops.cast(counted, scores.dtype), ops.shape(scores))
    for_sentences = ops.relu(1 + scores - right[..., :, None])
    for_pictures = ops.relu(1 + scores - right[..., None, :])
    return ops.sum(counted * (for_sentences + for_pictures)) / ops.maximum(ops.sum(counted), 1)


def contrastive(scores, counted):
    """As `joint_embedding`, but what is paid is the cross-entropy of finding the right one among all: a scalar.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    right = ops.diagonal(scores, axis1=-2, axis2=-1)
    choices = ops.where(ops.logical_or(counted, ops.eye(scores.shape[-1], dtype="bool")), scores, -1e9)
    return sum(ops.mean(ops.logsumexp(choices, axis=axis) - right) for axis in (-1, -2))


def likeness(features, of_real):
    """How far features (B, D) of pictures are from those of real pictures (B, D): squared Euclidean distance (B,)."""
    return ops.sum(ops.square(features - of_real), axis=-1)


def reconstruction(pictures, truth):
    """Mean squared difference (B,) of pictures (B, s, s, 3) to what they should have been."""
    return ops.mean(ops.square(pictures - truth), axis=(1, 2, 3))


def edges(pictures, truth):
    """How far the steps between neighbouring pixels of pictures (B, s, s, 3) are from those that should be: (B,).

    Mean squares, down and across, added up over the pictures and `SCALES` - 1 times half their size. They weigh what
    changes within few pixels more than `reconstruction` does, which hardly tells a soft edge from a clean one. Source:
    Mathieu et al., "Deep multi-scale video prediction beyond mean square error", ICLR 2016, equation 6, squared.
    """
    off = pictures - truth
    at_scales = [shrink(off, off.shape[1] // 2**scale) for scale in range(SCALES)]
    steps = [step for x in at_scales for step in (x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1])]
    return sum(ops.mean(ops.square(step), axis=(1, 2, 3)) for step in steps)


def shrink(pictures, size: int):
    """Pictures (B, S, S, 3) as the means of equal blocks (B, size, size, 3); `size` divides S."""
    block = pictures.shape[1] // size
    return pictures if block == 1 else ops.average_pool(pictures, block, strides=block)
