"""However many devices share a batch, they train what one would: through the commands themselves, on CPU devices."""

import subprocess
import sys

import pytest
from devices import REGULARIZED, STAGE2, assert_same_training, copies, figures, train_each

from stackgan_keras.data import drawn_birds


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


def test_two_devices_train_stage1_as_one_does(birds, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    train_each(folders, "train_stage1", {**REGULARIZED, "data.root": birds}, devices=(1, 2))
    assert_same_training(*folders, "stage1")


@pytest.mark.slow
def test_four_devices_train_both_stages_as_one_does(birds, tmp_path):
    root = {"data.root": birds}
    one, *others = folders = [tmp_path / name for name in ("one", "two", "four")]
    train_each(folders, "train_stage1", {**REGULARIZED, **root}, devices=(1, 2, 4))
    for other in others:
        assert_same_training(one, other, "stage1")
    one, *others = copies(one, ["stage2_one", "stage2_two", "stage2_four"])
    chosen = {**REGULARIZED, **STAGE2, **root, "train.pixel_weight": 1, "train.interpolation_weight": 0.5}
    chosen["train.batch_size"] = 8  # of one image each, the last device would have no sentence to interpolate
    train_each([one, *others], "train_stage2", chosen, devices=(1, 2, 4))
    for other in others:
        assert_same_training(one, other, "stage2")


@pytest.mark.slow
def test_with_pretrained_features_too(birds, network, tmp_path):
    """They are in float32 whatever else is."""
    one, *others = folders = [tmp_path / name for name in ("one", "two", "four")]
    features = {"discriminator.features": network, "discriminator.batch_norm": "no"}
    train_each(folders, "train_stage1", {**REGULARIZED, **features, "data.root": birds}, devices=(1, 2, 4))
    for other in others:
        assert_same_training(one, other, "stage1", rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_in_float16_with_its_loss_scaled(birds, tmp_path):
    """Adam makes much of the last digits of float16, so that only the losses are alike."""
    folders = [tmp_path / name for name in ("one", "two", "four")]
    chosen = {"data.root": birds, "train.precision": "mixed_float16", "train.r1_weight": 0.1}
    train_each(folders, "train_stage1", chosen, devices=(1, 2, 4))
    [[one], *others] = [figures(folder, "stage1") for folder in folders]
    for [other] in others:
        for name in ("discriminator", "generator", "real_test"):
            assert one[name] == pytest.approx(other[name], rel=2e-2)


OVERFLOW = """
import keras
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from stackgan_keras.training import train_step
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    weight = keras.Variable([1.0, 1.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    optimizer.build([weight])

@tf.function
def step(factor):
    def on_replica():
        here = tf.distribute.get_replica_context().replica_id_in_sync_group
        with tf.GradientTape() as tape:
            factors = tf.stack([tf.where(here == 1, factor, 1.0), 1.0])  # the second replica's gradient overflows
            loss = optimizer.scale_loss(tf.reduce_sum(factors * weight.value))
        train_step._apply(optimizer, tape, loss, [weight])
    strategy.run(on_replica)

for factor, expected, scale in ((np.inf, [1, 1], 4), (2.0, [-2, -1], 4)):
    step(tf.constant(factor, tf.float32))
    for replica in strategy.experimental_local_results(weight.value):
        np.testing.assert_array_equal(replica, expected)
    assert optimizer.dynamic_scale.value.numpy() == scale
print("no replica took the step")
"""


def test_what_overflows_on_one_device_is_left_out_on_all():
    done = subprocess.run([sys.executable, "-c", OVERFLOW], capture_output=True, text=True, check=False)
    assert "no replica took the step" in done.stdout, done.stderr[-3000:]
