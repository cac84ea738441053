"""Gradients of convolutions by patches equal TensorFlow's own, and are taken where they pay alone."""

import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.models import filter_gradients
from stackgan_keras.models.blocks import UpsampleConv2D
from stackgan_keras.models.filter_gradients import Conv2D


def values(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 4), (4, 2, 8), (1, 1, 4), (4, 2, 5), (3, 2, 7)])
def test_a_convolution_and_its_gradients(kernel, stride, side):
    inputs, weights = values(0, 3, side, side, 5), values(1, kernel, kernel, 5, 6)
    compare(
        lambda x, w: filter_gradients.convolve(x, w, stride),
        lambda x, w: tf.nn.conv2d(x, w, stride, "SAME"),
        inputs,
        weights,
    )


def test_a_transposed_convolution_and_its_gradients():
    def theirs(x, w):
        return tf.nn.conv2d_transpose(x, w, (3, 8, 8, 6), 2, "SAME")

    inputs, weights = values(0, 3, 4, 4, 5), values(1, 4, 4, 6, 5)
    compare(lambda x, w: filter_gradients.convolve_transposed(x, w, 2), theirs, inputs, weights)


def compare(ours, theirs, inputs, weights):
    found = []
    for convolve in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch([inputs, weights])
            made = convolve(inputs, weights)
            loss = tf.reduce_sum(made**3)
        found.append([made, *tape.gradient(loss, [inputs, weights])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-9)


def taken(monkeypatch, layer, shape, **call):
    """Whether a layer's filter gradient comes from patches."""
    calls, way = [], filter_gradients._of_kernel
    with monkeypatch.context() as patch, tf.GradientTape() as tape:
        patch.setattr(filter_gradients, "_of_kernel", lambda *given: calls.append(1) or way(*given))
        loss = tf.reduce_sum(layer(tf.ones(shape), **call))
        tape.gradient(loss, layer.kernel.value)
    return bool(calls)


@pytest.mark.parametrize(
    ("shape", "filters", "stride", "pays"),
    [
        ((8, 4, 4, 64), 8, 1, True),
        ((8, 8, 8, 64), 8, 2, True),
        ((8, 16, 16, 64), 8, 1, False),
        ((64, 8, 8, 64), 8, 1, False),
    ],
)
def test_patches_are_taken_on_small_wide_maps_in_training_alone(monkeypatch, shape, filters, stride, pays):
    layer = Conv2D(filters, 4, stride, "same", use_bias=False)
    assert taken(monkeypatch, layer, shape, training=True) == pays
    assert not taken(monkeypatch, layer, shape, training=False)
    layer.trainable = False
    assert not taken(monkeypatch, layer, shape, training=True)


def test_upsampling_takes_them_too(monkeypatch):
    assert taken(monkeypatch, UpsampleConv2D(64), (4, 4, 4, 64), training=True)
    assert not taken(monkeypatch, UpsampleConv2D(64), (4, 32, 32, 64), training=True)


def test_not_with_a_gpu_nor_for_batches_of_any_size(monkeypatch):
    layer = Conv2D(8, 4, 1, "same", use_bias=False)
    layer(tf.ones((2, 4, 4, 64)))
    assert filter_gradients.pays((2,), (2, 4, 4, 8), layer.kernel)
    assert not filter_gradients.pays((None,), (None, 4, 4, 8), layer.kernel)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"])
    assert not filter_gradients.pays((2,), (2, 4, 4, 8), layer.kernel)


def test_in_bfloat16_and_in_a_graph():
    layer = Conv2D(8, 3, 1, "same", use_bias=False, dtype="mixed_bfloat16")
    inputs = tf.cast(values(0, 2, 4, 4, 32), tf.float32)

    @tf.function
    def gradient(training):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(inputs, training=training), tf.float32) ** 2)
        return tape.gradient(loss, layer.kernel.value)

    ours, theirs = gradient(True), gradient(False)
    assert ours.dtype == tf.float32
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())
