"""A training step in Keras: that of stackgan_keras, and one as it would be written plainly.

Both train the same networks; those of the shipped configs only stackgan_keras has. The plain one has UpSampling2D and
Conv2D where the package has `UpsampleConv2D`, Keras's own batch norm, and a training step written without regard to
several devices.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from release import (
    CONDITION_DIM,
    KL_WEIGHT,
    LEARNING_RATE,
    NARROW_KL_WEIGHT,
    NARROW_PIXEL_WEIGHT,
    NOISE_DIM,
    Sizes,
    random_batch,
)

from stackgan_keras import config
from stackgan_keras.config import Settings
from stackgan_keras.models import blocks, discriminators, generators
from stackgan_keras.models.discriminators import LOGITS
from stackgan_keras.training import objective
from stackgan_keras.training.optimizers import make_adam
from stackgan_keras.training.train_step import TrainStep


def set_up(threads: int) -> None:
    """Limits the threads; to be called before anything else."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # several workers share it


def device() -> str:
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


def peak_gpu_memory() -> int:
    """Bytes, 0 without a GPU."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] if device() == "GPU" else 0


def make_package(sizes: Sizes, precision: str, jit: bool) -> tuple[dict[str, int], Callable]:
    """The numbers of parameters, and `step(batch)`: stackgan_keras as its training commands use it."""
    generator, discriminator = _networks(sizes, precision)
    optimizers = {"generator": _optimizer(generator), "discriminator": _optimizer(discriminator)}
    step = TrainStep(objective.adversarial(generator, {"image": discriminator}, _settings(sizes)), optimizers)
    return _count(generator, discriminator), tf.function(step, jit_compile=jit)


def make_plain(sizes: Sizes, precision: str, jit: bool) -> tuple[dict[str, int], Callable]:
    """The numbers of parameters, and `step(batch)`: plain layers and a plain loop body."""
    generator, discriminator = (
        keras.models.clone_model(network, clone_function=_plain_layer, recursive=True)
        for network in _networks(sizes, precision)
    )
    if sizes.stage1_size:
        generator.get_layer("stage1_generator").trainable = False
    return _count(generator, discriminator), tf.function(_plain_step(generator, discriminator), jit_compile=jit)


def make_batch(sizes: Sizes) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in random_batch(sizes).items()}


def _networks(sizes: Sizes, precision: str) -> tuple[keras.Model, keras.Model]:
    keras.config.set_dtype_policy(precision)
    text = {"text_dim": sizes.text_dim, "condition_dim": CONDITION_DIM}
    own = {"image_size": sizes.image_size, "filters": sizes.generator_filters, **text}
    own["conditional_batch_norm"] = sizes.as_shipped
    logits = ("conditional",)
    if sizes.stage1_size:
        stage1 = {**own, "image_size": sizes.stage1_size, "noise_dim": NOISE_DIM}
        stage1["filters"] = sizes.stage1_filters or sizes.generator_filters
        generator = generators.stage2_generator(stage1=stage1, residual_blocks=sizes.residual_blocks, **own)
        logits = ("conditional", "unconditional")
    else:
        generator = generators.stage1_generator(noise_dim=NOISE_DIM, **own)
    reads = {"text": "embedding", "batch_norm": False} if sizes.as_shipped else {}
    return generator, discriminators.discriminator(
        image_size=sizes.image_size, filters=sizes.discriminator_filters, logits=logits, **text, **reads
    )


def _settings(sizes: Sizes) -> Settings:
    """What the networks are trained for: as released, or the shipped configs' losses without R1 and augmentation."""
    if not sizes.as_shipped:
        return config.make({"train": {"kl_weight": KL_WEIGHT}})
    pixel_weight = NARROW_PIXEL_WEIGHT if sizes.stage1_size else 0.0
    train = {"kl_weight": NARROW_KL_WEIGHT, "pixel_weight": pixel_weight}
    return config.make({"discriminator": {"text": "embedding"}, "train": train})


def _optimizer(network: keras.Model) -> keras.optimizers.Optimizer:
    optimizer = make_adam(LEARNING_RATE, decay_every=10**6)  # further than any benchmark goes
    optimizer.build(network.trainable_variables)
    return optimizer


def _count(generator: keras.Model, discriminator: keras.Model) -> dict[str, int]:
    """Numbers in the networks: all, with the batch norms' averages, and those that are trained."""
    return {
        "generator": generator.count_params(),
        "discriminator": discriminator.count_params(),
        "trained": sum(math.prod(v.shape) for v in generator.trainable_variables + discriminator.trainable_variables),
    }


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The same layer anew, or Keras's own layers that do what one of the package's does."""
    if isinstance(layer, blocks.BatchNormalization):
        return keras.layers.BatchNormalization.from_config(layer.get_config())
    if isinstance(layer, keras.layers.Conv2D):
        return keras.layers.Conv2D.from_config(layer.get_config())
    if not isinstance(layer, blocks.UpsampleConv2D):
        return layer.__class__.from_config(layer.get_config())
    convolution = keras.layers.Conv2D(
        layer.filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
    )
    return keras.Sequential([keras.layers.UpSampling2D(), convolution], name=layer.name)


def _plain_step(generator: keras.Model, discriminator: keras.Model) -> Callable:
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    encode_image, conditional = discriminator.get_layer("encode_image"), discriminator.get_layer(LOGITS["conditional"])
    unconditional = None
    if "unconditional" in discriminator.output:
        unconditional = discriminator.get_layer(LOGITS["unconditional"])
    generator_optimizer, discriminator_optimizer = _optimizer(generator), _optimizer(discriminator)

    def loss_of(logits, target):
        return cross_entropy(tf.fill(tf.shape(logits), target), logits)

    def losses_of(features, text, target):
        losses = [loss_of(conditional({"features": features, "text": text}, training=True), target)]
        return losses + ([loss_of(unconditional(features, training=True), target)] if unconditional else [])

    def step(batch):
        with tf.GradientTape() as generator_tape:
            made = generator({name: batch[name] for name in generator.input}, training=True)
        text = tf.stop_gradient(made["mean"])

        with tf.GradientTape() as tape:
            real, fake = encode_image(batch["image"], training=True), encode_image(made["image"], training=True)
            on_real, on_fake = losses_of(real, text, 1.0), losses_of(fake, text, 0.0)
            on_mismatched = loss_of(conditional({"features": real[:-1], "text": text[1:]}, training=True), 0.0)
            of_discriminator = sum(on_real) / len(on_real) + (on_mismatched + sum(on_fake)) / (1 + len(on_fake))
            loss = discriminator_optimizer.scale_loss(of_discriminator)
        variables = discriminator.trainable_variables
        discriminator_optimizer.apply(tape.gradient(loss, variables), variables)

        with generator_tape:
            of_generator = sum(losses_of(encode_image(made["image"], training=True), text, 1.0))
            mean, log_variance = made["mean"], made["log_variance"]
            kl = tf.reduce_mean(0.5 * (mean**2 + tf.exp(log_variance) - 1 - log_variance))
            loss = generator_optimizer.scale_loss(of_generator + KL_WEIGHT * kl)
        variables = generator.trainable_variables
        generator_optimizer.apply(generator_tape.gradient(loss, variables), variables)
        return {"discriminator": of_discriminator, "generator": of_generator, "kl": kl}

    return step
