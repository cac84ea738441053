"""EfficientNet-Lite0: a small network of ImageNet's classes, whose weights come as a package.

Source: github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, the EfficientNet-B0 of Tan & Le 2019
(arXiv:1905.11946) without squeeze-and-excitation and with ReLU6.
"""

import keras
from keras import layers, ops

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


def efficientnet_lite0() -> keras.Model:
    """An image of any size to its features and the probabilities of ImageNet's classes.

    In: (B, height, width, 3), pixels 0..255. Out: `features` (B, 1280), `probabilities` (B, 1000). Images are resized
    bilinearly, with antialiasing, and scaled to (pixels - 127) / 128, as the network was trained.
    """
    image = keras.Input((None, None, 3), name="image")
    # no layers.Resizing, which trains the batch norm behind it where a model is called without `training`
    x = ops.image.resize(image, (SIZE, SIZE), interpolation="bilinear", antialias=True)
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(x)
    x = layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv")(x)  # (B, 112, 112, 32)
    x = _norm_relu(x, "stem")
    number = 0
    for blocks, kernel, strides, widening, filters in STAGES:
        for i in range(blocks):
            x = _block(x, f"block{number}", kernel, strides if i == 0 else 1, widening, filters)
            number += 1
    x = layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(x)  # (B, 7, 7, 1280)
    features = layers.GlobalAveragePooling2D(name="features")(_norm_relu(x, "head"))
    probabilities = layers.Dense(CLASSES, "softmax", name="fc")(features)
    return keras.Model(image, {"features": features, "probabilities": probabilities}, name="efficientnet_lite0")


def _block(x, name: str, kernel: int, strides: int, widening: int, filters: int):
    """Inverted bottleneck: 1x1 convolution to a wide map, depthwise convolution, 1x1 convolution to a narrow one."""
    y = x
    if widening > 1:
        y = layers.Conv2D(widening * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(y)
        y = _norm_relu(y, f"{name}_expand")
    y = layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = _norm_relu(y, f"{name}_depthwise")
    y = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(y)
    y = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_norm")(y)
    return layers.Add(name=f"{name}_add")([x, y]) if strides == 1 and x.shape[-1] == filters else y


def _norm_relu(x, name: str):
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
