"""The convolutions of VGG16 as features of texture: no training here reads them, so they judge those that read others.

Source: Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015; means over three maps as in Gatys et al.,
"Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, without the products.
"""

from typing import Any

import keras
from keras import layers, ops

from stackgan_keras.models.tensors import Tensor

CROP = 128  # pixels, of the middle
MEAN = (103.939, 116.779, 123.68)  # of ImageNet's blue, green and red
# maps, and the root mean square of their means on photographs of flowers and birds, so that each map counts alike and
# the cubic kernel of KID sees numbers of about 1
MAPS = {"block3_conv3": 9.0, "block4_conv3": 2.5, "block5_conv3": 5.0}


@keras.saving.register_keras_serializable("stackgan_keras")
class MiddleCrop(layers.Layer):
    """The middle (B, s, s, C) of images, s at most `size`."""

    def __init__(self, size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size

    def call(self, images: Tensor) -> Tensor:
        top, left = (ops.maximum(ops.shape(images)[axis] - self.size, 0) // 2 for axis in (1, 2))
        return images[:, top : top + self.size, left : left + self.size]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], None, None, input_shape[3])

    def get_config(self) -> dict:
        return {**super().get_config(), "size": self.size}


def vgg16() -> keras.Model:
    """An image of any size to `features` (B, 1280): the scaled means over three maps of a crop of its middle.

    In: (B, height, width, 3), pixels 0..255; nothing is resized, so that texture counts. Of a smaller image than the
    crop the whole is read.
    """
    image = keras.Input((None, None, 3), name="image")
    body = keras.applications.VGG16(weights=None, include_top=False)
    maps = keras.Model(body.input, [body.get_layer(name).output for name in MAPS], name="convolutions")
    x = MiddleCrop(CROP, name="middle")(image)[..., ::-1] - ops.convert_to_tensor(MEAN, "float32")
    means = [
        layers.GlobalAveragePooling2D(name=f"{name}_mean")(x) / scale
        for (name, scale), x in zip(MAPS.items(), maps(x), strict=True)
    ]
    return keras.Model(image, {"features": layers.Concatenate(name="features")(means)}, name="vgg16")
