"""Conditioning augmentation: a sentence's embedding to a condition drawn around its mean (section 3.2 of the paper)."""

import keras
from keras import layers, ops

from stackgan_keras.models.blocks import ARCHITECTURES, glu, normal_kernel
from stackgan_keras.models.orthogonal import orthogonal_kernel


def conditioning_augmentation(
    *,
    text_dim: int,
    condition_dim: int,
    augment: bool = True,
    noise_scale: float = 1.0,
    architecture: str = "pytorch",
    gated: bool = False,
) -> keras.Model:
    """The condition of a sentence.

    In: `embedding` (B, text_dim) and `epsilon` (B, condition_dim), standard normal. Out: `condition`, `mean` and
    `log_variance`, each (B, condition_dim): condition = mean + noise_scale * exp(log_variance / 2) * epsilon. Without
    `augment` the condition is the mean, and there is neither an `epsilon` nor a `log_variance`. As released, an
    activation follows the dense layer, so that no log-variance is (much) below 0; with `gated` a GLU, as in StackGAN++
    and AttnGAN, and any value is possible.
    """
    style = ARCHITECTURES[architecture]
    inputs = text_inputs(text_dim, condition_dim, augment)
    width = 2 * condition_dim if augment else condition_dim
    dtype = keras.config.floatx()
    if gated:
        moments = layers.Dense(2 * width, dtype=dtype, **orthogonal_kernel(), name="moments_dense")(inputs["embedding"])
        moments = glu(moments)
    else:
        moments = layers.Dense(width, dtype=dtype, **normal_kernel(), name="moments_dense")(inputs["embedding"])
        moments = layers.ReLU(negative_slope=style.moments_slope, dtype=dtype, name="moments_relu")(moments)
    if augment:
        mean, log_variance = moments[:, :condition_dim], style.log_variances * moments[:, condition_dim:]
        condition = mean + noise_scale * ops.exp(log_variance / 2) * inputs["epsilon"]
        outputs = {"condition": condition, "mean": mean, "log_variance": log_variance}
    else:
        outputs = {"condition": layers.Identity(name="condition")(moments), "mean": moments}
    return keras.Model(inputs, outputs, name="conditioning_augmentation")


def text_inputs(text_dim: int, condition_dim: int, augment: bool = True) -> dict:
    """The inputs that conditioning augmentation takes, by name."""
    inputs = {"embedding": keras.Input((text_dim,), name="embedding")}
    if augment:
        inputs["epsilon"] = keras.Input((condition_dim,), name="epsilon")
    return inputs
