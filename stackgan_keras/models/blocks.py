"""What the networks are built of: convolutions with batch norm, up-blocks, residual blocks.

Feature maps are (height, width, channels). Convolutions have no bias, weights start as N(0, 0.02) or orthogonal, batch
norm's scales as N(1, 0.02), as released.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import initializers, layers, ops

from stackgan_keras.errors import InputError
from stackgan_keras.models import filter_gradients, replicas
from stackgan_keras.models.filter_gradients import Conv2D
from stackgan_keras.models.tensors import Tensor

# TensorFlow's fused batch norm is fast in bfloat16 for multiples of so many channels; for others float32 is 4 to 12
# times as fast (two cores)
BFLOAT16_CHANNELS = 16
CORE = 4  # pixels: every network narrows to, or grows from, a 4x4 map


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Keras's dtype policy for the networks that are built in the block; what comes after it is as before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Architecture(NamedTuple):
    """In what the networks of the two releases differ; how noise and condition are joined is no difference to learning.

    A bottleneck is a residual block whose first convolutions have a fourth of the channels. It ends in an activation,
    and what it follows has none of its own.
    """

    moments_slope: float  # of the LeakyReLU after the conditioning augmentation's dense layer
    log_variances: int  # what its second half holds: 1 the log-variance, 2 the log-deviation
    bottlenecks: int  # after so many of Stage I's first maps, and after the last map of a discriminator if any
    image_doubles: bool  # the convolution to Stage I's image doubles its map, in place of the last up-block
    kernel_on_core: int  # width of the kernels that a discriminator has on its 4x4 map
    logits_bias: bool  # and so has the other release the dense layer before Stage I's first map
    stage2_logits: tuple[str, ...]  # of Stage II's discriminator
    truncated_epsilon: bool  # epsilons beyond two deviations are drawn again


ARCHITECTURES = {
    "pytorch": Architecture(
        moments_slope=0.0,
        log_variances=1,
        bottlenecks=0,
        image_doubles=False,
        kernel_on_core=3,
        logits_bias=True,
        stage2_logits=("conditional", "unconditional"),
        truncated_epsilon=False,
    ),
    "tensorflow": Architecture(
        moments_slope=0.2,
        log_variances=2,
        bottlenecks=2,
        image_doubles=True,
        kernel_on_core=1,
        logits_bias=False,
        stage2_logits=("conditional",),
        truncated_epsilon=True,
    ),
}

# in one dimension, which entries of a 3-kernel meet in each entry of the 4-kernel of a doubling transposed convolution
MERGE = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)


def normal_kernel() -> dict:
    """The keyword that starts a layer's kernel as N(0, 0.02)."""
    return {"kernel_initializer": initializers.RandomNormal(stddev=0.02)}


def doublings(image_size: int, start: int = CORE) -> int:
    """How often `start` pixels double to `image_size`. Raises `InputError` where they never do."""
    steps = round(math.log2(image_size / start))
    if steps < 1 or start * 2**steps != image_size:
        raise InputError(f"image_size is {image_size}: it must be {start} times a power of two, {2 * start} or more")
    return steps


