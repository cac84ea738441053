"""The part of a discriminator that reads pretrained features: fixed random projections, and trained heads on these.

Source: Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021, sections 3 and 4; conditional logits by the inner
product of Miyato & Koyama, "cGANs with Projection Discriminator", ICLR 2018.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from stackgan_keras.models.blocks import precision
from stackgan_keras.models.tensors import Tensor

SIZE = 128  # pixels that the pretrained network sees at a time
MAPS = {"stride2": 16, "stride4": 32, "stride8": 64, "stride16": 128}  # the projected ones' channels, finest first
DOWN = {  # of each map's encoder: filters, size and strides of its convolutions to an 8x8 map
    "stride2": [(32, 4, 2), (64, 4, 2), (128, 4, 2)],
    "stride4": [(64, 4, 2), (128, 4, 2)],
    "stride8": [(128, 4, 2)],
    "stride16": [(128, 3, 1)],
}
FRAMING = 3  # uniform numbers that an image takes: whole or crop, and the crop's place
WIDTH = 64  # of what a head compares with the sentence
SEED = 2021  # of the projections, which are the same in every run


def frame(images: Tensor, draws: Tensor) -> Tensor:
    """What the pretrained network sees of images (B, s, s, 3): (B, 128, 128, 3).

    Images of 128 pixels and fewer are enlarged. Of larger ones, uniform `draws` (B, 3) in [0, 1) choose the whole, made
    small, or as often a crop at full resolution, and its place.
    """
    size = images.shape[1]
    if size <= SIZE:
        return images if size == SIZE else ops.image.resize(images, (SIZE, SIZE), interpolation="bilinear")
    small = ops.average_pool(images, size // SIZE, padding="valid")
    first = ops.cast(ops.floor(draws[:, 1:] * (size - SIZE + 1)), "int32")
    return ops.where(draws[:, 0, None, None, None] < 0.5, small, crop(images, first, SIZE))


def crop(images: Tensor, first: Tensor, size: int) -> Tensor:
    """Of each image (B, h, w, C) the part (B, size, size, C) that begins at row and column `first` (B, 2), integers."""
    image = ops.arange(ops.shape(images)[0], dtype="int32")[:, None]
    for axis in range(2):  # whole rows at a time, which is fast, then columns as rows
        length, other, channels = images.shape[1:]
        rows = image * length + first[:, axis, None] + ops.arange(size, dtype="int32")  # (B, size)
        images = ops.take(ops.reshape(images, (-1, other * channels)), rows, axis=0)
        images = ops.swapaxes(ops.reshape(images, (-1, size, other, channels)), 1, 2)
    return images


def projections(feature_maps: keras.Model) -> keras.Model:
    """A frozen network's maps of strides 2 to 16, mixed at random across channels and then across scales.

    In: (B, 128, 128, 3) in [-1, 1], as the network takes it. Out: `stride2` (B, 64, 64, 16), `stride4` (B, 32, 32, 32),
    `stride8` (B, 16, 16, 64), `stride16` (B, 8, 8, 128), in float32. Nothing in it is trained, and its weights
    come from a fixed seed.
    """
    random = np.random.RandomState(SEED)
    with precision("float32"):
        image = keras.Input((SIZE, SIZE, 3), name="image")
        found, mixed, above = feature_maps(image, training=False), {}, None
        for name, channels in reversed(MAPS.items()):
            x = _mix(found[name], channels, f"{name}_channels", random)
            if above is not None:
                down = _mix(above, channels, f"{name}_scales", random)
                down = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_double")(down)
                x = layers.Add(name=f"{name}_add")([x, down])
            mixed[name] = above = x
        model = keras.Model(image, mixed, name="projections")
    model.trainable = False
    return model


def _mix(x, channels: int, name: str, random: np.random.RandomState):
    """A random 1x1 convolution that keeps the scale of its map."""
    layer = layers.Conv2D(channels, 1, use_bias=False, name=name)
    mixed = layer(x)
    layer.set_weights([random.normal(0, x.shape[-1] ** -0.5, (1, 1, x.shape[-1], channels))])
    return mixed


@keras.saving.register_keras_serializable("stackgan_keras")
class SpectralConv2D(layers.Layer):
    """A convolution whose kernel is divided by its spectral norm, which a step of power iteration a call estimates.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, algorithm 1. The
    gradient goes through the division, which `keras.layers.SpectralNormalization` (3.15) leaves out.
    """

    def __init__(self, filters: int, size: int, strides: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.size, self.strides = filters, size, strides

    def build(self, input_shape: tuple) -> None:
        shape = (self.size, self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, autocast=False, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.singular_vector = self.add_weight(
            shape=(self.filters,), initializer="random_normal", trainable=False, autocast=False, name="singular_vector"
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        matrix = ops.cast(ops.reshape(self.kernel, (-1, self.filters)), "float32")
        left, right = self._singular_vectors(ops.stop_gradient(matrix))
        if training:
            self.singular_vector.assign(right)
        norm = ops.sum(left * ops.matmul(matrix, right[:, None])[:, 0])
        kernel = ops.cast(ops.reshape(matrix / norm, self.kernel.shape), self.compute_dtype)
        return ops.conv(inputs, kernel, self.strides, "same") + ops.cast(self.bias, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, *sides, _ = input_shape
        return (batch, *(-(-side // self.strides) for side in sides), self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters, "size": self.size, "strides": self.strides}

    def _singular_vectors(self, matrix):
        """Those of the largest singular value, nearly: (rows,) and (columns,) of length 1."""
        before = ops.cast(ops.convert_to_tensor(self.singular_vector), matrix.dtype)
        left = _unit(ops.matmul(matrix, before[:, None])[:, 0])
        return left, _unit(ops.matmul(left[None], matrix)[0])


def _unit(vector):
    return vector / (ops.sqrt(ops.sum(ops.square(vector))) + 1e-12)


def heads(logits: tuple[str, ...], text_dim: int) -> dict[str, tuple[keras.Model, dict[str, keras.Model]]]:
    """Of each of `MAPS` its encoder, and the models of the logits that are asked for."""
    found = {}
    for name in MAPS:
        models = {}
        if "conditional" in logits:
            models["conditional"] = _conditional_logits(f"matched_{name}", text_dim)
        if "unconditional" in logits:
            models["unconditional"] = _unconditional_logits(f"real_{name}")
        found[name] = (_encoder(name), models)
    return found


def _encoder(name: str) -> keras.Model:
    """A projected map to what is compared with the sentence: (B, 64), the mean over an 8x8 map."""
    side = 8 * MAPS["stride16"] // MAPS[name]
    x = image = keras.Input((side, side, MAPS[name]), name=name)
    for number, (filters, size, strides) in enumerate(DOWN[name], start=1):
        x = SpectralConv2D(filters, size, strides, name=f"down{number}_conv")(x)
        x = layers.LeakyReLU(0.2, name=f"down{number}_relu")(x)
    x = SpectralConv2D(WIDTH, 1, name="out_conv")(x)  # (B, 8, 8, 64)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="mean")(x), name=f"encode_{name}")


def _conditional_logits(layer_name: str, text_dim: int) -> keras.Model:
    """The logit (B,) of an encoder's features v with a sentence (B, text_dim): w.v + v.(dense of the sentence) / 8."""
    features, text = keras.Input((WIDTH,), name="features"), keras.Input((text_dim,), name="text")
    sentence = layers.Dense(WIDTH, name="sentence_dense")(text)
    agreement = ops.sum(features * sentence, axis=-1, keepdims=True) / WIDTH**0.5
    logit = layers.Dense(1, name="logit_dense")(features) + agreement
    return keras.Model({"features": features, "text": text}, _flat(logit), name=layer_name)


def _unconditional_logits(layer_name: str) -> keras.Model:
    features = keras.Input((WIDTH,), name="features")
    return keras.Model(features, _flat(layers.Dense(1, name="logit_dense")(features)), name=layer_name)


def _flat(logit):
    return layers.Reshape((), dtype=keras.config.floatx(), name="logit")(logit)
