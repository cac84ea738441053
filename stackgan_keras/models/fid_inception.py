"""The network behind the FID of the literature: InceptionV3 as it was in TensorFlow's graph of 2015-12-05.

It is what pytorch-fid computes (github.com/mseitzer/pytorch-fid, `fid_inception_v3`), where the names are from too. It
differs from torchvision's InceptionV3: average pools count no padding, the last block pools the maximum, and there are
1008 classes.
"""

from typing import Any

import keras
from keras import layers, ops

from stackgan_keras.models.tensors import Tensor

SIZE = 299  # pixels to which every image is resized
CLASSES = 1008


def fid_inception(*, preprocessing: str = "pytorch_fid") -> keras.Model:
    """An image of any size to its features and the probabilities of its classes.

    In: (B, height, width, 3), pixels 0..255. Out: `features` (B, 2048), of which FID and KID are computed, and
    `probabilities` (B, 1008) for the Inception Score, the softmax of logits without their bias, as the Inception
    Score's own code (Salimans et al. 2016) and torch-fidelity (`logits_unbiased`) take them. `preprocessing` is that of
    `pytorch_fid`, bilinear with half-pixel centres and pixels / 127.5 - 1, or of `tensorflow`, which the graph itself
    and torch-fidelity do: bilinear from corner to corner and (pixels - 128) / 128. Neither has antialiasing.
    """
    image = keras.Input((None, None, 3), name="image")
    if preprocessing == "tensorflow":
        x = ResizeFromCorner(name="resize")(image)
        x = layers.Rescaling(1 / 128, offset=-1, name="rescale")(x)
    else:
        x = ops.image.resize(image, (SIZE, SIZE), interpolation="bilinear", antialias=False)
        x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(x)
    x = _convolve(x, "Conv2d_1a_3x3", 32, 3, strides=2, padding="valid")  # (B, 149, 149, 32)
    x = _convolve(x, "Conv2d_2a_3x3", 32, 3, padding="valid")
    x = _convolve(x, "Conv2d_2b_3x3", 64, 3)
    x = layers.MaxPooling2D(3, 2, name="maxpool1")(x)  # (B, 73, 73, 64)
    x = _convolve(x, "Conv2d_3b_1x1", 80, 1)
    x = _convolve(x, "Conv2d_4a_3x3", 192, 3, padding="valid")
    x = layers.MaxPooling2D(3, 2, name="maxpool2")(x)  # (B, 35, 35, 192)
    for block, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_a(x, f"Mixed_{block}", pooled)
    x = _block_b(x, "Mixed_6a")  # (B, 17, 17, 768)
    for block, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_c(x, f"Mixed_{block}", width)
    x = _block_d(x, "Mixed_7a")  # (B, 8, 8, 1280)
    x = _block_e(x, "Mixed_7b", layers.AveragePooling2D)
    x = _block_e(x, "Mixed_7c", layers.MaxPooling2D)  # (B, 8, 8, 2048)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    probabilities = layers.Dense(CLASSES, "softmax", use_bias=False, name="fc")(features)
    return keras.Model(image, {"features": features, "probabilities": probabilities}, name="fid_inception")


@keras.saving.register_keras_serializable("stackgan_keras")
class ResizeFromCorner(layers.Layer):
    """Bilinear resizing to `SIZE` in which pixel i is that at i * size / SIZE: `ResizeBilinear` of TensorFlow 1.

    In: (B, height, width, C). Out: (B, SIZE, SIZE, C).
    """

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for axis, shape in ((1, (SIZE, 1, 1)), (2, (SIZE, 1))):
            size = ops.shape(x)[axis]
            place = ops.arange(SIZE, dtype="float32") * (ops.cast(size, "float32") / SIZE)
            low = ops.cast(place, "int32")
            first, second = ops.take(x, low, axis), ops.take(x, ops.minimum(low + 1, size - 1), axis)
            x = first + (second - first) * ops.reshape(place - ops.cast(low, "float32"), shape)
        return x

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], SIZE, SIZE, input_shape[-1])


def _convolve(x, name: str, filters: int, size: int | tuple[int, int], *, strides: int = 1, padding: str = "same"):
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, name=f"{name}_conv")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x))


def _chain(x, name: str, *shapes: tuple, last: dict | None = None):
    """Convolutions (filters, size) one after the other, `name_1` and so on; `last` are keywords of the last alone."""
    for i, (filters, size) in enumerate(shapes, start=1):
        x = _convolve(x, f"{name}_{i}", filters, size, **(last or {} if i == len(shapes) else {}))
    return x


def _pooled(x, name: str, filters: int, pool=layers.AveragePooling2D):
    """Pool of 3x3, in which padding does not count, and 1x1 convolution."""
    return _convolve(pool(3, 1, "same", name=f"{name}_pool")(x), f"{name}_branch_pool", filters, 1)


def _join(name: str, *branches):
    return layers.Concatenate(name=name)(branches)


def _block_a(x, name: str, pooled: int):
    return _join(
        name,
        _convolve(x, f"{name}_branch1x1", 64, 1),
        _chain(x, f"{name}_branch5x5", (48, 1), (64, 5)),
        _chain(x, f"{name}_branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        _pooled(x, name, pooled),
    )


def _block_b(x, name: str):
    halve: dict[str, Any] = {"strides": 2, "padding": "valid"}
    return _join(
        name,
        _convolve(x, f"{name}_branch3x3", 384, 3, **halve),
        _chain(x, f"{name}_branch3x3dbl", (64, 1), (96, 3), (96, 3), last=halve),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _block_c(x, name: str, width: int):
    row, column = (1, 7), (7, 1)
    return _join(
        name,
        _convolve(x, f"{name}_branch1x1", 192, 1),
        _chain(x, f"{name}_branch7x7", (width, 1), (width, row), (192, column)),
        _chain(x, f"{name}_branch7x7dbl", (width, 1), (width, column), (width, row), (width, column), (192, row)),
        _pooled(x, name, 192),
    )


def _block_d(x, name: str):
    halve: dict[str, Any] = {"strides": 2, "padding": "valid"}
    return _join(
        name,
        _chain(x, f"{name}_branch3x3", (192, 1), (320, 3), last=halve),
        _chain(x, f"{name}_branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), last=halve),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _block_e(x, name: str, pool):
    def cross(y, branch: str):
        """A row and a column, side by side."""
        sizes = {"a": (1, 3), "b": (3, 1)}
        return [_convolve(y, f"{name}_{branch}{letter}", 384, size) for letter, size in sizes.items()]

    return _join(
        name,
        _convolve(x, f"{name}_branch1x1", 320, 1),
        *cross(_chain(x, f"{name}_branch3x3", (384, 1)), "branch3x3_2"),
        *cross(_chain(x, f"{name}_branch3x3dbl", (448, 1), (384, 3)), "branch3x3dbl_3"),
        _pooled(x, name, 192, pool),
    )