@keras.saving.register_keras_serializable("stackgan_keras")
class BatchNormalization(layers.BatchNormalization):
    """Keras's batch norm, faster on TensorFlow, whose moving variance is that of PyTorch: unbiased.

    One replica on TensorFlow takes the fused operation, where Keras computes mean and variance on their own (a training
    step of narrow networks takes a sixth less time). It has Keras's variables, and its name, by which Keras finds them
    in weight files.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        if self._can_fuse(inputs):
            outputs, mean, variance = self._fused(inputs)  # its variance is the unbiased one
        else:
            outputs, mean, variance = self._unfused(inputs)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(self.momentum * moving + (1 - self.momentum) * ops.cast(now, moving.dtype))
        return outputs

    def _can_fuse(self, inputs) -> bool:
        floats = keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        return keras.backend.backend() == "tensorflow" and not self.synchronized and floats

    def _fused(self, inputs):
        import tensorflow as tf  # only here: networks also run where there is none

        maps = inputs if len(inputs.shape) == 4 else inputs[:, None, None, :]
        if inputs.shape[-1] % BFLOAT16_CHANNELS:
            maps = tf.cast(maps, tf.float32)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            maps, ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta), epsilon=self.epsilon
        )
        return tf.cast(tf.reshape(outputs, tf.shape(inputs)), inputs.dtype), mean, variance

    def _unfused(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        count = ops.cast(ops.size(x) // x.shape[-1], x.dtype)
        if self.synchronized:
            mean, variance, count = self._over_replicas(x, count)
        else:
            mean, variance = self._moments(x, None)
        outputs = ops.batch_normalization(x, mean, variance, self.axis, self.beta, self.gamma, self.epsilon)
        return ops.cast(outputs, self.compute_dtype), mean, variance * count / ops.maximum(count - 1, 1)

    def _over_replicas(self, x, count):
        """Mean, variance and count over all replicas, by one sum."""
        axes = [*range(len(x.shape) - 1)]
        sums = ops.sum(x, axes), ops.sum(ops.square(x), axes), ops.broadcast_to(count, (x.shape[-1],))
        totals, squares, count = ops.unstack(replicas.total(ops.stack(sums)), 3)
        mean = totals / count
        return mean, ops.maximum(squares / count - ops.square(mean), 0.0), count


def synchronize(model: keras.Model) -> None:
    """Lets the batch norms of all replicas share their statistics, so that N replicas see one batch.

    Only for several replicas: the variance then is E[x^2] - E[x]^2, which costs time and two digits.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            synchronize(layer)
        elif isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True


def batch_norm(x: Tensor, name: str) -> Tensor:
    gamma = initializers.RandomNormal(mean=1.0, stddev=0.02)
    return BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)


def convolve(
    x: Tensor,
    filters: int,
    size: int,
    name: str,
    *,
    strides: int = 1,
    norm: bool = True,
    slope: float | None = 0.2,
    kernel: Callable[[], dict] = normal_kernel,
) -> Tensor:
    """Convolution, batch norm, LeakyReLU (ReLU with slope 0, none with None); `kernel` is how that starts."""
    x = Conv2D(filters, size, strides, "same", use_bias=False, **kernel(), name=f"{name}_conv")(x)
    if norm:
        x = batch_norm(x, f"{name}_norm")
    return x if slope is None else layers.ReLU(negative_slope=slope, name=f"{name}_relu")(x)


def convolve_without_norm(
    x: Tensor, filters: int, size: int, name: str, *, strides: int = 1, slope: float | None = 0.2, **_: Any
) -> Tensor:
    """Convolution, LeakyReLU; He's initial weights set the scale of its map, as no batch norm does."""
    kernel = {"kernel_initializer": "he_normal"}
    x = Conv2D(filters, size, strides, "same", use_bias=False, **kernel, name=f"{name}_conv")(x)
    return x if slope is None else layers.ReLU(negative_slope=slope, name=f"{name}_relu")(x)


@keras.saving.register_keras_serializable("stackgan_keras")
class UpsampleConv2D(layers.Layer):
    """Nearest-neighbour upsampling by two, then a 3x3 convolution without bias, in one operation.

    Every output pixel sees only 2x2 different input pixels, so the two are a transposed convolution whose 4x4 kernel
    holds sums of the 3x3 kernel's entries: the same result for 4/9 of the multiplications. The weight is the 3x3
    `kernel` (3, 3, channels, filters) of the release. In: (B, h, w, channels). Out: (B, 2h, 2w, filters).
    """

    def __init__(self, filters: int, kernel_initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_initializer = initializers.get(kernel_initializer or normal_kernel()["kernel_initializer"])

    def build(self, input_shape: tuple) -> None:
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel", autocast=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        channels, filters = self.kernel.shape[2:]
        merged = ops.matmul(np.kron(MERGE, MERGE), ops.reshape(self.kernel, (9, channels * filters)))
        kernel = ops.swapaxes(ops.reshape(merged, (4, 4, channels, filters)), 2, 3)
        kernel = ops.cast(kernel, self.compute_dtype)
        if training and self.trainable and filter_gradients.pays(inputs.shape[:1], inputs.shape, kernel):
            return filter_gradients.convolve_transposed(inputs, kernel, 2)
        return ops.conv_transpose(inputs, kernel, 2, "same")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)

    def get_config(self) -> dict:
        initializer = initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "filters": self.filters, "kernel_initializer": initializer}


