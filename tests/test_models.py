"""Are the networks built as the paper and the settings say?"""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.errors import InputError
from stackgan_keras.models import blocks, conditioning, discriminators, generators, weights

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
        "stage2_discriminator": discriminators.discriminator(image_size=256, heads=("matched", "real")).count_params(),
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


def test_a_palette_needs_a_map_as_large_as_the_picture():
    with pytest.raises(InputError, match=r"generator.palette needs .* Stage I of generator.architecture tensorflow"):
        generators.stage1_generator(noise_dim=5, palette=True, architecture="tensorflow", **SMALL)


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
@pytest.mark.parametrize(("sketch", "image_size"), [(64, 256), (64, 128), (128, 256), (16, 64)])
def test_any_power_of_two_for_stage2(sketch, image_size, architecture):
    style = {"architecture": architecture}
    stage1 = {**SMALL, "image_size": sketch, "filters": 8, "noise_dim": 5, **style}
    generator = generators.stage2_generator(
        stage1=stage1, image_size=image_size, **{**SMALL, "filters": 4}, residual_blocks=1, **style
    )
    assert models.architecture_of(generator) == blocks.ARCHITECTURES[architecture]
    made = generator(inputs_of(generator))
    assert made["image"].shape == (3, image_size, image_size, 3)
    assert made["stage1_image"].shape == (3, sketch, sketch, 3)


@pytest.mark.parametrize("image_size", [4, 24, 65])
def test_other_sizes_are_refused(image_size):
    with pytest.raises(InputError, match=f"image_size is {image_size}"):
        generators.stage1_generator(image_size=image_size, **SMALL)


def test_too_narrow_for_the_size_is_refused():
    with pytest.raises(InputError, match="16 channels cannot be halved 5 times on the way to 128 pixels"):
        generators.stage1_generator(image_size=128, **SMALL)


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


@pytest.mark.parametrize("changed", ["embedding", "noise", "epsilon", "stage1_epsilon"])
def test_every_input_of_stage2_changes_its_picture(changed):
    generator = generators.stage2_generator(
        stage1={**SMALL, "noise_dim": 5}, image_size=128, residual_blocks=1, **SMALL
    )
    for path, variable in weights.named_variables(generator).items():
        if path.endswith("kernel"):
            variable.assign(25 * variable)  # first weights are so small that a sketch is grey to six digits
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


@pytest.mark.parametrize("stage", [1, 2])
def test_a_palette_paints_nothing_at_first_and_then_each_part_in_a_colour_that_the_sentence_chooses(stage):
    stage1 = {**SMALL, "noise_dim": 5}

    def build(palette):
        keras.utils.set_random_seed(3)
        if stage == 1:
            return generators.stage1_generator(image_size=16, palette=palette, **stage1)
        return generators.stage2_generator(stage1=stage1, image_size=128, residual_blocks=1, palette=palette, **SMALL)

    plain, painting = build(False), build(True)
    assert not [layer for layer in plain.layers if layer.name.startswith(("palette", "part"))]
    theirs = weights.named_variables(painting)
    for path, variable in weights.named_variables(plain).items():
        variable.assign(theirs[path])
    x, random = inputs_of(plain), np.random.default_rng(0)
    np.testing.assert_allclose(painting(x)["image"], plain(x)["image"], atol=1e-6)
    if stage == 2:  # its channels are nearly off with first weights
        painting.get_layer("up3_norm").beta.assign_add([1.0])
    dense, conv = painting.get_layer("palette_dense"), painting.get_layer("parts_conv")
    dense.kernel.assign(random.normal(scale=0.1, size=dense.kernel.shape))
    conv.kernel.assign(random.normal(scale=0.1, size=conv.kernel.shape))
    maps = painting.get_layer("image_conv").input
    inner = keras.Model(painting.input, [maps, painting.get_layer("image_conv").output])
    maps, pixels = (np.asarray(value) for value in inner(x))
    corners = painting.get_layer("palette").kernel.numpy()
    assert len(np.unique(corners, axis=0)) == len(corners) == 16 and not corners.sum(axis=0).any()

    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)

    chosen = softmax(5 * (np.asarray(x["embedding"]) @ dense.kernel.numpy()).reshape(len(maps), 16, 16))
    part = softmax(10 * maps @ conv.kernel.numpy()[0, 0])
    by_hand = np.tanh(pixels + np.einsum("bhwp,bpk,kc->bhwc", part, chosen, corners))
    assert np.abs(by_hand - np.tanh(pixels)).max() > 0.1
    np.testing.assert_allclose(painting(x)["image"], by_hand, atol=1e-5)


