"""One train step: what it moves, what its losses are, and that two replicas take the step that one does."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import random_features

from stackgan_keras import config
from stackgan_keras.models import blocks, discriminators, generators, projected, weights
from stackgan_keras.models.projected import FRAMING
from stackgan_keras.training import objective, optimizers
from stackgan_keras.training.augmentation import DRAWS
from stackgan_keras.training.train_step import TrainStep

SIZES = {"text_dim": 6, "condition_dim": 4}


class Networks:
    """Tiny networks of one stage, their optimizers and a train step."""

    def __init__(self, stage=1, *, augment=True, modulate=False, sizes=SIZES, architecture="pytorch", **step):
        keras.utils.set_random_seed(0)
        rates = step.pop("learning_rates", [step.pop("learning_rate", 2e-4)] * 2)
        keywords = {**sizes, "augment_condition": augment, "conditional_batch_norm": modulate}
        keywords["architecture"] = architecture
        stage1 = {**keywords, "image_size": 16, "filters": 2, "noise_dim": 5}
        if stage == 1:
            self.generator, logits, self.size = generators.stage1_generator(**stage1), ("conditional",), 16
        else:
            self.generator = generators.stage2_generator(
                stage1=stage1, image_size=32, filters=8, residual_blocks=1, **keywords
            )
            logits, self.size = blocks.ARCHITECTURES[architecture].stage2_logits, 32
        text, batch_norm = step.pop("text", "mean"), step.pop("batch_norm", True)
        pretrained = step.pop("pretrained", None)
        logits = logits if pretrained is None else ("conditional", "unconditional")
        self.discriminator = discriminators.discriminator(
            image_size=self.size,
            filters=step.pop("filters", 2),
            logits=logits,
            text=text,
            batch_norm=batch_norm,
            pretrained=pretrained is not None,
            architecture=architecture,
            **sizes,
        )
        augmentation = step.pop("augmentation", None)  # parts of what the settings allow, too
        self.settings = config.make({"discriminator": {"text": text}, "train": step})
        train = self.settings.train.model_copy(update={"augmentation": augmentation})
        self.settings = self.settings.model_copy(update={"train": train})
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.optimizers, self.rate = {}, rates[0]
        for (name, network), rate in zip(networks.items(), rates, strict=True):
            self.optimizers[name] = optimizers.make_adam(rate, 1000)
            self.optimizers[name].build(network.trainable_variables)
        task = objective.adversarial(self.generator, {"image": self.discriminator}, self.settings, pretrained)
        self.plain_step = TrainStep(task, self.optimizers)
        self.step = tf.function(self.plain_step)

    def batch(self, count=6, seed=0, classes=None):
        random = np.random.default_rng(seed)
        batch = {name: random.normal(size=(count, *x.shape[1:])) for name, x in self.generator.input.items()}
        batch["image"] = random.uniform(-1, 1, (count, self.size, self.size, 3))
        batch["direction"] = random.normal(size=batch["image"].shape)
        batch["stage1_image"] = random.uniform(-1, 1, (count, 16, 16, 3))
        batch["augmentation"] = random.uniform(size=(count, 2 * DRAWS))
        batch["framing"] = random.uniform(size=(count, 2 * FRAMING))
        batch = {name: tf.constant(value, tf.float32) for name, value in batch.items()}
        return {**batch, "class_id": tf.constant(classes if classes is not None else np.arange(count))}

    def warm_up(self):
        task = objective.warm_up(self.generator, self.settings)
        optimizer = optimizers.make_adam(self.rate, 1000)
        optimizer.build(task.generator.trainable_variables)
        return TrainStep(task, {"generator": optimizer})

    def fake(self, batch):
        return self.generator({name: batch[name] for name in self.generator.input}, training=True)

    def variables(self):
        named = {**weights.named_variables(self.generator)}
        named.update({f"discriminator/{k}": v for k, v in weights.named_variables(self.discriminator).items()})
        return {name: variable.numpy() for name, variable in named.items()}


@pytest.mark.parametrize(
    ("text", "augment", "modulate", "architecture"),
    [
        ("mean", True, False, "pytorch"),
        ("embedding", False, True, "pytorch"),
        ("embedding", True, False, "tensorflow"),
    ],
)
@pytest.mark.parametrize("stage", [1, 2])
def test_every_trainable_weight_moves_and_nothing_else(stage, text, augment, modulate, architecture):
    networks = Networks(stage, text=text, augment=augment, modulate=modulate, architecture=architecture)
    before = networks.variables()
    for seed in range(2):
        networks.step(networks.batch(seed=seed))
    for name, value in networks.variables().items():
        assert np.any(value != before[name]) != name.startswith("stage1_generator/"), name


def test_each_optimizer_moves_only_its_own_network():
    """With a learning rate of nothing, a network stays as it is."""
    for rates in ((2e-4, 0.0), (0.0, 2e-4)):
        networks = Networks(learning_rates=rates)
        trainable = [networks.generator.trainable_variables, networks.discriminator.trainable_variables]
        before = [[v.numpy() for v in variables] for variables in trainable]
        for seed in range(2):
            networks.step(networks.batch(seed=seed))
        for rate, variables, values in zip(rates, trainable, before, strict=True):
            moved = [np.any(v.numpy() != value) for v, value in zip(variables, values, strict=True)]
            assert all(moved) if rate else not any(moved)


def test_the_sentence_gets_a_gradient_into_the_generator():
    """Through the image alone: the text that the discriminator reads is the generator's mean, without a gradient."""
    networks = Networks()
    with tf.GradientTape() as tape:
        scalars = networks.plain_step(networks.batch())
    sources = networks.generator.trainable_variables
    assert tape.gradient(scalars["mismatched"], sources) == [None] * len(sources)

    batch, networks = networks.batch(), Networks()
    with tf.GradientTape() as tape:
        tape.watch(batch["embedding"])
        fake = networks.fake(batch)
        logits = networks.discriminator({"image": fake["image"], "text": tf.stop_gradient(fake["mean"])})
    assert np.all(np.abs(tape.gradient(logits["conditional"], batch["embedding"])).max(axis=1) > 0)


