"""Differentiable augmentation: what it changes, within which ranges, and that gradients go through it."""

import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.training.augmentation import CHANGES, DRAWS, augment

SIZE = 16
POLICY = "color,translation,cutout"


def images(count=3):
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (count, SIZE, SIZE, 3)), tf.float32)


def draws(count=3, **values):
    """In the middle, which changes neither colours nor place; `values` by number, as `_3=0.9`."""
    rows = np.full((count, DRAWS), 0.5, np.float32)
    for name, value in values.items():
        rows[:, int(name[1:])] = value
    return tf.constant(rows)


def test_the_middle_changes_nothing():
    np.testing.assert_allclose(augment(images(), draws(), "color,translation"), images(), atol=1e-6)


def test_colours_by_hand():
    made = images().numpy()
    np.testing.assert_allclose(augment(images(), draws(_0=0.9), "color"), made + 0.4, atol=1e-6)
    grey = made.mean(axis=3, keepdims=True)
    np.testing.assert_allclose(augment(images(), draws(_1=0), "color"), grey.repeat(3, 3), atol=1e-6)
    np.testing.assert_allclose(augment(images(), draws(_1=0.75), "color"), grey + 1.5 * (made - grey), atol=1e-6)
    mean = made.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(augment(images(), draws(_2=0), "color"), mean + 0.5 * (made - mean), atol=1e-6)


@pytest.mark.parametrize(("draw", "moved"), [(0.0, -2), (0.5, 0), (0.99, 2)])
def test_images_move_an_eighth_at_most_and_zeros_come_in(draw, moved):
    made, right = augment(images(), draws(_3=draw), "translation").numpy(), np.zeros((3, SIZE, SIZE, 3))
    for row in range(SIZE):
        if 0 <= row + moved < SIZE:
            right[:, row] = images()[:, row + moved]
    np.testing.assert_array_equal(made, right)
    sideways = augment(tf.transpose(images(), (0, 2, 1, 3)), draws(_4=draw), "translation")
    np.testing.assert_array_equal(np.swapaxes(sideways, 1, 2), made)


def test_each_image_has_its_own_draws():
    rows = np.random.default_rng(1).uniform(size=(3, DRAWS)).astype(np.float32)
    together = augment(images(), tf.constant(rows), POLICY)
    for i in range(3):
        alone = augment(images()[i : i + 1], tf.constant(rows[i : i + 1]), POLICY)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)


def test_cutout_blanks_half_the_size_everywhere_alike():
    rows = np.random.default_rng(2).uniform(size=(4000, DRAWS)).astype(np.float32)
    blank = augment(tf.ones((4000, SIZE, SIZE, 1)), tf.constant(rows), "cutout").numpy()[..., 0] == 0
    whole = [b for b in blank if b.sum() == (SIZE // 2) ** 2]
    assert len(whole) > 800  # the others are partly outside
    for b in whole[:50]:
        tall, wide = b.any(axis=1).sum(), b.any(axis=0).sum()
        assert (tall, wide) == (SIZE // 2, SIZE // 2)
    assert blank.any(axis=(1, 2)).all()
    assert blank.mean(axis=0)[4:12, 4:12].min() > 0.2


@pytest.mark.parametrize("policy", [*CHANGES, POLICY])
def test_gradients_reach_what_is_still_seen(policy):
    seen = tf.Variable(images())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(augment(seen, draws(_0=0.7, _3=0.9, _5=0.1), policy)))
    gradient = tape.gradient(loss, seen).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient != 0).mean() > 0.3


def test_size_and_type_stay():
    for kind in (tf.float32, tf.bfloat16):
        made = augment(tf.cast(images(), kind), draws(), POLICY)
        assert (made.shape, made.dtype) == ((3, SIZE, SIZE, 3), kind)
