"""Random draws: functions of seed, purpose and index alone, and what a generator takes by (seed, place, copy)."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.data import noise, rgb
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 8, "filters": 2, "text_dim": 5, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"image_size": 16, "filters": 2, "text_dim": 5, "condition_dim": 3, "residual_blocks": 1, "stage1": STAGE1}
WIDTHS = {"noise": 4, "epsilon": 3, "stage1_epsilon": 3}


def draws(seed=0, purpose=noise.NOISE, index=0) -> dict[str, np.ndarray]:
    """One draw of every kind."""
    key = (seed, purpose, index)
    made = {
        "floats": noise.uniform((50,), *key),
        "integers": noise.uniform((50,), *key, 1000),
        "normal": noise.normal((50,), *key),
        "truncated": noise.normal((50,), *key, True),
        "order": noise.shuffle(tf.range(50), *key),
    }
    return {name: np.asarray(values) for name, values in made.items()}


def inputs(widths, seed, images_, truncated=False) -> dict[str, np.ndarray]:
    """What a generator takes for images (place, copy)."""
    places, copies = np.array(images_).T
    drawn = noise.generator_inputs(widths, seed, tf.constant(places), tf.constant(copies), truncated)
    return {name: values.numpy() for name, values in drawn.items()}


# -- one draw -----------------------------------------------------------------------------------------------------


def test_draws_depend_on_seed_purpose_and_index_alone():
    first = draws()
    tf.random.set_seed(5)
    tf.random.normal((3,))
    for name, values in draws().items():
        np.testing.assert_array_equal(values, first[name], name)
    for other in (draws(seed=1), draws(purpose=noise.EPSILON), draws(index=1)):
        assert all(np.any(values != first[name]) for name, values in other.items())


def test_no_two_keys_are_the_same():
    keys = product((0, 1, 16, 2**31 - 1), range(9), (0, 1, 2**32, 2**63 - 1))
    assert len({tuple(noise._key(*key).numpy()) for key in keys}) == 4 * 9 * 4


def test_a_traced_draw_is_the_same():
    traced = tf.function(lambda seed, index: noise.normal((50,), seed, noise.NOISE, index))
    for whole in (tf.int32, tf.int64):
        made = traced(tf.constant(7, whole), tf.constant(9, whole))
        np.testing.assert_array_equal(made, draws(7, noise.NOISE, 9)["normal"])


def test_draws_are_distributed_as_they_say():
    key = (3, noise.CAPTION, 4)
    floats, integers = noise.uniform((10_000,), *key).numpy(), noise.uniform((10_000,), *key, 5).numpy()
    assert floats.min() >= 0 and floats.max() < 1
    assert floats.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.bincount(integers) / 10_000, 0.2, atol=0.02)
    normal, truncated = noise.normal((10_000,), *key).numpy(), noise.normal((10_000,), *key, truncated=True).numpy()
    assert normal.std() == pytest.approx(1, abs=0.03)
    assert np.abs(truncated).max() <= 2 < np.abs(normal).max()
    assert truncated.std() == pytest.approx(0.88, abs=0.03)
    assert sorted(noise.shuffle(tf.range(99), *key).numpy()) == list(range(99))


# -- what a generator takes ---------------------------------------------------------------------------------------


def test_an_image_does_not_depend_on_which_others_are_drawn():
    many = list(product(range(4), range(2)))
    whole = inputs(WIDTHS, 5, many)
    assert {name: values.shape for name, values in whole.items()} == {n: (8, width) for n, width in WIDTHS.items()}
    for some in ([(2, 1)], [(3, 1), (0, 0), (2, 1)], many[::-1]):
        for name, values in inputs(WIDTHS, 5, some).items():
            np.testing.assert_array_equal(values, whole[name][[many.index(image) for image in some]], name)
    for name, values in whole.items():
        assert len(np.unique(values)) == values.size, name  # none is drawn twice
        assert np.all(inputs(WIDTHS, 6, many)[name] != values)


def test_places_and_copies_are_not_mixed_up():
    far = [(0, 1), (1, 0), (0, 2**31 - 1), (2**30, 0), (2**30, 2**31 - 1)]
    assert len(np.unique(inputs(WIDTHS, 0, far)["noise"], axis=0)) == len(far)


def test_only_what_is_asked_for_is_drawn():
    assert set(inputs({"noise": 4}, 0, [(0, 0)])) == {"noise"}
    assert set(inputs({"noise": 4, "epsilon": 3}, 0, [(0, 0)])) == {"noise", "epsilon"}


def test_a_width_changes_no_other_input():
    usual, wide = inputs(WIDTHS, 0, [(0, 0)]), inputs({**WIDTHS, "noise": 9}, 0, [(0, 0)])
    for name in ("epsilon", "stage1_epsilon"):
        np.testing.assert_array_equal(usual[name], wide[name])


def test_epsilons_of_the_tensorflow_release_stay_within_two_deviations():
    traced = tf.function(lambda places, copies: noise.generator_inputs(WIDTHS, 0, places, copies, True))
    drawn = traced(tf.repeat(tf.range(100), 5), tf.tile(tf.range(5), [100]))
    for name, values in drawn.items():
        limited = name != "noise"
        assert (np.abs(values).max() <= 2) == limited, name
        assert np.std(values) == pytest.approx(0.88 if limited else 1, abs=0.05), name
    for name, values in inputs(WIDTHS, 0, [(0, 0), (99, 4)], truncated=True).items():
        np.testing.assert_allclose(values, drawn[name].numpy()[[0, -1]], rtol=1e-6)


def test_stage1_takes_the_same_with_and_without_stage2():
    alone, together = inputs({"noise": 4, "epsilon": 3}, 7, [(1, 2)]), inputs(WIDTHS, 7, [(1, 2)])
    np.testing.assert_array_equal(alone["noise"], together["noise"])
    np.testing.assert_array_equal(alone["epsilon"], together["stage1_epsilon"])
    assert np.all(alone["epsilon"] != together["epsilon"])


@pytest.mark.parametrize("architecture", ["pytorch", "tensorflow"])
def test_stage1_draws_the_same_image_with_and_without_stage2(architecture):
    stage1 = {**STAGE1, "architecture": architecture}
    stage2 = ModelConfig("stage2_generator", {**STAGE2, "stage1": stage1, "architecture": architecture}).build()
    frozen, rng = stage2.get_layer("stage1_generator"), np.random.default_rng(0)
    for variable in frozen.variables:
        if variable.path.endswith("kernel"):
            variable.assign(rng.normal(0, 1.5 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
    text = {"embedding": tf.constant(rng.normal(size=(1, 5)), tf.float32)}
    key, scales = tf.constant([3, 2, 1], tf.int64), tf.ones(2)
    alone = StackGAN(None, frozen, architecture)._image_of(text, key, scales)
    together = StackGAN(None, stage2, architecture)._image_of(text, key, scales)
    np.testing.assert_allclose(alone["image"], together["stage1_image"], atol=1e-6)
    assert rgb.to_uint8(alone["image"]).std() > 10