def test_noise_read_in_different_pictures_differs_from_the_first_step_on():
    """If what is drawn around a mean hid it, a Stage I would learn to do without noise."""
    keras.utils.set_random_seed(0)
    encoder = models.noise_encoder(filters=12, noise_dim=64)
    read = encoder(np.random.default_rng(0).normal(size=(32, 64, 64, 3)), training=True)
    apart, drawn = np.std(read["mean"], axis=0), np.exp(np.asarray(read["log_variance"]) / 2)
    assert np.median(apart / drawn.mean(axis=0)) > 2


def flow_with_random_weights(noise_dim, steps):
    flow = models.noise_flow(noise_dim, steps)
    random = np.random.default_rng(0)
    for variable in flow.trainable_variables:
        variable.assign(random.normal(scale=0.3, size=variable.shape))
    return flow


@pytest.mark.parametrize("noise_dim", [6, 7])
def test_a_noise_flow_moves_noise_and_back_with_the_volume_that_its_slopes_say(noise_dim):
    noise = np.random.default_rng(1).normal(size=(3, noise_dim)).astype(np.float32)
    fresh = np.asarray(models.noise_flow(noise_dim, 1)(noise))
    np.testing.assert_allclose(np.sort(fresh), np.sort(noise), atol=1e-6)  # shuffled, no more
    assert np.any(fresh != noise)
    flow = flow_with_random_weights(noise_dim, 3)
    back = models.flow_back(flow)
    given = tf.constant(flow(noise))
    assert np.abs(np.sort(given) - np.sort(noise)).max() > 0.1
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = back(given)
    slopes = tape.batch_jacobian(found["noise"], given).numpy()
    np.testing.assert_allclose(found["noise"], noise, atol=1e-3)
    np.testing.assert_allclose(found["log_volume"], np.linalg.slogdet(slopes)[1], atol=1e-3)


def test_a_flow_of_a_few_steps_lets_every_number_change_every_other():
    flow = flow_with_random_weights(8, 6)
    noise = tf.constant(np.random.default_rng(1).normal(size=(2, 8)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        given = flow(noise)
    assert np.all(tape.batch_jacobian(given, noise).numpy() != 0)


def test_noise_may_stay_nearer_to_the_middle_but_the_way_back_knows_no_spread():
    wide, near = flow_with_random_weights(6, 2), models.noise_flow(6, 2, spread=0.5)
    near.set_weights(wide.get_weights())
    noise = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    np.testing.assert_array_equal(near(noise), wide(0.5 * noise))
    assert np.any(near(noise) != wide(noise))
    np.testing.assert_array_equal(models.flow_back(near)(noise)["noise"], models.flow_back(wide)(noise)["noise"])
    generator = generators.stage1_generator(image_size=8, noise_dim=5, flow_steps=2, noise_spread=0.5, **SMALL)
    usual = generators.stage1_generator(image_size=8, noise_dim=5, flow_steps=2, **SMALL)
    usual.set_weights(generator.get_weights())
    x = inputs_of(generator)
    np.testing.assert_array_equal(generator(x)["image"], usual({**x, "noise": 0.5 * x["noise"]})["image"])


def test_a_spread_without_a_flow_is_refused():
    with pytest.raises(InputError, match=r"noise_spread is 0\.5 but generator\.flow_steps is 0"):
        generators.stage1_generator(image_size=8, noise_dim=5, noise_spread=0.5, **SMALL)


def test_a_painter_paints_what_a_stage1_with_a_flow_does_of_the_noise_before_it():
    generator = generators.stage1_generator(image_size=16, **SMALL, noise_dim=5, flow_steps=2)
    flow = models.find_flow(generator)
    for variable in flow.trainable_variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    x, painter = inputs_of(generator), models.painter(generator)
    made, painted = generator(x), painter({**x, "noise": flow(x["noise"])})
    assert set(painted) == set(made)
    for name in made:
        np.testing.assert_allclose(painted[name], made[name], atol=1e-6)
    assert np.any(painter(x)["image"] != made["image"])
    plain = generators.stage1_generator(image_size=16, **SMALL, noise_dim=5)
    assert models.painter(plain) is plain and models.find_flow(plain) is None


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


def test_the_finisher_is_stage2_without_its_sketcher():
    generator = generators.stage2_generator(
        stage1={**SMALL, "noise_dim": 5}, image_size=128, residual_blocks=1, **SMALL
    )
    finisher = generators.without_stage1(generator)
    x = inputs_of(generator)
    made = generator(x)
    given = {"sketch": made["stage1_image"], "embedding": x["embedding"], "epsilon": x["epsilon"]}
    assert set(finisher.input) == set(given)
    finished = finisher(given)
    assert set(finished) == {"image", "mean", "log_variance"}
    for name, value in finished.items():
        np.testing.assert_allclose(value, made[name], atol=1e-6, err_msg=name)
    assert {id(v) for v in finisher.trainable_variables} == {id(v) for v in generator.trainable_variables}


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


def test_first_weights():
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
