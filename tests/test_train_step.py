"""Does one update do to both networks what it should, on one replica and on two?"""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.models import blocks, discriminators, generators, image_encoder, weights
from stackgan_keras.training import losses, optimizers, train_step

SIZES = {"text_dim": 6, "condition_dim": 4}


class Networks:
    """Tiny networks of one stage, their optimizers and an update."""

    def __init__(
        self,
        stage=1,
        text="mean",
        augment=True,
        modulate=False,
        learning_rate=2e-4,
        seed=0,
        sizes=SIZES,
        flow=0,
        architecture="pytorch",
        **extra,
    ):
        keras.utils.set_random_seed(seed)
        sizes = {
            **sizes,
            "augment_condition": augment,
            "conditional_batch_norm": modulate,
            "architecture": architecture,
        }
        stage1 = {**sizes, "image_size": 16, "filters": 2, "noise_dim": 5, "flow_steps": flow}
        if stage == 1:
            self.generator, heads, size = generators.stage1_generator(**stage1), ("matched",), 16
        else:
            self.generator = generators.stage2_generator(
                stage1=stage1, image_size=32, filters=8, residual_blocks=1, **sizes
            )
            heads, size = blocks.ARCHITECTURES[architecture].heads, 32
        sizes = {name: sizes[name] for name in ("text_dim", "condition_dim", "architecture")}
        self.discriminator = discriminators.discriminator(image_size=size, filters=2, heads=heads, text=text, **sizes)
        self.optimizers = [optimizers.make_adam(learning_rate, 1000) for _ in range(2)]
        along = extra["noise_encoder"].trainable_variables if "noise_encoder" in extra else []
        self.optimizers[0].build(self.generator.trainable_variables + along)
        self.optimizers[1].build(self.discriminator.trainable_variables)
        self.plain_update = train_step.make_update(
            self.generator, self.discriminator, *self.optimizers, text=text, kl_weight=2.0, **extra
        )
        self.update = tf.function(self.plain_update)
        self.size = size

    def batch(self, count=6, seed=0, classes=None):
        random = np.random.default_rng(seed)
        batch = {name: random.normal(size=(count, *x.shape[1:])) for name, x in self.generator.input.items()}
        batch["image"] = random.uniform(-1, 1, (count, self.size, self.size, 3))
        batch["sketch"] = random.uniform(-1, 1, (count, 16, 16, 3))
        batch = {name: tf.constant(value, tf.float32) for name, value in batch.items()}
        return {**batch, "class_id": tf.constant(classes if classes is not None else np.arange(count))}

    @staticmethod
    def nudged(batch, seed):
        direction = np.random.default_rng(seed).normal(size=batch["image"].shape)
        return batch | {"direction": tf.constant(direction, tf.float32)}

    def variables(self):
        named = {**weights.named_variables(self.generator)}
        named.update({f"discriminator/{k}": v for k, v in weights.named_variables(self.discriminator).items()})
        return {name: variable.numpy() for name, variable in named.items()}


@pytest.mark.parametrize(
    ("text", "augment", "modulate", "architecture"),
    [
        ("mean", True, False, "pytorch"),
        ("mean", False, False, "pytorch"),
        ("embedding", True, True, "pytorch"),
        ("embedding", False, True, "pytorch"),
        ("embedding", True, False, "tensorflow"),
        ("mean", False, True, "tensorflow"),
    ],
)
@pytest.mark.parametrize("stage", [1, 2])
def test_every_trainable_weight_moves_and_nothing_else(stage, text, augment, modulate, architecture):
    networks = Networks(stage, text, augment, modulate, architecture=architecture)
    frozen = {f"stage1_generator/{n}" for n in _names_of_stage1(networks)}
    before = networks.variables()
    for seed in range(2):
        networks.update(networks.batch(seed=seed))
    for name, value in networks.variables().items():
        moved = np.any(value != before[name])
        assert moved != (name in frozen), name


def _names_of_stage1(networks):
    layers = {layer.name for layer in networks.generator.layers}
    if "stage1_generator" not in layers:
        return []
    return weights.named_variables(networks.generator.get_layer("stage1_generator"))


def test_discriminators_step_leaves_no_gradient_in_the_generators_text():
    """The sentence handed to the discriminator is the generator's mean, with no gradient through it."""
    networks = Networks()
    with tf.GradientTape() as tape:
        scalars = networks.plain_update(networks.batch())
    assert tape.gradient(scalars["mismatched"], networks.generator.trainable_variables) == [None] * len(
        networks.generator.trainable_variables
    )