def test_mismatched_pairs_are_the_next_sentence_and_never_of_one_class():
    alike, mixed = [7] * 6, [1, 1, 2, 2, 3, 3]
    assert float(Networks().step(Networks().batch(classes=alike))["mismatched"]) == 0
    loss = float(Networks().step(Networks().batch(classes=mixed))["mismatched"])

    networks = Networks()  # by hand: features of images 0..4 with sentences 1..5; pairs (1, 2) and (3, 4) count
    batch = networks.batch(classes=mixed)
    text = networks.fake(batch)["mean"]
    features = networks.discriminator.get_layer("encode_image")(batch["image"], training=True)
    conditional = networks.discriminator.get_layer("matched")
    logits = conditional({"features": features[:-1], "text": text[1:]}, training=True).numpy()
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(logits[[1, 3]]))), rel=1e-5)


@pytest.mark.parametrize("text", ["mean", "embedding"])
def test_the_loss_between_sentences_by_hand(text):
    """Its images are those of embeddings half-way to the next sentence's, by the discriminator after its step."""
    step = {"interpolation_weight": 0.5, "text": text, "learning_rates": [0.0, 2e-4]}
    networks, plain = Networks(**step), Networks(**{**step, "interpolation_weight": 0.0})
    batch = networks.batch()
    scalars = networks.step(batch)
    assert "interpolated" not in plain.step(batch)
    part = {name: batch[name][:5] for name in networks.generator.input}
    part["embedding"] = (batch["embedding"][:5] + batch["embedding"][1:]) / 2
    made = networks.generator(part, training=True)
    read = made["mean"] if text == "mean" else part["embedding"]
    logits = networks.discriminator({"image": made["image"], "text": read}, training=True)["conditional"]
    assert float(scalars["interpolated"]) == pytest.approx(float(np.sum(np.log1p(np.exp(-logits)))) / 6, rel=1e-4)


def test_the_loss_between_sentences_moves_the_generator():
    moved = []
    for weight in (0.0, 0.5):
        networks = Networks(interpolation_weight=weight)
        networks.step(networks.batch())
        moved.append(networks.generator.get_layer("up1_conv").get_weights()[0])
    assert np.any(moved[0] != moved[1])


