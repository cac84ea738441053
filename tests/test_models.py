"""The networks are built as the paper and the settings say."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.errors import InputError
from stackgan_keras.models import blocks, conditioning, discriminators, generators, weights

BOTH = ("conditional", "unconditional")
SMALL = {"filters": 2, "text_dim": 6, "condition_dim": 4}


def inputs_of(network, batch=3, seed=0):
    generator = np.random.default_rng(seed)
    return {
        name: tf.constant(generator.normal(size=(batch, *tensor.shape[1:])), tf.float32)
        for name, tensor in network.input.items()
    }


def test_widths_of_the_release():
    stage1 = {"filters": 128}
    counts = {
        "stage1_generator": generators.stage1_generator(**stage1).count_params(),
        "stage1_discriminator": discriminators.discriminator(image_size=64).count_params(),
        "stage2_discriminator": discriminators.discriminator(
            image_size=256, logits=("conditional", "unconditional")
        ).count_params(),
    }

    def norms(*channels):
        return 4 * sum(channels)  # gamma, beta and two moving averages

    assert counts["stage1_generator"] == (
        1024 * 256 + 256  # conditioning augmentation
        + 228 * 16 * 1024 + norms(16 * 1024)
        + 9 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + norms(512, 256, 128, 64)
    )  # fmt: skip
    head = 9 * (512 + 128) * 512 + norms(512) + 16 * 512 + 1
    encoder = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + norms(128, 256, 512)
    assert counts["stage1_discriminator"] == encoder + head
    wider = 16 * (512 * 1024 + 1024 * 2048) + 9 * (2048 * 1024 + 1024 * 512) + norms(1024, 2048, 1024, 512)
    assert counts["stage2_discriminator"] == encoder + wider + head + 16 * 512 + 1


def test_widths_of_the_tensorflow_release():
    style = {"architecture": "tensorflow"}

    def norms(*channels):
        return 4 * sum(channels)

    def bottleneck(width):
        narrow = width // 4
        return width * narrow + 9 * narrow * narrow + 9 * narrow * width + norms(narrow, narrow, width)

    assert generators.stage1_generator(filters=128, **style).count_params() == (
        1024 * 256 + 256  # conditioning augmentation
        + 228 * 16 * 1024 + 16 * 1024 + norms(16 * 1024) + bottleneck(1024) + bottleneck(512)
        + 9 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + norms(512, 256, 128)
    )  # fmt: skip
    encoder = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + norms(128, 256, 512) + bottleneck(512)
    head = 1024 * 128 + 128 + (512 + 128) * 512 + norms(512) + 16 * 512
    assert discriminators.discriminator(image_size=64, text="embedding", **style).count_params() == encoder + head
    wider = 16 * (512 * 1024 + 1024 * 2048) + 2048 * 1024 + 1024 * 512 + norms(1024, 2048, 1024, 512)
    assert (
        discriminators.discriminator(image_size=256, text="embedding", **style).count_params() == encoder + wider + head
    )


@pytest.mark.parametrize("architecture", blocks.ARCHITECTURES)
@pytest.mark.parametrize("image_size", [8, 16, 32, 64, 128, 256])
def test_any_power_of_two_for_stage1(image_size, architecture):
    style = {"architecture": architecture}
    generator = generators.stage1_generator(image_size=image_size, noise_dim=5, **{**SMALL, "filters": 8}, **style)
    discriminator = discriminators.discriminator(image_size=image_size, **SMALL, **style)
    made = generator(inputs_of(generator))
    assert made["image"].shape == (3, image_size, image_size, 3)
    assert discriminator({"image": made["image"], "text": made["mean"]})["conditional"].shape == (3,)


@pytest.mark.parametrize("architecture", blocks.ARCHITECTURES)
@pytest.mark.parametrize(("stage1_size", "image_size"), [(64, 256), (64, 128), (128, 256), (16, 64)])
def test_any_power_of_two_for_stage2(stage1_size, image_size, architecture):
    style = {"architecture": architecture}
    stage1 = {**SMALL, "image_size": stage1_size, "filters": 8, "noise_dim": 5, **style}
    generator = generators.stage2_generator(
        stage1=stage1, image_size=image_size, **{**SMALL, "filters": 4}, residual_blocks=1, **style
    )
    made = generator(inputs_of(generator))
    assert made["image"].shape == (3, image_size, image_size, 3)
    assert made["stage1_image"].shape == (3, stage1_size, stage1_size, 3)


@pytest.mark.parametrize("image_size", [4, 24, 65])
def test_other_sizes_are_refused(image_size):
    with pytest.raises(InputError, match=f"image_size is {image_size}"):
        generators.stage1_generator(image_size=image_size, **SMALL)


def test_too_narrow_for_the_size_is_refused():
    with pytest.raises(InputError, match="16 channels cannot be halved 5 times on the way to 128 pixels"):
        generators.stage1_generator(image_size=128, **SMALL)


def test_no_up_block_is_narrower_than_asked_for():
    def widths(**keywords):
        generator = generators.stage1_generator(image_size=64, **{**SMALL, "filters": 8}, **keywords)
        return [generator.get_layer(f"up{i}_relu").output.shape[-1] for i in range(1, 5)]

    assert (widths(), widths(min_filters=12)) == ([32, 16, 8, 4], [32, 16, 12, 12])


def test_skip_connections_carry_what_the_narrow_maps_lose():
    """Where the 4x4 map between says nothing, one pixel of the Stage-I image still reaches the same place."""
    stage1 = {**SMALL, "image_size": 16, "filters": 8, "noise_dim": 5}

    def reached(skip_connections):
        keras.utils.set_random_seed(1)
        generator = generators.stage2_generator(
            stage1=stage1, image_size=32, residual_blocks=1, skip_connections=skip_connections, **SMALL
        )
        refine = generators.without_stage1(generator)
        for name in ("gamma", "beta"):
            variable = getattr(generator.get_layer("join_norm"), name)
            variable.assign(0 * variable)
            for i in (1, 2):
                variable = getattr(generator.get_layer(f"residual1_{i}_norm"), name)
                variable.assign(0 * variable)
        image = np.zeros((1, 16, 16, 3), np.float32)
        x = {name: np.zeros((1, *each.shape[1:]), np.float32) for name, each in refine.input.items()}
        dot = image.copy()
        dot[:, 4, 8] = 1
        change = np.abs(refine({**x, "stage1_image": dot})["image"] - refine({**x, "stage1_image": image})["image"])
        return np.argwhere(change[0].max(axis=-1) > 0)

    assert len(reached(False)) == 0
    rows, columns = reached(True).T
    assert rows.min() <= 8 <= rows.max() and columns.min() <= 16 <= columns.max()


def test_upsampling_convolution_is_repeat_then_convolve():
    x = tf.random.stateless_normal((2, 5, 7, 3), [0, 1])
    layer = blocks.UpsampleConv2D(4)
    ours = layer(x)
    repeated = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(ours, tf.nn.conv2d(repeated, layer.kernel.value, 1, "SAME"), atol=1e-6)
    again = blocks.UpsampleConv2D.from_config(layer.get_config())
    assert again.compute_output_shape((2, 5, 7, 3)) == tuple(ours.shape)


def test_condition_is_mean_plus_deviation_times_epsilon():
    network = conditioning.conditioning_augmentation(text_dim=6, condition_dim=4)
    x = inputs_of(network)
    out = network(x)
    deviation = np.exp(np.asarray(out["log_variance"]) / 2)
    np.testing.assert_allclose(out["condition"], out["mean"] + deviation * x["epsilon"], atol=1e-6)
    assert len(np.unique(np.round(out["condition"] - out["mean"], 6))) == 12  # an epsilon for each row and dimension
    moments = x["embedding"] @ network.get_layer("moments_dense").kernel
    np.testing.assert_allclose(out["log_variance"], np.maximum(moments[:, 4:], 0), atol=1e-6)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_condition_may_be_drawn_nearer_to_its_mean(stage):
    stage1 = {**SMALL, "noise_dim": 5, "condition_noise_scale": 0.1}
    if stage == 1:
        generator = generators.stage1_generator(image_size=8, **stage1)
    else:
        generator = generators.stage2_generator(
            stage1=stage1, image_size=128, residual_blocks=1, condition_noise_scale=0.1, **SMALL
        )
    x = inputs_of(generator)
    out = generator.get_layer("conditioning_augmentation")({name: x[name] for name in ("embedding", "epsilon")})
    away = 0.1 * np.exp(np.asarray(out["log_variance"]) / 2) * x["epsilon"]
    np.testing.assert_allclose(out["condition"], out["mean"] + away, atol=1e-6)


def test_without_augmentation_the_condition_is_the_mean():
    generator = generators.stage1_generator(image_size=8, noise_dim=5, augment_condition=False, **SMALL)
    assert set(generator.input) == {"embedding", "noise"}
    assert set(generator.output) == {"image", "mean"}
    text = generator.get_layer("conditioning_augmentation")
    out = text({"embedding": inputs_of(generator)["embedding"]})
    np.testing.assert_array_equal(out["condition"], out["mean"])
    stage1 = {**SMALL, "noise_dim": 5, "augment_condition": False}
    keywords = {**SMALL, "image_size": 128, "residual_blocks": 1}
    assert set(generators.stage2_generator(stage1=stage1, **keywords).input) == {"embedding", "noise", "epsilon"}


def test_a_stage2_that_is_given_the_stage1_image_alone():
    keywords = {**SMALL, "image_size": 128, "residual_blocks": 1, "read_text_again": False}
    generator = generators.stage2_generator(stage1={**SMALL, "noise_dim": 5}, **keywords)
    assert set(generator.input) == {"embedding", "noise", "stage1_epsilon"}
    assert set(generator.output) == {"image", "stage1_image"}
    assert not [path for path in weights.named_variables(generator) if path.startswith("conditioning_augmentation")]
    assert set(generators.without_stage1(generator).input) == {"stage1_image"}


@pytest.mark.parametrize("changed", ["embedding", "noise", "epsilon", "stage1_epsilon"])
def test_every_input_of_stage2_changes_its_image(changed):
    generator = generators.stage2_generator(
        stage1={**SMALL, "noise_dim": 5}, image_size=128, residual_blocks=1, **SMALL
    )
    for path, variable in weights.named_variables(generator).items():
        if path.endswith("kernel"):
            variable.assign(25 * variable)  # initial weights are so small that a Stage-I image is grey to six digits
    x = inputs_of(generator)
    other = generator({**x, changed: x[changed] + 1})["image"]
    assert np.abs(other - generator(x)["image"]).max() > 1e-3


@pytest.mark.parametrize("stage", [1, 2])
def test_conditional_norms_start_as_plain_ones_and_then_hear_the_condition(stage):
    stage1 = {**SMALL, "noise_dim": 5}

    def build(conditional_batch_norm):
        keras.utils.set_random_seed(3)
        if stage == 1:
            return generators.stage1_generator(image_size=16, conditional_batch_norm=conditional_batch_norm, **stage1)
        return generators.stage2_generator(
            stage1=stage1, image_size=128, residual_blocks=1, conditional_batch_norm=conditional_batch_norm, **SMALL
        )

    plain, modulated = build(False), build(True)
    assert not [layer for layer in plain.layers if "modulate" in layer.name]
    denses = [layer for layer in modulated.layers if layer.name.endswith("modulate_dense")]
    norms = [layer for layer in modulated.layers if re.fullmatch(r"up\d_norm", layer.name)]
    assert [dense.units for dense in denses] == [2 * norm.gamma.shape[0] for norm in norms] != []
    theirs = weights.named_variables(modulated)
    for path, variable in weights.named_variables(plain).items():
        variable.assign(theirs[path])
    x = inputs_of(plain)
    np.testing.assert_allclose(modulated(x)["image"], plain(x)["image"], atol=1e-7)
    last = denses[-1]
    scale, shift = np.split(np.random.default_rng(0).normal(size=last.kernel.shape), 2, axis=1)
    last.kernel.assign(np.concatenate([scale, shift], axis=1))
    condition = modulated.get_layer("conditioning_augmentation")({name: x[name] for name in ("embedding", "epsilon")})[
        "condition"
    ]
    inner = keras.Model(modulated.input, [norms[-1].output, modulated.get_layer(norms[-1].name[:3] + "_relu").output])
    before, after = (np.asarray(value) for value in inner(x))
    by_hand = before * (1 + condition @ scale)[:, None, None] + (condition @ shift)[:, None, None]
    np.testing.assert_allclose(after, np.maximum(by_hand, 0), atol=1e-5)


@pytest.mark.parametrize("text", ["mean", "embedding"])
def test_the_sentence_changes_the_discriminators_answer(text):
    keras.utils.set_random_seed(1)
    network = discriminators.discriminator(image_size=16, text=text, **SMALL)
    assert network.input["text"].shape[1] == {"mean": 4, "embedding": 6}[text]
    x = inputs_of(network)
    other = network({**x, "text": x["text"][::-1]})["conditional"]
    assert (
        np.abs(other - network(x)["conditional"]).min() > 1e-6 or np.abs(other - network(x)["conditional"]).max() > 1e-4
    )


def test_without_stage1_a_stage2_takes_any_small_image():
    stage1 = {**SMALL, "noise_dim": 5}
    generator = generators.stage2_generator(stage1=stage1, image_size=128, residual_blocks=1, **SMALL)
    refine = generators.without_stage1(generator)
    x = inputs_of(generator)
    made = generator(x)
    given = {"stage1_image": made["stage1_image"], "embedding": x["embedding"], "epsilon": x["epsilon"]}
    assert set(refine.input) == set(given)
    refined = refine(given)
    assert set(refined) == {"image", "mean", "log_variance"}
    for name, value in refined.items():
        np.testing.assert_allclose(value, made[name], atol=1e-6, err_msg=name)
    assert {id(v) for v in refine.trainable_variables} == {id(v) for v in generator.trainable_variables}


def test_frozen_stage1_stays_as_it_is():
    generator = generators.stage2_generator(
        stage1={**SMALL, "noise_dim": 5}, image_size=128, residual_blocks=1, **SMALL
    )
    frozen = generator.get_layer("stage1_generator")
    assert not frozen.trainable_variables
    x = inputs_of(generator)
    before = {path: v.numpy() for path, v in weights.named_variables(frozen).items()}
    trained, still = generator(x, training=True), generator(x, training=False)
    np.testing.assert_array_equal(trained["stage1_image"], still["stage1_image"])  # inference mode in both
    for path, variable in weights.named_variables(frozen).items():
        np.testing.assert_array_equal(before[path], variable.numpy(), err_msg=path)


def test_initial_weights():
    keras.utils.set_random_seed(0)
    generator = generators.stage1_generator(filters=16)
    for path, variable in weights.named_variables(generator).items():
        values = variable.numpy()
        if path.endswith("kernel") and values.size > 1000:
            assert values.std() == pytest.approx(0.02, rel=0.1), path
            assert abs(values.mean()) < 0.002, path
        if path.endswith("gamma") and values.size > 1000:
            assert values.mean() == pytest.approx(1, abs=0.01), path
            assert values.std() == pytest.approx(0.02, rel=0.1), path
        if path.endswith(("bias", "beta")):
            assert not values.any(), path
    norms = [layer for layer in generator.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(n.momentum, n.epsilon, n.synchronized) for n in norms} == {(0.9, 1e-5, False)}


def test_synchronize_reaches_nested_networks():
    network = discriminators.discriminator(image_size=32, **SMALL)
    blocks.synchronize(network)
    flags = [
        layer.synchronized
        for part in (network.get_layer("encode_image"), network.get_layer("matched"))
        for layer in part.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert flags == [True] * 3


@pytest.mark.parametrize("fused", [True, False])
def test_batch_norm_is_that_of_the_batch_and_keeps_the_unbiased_variance(fused, monkeypatch):
    """As PyTorch does, whichever operation computes it; gradients are those of Keras's own layer."""
    monkeypatch.setattr(blocks.BatchNormalization, "_can_fuse", lambda layer, inputs: fused)
    x = tf.random.stateless_normal((4, 3, 5, 2), [0, 1], mean=2.0, stddev=3.0)
    ours, plain = (
        norm(momentum=0.9, epsilon=1e-5) for norm in (blocks.BatchNormalization, keras.layers.BatchNormalization)
    )
    made = []
    for layer in (ours, plain):
        layer.build(x.shape)
        layer.gamma.assign([1.5, 0.5])
        layer.beta.assign([0.1, -0.2])
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(out))
        made.append([out, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
    for mine, theirs in zip(*made, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    values = x.numpy().reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(ours.moving_mean, 0.1 * values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, 0.9 + 0.1 * values.var(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(plain.moving_variance, 0.9 + 0.1 * values.var(axis=0), rtol=1e-5)
    ours.trainable = False
    before = ours.moving_mean.numpy()
    ours(x, training=True)
    np.testing.assert_array_equal(ours.moving_mean, before)
