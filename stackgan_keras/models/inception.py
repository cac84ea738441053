"""InceptionV3's convolutions: images to the maps whose features scores compare and sentences are matched with.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016. Layer names are
torchvision's. Its two versions differ in pools alone: TensorFlow's average counts no padding, torchvision's does.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from stackgan_keras.models.blocks import BatchNormalization
from stackgan_keras.models.tensors import Tensor

SIZE = 299  # pixels to which every image is resized
Pool = Callable[[Tensor, str], Tensor]  # of 3x3, to a map of the same size


def inception_maps(image: Tensor, average: Pool, last: Pool) -> tuple[Tensor, Tensor]:
    """Images (B, 299, 299, 3) in [-1, 1] to the maps after `Mixed_6e` (B, 17, 17, 768) and `Mixed_7c` (B, 8, 8, 2048).

    `average` pools in all blocks but the last, which has `last`.
    """
    x = _convolve(image, "Conv2d_1a_3x3", 32, 3, strides=2, padding="valid")  # (B, 149, 149, 32)
    x = _convolve(x, "Conv2d_2a_3x3", 32, 3, padding="valid")
    x = _convolve(x, "Conv2d_2b_3x3", 64, 3)
    x = layers.MaxPooling2D(3, 2, name="maxpool1")(x)  # (B, 73, 73, 64)
    x = _convolve(x, "Conv2d_3b_1x1", 80, 1)
    x = _convolve(x, "Conv2d_4a_3x3", 192, 3, padding="valid")
    x = layers.MaxPooling2D(3, 2, name="maxpool2")(x)  # (B, 35, 35, 192)
    for block, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_a(x, f"Mixed_{block}", pooled, average)
    x = _block_b(x, "Mixed_6a")  # (B, 17, 17, 768)
    for block, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_c(x, f"Mixed_{block}", width, average)
    regions = x
    x = _block_d(x, "Mixed_7a")  # (B, 8, 8, 1280)
    x = _block_e(x, "Mixed_7b", average)
    return regions, _block_e(x, "Mixed_7c", last)  # (B, 8, 8, 2048)


def average_without_padding(x: Tensor, name: str) -> Tensor:
    return layers.AveragePooling2D(3, 1, "same", name=name)(x)


def average_with_padding(x: Tensor, name: str) -> Tensor:
    return layers.AveragePooling2D(3, 1, name=name)(layers.ZeroPadding2D(name=f"{name}_pad")(x))


def maximum(x: Tensor, name: str) -> Tensor:
    return layers.MaxPooling2D(3, 1, "same", name=name)(x)


@keras.saving.register_keras_serializable("stackgan_keras")
class BilinearResize(layers.Layer):
    """Bilinear resizing to `SIZE` without antialiasing, in the precision of the images.

    In: (B, height, width, C). Out: (B, SIZE, SIZE, C). Where pixel i comes from, of `size` of them: with `centres`
    (i + 1/2) size / SIZE - 1/2, with `corners` i (size - 1) / (SIZE - 1), so that corners meet, as in PyTorch before
    0.4, with `first_corner` i size / SIZE, as `ResizeBilinear` of TensorFlow 1.
    """

    def __init__(self, alignment: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.alignment = alignment

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for axis, shape in ((1, (SIZE, 1, 1)), (2, (SIZE, 1))):
            size = ops.shape(x)[axis]
            place = self._places(ops.cast(size, x.dtype))
            low = ops.cast(place, "int32")
            first, second = ops.take(x, low, axis), ops.take(x, ops.minimum(low + 1, size - 1), axis)
            x = first + (second - first) * ops.reshape(place - ops.cast(low, place.dtype), shape)
        return x

    def _places(self, size):
        i = ops.arange(SIZE, dtype=size.dtype)
        if self.alignment == "corners":
            return i * ((size - 1) / (SIZE - 1))
        if self.alignment == "first_corner":
            return i * (size / SIZE)
        return ops.maximum((i + 0.5) * (size / SIZE) - 0.5, 0)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], SIZE, SIZE, input_shape[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "alignment": self.alignment}


def _convolve(x, name: str, filters: int, size: int | tuple[int, int], *, strides: int = 1, padding: str = "same"):
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, name=f"{name}_conv")(x)
    x = BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _chain(x, name: str, *shapes: tuple, last: dict | None = None):
    """Convolutions (filters, size) one after the other, `name_1` and so on; `last` are keywords of the last alone."""
    for i, (filters, size) in enumerate(shapes, start=1):
        x = _convolve(x, f"{name}_{i}", filters, size, **(last or {} if i == len(shapes) else {}))
    return x


def _pooled(x, name: str, filters: int, pool: Pool):
    """Pool of 3x3 and 1x1 convolution."""
    return _convolve(pool(x, f"{name}_pool"), f"{name}_branch_pool", filters, 1)


def _join(name: str, *branches):
    return layers.Concatenate(name=name)(branches)


def _block_a(x, name: str, pooled: int, pool: Pool):
    return _join(
        name,
        _convolve(x, f"{name}_branch1x1", 64, 1),
        _chain(x, f"{name}_branch5x5", (48, 1), (64, 5)),
        _chain(x, f"{name}_branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        _pooled(x, name, pooled, pool),
    )


def _block_b(x, name: str):
    halve: dict[str, Any] = {"strides": 2, "padding": "valid"}
    return _join(
        name,
        _convolve(x, f"{name}_branch3x3", 384, 3, **halve),
        _chain(x, f"{name}_branch3x3dbl", (64, 1), (96, 3), (96, 3), last=halve),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _block_c(x, name: str, width: int, pool: Pool):
    row, column = (1, 7), (7, 1)
    return _join(
        name,
        _convolve(x, f"{name}_branch1x1", 192, 1),
        _chain(x, f"{name}_branch7x7", (width, 1), (width, row), (192, column)),
        _chain(x, f"{name}_branch7x7dbl", (width, 1), (width, column), (width, row), (width, column), (192, row)),
        _pooled(x, name, 192, pool),
    )


def _block_d(x, name: str):
    halve: dict[str, Any] = {"strides": 2, "padding": "valid"}
    return _join(
        name,
        _chain(x, f"{name}_branch3x3", (192, 1), (320, 3), last=halve),
        _chain(x, f"{name}_branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), last=halve),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _block_e(x, name: str, pool: Pool):
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
