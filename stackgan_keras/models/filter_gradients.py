"""Convolutions on small, wide maps, whose filter gradient on TensorFlow's CPU is one matrix product.

The same numbers up to summation order: the gradient of a kernel (k, k, channels, filters) is the product of the patches
that it saw, (places, k k channels), and of the gradients there, (places, filters). TensorFlow's own operation takes
two to six times as long where there are few places, on 4x4 and 8x8 maps of 512 to 2,048 channels.
"""

import keras
from keras import layers, ops

from stackgan_keras.models.tensors import Tensor

FEWER_PLACES = 4  # times fewer places than a filter has weights: there patches pay (measured map by map)


@keras.saving.register_keras_serializable("stackgan_keras")
class Conv2D(layers.Conv2D):
    """Keras's layer, under its name, by which Keras finds it in weight files; padding is `same`, without bias."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        stride = self.strides[0]
        if training and self.trainable and pays(inputs.shape[:1], self.compute_output_shape(inputs.shape), self.kernel):
            return convolve(inputs, ops.convert_to_tensor(self.kernel), stride)  # read in the compute dtype
        return super().call(inputs)


def pays(batch: tuple, small: tuple, kernel: Tensor) -> bool:
    """Whether patches are the faster way, for a kernel (k, k, channels, filters) at the places of a small map."""
    if keras.backend.backend() != "tensorflow" or None in (*batch, *small[1:3]):
        return False
    places, weights = batch[0] * small[1] * small[2], kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
    return FEWER_PLACES * places <= weights and not _has_gpu()


def convolve(inputs: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Convolution with padding `same`: (B, h, w, channels) to (B, h/stride, w/stride, filters)."""
    import tensorflow as tf  # only here: networks also run where there is none

    @tf.custom_gradient
    def convolution(inputs, kernel):
        def gradients(upstream):
            strides = [1, stride, stride, 1]
            of_inputs = tf.nn.conv2d_transpose(upstream, kernel, inputs.shape, strides, "SAME")
            return of_inputs, _of_kernel(inputs, upstream, kernel.shape, stride)

        return tf.nn.conv2d(inputs, kernel, stride, "SAME"), gradients

    return convolution(inputs, tf.convert_to_tensor(kernel))


def convolve_transposed(inputs: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Transposed convolution with padding `same`: (B, h, w, channels) to (B, h stride, w stride, filters).

    The kernel is (k, k, filters, channels).
    """
    import tensorflow as tf

    batch, height, width, _ = inputs.shape
    shape = (batch, height * stride, width * stride, kernel.shape[2])

    @tf.custom_gradient
    def convolution(inputs, kernel):
        def gradients(upstream):
            of_inputs = tf.nn.conv2d(upstream, kernel, stride, "SAME")
            return of_inputs, _of_kernel(upstream, inputs, kernel.shape, stride)

        return tf.nn.conv2d_transpose(inputs, kernel, shape, stride, "SAME"), gradients

    return convolution(inputs, tf.convert_to_tensor(kernel))


def _of_kernel(large, small, shape: tuple, stride: int):
    """The gradient of a kernel from the map that it reads and the gradient of the map that it makes."""
    import tensorflow as tf

    size = shape[0]
    patches = tf.image.extract_patches(large, [1, size, size, 1], [1, stride, stride, 1], [1, 1, 1, 1], "SAME")
    rows = tf.reshape(patches, (-1, size * size * shape[2]))
    return tf.reshape(tf.matmul(rows, tf.reshape(small, (-1, shape[3])), transpose_a=True), shape)


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
