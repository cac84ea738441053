"""What does each player pay? Pure functions of logits and moments.

Every function gives one value per example and leaves the averaging to the caller, who knows how many examples the
other replicas hold. Source: equations 1 to 4 of the paper, as the PyTorch release computes them.
"""

from keras import ops


def binary_cross_entropy(logits, truth: float):
    """Cross-entropy (B,) of logits (B,) against one truth for all: 1 for yes, 0 for no."""
    return ops.softplus(logits) - truth * logits


def kl_divergence(mean, log_variance):
    """KL(N(mean, variance) || N(0, 1)) (B,), averaged over the dimensions as released, not summed as published."""
    return ops.mean(0.5 * (ops.square(mean) + ops.exp(log_variance) - 1 - log_variance), axis=-1)


def discriminator_loss(real: list, fake: list):
    """Mean of what it should call real plus mean of what it should call fake, from averaged cross-entropies.

    Stage I has one head: real + (mismatched + fake) / 2. Stage II has two:
    (real + real_unconditional) / 2 + (mismatched + fake + fake_unconditional) / 3.
    """
    return sum(real) / len(real) + sum(fake) / len(fake)