def test_mismatched_pairs_are_the_next_sentence_and_never_of_one_class():
    alike, mixed = [7] * 6, [1, 1, 2, 2, 3, 3]
    assert float(Networks().update(Networks().batch(classes=alike))["mismatched"]) == 0
    loss = float(Networks().update(Networks().batch(classes=mixed))["mismatched"])

    networks = (
        Networks()
    )  # by hand: features of pictures 0..4 with the sentences of 1..5, pairs (1, 2) and (3, 4) count
    batch = networks.batch(classes=mixed)
    text = networks.generator({n: batch[n] for n in networks.generator.input}, training=True)["mean"]
    features = networks.discriminator.get_layer("encode_image")(batch["image"], training=True)
    matched = networks.discriminator.get_layer("matched")
    logits = matched({"features": features[:-1], "text": text[1:]}, training=True).numpy()
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(logits[[1, 3]]))), rel=1e-5)


@pytest.mark.parametrize("text", ["mean", "embedding"])
def test_which_text_is_read_is_told_not_guessed_from_sizes(text):
    """With as many numbers in a condition as in an embedding, shapes cannot tell the two apart."""
    square = {"text_dim": 4, "condition_dim": 4}
    loss = float(Networks(text=text, sizes=square).update(Networks(sizes=square).batch())["mismatched"])

    networks = Networks(text=text, sizes=square)
    batch = networks.batch()
    mean = networks.generator({n: batch[n] for n in networks.generator.input}, training=True)["mean"]
    features = networks.discriminator.get_layer("encode_image")(batch["image"], training=True)
    sentences = {"mean": mean, "embedding": batch["embedding"]}[text]
    pairs = {"features": features[:-1], "text": sentences[1:]}
    logits = networks.discriminator.get_layer("matched")(pairs, training=True).numpy()
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(logits))), rel=1e-5)


def test_generator_learns_to_fool_and_discriminator_to_tell():
    networks = Networks(learning_rate=1e-3)
    batch = networks.batch(count=8)
    first = networks.update(batch)
    for _ in range(30):
        last = networks.update(batch)
    assert float(last["discriminator"]) < float(first["discriminator"])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        networks = Networks(stage=2)
        if policy == "mixed_float16":
            assert isinstance(networks.optimizers[0], keras.optimizers.LossScaleOptimizer)
        before = networks.variables()
        for seed in range(12):  # float16's loss scale halves until no gradient overflows
            scalars = networks.update(networks.batch(seed=seed))
        made = networks.generator({n: networks.batch()[n] for n in networks.generator.input})
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(float(value)) for value in scalars.values())
    assert {value.dtype for value in made.values()} == {tf.float32}
    after = networks.variables()
    assert after["join_conv/kernel"].dtype == np.float32
    assert np.any(after["join_conv/kernel"] != before["join_conv/kernel"])