def up_block(x: Tensor, filters: int, name: str, condition: Tensor | None = None, bottleneck: bool = False) -> Tensor:
    """Upsampling by two, 3x3 convolution, batch norm (conditional, given a condition), ReLU: (B, 2h, 2w, filters).

    If asked for, a bottleneck stands in place of the ReLU.
    """
    x = UpsampleConv2D(filters, name=f"{name}_conv")(x)
    x = batch_norm(x, f"{name}_norm")
    if condition is not None:
        x = _modulate(x, condition, name)
    if bottleneck:
        return residual_block(x, f"{name}_residual", bottleneck=True)
    return layers.ReLU(name=f"{name}_relu")(x)


def _modulate(x, condition, name: str):
    """Scales and shifts every channel by amounts that depend on the condition; not at all with first weights.

    With the batch norm before it this is conditional batch norm (de Vries et al., NIPS 2017).
    """
    channels = x.shape[-1]
    moments = layers.Dense(2 * channels, kernel_initializer="zeros", name=f"{name}_modulate_dense")(condition)
    moments = layers.Reshape((1, 1, 2 * channels), name=f"{name}_modulate_reshape")(moments)
    return x * (1 + moments[..., :channels]) + moments[..., channels:]


def upsample(
    x: Tensor,
    image_size: int,
    condition: Tensor | None = None,
    *,
    min_filters: int = 1,
    skips: Sequence[Tensor] = (),
    bottlenecks: int = 0,
    image_doubles: bool = False,
) -> Tensor:
    """Up-blocks until the map is `image_size` wide, each of half the channels, but of `min_filters` at least.

    The first of `skips` is joined to what the first block makes, and so on. The first `bottlenecks` of them end in one.
    The last is left out if what makes the image doubles the map itself.
    """
    steps = doublings(image_size, start=x.shape[1])
    width = x.shape[-1]
    if width < 2**steps:
        raise InputError(
            f"generator.filters is too small: {width} channels cannot be halved {steps} times "
            f"on the way to {image_size} pixels, ask for {-(-(2**steps) // width)} times as many or more"
        )
    for i in range(1, steps + 1 - image_doubles):
        x = up_block(x, max(width // 2**i, min_filters), f"up{i}", condition, bottleneck=i <= bottlenecks)
        if i <= len(skips):
            x = layers.Concatenate(name=f"up{i}_skip")([x, skips[i - 1]])
    return x


def residual_block(
    x: Tensor, name: str, *, bottleneck: bool = False, slope: float = 0.0, convolve: Callable[..., Tensor] = convolve
) -> Tensor:
    """A residual block of two 3x3 convolutions, then (leaky) ReLU; a bottleneck has three, the first 1x1."""
    width = x.shape[-1]
    narrow = max(width // 4, 1)
    shapes = [(narrow, 1), (narrow, 3), (width, 3)] if bottleneck else [(width, 3), (width, 3)]
    y = x
    for i, (filters, size) in enumerate(shapes, start=1):
        y = convolve(y, filters, size, f"{name}_{i}", slope=None if i == len(shapes) else slope)
    return layers.ReLU(negative_slope=slope, name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def to_image(
    x: Tensor, *, doubles: bool = False, name: str = "image", kernel: Callable[[], dict] = normal_kernel
) -> Tensor:
    """A 3x3 convolution, which sees the map doubled if it `doubles`, and tanh: (B, size, size, 3) in [-1, 1]."""
    if doubles:
        x = UpsampleConv2D(3, name=f"{name}_conv")(x)
    else:
        x = layers.Conv2D(3, 3, padding="same", use_bias=False, **kernel(), name=f"{name}_conv")(x)
    return layers.Activation("tanh", dtype=keras.config.floatx(), name=name)(x)


def glu(x: Tensor) -> Tensor:
    """A gated linear unit: the first half of the channels, each times the sigmoid of one of the second half.

    Source: Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017.
    """
    values, gates = ops.split(x, 2, axis=-1)
    return values * ops.sigmoid(gates)


def tile(x: Tensor, size: int, name: str) -> Tensor:
    """A vector at every place of a map: (B, size, size, channels)."""
    x = layers.Reshape((1, 1, x.shape[-1]), name=f"{name}_reshape")(x)
    return layers.UpSampling2D(size, name=name)(x)
