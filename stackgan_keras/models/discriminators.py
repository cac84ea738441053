"""The discriminators of both stages: an image encoder, and the logits of images with and without their sentence.

Layer names are public: converters and the variable list in every weight file rely on them. Source: as `generators`.
"""

from collections.abc import Callable

import keras
from keras import layers, ops

from stackgan_keras.models import projected
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
from stackgan_keras.models.tensors import Tensor

LOGITS = {"conditional": "matched", "unconditional": "real"}  # names of outputs, and of the layers that compute them


def head_name(logits: str, part: str = "image") -> str:
    """The layer that computes these logits of one part of a discriminator."""
    return LOGITS[logits] if part == "image" else f"{LOGITS[logits]}_{part}"


def discriminator(
    *,
    image_size: int,
    filters: int = 64,
    logits: tuple[str, ...] = ("conditional",),
    text: str = "mean",
    text_dim: int = 1024,
    condition_dim: int = 128,
    batch_norm: bool = True,
    pretrained: bool = False,
    architecture: str = "pytorch",
) -> keras.Model:
    """Images to logits: `conditional` (real, and this sentence's?) and, if asked for, `unconditional` (real at all?).

    In: `image` (B, image_size, image_size, 3) and `text`: the generator's mean (B, condition_dim), or with
    `text="embedding"` the sentence's embedding (B, text_dim), which the network then compresses itself.
    Out: (B,) for each of `logits`. The layer `encode_image` and the layers of `LOGITS` are models too, so that one
    image's features can be paired with several sentences. `architecture` is one of `ARCHITECTURES`.

    A `pretrained` one has heads on the maps of `projected.projections` beside this: these maps are further inputs, and
    the logits are (B, 5), those of the plain part first. Without `filters` there are only the heads, (B, 4).

    Without `batch_norm` an image's logits depend on it and its sentence alone, as a gradient penalty supposes
    (Gulrajani et al., "Improved Training of Wasserstein GANs", NIPS 2017, section 4). With it mismatched pairs, which
    are a batch of their own, also show by that batch's moments.
    """
    parts = projected.heads(logits, {"embedding": text_dim, "mean": condition_dim}[text]) if pretrained else {}
    if filters:
        style, layer = ARCHITECTURES[architecture], convolve if batch_norm else convolve_without_norm
        encode_image = _image_encoder(image_size, filters, style, layer)
        shape, compressed = encode_image.output.shape[1:], {"embedding": text_dim, "mean": None}[text]
        heads = [_conditional_logits(shape, 8 * filters, condition_dim, compressed, style, layer)]
        if "unconditional" in logits:
            heads.append(_unconditional_logits(shape, style))
        parts = {"image": (encode_image, *heads), **parts}
    return _joined(parts)


def _joined(parts: dict[str, tuple[keras.Model, ...]]) -> keras.Model:
    """One network of all parts: of each its encoder, its conditional and perhaps its unconditional logits."""
    inputs = {name: keras.Input(encode.input.shape[1:], name=name) for name, (encode, *_) in parts.items()}
    inputs["text"] = keras.Input(next(iter(parts.values()))[1].input["text"].shape[1:], name="text")
    found: dict[str, list] = {}
    for name, (encode, conditional, *unconditional) in parts.items():
        features = encode(inputs[name])
        found.setdefault("conditional", []).append(conditional({"features": features, "text": inputs["text"]}))
        for head in unconditional:
            found.setdefault("unconditional", []).append(head(features))
    outputs = {name: logits[0] if len(logits) == 1 else ops.stack(logits, axis=-1) for name, logits in found.items()}
    return keras.Model(inputs, outputs, name="discriminator")


class Parts:
    """A discriminator taken apart, so that one image's features can be paired with several sentences.

    `images` (a dict) is what the discriminator sees: its inputs without `text`.
    """

    def __init__(self, discriminator: keras.Model):
        names = [name for name in discriminator.input if name != "text"]
        self.encoders = {name: discriminator.get_layer(f"encode_{name}") for name in names}
        self.heads = {
            logits: {name: discriminator.get_layer(head_name(logits, name)) for name in names}
            for logits in discriminator.output
        }

    def features(self, images: dict) -> dict:
        """Of every part its features of the images."""
        return {name: encode(images[name], training=True) for name, encode in self.encoders.items()}

    def conditional(self, features: dict, text: Tensor) -> Tensor:
        """Logits (B, parts) of the features, each with the sentence of its row."""
        heads = self.heads["conditional"].items()
        return ops.stack([head({"features": features[n], "text": text}, training=True) for n, head in heads], axis=-1)

    def logits(self, features: dict, text: Tensor) -> dict:
        """All logits (B, parts) of the features, by name."""
        found = {"conditional": self.conditional(features, text)}
        if "unconditional" in self.heads:
            heads = self.heads["unconditional"].items()
            found["unconditional"] = ops.stack([head(features[n], training=True) for n, head in heads], axis=-1)
        return found


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