@pytest.mark.parametrize("alone", [False, True])
def test_pictures_are_to_be_read_like_the_real_ones_of_their_sentences(alone):
    """The loss by hand, 1 for pictures that are all read as the mean of real ones, and its gradient lowers it."""
    keras.utils.set_random_seed(9)
    encoder = image_encoder.image_encoder(text_dim=6, image_size=16, filters=2)
    for seed in range(30):  # as awake as a trained one
        encoder(Networks().batch(seed=seed)["image"], training=True)
    likeness = {"likeness_weight": 1e3, "image_encoder": encoder}
    networks = Networks(2 if alone else 1, learning_rate=5e-3, **({} if alone else likeness))
    batch, update, drawn = networks.batch(), networks.update, networks.generator
    if alone:
        batch, _ = finishing(networks)
        update = tf.function(train_step.make_alone_update(drawn, networks.optimizers[0], **likeness))
        drawn = generators.without_stage1(drawn)
    made = drawn({name: batch[name] for name in drawn.input}, training=True)["image"]
    of_made, of_real = (
        encoder(losses.shrink(pictures, 16), training=False).numpy() for pictures in (made, batch["image"])
    )
    apart = np.square(of_real - of_real.mean(axis=0)).sum(axis=1).mean()
    by_hand = np.square(of_made - of_real).sum(axis=1).mean() / apart
    before = [variable.numpy() for variable in encoder.variables]
    lost = [float(update(batch)["likeness"]) for _ in range(40)]
    assert lost[0] == pytest.approx(by_hand, rel=1e-4)
    assert lost[-1] < 0.85 * lost[0]
    for variable, value in zip(encoder.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_real_pictures_that_are_all_read_alike_are_no_measure():
    encoder = image_encoder.image_encoder(text_dim=6, image_size=16, filters=2)
    networks = Networks(likeness_weight=1.0, picture_encoder=encoder)
    batch = networks.batch()
    batch["image"] = tf.repeat(batch["image"][:1], 6, axis=0)
    scalars = networks.update(batch)
    assert float(scalars["likeness"]) == 0
    assert all(np.isfinite(value).all() for value in networks.variables().values())


@pytest.mark.parametrize("stage", [1, 2])
def test_a_penalty_makes_the_discriminator_less_steep_at_real_pictures(stage):
    """On average over directions it is half the squared gradient, and it is less when it is paid for."""
    networks = Networks(stage, r1_weight=1e-9, learning_rate=1e-9)
    batch = networks.batch()
    text = networks.generator({n: batch[n] for n in networks.generator.input}, training=True)["mean"]
    encode, heads = networks.discriminator.get_layer("encode_image"), list(networks.discriminator.output)
    by_hand = []
    for head in heads:
        with tf.GradientTape() as tape:
            tape.watch(batch["image"])
            features = encode(batch["image"], training=True)
            given = features if head == "real" else {"features": features, "text": text}
            logits = networks.discriminator.get_layer(head)(given, training=True)
        by_hand.append(0.5 * np.square(tape.jacobian(logits, batch["image"])).sum() / len(logits))
    found = [float(networks.update(networks.nudged(batch, seed))["penalty"]) for seed in range(300)]
    assert np.mean(found) == pytest.approx(np.mean(by_hand), rel=0.15)

    paying, free = (Networks(stage, r1_weight=weight, learning_rate=2e-3) for weight in (10.0, 1e-9))
    for seed in range(30):
        batch = paying.nudged(paying.batch(seed=seed), seed)
        ends = [float(networks.update(batch)["penalty"]) for networks in (paying, free)]
    assert ends[0] < 0.5 * ends[1]


def finishing(networks):
    """A batch of coarse pictures with their sketches, and how far they are finished from what they were."""
    blocks = np.random.default_rng(1).uniform(-1, 1, (6, 4, 4, 3))
    images, sketches = (blocks.repeat(n, axis=1).repeat(n, axis=2) for n in (8, 4))
    batch = networks.batch() | {"image": tf.constant(images, tf.float32), "sketch": tf.constant(sketches, tf.float32)}
    finisher = generators.without_stage1(networks.generator)
    made = finisher({name: batch[name] for name in finisher.input}, training=True)
    return batch, np.square(made["image"] - images).mean()


def test_real_pictures_are_to_be_finished_as_they_were():
    networks = Networks(stage=2, pixel_weight=1e3, learning_rate=5e-3)
    batch, by_hand = finishing(networks)
    lost = [float(networks.update(batch)["anew"]) for _ in range(40)]
    assert lost[0] == pytest.approx(by_hand, rel=1e-4)
    assert lost[-1] < 0.8 * lost[0]


@pytest.mark.parametrize("augment", [True, False])
def test_a_generator_alone_learns_to_finish_and_its_sketcher_stays(augment):
    networks = Networks(stage=2, learning_rate=5e-3, augment=augment, modulate=True)
    batch, by_hand = finishing(networks)
    before = networks.variables()
    update = tf.function(train_step.make_alone_update(networks.generator, networks.optimizers[0]))
    scalars = [{name: float(value) for name, value in update(batch).items()} for _ in range(40)]
    assert scalars[0]["anew"] == pytest.approx(by_hand, rel=1e-4)
    assert scalars[-1]["anew"] < 0.8 * scalars[0]["anew"]
    assert (scalars[0]["kl"] > 0) == augment
    trained = {name for name, value in networks.variables().items() if (value != before[name]).any()}
    assert not [name for name in trained if "discriminator" in name or "stage1_generator" in name]
    assert {
        name for name in before if "modulate" in name and name.endswith("kernel") and "stage1" not in name
    } <= trained


@pytest.mark.parametrize(("alone", "flow"), [(True, 0), (True, 2), (False, 0), (False, 2)])
def test_a_stage1_learns_to_recall_pictures_from_the_noise_read_in_them(alone, flow):
    encoder = models.noise_encoder(image_size=16, filters=2, noise_dim=5)
    in_play = {} if alone else {"pixel_weight": 1e3, "noise_encoder": encoder}
    networks = Networks(learning_rate=5e-3, modulate=True, flow=flow, **in_play)
    batch = networks.batch()
    read = encoder(batch["sketch"], training=True)
    noise = read["mean"] + np.exp(read["log_variance"] / 2) * batch["noise"]
    given, variance = {**batch, "noise": noise}, np.exp(read["log_variance"])
    kl = 0.5 * np.mean(np.square(read["mean"]) + variance - 1 - np.log(variance))
    if flow:
        steps = models.find_flow(networks.generator)
        for variable in steps.trainable_variables:
            variable.assign(np.random.default_rng(0).normal(scale=0.1, size=variable.shape))
        before_flow = models.flow_back(steps)(noise)
        given["noise"] = before_flow["noise"]  # the generator's own noise
        kl = 0.5 * np.mean(np.square(given["noise"]) - 1 - np.log(variance)) - np.mean(before_flow["log_volume"]) / 5
    made = networks.generator({name: given[name] for name in networks.generator.input}, training=True)["image"]
    by_hand = {"anew": np.square(made - batch["image"]).mean(), "noise_kl": kl}
    before = {v.path: v.numpy() for v in [*networks.generator.trainable_variables, *encoder.trainable_variables]}
    update = networks.update
    if alone:
        optimizer = optimizers.make_adam(5e-3, 1000)
        optimizer.build([*networks.generator.trainable_variables, *encoder.trainable_variables])
        update = tf.function(train_step.make_alone_update(networks.generator, optimizer, noise_encoder=encoder))
    scalars = [{name: float(value) for name, value in update(batch).items()} for _ in range(60)]
    for name, value in by_hand.items():
        assert scalars[0][name] == pytest.approx(value, rel=1e-3), name
    assert scalars[-1]["anew"] < 0.8 * scalars[0]["anew"]
    for variable in [*networks.generator.trainable_variables, *encoder.trainable_variables]:
        assert np.any(variable.numpy() != before[variable.path]), variable.path


def test_a_flow_learns_by_itself_where_noise_is_read_in_pictures():
    encoder = models.noise_encoder(image_size=16, filters=2, noise_dim=5)
    networks = Networks(flow=2)
    batch, flow = networks.batch(), models.find_flow(networks.generator)
    read = encoder(batch["sketch"], training=False)
    came_from = models.flow_back(flow)(read["mean"] + np.exp(read["log_variance"] / 2) * batch["noise"])
    by_hand = 0.5 * np.mean(np.square(came_from["noise"]) - 1 - read["log_variance"])  # first weights only shuffle
    others = [*networks.generator.variables, *encoder.variables]
    others = [variable for variable in others if not any(variable is its for its in flow.variables)]
    stayed, moved = ([v.numpy() for v in variables] for variables in (others, flow.variables))
    optimizer = optimizers.make_adam(5e-3, 1000)
    optimizer.build(flow.trainable_variables)
    update = tf.function(train_step.make_flow_update(networks.generator, optimizer, noise_encoder=encoder))
    scalars = [{name: float(value) for name, value in update(batch).items()} for _ in range(60)]
    assert scalars[0] == pytest.approx({"noise_kl": by_hand}, rel=1e-4)
    assert scalars[-1]["noise_kl"] < by_hand - 0.3
    for variable, value in zip(others, stayed, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    for variable, value in zip(flow.variables, moved, strict=True):
        assert np.any(variable.numpy() != value), variable.path


@pytest.mark.parametrize("alone", [True, False])
def test_what_noise_tells_of_pictures_can_be_made_dear(alone):
    told = {}
    for weight in (0.0, 10.0):
        keras.utils.set_random_seed(0)
        encoder = models.noise_encoder(image_size=16, filters=2, noise_dim=5)
        asked = {"noise_encoder": encoder, "noise_kl_weight": weight}
        networks = Networks(learning_rate=5e-3, pixel_weight=1.0, **asked)
        batch, update = networks.batch(), networks.update
        if alone:
            optimizer = optimizers.make_adam(5e-3, 1000)
            optimizer.build([*networks.generator.trainable_variables, *encoder.trainable_variables])
            update = tf.function(train_step.make_alone_update(networks.generator, optimizer, **asked))
        told[weight] = [float(update(batch)["noise_kl"]) for _ in range(30)]
    assert told[0.0][0] == pytest.approx(told[10.0][0], rel=1e-5)
    assert told[10.0][-1] < 0.5 * told[0.0][-1]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("stage", [1, 2])
def test_steps_between_pixels_are_paid_for(stage, alone):
    paid = {}
    for weight in (1e-9, 50.0):
        keras.utils.set_random_seed(0)
        beside = {"noise_encoder": models.noise_encoder(image_size=16, filters=2, noise_dim=5)} if stage == 1 else {}
        networks = Networks(stage, learning_rate=5e-3, pixel_weight=10.0, edges_weight=weight, **beside)
        batch, update = networks.batch(), networks.update
        if alone:
            learning = [networks.generator, *beside.values()]
            optimizer = optimizers.make_adam(5e-3, 1000)
            optimizer.build([variable for network in learning for variable in network.trainable_variables])
            asked = {"edges_weight": weight, **beside}
            update = tf.function(train_step.make_alone_update(networks.generator, optimizer, **asked))
        scalars = [update(batch) for _ in range(30)]
        paid[weight] = [float(values["edges"]) for values in scalars]
        assert paid[weight][0] > float(scalars[0]["anew"])  # of pictures without any smooth place
    assert paid[1e-9][0] == pytest.approx(paid[50.0][0], rel=1e-5)
    assert paid[50.0][-1] < 0.95 * paid[1e-9][-1]


def test_what_is_not_asked_for_is_not_in_the_scalars():
    scalars = Networks(stage=2).update(Networks(stage=2).batch())
    assert not {"likeness", "penalty", "anew", "edges", "noise_kl"} & set(scalars)


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
from test_adversarial import Networks

def train(strategy, stage, learning):
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        keras.utils.set_random_seed(9)
        encoder = image_encoder.image_encoder(text_dim=6, image_size=16, filters=2)
        extra = {{"noise_encoder": models.noise_encoder(image_size=16, filters=2, noise_dim=5)}} if stage == 1 else {{}}
        likeness = {{"likeness_weight": 2.0, "image_encoder": encoder}}
        flow = 2 if learning == "flow" else 0
        networks = Networks(stage, flow=flow, r1_weight=0.5, pixel_weight=1.0, **likeness, **extra)
        update, optimizer = networks.plain_update, optimizers.make_adam(2e-4, 1000)
        if learning == "flow":
            optimizer.build(models.find_flow(networks.generator).trainable_variables)
            update = train_step.make_flow_update(networks.generator, optimizer, **extra)
        elif learning == "alone":
            networks = [networks.generator, *extra.values()]
            optimizer.build([v for network in networks for v in network.trainable_variables])
            update = train_step.make_alone_update(networks.generator, optimizer, **likeness, **extra)
        if replicas > 1:
            for network in (networks.generator, networks.discriminator, *extra.values()):
                blocks.synchronize(network)
    step = tf.function(lambda data: strategy.run(update, args=(data,)))
    for seed in range(3):
        batch = networks.batch(classes=[1, 1, 2, 3, 3, 4], seed=seed)
        batch = networks.nudged(batch, seed)
        batch = {{k: tf.cast(v, tf.float64) if v.dtype == tf.float32 else v for k, v in batch.items()}}
        share = len(batch["image"]) // replicas

        def mine(context):
            i = context.replica_id_in_sync_group
            return {{name: value[i * share : (i + 1) * share] for name, value in batch.items()}}

        scalars = step(strategy.experimental_distribute_values_from_function(mine))
        sums = {{k: float(strategy.reduce("SUM", v, axis=None)) for k, v in scalars.items()}}
    return sums, networks.variables()

alone, together = (tf.distribute.MirroredStrategy(devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"]))
for stage, learning in ((1, "play"), (2, "play"), (1, "alone"), (2, "alone"), (1, "flow")):
    (one, ones), (two, twos) = (train(strategy, stage, learning) for strategy in (alone, together))
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6, err_msg=name)
    for name in ones:
        np.testing.assert_allclose(ones[name], twos[name], atol=2e-6, err_msg=name)
print("two replicas equal one")
"""


def test_two_replicas_equal_one(request):
    """In float64, so that only a wrong average could tell them apart."""
    script = TWO_REPLICAS.format(tests=str(request.path.parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "two replicas equal one" in done.stdout, done.stderr[-3000:]