@pytest.mark.parametrize("architecture", ["pytorch", "tensorflow"])
def test_without_batch_norm_logits_depend_on_no_other_image(architecture):
    networks = Networks(stage=2, text="embedding", batch_norm=False, architecture=architecture)
    assert not [name for name in networks.variables() if "norm" in name and name.startswith("discriminator/")]
    before, batch = networks.variables(), networks.batch()
    networks.step(batch)
    after = networks.variables()
    assert all(np.any(after[name] != before[name]) for name in before if name.startswith("discriminator/"))
    given = {"image": batch["image"], "text": batch["embedding"]}
    whole = networks.discriminator(given, training=True)
    alone = networks.discriminator({name: value[:1] for name, value in given.items()}, training=True)
    for name in whole:
        np.testing.assert_allclose(whole[name][:1], alone[name], rtol=1e-5)
        assert np.std(whole[name]) > 0.01  # initial weights keep the scale of the maps


@pytest.mark.parametrize("text", ["mean", "embedding"])
def test_which_text_the_discriminator_reads_is_a_setting(text):
    """With as many dimensions in a condition as in an embedding, shapes cannot tell the two apart."""
    square = {"text_dim": 4, "condition_dim": 4}
    loss = float(Networks(text=text, sizes=square).step(Networks(sizes=square).batch())["mismatched"])

    networks = Networks(text=text, sizes=square)
    batch = networks.batch()
    sentences = {"mean": networks.fake(batch)["mean"], "embedding": batch["embedding"]}[text]
    features = networks.discriminator.get_layer("encode_image")(batch["image"], training=True)
    pairs = {"features": features[:-1], "text": sentences[1:]}
    logits = networks.discriminator.get_layer("matched")(pairs, training=True).numpy()
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(logits))), rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        networks = Networks(stage=2)
        if policy == "mixed_float16":
            assert isinstance(networks.optimizers["generator"], keras.optimizers.LossScaleOptimizer)
        before = networks.variables()
        for seed in range(12):  # float16's loss scale halves until no gradient overflows
            scalars = networks.step(networks.batch(seed=seed))
        made = networks.fake(networks.batch())
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(float(value)) for value in scalars.values())
    assert {value.dtype for value in made.values()} == {tf.float32}
    after = networks.variables()
    assert after["join_conv/kernel"].dtype == np.float32
    assert np.any(after["join_conv/kernel"] != before["join_conv/kernel"])


def test_augmentation_changes_what_the_discriminator_sees_of_real_and_of_fake_images():
    """Draws in the middle change nothing; others change the losses of their own images alone, and the generator's."""
    batch = Networks().batch()
    middle = np.full(batch["augmentation"].shape, 0.5, np.float32)
    plain = Networks().step(batch)
    same = Networks(augmentation="color,translation").step({**batch, "augmentation": tf.constant(middle)})
    for name in plain:
        assert float(same[name]) == pytest.approx(float(plain[name]), rel=1e-4)
    for turn, theirs in enumerate(({"real", "mismatched"}, {"fake"})):
        draws = middle.copy()
        draws[:, turn * DRAWS : (turn + 1) * DRAWS] = batch["augmentation"][:, :DRAWS]
        made = Networks(augmentation="color,translation").step({**batch, "augmentation": tf.constant(draws)})
        changed = {n for n in ("real", "mismatched", "fake") if abs(float(made[n]) / float(plain[n]) - 1) > 1e-3}
        assert changed == theirs
        assert abs(float(made["generator"]) / float(plain["generator"]) - 1) > 1e-5


@pytest.fixture(scope="module")
def pretrained():
    return random_features()


