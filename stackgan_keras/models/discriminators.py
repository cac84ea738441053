"""All discriminators: an image encoder, and the logits of images with and without their sentence.

Layer names are public: converters and the variable list in every weight file rely on them. Source: as `generators`,
`stackgan_v2` and `attngan`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras
from keras import initializers, layers, ops

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
from stackgan_keras.models.orthogonal import orthogonal_kernel
from stackgan_keras.models.tensors import Tensor

LOGITS = {"conditional": "matched", "unconditional": "real"}  # names of outputs, and of the layers that compute them


class Family(NamedTuple):
    """In what the discriminators of StackGAN's family differ; their image encoders are the same."""

    compresses_embedding: bool  # a sentence's embedding, where they read it, before it is joined with the features
    text_first: bool  # where the two are joined
    orthogonal: bool  # kernels at the start, else N(0, 0.02); and then the bias of logits starts as PyTorch has it


FAMILIES = {
    "stackgan": Family(compresses_embedding=True, text_first=False, orthogonal=False),
    "stackgan_v2": Family(compresses_embedding=False, text_first=True, orthogonal=True),
    "attngan": Family(compresses_embedding=False, text_first=False, orthogonal=True),
}


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
    family: str = "stackgan",
) -> keras.Model:
    """Images to logits: `conditional` (real, and this sentence's?) and `unconditional` (real at all?), or one of them.

    In: `image` (B, image_size, image_size, 3) and, for conditional logits, `text`: the generator's mean
    (B, condition_dim), or with `text="embedding"` the sentence's embedding (B, text_dim), which StackGAN's then
    compresses itself. Out: (B,) for each of `logits`. The layer `encode_image` and the layers of `LOGITS` are models
    too, so that one image's features can be paired with several sentences. `family` is one of `FAMILIES`,
    `architecture` one of `ARCHITECTURES`, of which only StackGAN has two.

    A `pretrained` one has heads on the maps of `projected.projections` beside this: these maps are further inputs, and
    the logits are (B, 5), those of the plain part first. Without `filters` there are only the heads, (B, 4).

    Without `batch_norm` an image's logits depend on it and its sentence alone, as a gradient penalty supposes
    (Gulrajani et al., "Improved Training of Wasserstein GANs", NIPS 2017, section 4). With it mismatched pairs, which
    are a batch of their own, also show by that batch's moments.
    """
    sentence = {"embedding": text_dim, "mean": condition_dim}[text]
    parts = projected.heads(logits, sentence) if pretrained else {}
    if filters:
        kin, style = FAMILIES[family], ARCHITECTURES[architecture]
        norm = partial(convolve, kernel=orthogonal_kernel) if kin.orthogonal else convolve
        layer = norm if batch_norm else convolve_without_norm
        encode_image = _image_encoder(image_size, filters, style, layer)
        shape, heads = encode_image.output.shape[1:], {}
        if "conditional" in logits:
            compressed = condition_dim if text == "embedding" and kin.compresses_embedding else None
            heads["conditional"] = _conditional_logits(shape, (sentence, compressed), 8 * filters, style, kin, layer)
        if "unconditional" in logits:
            heads["unconditional"] = _unconditional_logits(shape, style, kin)
        parts = {"image": (encode_image, heads), **parts}
    return _joined(parts)


def _joined(parts: dict[str, tuple[keras.Model, dict]]) -> keras.Model:
    """One network of all parts: of each its encoder, and the models of its logits."""
    inputs = {name: keras.Input(encode.input.shape[1:], name=name) for name, (encode, _) in parts.items()}
    heads = next(iter(parts.values()))[1]
    if "conditional" in heads:
        inputs["text"] = keras.Input(heads["conditional"].input["text"].shape[1:], name="text")
    found: dict[str, list] = {}
    for name, (encode, heads) in parts.items():
        features = encode(inputs[name])
        for logits, head in heads.items():
            given = {"features": features, "text": inputs["text"]} if logits == "conditional" else features
            found.setdefault(logits, []).append(head(given))
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

    def logits(self, features: dict, text: Tensor | None) -> dict:
        """All logits (B, parts) of the features, by name; without conditional ones the text is not read."""
        found = {"conditional": self.conditional(features, text)} if "conditional" in self.heads else {}
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
    shape: tuple, sizes: tuple[int, int | None], width: int, style: Architecture, family: Family, convolve: Callable
) -> keras.Model:
    """Logits of features with a sentence; `sizes` are the sentence's and, if it is compressed first, that after it."""
    features = keras.Input(shape, name="features")
    text_dim, compressed = sizes
    sentence = condition = keras.Input((text_dim,), name="text")
    if compressed is not None:
        kernel = normal_kernel() if convolve is not convolve_without_norm else {}
        condition = layers.Dense(compressed, **kernel, name="compress_dense")(condition)
        condition = layers.LeakyReLU(0.2, name="compress_relu")(condition)
    both = [features, tile(condition, CORE, "tile")]
    x = layers.Concatenate(name="join")(both[::-1] if family.text_first else both)
    x = convolve(x, width, style.kernel_on_core, "join")
    return keras.Model({"features": features, "text": sentence}, _logits(x, style, family), name=LOGITS["conditional"])


def _unconditional_logits(shape: tuple, style: Architecture, family: Family) -> keras.Model:
    features = keras.Input(shape, name="features")
    return keras.Model(features, _logits(features, style, family), name=LOGITS["unconditional"])


def _logits(x, style: Architecture, family: Family):
    first = normal_kernel()
    if family.orthogonal:
        bound = (CORE * CORE * x.shape[-1]) ** -0.5
        first = {**orthogonal_kernel(), "bias_initializer": initializers.RandomUniform(-bound, bound)}
    x = layers.Conv2D(1, CORE, strides=CORE, use_bias=style.logits_bias, **first, name="logit_conv")(x)
    return layers.Reshape((), dtype=keras.config.floatx(), name="logit")(x)  # (B,)
