"""The discriminators of both stages: an image encoder, and the logits of pictures with and without their sentence.

Layer names are public: converters and the variable list in every weight file rely on them. Source: as `generators`.
"""

from collections.abc import Callable

import keras
from keras import layers

from stackgan_keras.models.blocks import (
    ARCHITECTURES,
    CORE,
    Architecture,
    convolve,
    convolve_without_norm,
    doublings,
    normal_kernel,
    residual_block,
    tile,
)

LOGITS = {"conditional": "matched", "unconditional": "real"}  # names of outputs, and of the layers that compute them


def discriminator(
    *,
    image_size: int,
    filters: int = 64,
    logits: tuple[str, ...] = ("conditional",),
    text: str = "mean",
    text_dim: int = 1024,
    condition_dim: int = 128,
    batch_norm: bool = True,
    architecture: str = "pytorch",
) -> keras.Model:
    """Images to logits: `conditional` (real, and this sentence's?) and, if asked for, `unconditional` (real at all?).

    In: `image` (B, image_size, image_size, 3) and `text`: the generator's mean (B, condition_dim), or with
    `text="embedding"` the sentence's embedding (B, text_dim), which the network then compresses itself.
    Out: (B,) for each of `logits`. The layer `encode_image` and the layers of `LOGITS` are models too, so that one
    image's features can be paired with several sentences. `architecture` is one of `ARCHITECTURES`.

    Without `batch_norm` an image's logits depend on it and its sentence alone, as a gradient penalty supposes
    (Gulrajani et al., "Improved Training of Wasserstein GANs", NIPS 2017, section 4). With it mismatched pairs, which
    are a batch of their own, also show by that batch's moments.
    """
    style = ARCHITECTURES[architecture]
    layer = convolve if batch_norm else convolve_without_norm
    encode_image = _image_encoder(image_size, filters, style, layer)
    image = keras.Input(encode_image.input_shape[1:], name="image")
    features = encode_image(image)
    compressed = {"embedding": text_dim, "mean": None}[text]
    conditional = _conditional_logits(features.shape[1:], 8 * filters, condition_dim, compressed, style, layer)
    sentence = keras.Input(conditional.input["text"].shape[1:], name="text")
    outputs = {"conditional": conditional({"features": features, "text": sentence})}
    if "unconditional" in logits:
        outputs["unconditional"] = _unconditional_logits(features.shape[1:], style)(features)
    return keras.Model({"image": image, "text": sentence}, outputs, name="discriminator")


def _image_encoder(image_size: int, filters: int, style: Architecture, convolve: Callable) -> keras.Model:
    image = keras.Input((image_size, image_size, 3), name="image")
    halvings = doublings(image_size)
    widths = {f"down{i + 1}": filters * 2**i for i in range(halvings)}
    reduced = [filters * 2**n for n in range(halvings - 2, 2, -1)]  # large images end wider than 8 filters
    widths |= {f"reduce{i}": width for i, width in enumerate(reduced, start=1)}
    bare = list(widths)[-1 if reduced else -2 :] if style.bottlenecks else []  # without an activation, as released
    x = convolve(image, widths.pop("down1"), 4, "down1", strides=2, norm=False)
    for name, width in widths.items():
        size, strides = (style.kernel_on_core, 1) if name.startswith("reduce") else (4, 2)
        x = convolve(x, width, size, name, strides=strides, slope=None if name in bare else 0.2)
    if style.bottlenecks:
        x = residual_block(x, "residual", bottleneck=True, slope=0.2, convolve=convolve)
    return keras.Model(image, x, name="encode_image")  # (B, 4, 4, 8 filters) from 64 pixels on


def _conditional_logits(
    shape: tuple, width: int, condition_dim: int, text_dim: int | None, style: Architecture, convolve: Callable
) -> keras.Model:
    """Logits of features with a condition or, given its `text_dim`, with an embedding that is compressed first."""
    features = keras.Input(shape, name="features")
    sentence = keras.Input((text_dim or condition_dim,), name="text")
    condition = sentence
    if text_dim is not None:
        kernel = normal_kernel() if convolve is not convolve_without_norm else {}
        condition = layers.Dense(condition_dim, **kernel, name="compress_dense")(condition)
        condition = layers.LeakyReLU(0.2, name="compress_relu")(condition)
    x = layers.Concatenate(name="join")([features, tile(condition, CORE, "tile")])
    x = convolve(x, width, style.kernel_on_core, "join")
    return keras.Model({"features": features, "text": sentence}, _logits(x, style), name=LOGITS["conditional"])


def _unconditional_logits(shape: tuple, style: Architecture) -> keras.Model:
    features = keras.Input(shape, name="features")
    return keras.Model(features, _logits(features, style), name=LOGITS["unconditional"])


def _logits(x, style: Architecture):
    x = layers.Conv2D(1, CORE, strides=CORE, use_bias=style.logits_bias, **normal_kernel(), name="logit_conv")(x)
    return layers.Reshape((), dtype=keras.config.floatx(), name="logit")(x)  # (B,)
