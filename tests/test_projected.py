"""What heads on pretrained features read: folded maps, fixed projections, framing, spectral norm and their logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import refusal

from stackgan_keras.models import discriminators, efficientnet_lite0, projected, weights
from stackgan_keras.models.blocks import precision
from stackgan_keras.porting import extractors


@pytest.fixture(scope="module")
def network():
    """EfficientNet-Lite0 with random weights, in batch norm too."""
    keras.utils.set_random_seed(0)
    model, random = efficientnet_lite0.efficientnet_lite0(), np.random.default_rng(0)
    for variable in model.variables:
        if "norm" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def test_folded_maps_are_those_of_the_network(network):
    images = np.random.default_rng(1).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    names = ("block0_project_norm", "block2_add", "block4_add", "block10_add")
    inner = keras.Model(network.input, [network.get_layer(name).output for name in names])
    theirs = inner((images + 1) * 127.5, training=False)
    ours = efficientnet_lite0.feature_maps(network, 224)(images, training=False)
    assert list(ours) == ["stride2", "stride4", "stride8", "stride16"]
    for one, other in zip(ours.values(), theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4 * np.abs(other).max())


def test_projections_are_fixed_frozen_and_in_float32(network):
    with precision("mixed_bfloat16"):
        one, other = (projected.projections(efficientnet_lite0.feature_maps(network, 128)) for _ in range(2))
    images = np.random.default_rng(1).uniform(-1, 1, (2, 128, 128, 3)).astype(np.float32)
    made = one(images, training=False)
    assert {name: x.shape[1:] for name, x in made.items()} == {
        "stride2": (64, 64, 16),
        "stride4": (32, 32, 32),
        "stride8": (16, 16, 64),
        "stride16": (8, 8, 128),
    }
    assert not one.trainable_variables
    for name, values in other(images, training=False).items():
        assert values.dtype == tf.float32
        np.testing.assert_array_equal(values, made[name])


def test_projections_mix_scales_downwards(network):
    """A change of the coarsest map reaches the finest one."""
    maps = efficientnet_lite0.feature_maps(network, 128)
    model = projected.projections(maps)
    images = np.zeros((1, 128, 128, 3), np.float32)
    before = model(images, training=False)
    kernel = model.get_layer("stride16_channels").kernel
    kernel.assign(2 * kernel)
    after = model(images, training=False)
    assert all(np.abs(after[name] - before[name]).max() > 1e-3 for name in projected.MAPS)


def test_large_images_are_seen_as_a_crop_or_as_a_whole():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (4, 256, 256, 3)).astype(np.float32)
    draws = np.array([[0.2, 0.5, 0.5], [0.8, 0.0, 0.999], [0.7, 0.25, 0.5], [0.49, 0, 0]], np.float32)
    seen = projected.frame(tf.constant(images), tf.constant(draws)).numpy()
    small = images.reshape(4, 128, 2, 128, 2, 3).mean((2, 4))
    np.testing.assert_allclose(seen[[0, 3]], small[[0, 3]], atol=1e-6)
    np.testing.assert_array_equal(seen[1], images[1, :128, 128:])
    np.testing.assert_array_equal(seen[2], images[2, 32:160, 64:192])  # 129 places


def test_images_get_their_gradient_through_the_frame():
    images, draws = tf.ones((2, 256, 256, 3)), tf.constant([[0.9, 0.5, 0.5], [0.1, 0, 0]])
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(projected.frame(images, draws))
    gradient = tape.gradient(total, images).numpy()
    assert gradient[0].sum() == 128 * 128 * 3 and set(np.unique(gradient[0])) == {0, 1}
    np.testing.assert_allclose(gradient[1], 0.25)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_small_images_are_enlarged_whatever_is_drawn(size):
    images = tf.random.stateless_uniform((2, size, size, 3), (0, 1))
    seen = projected.frame(images, None)
    assert seen.shape == (2, 128, 128, 3)
    pooled = tf.nn.avg_pool2d(seen, 128 // size, 128 // size, "VALID")
    assert np.abs(pooled - images).mean() < 0.15


def test_spectral_norm_becomes_one_and_its_gradient_is_that_of_the_division():
    keras.utils.set_random_seed(0)
    layer = projected.SpectralConv2D(5, 3)
    images = tf.random.stateless_normal((2, 6, 6, 4), (0, 1))
    for _ in range(200):
        layer(images, training=True)
    kernel = layer.kernel.numpy()
    norm = np.linalg.svd(kernel.reshape(-1, 5), compute_uv=False)[0]
    np.testing.assert_allclose(layer(images), tf.nn.conv2d(images, kernel / norm, 1, "SAME"), atol=1e-5)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images, training=True) ** 2)
    ours = tape.gradient(loss, layer.kernel.value)
    free = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        divided = free / tf.linalg.svd(tf.reshape(free, (-1, 5)), compute_uv=True)[0][0]
        loss = tf.reduce_sum(tf.nn.conv2d(images, divided, 1, "SAME") ** 2)
    np.testing.assert_allclose(ours, tape.gradient(loss, free), atol=1e-3)


def test_inference_leaves_the_singular_vector_as_it_is():
    layer = projected.SpectralConv2D(5, 3)
    images = tf.ones((1, 6, 6, 4))
    layer(images)
    before = layer.singular_vector.numpy()
    layer(images, training=False)
    np.testing.assert_array_equal(before, layer.singular_vector)
    layer(images, training=True)
    assert np.any(before != layer.singular_vector.numpy())


@pytest.mark.parametrize(("filters", "parts"), [(2, 5), (0, 4)])
def test_a_pretrained_discriminator_has_logits_of_every_part(filters, parts, tmp_path):
    sizes = {
        "image_size": 16,
        "filters": filters,
        "text": "embedding",
        "text_dim": 6,
        "pretrained": True,
        "batch_norm": False,
    }
    made = weights.ModelConfig("discriminator", {**sizes, "logits": ("conditional", "unconditional")})
    model, random = made.build(), np.random.default_rng(0)
    assert ("image" in model.input) == (filters > 0)
    given = {n: tf.constant(random.normal(size=(3, *x.shape[1:])), tf.float32) for n, x in model.input.items()}
    logits = model(given)
    assert {name: x.shape for name, x in logits.items()} == dict.fromkeys(("conditional", "unconditional"), (3, parts))

    path = tmp_path / "discriminator.weights.h5"
    weights.save(model, made, path)
    again = weights.load(path)(given)
    for name, values in logits.items():
        np.testing.assert_array_equal(again[name], values)

    taken_apart, text = discriminators.Parts(model), given.pop("text")
    for _ in range(100):
        features = taken_apart.features(given)  # until the spectral norms stand
    apart, whole = taken_apart.logits(features, text), model({**given, "text": text})
    for name, values in apart.items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-3, atol=1e-4)


def test_a_head_compares_its_features_with_the_sentence():
    matched = projected.heads(("conditional",), 6)["stride8"][1]["conditional"]
    random = np.random.default_rng(0)
    features, text = (random.normal(size=(3, n)).astype(np.float32) for n in (64, 6))
    kernel, bias = matched.get_layer("sentence_dense").get_weights()
    weight, offset = matched.get_layer("logit_dense").get_weights()
    expected = (features @ weight)[:, 0] + offset + (features * (text @ kernel + bias)).sum(axis=1) / 8
    np.testing.assert_allclose(matched({"features": features, "text": text}), expected, rtol=1e-4)


def test_features_come_from_a_file(network, tmp_path):
    path = tmp_path / "mine.weights.h5"
    weights.save(network, weights.ModelConfig("efficientnet_lite0", {}), path)
    images = np.zeros((1, 128, 128, 3), np.float32)
    ours = projected.projections(efficientnet_lite0.feature_maps(network, 128))(images, training=False)
    np.testing.assert_array_equal(extractors.projected_features(path)(images)["stride4"], ours["stride4"])


def test_another_network_is_refused(tmp_path):
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(tmp_path / "other.keras")
    message = refusal(extractors.projected_features, tmp_path / "other.keras")
    assert "other.keras" in message and "EfficientNet-Lite0" in message and "train_extractor" in message