@pytest.mark.parametrize(("stage", "filters"), [(1, 2), (1, 0), (2, 2)])
def test_heads_on_pretrained_features_train_both_networks_and_stay_frozen_themselves(pretrained, stage, filters):
    more = {"pretrained": pretrained, "filters": filters, "augmentation": "translation,cutout"}
    networks = Networks(stage, batch_norm=False, **more)
    before, frozen = networks.variables(), [v.numpy() for v in pretrained.variables]
    for seed in range(2):
        scalars = networks.step(networks.batch(count=3, seed=seed))
    assert {"real_unconditional", "fake_unconditional"} <= set(scalars)
    for name, value in networks.variables().items():
        assert np.any(value != before[name]) != name.startswith("stage1_generator/"), name
    assert not pretrained.trainable_variables
    for value, variable in zip(frozen, pretrained.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_losses_of_heads_are_summed_by_hand(pretrained):
    """Of the heads alone, as real images see them: 64 pixels and fewer are enlarged, so framing changes nothing."""
    networks = Networks(pretrained=pretrained, filters=0, text="embedding")
    batch = networks.batch(count=3)
    maps = pretrained(projected.frame(batch["image"], None), training=False)
    features = {n: networks.discriminator.get_layer(f"encode_{n}")(x, training=True) for n, x in maps.items()}
    expected = {}
    for logits, head in (("real", "matched"), ("real_unconditional", "real")):
        losses = []
        for name, values in features.items():
            given = {"features": values, "text": batch["embedding"]} if head == "matched" else values
            losses.append(np.log1p(np.exp(-networks.discriminator.get_layer(f"{head}_{name}")(given))))
        expected[logits] = np.mean(np.sum(losses, axis=0))
    scalars = Networks(pretrained=pretrained, filters=0, text="embedding").step(batch)
    for logits, loss in expected.items():
        assert float(scalars[logits]) == pytest.approx(loss, rel=1e-4)


def test_generator_learns_through_the_augmentation():
    networks = Networks(augmentation="color,translation,cutout")
    before = networks.variables()
    networks.step(networks.batch())
    moved = [np.any(value != before[name]) for name, value in networks.variables().items()]
    assert all(moved)


@pytest.mark.parametrize("stage", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_r1_is_half_the_squared_gradient_at_real_images_and_makes_it_smaller(stage):
    networks = Networks(stage, r1_weight=1e-9, learning_rate=1e-9)
    batch = networks.batch()
    text = networks.fake(batch)["mean"]
    by_hand = []
    for name in networks.discriminator.output:
        with tf.GradientTape() as tape:
            tape.watch(batch["image"])
            features = networks.discriminator.get_layer("encode_image")(batch["image"], training=True)
            given = features if name == "unconditional" else {"features": features, "text": text}
            logits = networks.discriminator.get_layer(discriminators.LOGITS[name])(given, training=True)
        by_hand.append(0.5 * np.square(tape.jacobian(logits, batch["image"])).sum() / len(logits))
    directions = [networks.batch(seed=seed)["direction"] for seed in range(120)]
    found = [float(networks.step({**batch, "direction": direction})["r1"]) for direction in directions]
    assert np.mean(found) == pytest.approx(np.mean(by_hand), rel=0.3)

    penalized, free = (Networks(stage, r1_weight=weight, learning_rate=2e-3) for weight in (10.0, 1e-9))
    for seed in range(30):
        ends = [float(each.step(each.batch(seed=seed))["r1"]) for each in (penalized, free)]
    assert ends[0] < 0.5 * ends[1]


def coarse(networks):
    """A batch of coarse images with themselves made small, and their pixel loss before any step."""
    blocks_ = np.random.default_rng(1).uniform(-1, 1, (6, 4, 4, 3))
    images, small = (blocks_.repeat(n, axis=1).repeat(n, axis=2) for n in (8, 4))
    batch = networks.batch()
    batch |= {"image": tf.constant(images, tf.float32), "stage1_image": tf.constant(small, tf.float32)}
    refine = generators.without_stage1(networks.generator)
    made = refine({name: batch[name] for name in refine.input}, training=True)
    return batch, np.square(made["image"] - images).mean()


def test_the_pixel_loss_beside_the_discriminator():
    networks = Networks(stage=2, pixel_weight=1e3, learning_rate=5e-3)
    batch, by_hand = coarse(networks)
    losses = [float(networks.step(batch)["pixel"]) for _ in range(40)]
    assert losses[0] == pytest.approx(by_hand, rel=1e-4)
    assert losses[-1] < 0.8 * losses[0]


def test_the_consistency_of_stage2_with_its_stage1_images():
    """By hand, and it holds both together against the discriminator's will."""
    held, free = (Networks(stage=2, consistency_weight=weight, learning_rate=2e-3) for weight in (1e3, 1e-9))
    batch = held.batch()
    made = held.fake(batch)
    small = made["image"].numpy().reshape(6, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    by_hand = np.abs(small - made["stage1_image"]).mean()
    losses = [[float(each.step(batch)["consistency"]) for _ in range(30)] for each in (held, free)]
    assert losses[0][0] == pytest.approx(by_hand, rel=1e-4)
    assert losses[0][-1] < 0.7 * losses[1][-1]


def test_the_hinge_loss_by_hand():
    networks = Networks(adversarial_loss="hinge", learning_rate=1e-9)
    batch = networks.batch()
    fake = networks.fake(batch)
    pairs = {"real": batch["image"], "fake": fake["image"]}
    logits = {
        name: networks.discriminator({"image": image, "text": fake["mean"]}, training=True)["conditional"].numpy()
        for name, image in pairs.items()
    }
    scalars = networks.step(batch)
    assert float(scalars["real"]) == pytest.approx(np.maximum(1 - logits["real"], 0).mean(), rel=1e-4)
    assert float(scalars["fake"]) == pytest.approx(np.maximum(1 + logits["fake"], 0).mean(), rel=1e-4)
    assert float(scalars["generator"]) == pytest.approx(-logits["fake"].mean(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("augment", [True, False])
def test_a_warm_up_trains_stage2_alone_and_its_stage1_stays(augment):
    networks = Networks(stage=2, learning_rate=5e-3, augment=augment, modulate=True)
    batch, by_hand = coarse(networks)
    before = networks.variables()
    step = tf.function(networks.warm_up())
    scalars = [{name: float(value) for name, value in step(batch).items()} for _ in range(40)]
    assert scalars[0]["pixel"] == pytest.approx(by_hand, rel=1e-4)
    assert scalars[-1]["pixel"] < 0.8 * scalars[0]["pixel"]
    assert (scalars[0]["kl"] > 0) == augment
    moved = {name for name, value in networks.variables().items() if (value != before[name]).any()}
    assert not [name for name in moved if name.startswith(("discriminator/", "stage1_generator/"))]
    modulating = {name for name in before if "modulate_dense/kernel" in name and "stage1_generator" not in name}
    assert modulating and modulating <= moved


def test_losses_without_weight_are_not_computed():
    scalars = Networks(stage=2).step(Networks(stage=2).batch())
    assert not {"r1", "pixel"} & set(scalars)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, {tests!r})
import keras
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
from stackgan_keras.models import blocks
from helpers import random_features
from test_train_step import Networks

def train(strategy, stage, warm_up):
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        more = {{"pixel_weight": 1.0}} if stage == 2 else {{}}
        if {features}:
            more = {{"pretrained": random_features(), "batch_norm": False, "augmentation": "translation,cutout"}}
        networks = Networks(stage, r1_weight=0.5, **more)
        step = networks.warm_up() if warm_up else networks.plain_step
        if replicas > 1:
            for network in (networks.generator, networks.discriminator):
                blocks.synchronize(network)
    run = tf.function(lambda data: strategy.run(step, args=(data,)))
    for seed in range(3):
        batch = networks.batch(classes=[1, 1, 2, 3, 3, 4], seed=seed)
        batch = {{k: tf.cast(v, tf.float64) if v.dtype == tf.float32 else v for k, v in batch.items()}}
        size = len(batch["image"]) // replicas

        def mine(context):
            i = context.replica_id_in_sync_group
            return {{name: value[i * size : (i + 1) * size] for name, value in batch.items()}}

        scalars = run(strategy.experimental_distribute_values_from_function(mine))
        sums = {{k: float(strategy.reduce("SUM", v, axis=None)) for k, v in scalars.items()}}
    return sums, networks.variables()

alone, together = (tf.distribute.MirroredStrategy(devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"]))
(one, ones), (two, twos) = (train(strategy, {stage}, {warm_up}) for strategy in (alone, together))
for name in one:
    np.testing.assert_allclose(one[name], two[name], rtol={rtol}, err_msg=name)
for name in ones:
    np.testing.assert_allclose(ones[name], twos[name], atol=2e-6, err_msg=name)
print("two replicas equal one")
"""


@pytest.mark.parametrize(
    ("stage", "warm_up", "features"),
    [
        (1, False, False),
        pytest.param(1, False, True, marks=pytest.mark.slow),
        pytest.param(2, False, False, marks=pytest.mark.slow),
        pytest.param(2, True, False, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_equal_one(request, stage, warm_up, features):
    """In float64, so that only a wrong mean could tell them apart; frozen features are in float32."""
    given = {"stage": stage, "warm_up": warm_up, "features": features, "rtol": 1e-4 if features else 1e-6}
    script = TWO_REPLICAS.format(tests=str(request.path.parent), **given)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "two replicas equal one" in done.stdout, done.stderr[-3000:]
