"""EfficientNet-Lite0: a small network of ImageNet's classes, whose weights come as a package.

Source: github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, the EfficientNet-B0 of Tan & Le 2019
(arXiv:1905.11946) without squeeze-and-excitation and with ReLU6.
"""

from collections.abc import Iterator

import keras
from keras import layers, ops

from stackgan_keras.models.tensors import Tensor

SIZE = 224  # pixels to which every image is resized
CLASSES = 1000
STAGES = (  # blocks, kernel, strides of the first, times that a block widens its map, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


MAPS = {"stride2": 0, "stride4": 2, "stride8": 4, "stride16": 10}  # the last block of each of these strides


def efficientnet_lite0() -> keras.Model:
    """An image of any size to its features and the probabilities of ImageNet's classes.

    In: (B, height, width, 3), pixels 0..255. Out: `features` (B, 1280), `probabilities` (B, 1000). Images are resized
    bilinearly, with antialiasing, and scaled to (pixels - 127) / 128, as the network was trained.
    """
    image = keras.Input((None, None, 3), name="image")
    _, features = regions_and_features(image)
    probabilities = layers.Dense(CLASSES, "softmax", name="fc")(features)
    return keras.Model(image, {"features": features, "probabilities": probabilities}, name="efficientnet_lite0")


def regions_and_features(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of images as `efficientnet_lite0` takes: the map `stride16` of `MAPS` (B, 14, 14, 112), and its `features`."""
    # no layers.Resizing, which trains the batch norm behind it where a model is called without `training`
    x = ops.image.resize(pixels, (SIZE, SIZE), interpolation="bilinear", antialias=True)
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(x)
    maps = list(_blocks(x, sum(stage[0] for stage in STAGES), folded=False))
    x = _convolve(layers.Conv2D, maps[-1], "head", 1280, 1, folded=False)  # (B, 7, 7, 1280)
    return maps[MAPS["stride16"]], layers.GlobalAveragePooling2D(name="features")(x)


def feature_maps(network: keras.Model, size: int) -> keras.Model:
    """The first blocks of an `efficientnet_lite0`, for images of one size: the maps of `MAPS`.

    In: (B, size, size, 3) in [-1, 1]. Out: `stride2` (B, size/2, size/2, 16), `stride4` (B, size/4, size/4, 24),
    `stride8` (B, size/8, size/8, 40), `stride16` (B, size/16, size/16, 112). The numbers are those of the network in
    inference mode. Batch norm is folded into the convolutions before it, which takes 0.8 of the time with a gradient
    and half of it without (two cores).
    """
    image = keras.Input((size, size, 3), name="image")
    scaled = layers.Rescaling(127.5 / 128, offset=0.5 / 128, name="rescale")(image)
    found = list(_blocks(scaled, 1 + max(MAPS.values()), folded=True))
    model = keras.Model(image, {name: found[block] for name, block in MAPS.items()}, name="feature_maps")
    for layer in model.layers:
        if layer.name.endswith("_conv"):
            norm = network.get_layer(f"{layer.name.removesuffix('_conv')}_norm")
            scale = ops.convert_to_numpy(norm.gamma / ops.sqrt(norm.moving_variance + norm.epsilon))
            (kernel,) = network.get_layer(layer.name).get_weights()
            kernel = kernel * (scale[:, None] if isinstance(layer, layers.DepthwiseConv2D) else scale)
            layer.set_weights([kernel, ops.convert_to_numpy(norm.beta - norm.moving_mean * scale)])
    model.trainable = False
    return model


def _blocks(x, count: int, *, folded: bool) -> Iterator:
    """The maps after each of the first blocks."""
    x = _convolve(layers.Conv2D, x, "stem", 32, 3, 2, folded=folded)
    shapes = ((kernel, s if i == 0 else 1, w, f) for n, kernel, s, w, f in STAGES for i in range(n))
    for number, (kernel, strides, widening, filters) in zip(range(count), shapes, strict=False):
        x = _block(x, f"block{number}", kernel, strides, widening, filters, folded)
        yield x


def _block(x, name: str, kernel: int, strides: int, widening: int, filters: int, folded: bool):
    """Inverted bottleneck: 1x1 convolution to a wide map, depthwise convolution, 1x1 convolution to a narrow one."""
    y = x
    if widening > 1:
        y = _convolve(layers.Conv2D, y, f"{name}_expand", widening * x.shape[-1], 1, folded=folded)
    y = _convolve(layers.DepthwiseConv2D, y, f"{name}_depthwise", kernel, strides, folded=folded)
    y = _convolve(layers.Conv2D, y, f"{name}_project", filters, 1, folded=folded, relu=False)
    return layers.Add(name=f"{name}_add")([x, y]) if strides == 1 and x.shape[-1] == filters else y


def _convolve(layer: type, x, name: str, *shape: int, folded: bool, relu: bool = True):
    """Convolution, batch norm (`folded`: none, but a bias), ReLU6."""
    x = layer(*shape, padding="same", use_bias=folded, name=f"{name}_conv")(x)
    if not folded:
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x
