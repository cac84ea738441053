"""What are the networks? StackGAN's players as Keras functional models, built from plain keywords.

Pictures are (height, width, channels) in [-1, 1]. Layer names are public: the converters and the variable list in
every weight file rely on them. Source: the PyTorch and, where `architecture` asks for it, the TensorFlow release of
StackGAN (Zhang et al., ICCV 2017, arXiv:1612.03242).
"""

import itertools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import initializers, layers, ops

from stackgan_keras import images
from stackgan_keras.errors import InputError, first_line

PLACES = 12  # that the small picture encoder looks at
FLOW_WIDTH = 128  # of the networks in a noise flow
MOST_LOG_SCALE = 1.5  # by which a step of it scales: not so far that one of them blows up
FIRST_LOG_VARIANCE = -4.0  # of noise that is read in a picture
PARTS = 16  # of a picture, each painted in one of
COLOURS = 16  # that a palette holds
SHARPNESS = {"part": 10.0, "colour": 5.0}  # factors on logits: the larger, the sooner a choice is made
CORE = 4  # pixels: every network narrows to, or grows from, a 4x4 map


class Architecture(NamedTuple):
    """In what the networks of the two releases differ; how noise and condition are joined is no difference to learning.

    A bottleneck is a residual block whose first convolutions have a fourth of the channels. It ends in an activation,
    and what it follows has none of its own.
    """

    moments_slope: float  # of the activation after the sentence's dense layer, for what is below 0
    log_variances: int  # in the second half of that layer's numbers; 2 log variances are the logarithm of a deviation
    bottlenecks: int  # after so many of Stage I's first maps, and after the last map of a discriminator if any
    image_doubles: bool  # the convolution to Stage I's image doubles its map, in place of the last up-block
    mixing: int  # width of the kernels that a discriminator has on its 4x4 map
    logits_bias: bool  # and so has the other the dense layer before Stage I's first map
    heads: tuple[str, ...]  # of Stage II's discriminator
    truncated: bool  # epsilons farther than two deviations from 0 are drawn again


ARCHITECTURES = {
    "pytorch": Architecture(0.0, 1, 0, False, 3, True, ("matched", "real"), False),
    "tensorflow": Architecture(0.2, 2, 2, True, 1, False, ("matched",), True),
}

APPLICATIONS = {  # networks of Keras that can read pictures, and the modules that know their pixels
    "MobileNetV2": keras.applications.mobilenet_v2,
    "ResNet50": keras.applications.resnet50,
    "InceptionV3": keras.applications.inception_v3,
    "EfficientNetB0": keras.applications.efficientnet,
}

# in one dimension, which entries of a 3-kernel meet in each entry of the 4-kernel of a doubling transposed convolution
MERGE = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)


def conditioning_augmentation(
    *, text_dim: int, condition_dim: int, augment: bool = True, spread: float = 1.0, architecture: str = "pytorch"
) -> keras.Model:
    """The sentence's condition, drawn from a Gaussian around it (section 3.2 of the paper).

    In: `embedding` (B, text_dim) and `epsilon` (B, condition_dim), standard normal. Out: `condition`, `mean` and
    `log_variance`, each (B, condition_dim). Without `augment` the condition is the mean, and there is neither an
    `epsilon` nor a `log_variance`. As released, no variance is below 1, and a mean has to grow before it is heard;
    what is drawn strays from it `spread` times as far.
    """
    style = ARCHITECTURES[architecture]
    inputs = _text_inputs(text_dim, condition_dim, augment)
    width = 2 * condition_dim if augment else condition_dim
    moments = layers.Dense(width, dtype=keras.config.floatx(), **_kernel(), name="moments_dense")(inputs["embedding"])
    moments = layers.ReLU(negative_slope=style.moments_slope, dtype=keras.config.floatx(), name="moments_relu")(moments)
    if augment:
        mean, log_variance = moments[:, :condition_dim], style.log_variances * moments[:, condition_dim:]
        condition = mean + spread * ops.exp(log_variance / 2) * inputs["epsilon"]
        outputs = {"condition": condition, "mean": mean, "log_variance": log_variance}
    else:
        outputs = {"condition": layers.Identity(name="condition")(moments), "mean": moments}
    return keras.Model(inputs, outputs, name="conditioning_augmentation")


def stage1_generator(
    *,
    image_size: int = 64,
    filters: int = 128,
    text_dim: int = 1024,
    condition_dim: int = 128,
    noise_dim: int = 100,
    augment_condition: bool = True,
    condition_spread: float = 1.0,
    conditional_norm: bool = False,
    palette: bool = False,
    flow_steps: int = 0,
    noise_spread: float = 1.0,
    architecture: str = "pytorch",
) -> keras.Model:
    """A sentence and noise to a sketch.

    In: `embedding` (B, text_dim), `noise` (B, noise_dim), `epsilon` (B, condition_dim). Out: `image`
    (B, image_size, image_size, 3) in [-1, 1], `mean` and (with `augment_condition`) `log_variance`,
    (B, condition_dim). Without `augment_condition` there is no `epsilon` to give. `image_size` is a power of two; the
    4x4 map has 8 * `filters` channels. With `flow_steps` the noise goes through a `noise_flow` first, multiplied by
    `noise_spread`. `architecture` is one of `ARCHITECTURES`. Raises `InputError` for a palette where the last
    convolution doubles its map, and for a spread where there is no flow.
    """
    style = ARCHITECTURES[architecture]
    if palette and style.image_doubles:
        raise InputError(
            f"generator.palette needs a last map as large as the picture, which Stage I of generator.architecture "
            f"{architecture} has not: leave one of them off"
        )
    if noise_spread != 1 and not flow_steps:
        raise InputError(
            f"generator.noise_spread is {noise_spread} but generator.flow_steps is 0: it is about the noise that goes "
            f"into the flow, so give flow_steps, or leave it at 1"
        )
    inputs, text = _read_sentence(text_dim, condition_dim, augment_condition, condition_spread, architecture)
    inputs = {**inputs, "noise": keras.Input((noise_dim,), name="noise")}
    width = 8 * filters
    condition = text.pop("condition")
    noise = noise_flow(noise_dim, flow_steps, noise_spread)(inputs["noise"]) if flow_steps else inputs["noise"]
    x = layers.Concatenate(name="join")([noise, condition])
    x = layers.Dense(CORE * CORE * width, use_bias=not style.logits_bias, **_kernel(), name="project_dense")(x)
    x = _normalize(x, "project_norm")
    if not style.bottlenecks:
        x = layers.ReLU(name="project_relu")(x)
    x = layers.Reshape((CORE, CORE, width), name="project")(x)  # (B, 4, 4, 8 filters)
    if style.bottlenecks:
        x = _residual_block(x, "project_residual", bottleneck=True)
    x = _grow(
        x,
        image_size,
        condition if conditional_norm else None,
        bottlenecks=style.bottlenecks - 1,
        image_doubles=style.image_doubles,
    )
    image = _to_image(x, inputs["embedding"] if palette else None, doubles=style.image_doubles)
    return keras.Model(inputs, {"image": image, **text}, name="stage1_generator")


def stage2_generator(
    *,
    stage1: dict,
    image_size: int = 256,
    filters: int = 128,
    text_dim: int = 1024,
    condition_dim: int = 128,
    residual_blocks: int = 4,
    augment_condition: bool = True,
    condition_spread: float = 1.0,
    conditional_norm: bool = False,
    palette: bool = False,
    architecture: str = "pytorch",
) -> keras.Model:
    """A sentence, read again, turns the sketch of a frozen Stage I into a picture.

    `stage1` holds the keywords of `stage1_generator`. In: as Stage I, and `stage1_epsilon`, the frozen part's own.
    Out: `image` (B, image_size, image_size, 3), `stage1_image`, `mean` and `log_variance` of this stage's own
    conditioning augmentation. The layer `stage1_generator` is frozen and always in inference mode. `architecture` is
    how the sentence is read, the only difference of this network between the releases.
    """
    sketcher = stage1_generator(**stage1)
    sketcher.trainable = False
    inputs, text = _read_sentence(text_dim, condition_dim, augment_condition, condition_spread, architecture)
    inputs["noise"] = keras.Input(sketcher.input["noise"].shape[1:], name="noise")
    given = {"embedding": inputs["embedding"], "noise": inputs["noise"]}
    if "epsilon" in sketcher.input:
        inputs["stage1_epsilon"] = keras.Input(sketcher.input["epsilon"].shape[1:], name="stage1_epsilon")
        given["epsilon"] = inputs["stage1_epsilon"]
    sketch = sketcher(given)["image"]
    x = _convolve(sketch, filters, 3, "encode1", norm=False, slope=0.0)  # (B, s, s, filters), s: the sketch's size
    x = _convolve(x, 2 * filters, 4, "encode2", strides=2, slope=0.0)  # (B, s/2, s/2, 2 filters)
    x = _convolve(x, 4 * filters, 4, "encode3", strides=2, slope=0.0)  # (B, s/4, s/4, 4 filters)
    condition = text.pop("condition")
    x = layers.Concatenate(name="join")([x, _tile(condition, x.shape[1], "tile")])
    x = _convolve(x, 4 * filters, 3, "join", slope=0.0)
    for i in range(1, residual_blocks + 1):
        x = _residual_block(x, f"residual{i}")
    x = _grow(x, image_size, condition if conditional_norm else None)
    sketch = layers.Identity(dtype=keras.config.floatx(), name="stage1_image")(sketch)
    image = _to_image(x, inputs["embedding"] if palette else None)
    outputs = {"image": image, "stage1_image": sketch, **text}
    return keras.Model(inputs, outputs, name="stage2_generator")


def noise_flow(noise_dim: int, steps: int, spread: float = 1.0) -> keras.Model:
    """A normalizing flow from standard normal noise to noise as it is read in real pictures, both (B, noise_dim).

    Not every noise is that of a picture: what a `noise_encoder` reads lies near few directions and bends, and between
    a bird that looks left and one that looks right there is none. So noise is moved there, in `steps`, each of which
    scales and shifts one half of the numbers by amounts that depend on the other half, then shuffles all. First weights
    only shuffle. Source: Dinh et al., "Density estimation using Real NVP", ICLR 2017.

    A `spread` below 1 keeps the noise that comes nearer to the middle, where more pictures are (Kingma and Dhariwal,
    "Glow", NeurIPS 2018, section 6, call it the temperature). What a flow learns from, `flow_back`, knows no spread.
    """
    noise = keras.Input((noise_dim,), name="noise")
    x = noise if spread == 1 else noise * spread
    for i in range(1, steps + 1):
        kept, moved = x[:, : noise_dim // 2], x[:, noise_dim // 2 :]
        amounts = _coupling(noise_dim, f"coupling{i}")(kept)
        x = ops.concatenate([kept, moved * ops.exp(amounts["log_scale"]) + amounts["shift"]], axis=1)
        x = ops.take(x, _shuffle(noise_dim), axis=1)
    return keras.Model(noise, x, name="noise_flow")


def flow_back(flow: keras.Model) -> keras.Model:
    """The way back through a `noise_flow`, by the same weights.

    In: (B, noise_dim), as the flow gives it. Out: the `noise` (B, noise_dim) that it was, after any spread, and
    `log_volume` (B,), the logarithm of the factor by which this way makes volumes larger.
    """
    noise_dim = flow.input_shape[1]
    couplings = [layer for layer in flow.layers if layer.name.startswith("coupling")]
    given = x = keras.Input((noise_dim,), name="flowed")
    log_volume = 0.0
    for coupling in reversed(couplings):
        x = ops.take(x, np.argsort(_shuffle(noise_dim)), axis=1)
        kept, moved = x[:, : noise_dim // 2], x[:, noise_dim // 2 :]
        amounts = coupling(kept)
        x = ops.concatenate([kept, (moved - amounts["shift"]) * ops.exp(-amounts["log_scale"])], axis=1)
        log_volume = log_volume - ops.sum(amounts["log_scale"], axis=1)
    return keras.Model(given, {"noise": x, "log_volume": log_volume}, name="flow_back")


def _coupling(noise_dim: int, name: str) -> keras.Model:
    dtype = keras.config.floatx()  # what is multiplied many times over bears no rounding to 8 bits
    kept = x = keras.Input((noise_dim // 2,), name="kept")
    for i in (1, 2):
        x = layers.Dense(FLOW_WIDTH, activation="relu", dtype=dtype, name=f"hidden{i}_dense")(x)
    count = noise_dim - noise_dim // 2
    scale = layers.Dense(count, kernel_initializer="zeros", dtype=dtype, name="log_scale_dense")(x)
    shift = layers.Dense(count, kernel_initializer="zeros", dtype=dtype, name="shift_dense")(x)
    return keras.Model(kept, {"log_scale": MOST_LOG_SCALE * ops.tanh(scale), "shift": shift}, name=name)


def _shuffle(count: int) -> np.ndarray:
    """Odd places first, then the even ones: none stays where it was, and after a few steps all have met."""
    return np.argsort(np.arange(1, count + 1) % 2, kind="stable")


def painter(generator: keras.Model) -> keras.Model:
    """What a `stage1_generator` does after its noise flow: noise read in a picture to a picture, by the same weights.

    In and out as the generator, but that `noise` is what a `noise_encoder` reads; without a flow, the generator itself.
    """
    flow = find_flow(generator)
    if flow is None:
        return generator
    inputs = {name: value for name, value in generator.input.items() if name != "noise"}
    return _rest(generator.get_layer("join").input[0], "noise", inputs, generator.output, "painter")


def find_flow(generator: keras.Model) -> keras.Model | None:
    return next((layer for layer in generator.layers if layer.name == "noise_flow"), None)


def architecture_of(generator: keras.Model) -> Architecture:
    """The architecture of a generator, told by what a sentence goes through in it."""
    activation = generator.get_layer("conditioning_augmentation").get_layer("moments_relu")
    return next(style for style in ARCHITECTURES.values() if style.moments_slope == activation.negative_slope)


def is_second(generator: keras.Model) -> bool:
    """Whether a generator starts from the sketches of a Stage I within it."""
    return "stage1_image" in generator.output


def finisher(generator: keras.Model) -> keras.Model:
    """What a `stage2_generator` does after its sketch: any sketch to a picture, by the same weights.

    In: `sketch` (B, s, s, 3) in [-1, 1], `embedding` and (with `augment_condition`) `epsilon`. Out: what the generator
    gives but for the sketch: `image` (B, image_size, image_size, 3), `mean` and `log_variance`.
    """
    inner = generator.get_layer("encode1_conv").input
    inputs = {name: generator.input[name] for name in ("embedding", "epsilon") if name in generator.input}
    outputs = {name: output for name, output in generator.output.items() if name != "stage1_image"}
    return _rest(inner, "sketch", inputs, outputs, "finisher")


def _rest(inner, given: str, inputs: dict, outputs: dict, name: str) -> keras.Model:
    """What a generator does after its tensor `inner`, which here is the input `given` beside others of its inputs."""
    rest = keras.Model([inner, *inputs.values()], outputs, name=f"{name}_rest")
    first = keras.Input(inner.shape[1:], name=given)
    return keras.Model({given: first, **inputs}, rest([first, *inputs.values()]), name=name)


def discriminator(
    *,
    image_size: int,
    filters: int = 64,
    heads: tuple[str, ...] = ("matched",),
    text: str = "mean",
    text_dim: int = 1024,
    condition_dim: int = 128,
    architecture: str = "pytorch",
) -> keras.Model:
    """Pictures to logits: `matched` (real, and this sentence's?) and, if asked for, `real` (real at all?).

    In: `image` (B, image_size, image_size, 3) and `text`: the generator's mean (B, condition_dim), or with
    `text="embedding"` the sentence's embedding (B, text_dim), which the network then compresses itself.
    Out: a logit (B,) for each of `heads`. The layers `encode_image`, `matched` and `real` are models too, so that
    one picture's features can be judged with several sentences. `architecture` is one of `ARCHITECTURES`.
    """
    style = ARCHITECTURES[architecture]
    encode_image = _image_encoder(image_size, filters, style)
    image = keras.Input(encode_image.input_shape[1:], name="image")
    features = encode_image(image)
    compress = {"text_dim": text_dim} if text == "embedding" else {}
    matched = _matched_head(features.shape[1:], filters, condition_dim, style, **compress)
    sentence = keras.Input(matched.input["text"].shape[1:], name="text")
    logits = {"matched": matched({"features": features, "text": sentence})}
    if "real" in heads:
        logits["real"] = _real_head(features.shape[1:], style)(features)
    return keras.Model({"image": image, "text": sentence}, logits, name="discriminator")


def noise_encoder(*, image_size: int = 64, filters: int = 64, noise_dim: int = 100) -> keras.Model:
    """A picture to the noise that a Stage I could make it of.

    In: (B, image_size, image_size, 3). Out: `mean` and `log_variance` of a Gaussian, each (B, noise_dim). With first
    weights the Gaussian is narrow, so that means are heard at once: with a variance of 1 they drown in what is drawn,
    and a Stage I does without noise long before it learns what that would tell.
    """
    encode_image = _image_encoder(image_size, filters, ARCHITECTURES["pytorch"])
    image = keras.Input(encode_image.input_shape[1:], name="image")
    x = layers.Flatten(name="flat")(encode_image(image))
    first = {**_kernel(), "bias_initializer": _narrow}
    moments = layers.Dense(2 * noise_dim, dtype=keras.config.floatx(), **first, name="moments")(x)
    outputs = {"mean": moments[:, :noise_dim], "log_variance": moments[:, noise_dim:]}
    return keras.Model(image, outputs, name="noise_encoder")


def _narrow(shape, dtype=None):
    """First biases of the moments of a Gaussian: a mean of 0 and `FIRST_LOG_VARIANCE`."""
    half = shape[0] // 2
    return ops.concatenate([ops.zeros((half,), dtype), ops.full((half,), FIRST_LOG_VARIANCE, dtype)])


def drawn_around(moments: dict, noise):
    """Standard normal noise as a draw from the Gaussian of a `mean` and a `log_variance`, all (B, D)."""
    return moments["mean"] + ops.exp(moments["log_variance"] / 2) * noise


def picture_encoder(
    *, text_dim: int, image_size: int = 64, filters: int = 32, network: str = "small", pretrained: bool = False
) -> keras.Model:
    """Pictures into the space of the text encoder, where a pair's score is the product of the two.

    In: (B, image_size, image_size, 3) in [-1, 1]. Out: (B, text_dim). `network` is `small`, which finds `PLACES`
    places in the whole picture and reads small patches there, with convolutions of `filters` channels and more, or
    one of `APPLICATIONS`, frozen and read by one dense layer; `pretrained` fetches its ImageNet weights. Raises
    `InputError` if they cannot be had.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    if network == "small":
        x = _patches_in_places(image, filters)
    else:
        x = _application(network, image_size, pretrained)(images.to_pixels(image))
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(text_dim, dtype=keras.config.floatx(), name="project")(x)
    return keras.Model(image, x, name="picture_encoder")


def _patches_in_places(image, filters: int):
    """What small patches hold, averaged over each of `PLACES` places of the picture: (B, PLACES * 2 filters).

    What a word says of a part is seen in a patch, but which part that is only in the whole picture. Were both read
    from the whole, the network would rather learn its few classes by heart (measured on drawn birds: the colours of
    backs and wings of new species were read right two times in three, and hardly better with more training).
    """
    x = _convolve(image, filters, 3, "half", strides=2)
    patches = _convolve(x, filters, 3, "patch")  # (B, s/2, s/2, filters), each sees 7 pixels
    maps = [patches]
    while maps[-1].shape[1] > CORE:
        maps.append(_convolve(maps[-1], 2 * filters, 3, f"down{len(maps)}", strides=2))
    x = maps.pop()  # (B, 4, 4, 2 filters), sees everything
    while maps:
        x = layers.UpSampling2D(name=f"up{len(maps)}_resize")(x)
        x = layers.Concatenate(name=f"up{len(maps)}_join")([x, maps.pop()])
        x = _convolve(x, filters, 3 if maps else 1, f"up{len(maps)}")
    places = layers.Conv2D(PLACES, 1, name="places")(x)
    places = layers.Reshape((-1, PLACES), dtype=keras.config.floatx(), name="places_flat")(places)
    places = layers.Softmax(axis=1, dtype=keras.config.floatx(), name="places_softmax")(places)
    content = _convolve(patches, 2 * filters, 1, "content")
    content = layers.Reshape((-1, 2 * filters), dtype=keras.config.floatx(), name="content_flat")(content)
    seen = layers.Dot(axes=1, dtype=keras.config.floatx(), name="seen")([places, content])
    return layers.Flatten(name="seen_flat")(seen)


def _application(network: str, image_size: int, pretrained: bool) -> keras.Model:
    """A network of `keras.applications` from pixels 0..255 to its last map, frozen."""
    shape = (image_size, image_size, 3)
    try:
        body = getattr(keras.applications, network)(
            include_top=False, input_shape=shape, weights="imagenet" if pretrained else None
        )
    except Exception as problem:  # whatever a download, its file or a size can lead to
        reason = first_line(problem)
        raise InputError(
            f"{network} for pictures of {image_size} pixels could not be had ({reason}): connect to the internet, "
            "change data.image_size, or use text.image_encoder small"
        ) from None
    pixels = keras.Input(shape, name="pixels")
    model = keras.Model(pixels, body(APPLICATIONS[network].preprocess_input(pixels)), name=network.lower())
    model.trainable = False
    return model


def synchronize(model: keras.Model) -> None:
    """Lets the batch norms of all replicas share their statistics, so that N replicas see one batch.

    Only for several replicas: Keras then takes the variance as E[x^2] - E[x]^2, which costs time and two digits.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            synchronize(layer)
        elif isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True


NETWORKS = {
    network.__name__: network
    for network in (stage1_generator, stage2_generator, discriminator, noise_encoder, picture_encoder)
}


# -- the discriminator's parts ------------------------------------------------------------------------------------


def _image_encoder(image_size: int, filters: int, style: Architecture) -> keras.Model:
    image = keras.Input((image_size, image_size, 3), name="image")
    halvings = _doublings(image_size)
    widths = {f"down{i + 1}": filters * 2**i for i in range(halvings)}
    reduced = [filters * 2**n for n in range(halvings - 2, 2, -1)]  # big pictures end wider than 8 filters
    widths |= {f"reduce{i}": width for i, width in enumerate(reduced, start=1)}
    bare = list(widths)[-1 if reduced else -2 :] if style.bottlenecks else []  # without an activation, as released
    x = _convolve(image, widths.pop("down1"), 4, "down1", strides=2, norm=False)
    for name, width in widths.items():
        size, strides = (style.mixing, 1) if name.startswith("reduce") else (4, 2)
        x = _convolve(x, width, size, name, strides=strides, slope=None if name in bare else 0.2)
    if style.bottlenecks:
        x = _residual_block(x, "residual", bottleneck=True, slope=0.2)
    return keras.Model(image, x, name="encode_image")  # (B, 4, 4, 8 filters) from 64 pixels on


def _matched_head(
    shape: tuple, filters: int, condition_dim: int, style: Architecture, text_dim: int | None = None
) -> keras.Model:
    features = keras.Input(shape, name="features")
    sentence = keras.Input((text_dim or condition_dim,), name="text")
    condition = sentence
    if text_dim is not None:
        condition = layers.Dense(condition_dim, **_kernel(), name="compress_dense")(condition)
        condition = layers.LeakyReLU(0.2, name="compress_relu")(condition)
    x = layers.Concatenate(name="join")([features, _tile(condition, CORE, "tile")])
    x = _convolve(x, 8 * filters, style.mixing, "join")
    return keras.Model({"features": features, "text": sentence}, _logit(x, style), name="matched")


def _real_head(shape: tuple, style: Architecture) -> keras.Model:
    features = keras.Input(shape, name="features")
    return keras.Model(features, _logit(features, style), name="real")


def _logit(x, style: Architecture):
    x = layers.Conv2D(1, CORE, strides=CORE, use_bias=style.logits_bias, **_kernel(), name="logit_conv")(x)
    return layers.Reshape((), dtype=keras.config.floatx(), name="logit")(x)  # (B,)


# -- blocks -------------------------------------------------------------------------------------------------------


def _kernel() -> dict:
    return {"kernel_initializer": initializers.RandomNormal(stddev=0.02)}


def _text_inputs(text_dim: int, condition_dim: int, augment: bool) -> dict:
    inputs = {"embedding": keras.Input((text_dim,), name="embedding")}
    if augment:
        inputs["epsilon"] = keras.Input((condition_dim,), name="epsilon")
    return inputs


def _read_sentence(
    text_dim: int, condition_dim: int, augment: bool, spread: float, architecture: str
) -> tuple[dict, dict]:
    """A generator's inputs that come with a sentence, and what its conditioning augmentation makes of them."""
    inputs = _text_inputs(text_dim, condition_dim, augment)
    sizes = {"text_dim": text_dim, "condition_dim": condition_dim}
    read = conditioning_augmentation(**sizes, augment=augment, spread=spread, architecture=architecture)
    return inputs, read(inputs)


def _doublings(image_size: int, start: int = CORE) -> int:
    steps = round(math.log2(image_size / start))
    if steps < 1 or start * 2**steps != image_size:
        raise InputError(f"image_size is {image_size}: it must be {start} times a power of two, {2 * start} or more")
    return steps


def _normalize(x, name: str):
    gamma = initializers.RandomNormal(mean=1.0, stddev=0.02)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)


def _convolve(x, filters: int, size: int, name: str, *, strides: int = 1, norm=True, slope: float | None = 0.2):
    """Convolution, batch norm, LeakyReLU (plain ReLU with slope 0, none with None)."""
    x = layers.Conv2D(filters, size, strides, "same", use_bias=False, **_kernel(), name=f"{name}_conv")(x)
    if norm:
        x = _normalize(x, f"{name}_norm")
    return x if slope is None else layers.ReLU(negative_slope=slope, name=f"{name}_relu")(x)


@keras.saving.register_keras_serializable("stackgan_keras")
class UpsampleConv2D(layers.Layer):
    """Doubles height and width by repeating pixels, then a 3x3 convolution without bias, in one operation.

    Every output pixel sees only 2x2 different input pixels, so the two are a transposed convolution whose 4x4 kernel
    holds sums of the 3x3 kernel's entries: the same result for 4/9 of the multiplications. The weight is the 3x3
    `kernel` (3, 3, channels, filters) of the release. In: (B, h, w, channels). Out: (B, 2h, 2w, filters).
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        shape = (3, 3, input_shape[-1], self.filters)
        initializer = _kernel()["kernel_initializer"]
        self.kernel = self.add_weight(shape=shape, initializer=initializer, name="kernel", autocast=False)

    def call(self, inputs):
        channels, filters = self.kernel.shape[2:]
        merged = ops.matmul(np.kron(MERGE, MERGE), ops.reshape(self.kernel, (9, channels * filters)))
        kernel = ops.swapaxes(ops.reshape(merged, (4, 4, channels, filters)), 2, 3)
        return ops.conv_transpose(inputs, ops.cast(kernel, self.compute_dtype), 2, "same")

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def _upsample_block(x, filters: int, name: str, condition=None, bottleneck: bool = False):
    """Doubles height and width: repeat pixels, 3x3 convolution, batch norm (given a condition, of its scale), ReLU.

    If asked for, a bottleneck stands in place of the ReLU.
    """
    x = UpsampleConv2D(filters, name=f"{name}_conv")(x)
    x = _normalize(x, f"{name}_norm")
    if condition is not None:
        x = _modulate(x, condition, name)
    if bottleneck:
        return _residual_block(x, f"{name}_residual", bottleneck=True)
    return layers.ReLU(name=f"{name}_relu")(x)  # (B, 2h, 2w, filters)


def _modulate(x, condition, name: str):
    """Scales and shifts every channel by amounts that depend on the condition; not at all with first weights."""
    channels = x.shape[-1]
    moments = layers.Dense(2 * channels, kernel_initializer="zeros", name=f"{name}_modulate_dense")(condition)
    moments = layers.Reshape((1, 1, 2 * channels), name=f"{name}_modulate_reshape")(moments)
    return x * (1 + moments[..., :channels]) + moments[..., channels:]


def _grow(x, image_size: int, condition=None, *, bottlenecks: int = 0, image_doubles: bool = False):
    """Up-blocks until the map is `image_size` wide, each with half the channels of the one before.

    The first `bottlenecks` of them end in one. The last is left out if what makes the image doubles the map itself.
    """
    steps = _doublings(image_size, start=x.shape[1])
    if x.shape[-1] < 2**steps:
        raise InputError(
            f"generator.filters is too small: {x.shape[-1]} channels cannot be halved {steps} times "
            f"on the way to {image_size} pixels, ask for {-(-(2**steps) // x.shape[-1])} times as many or more"
        )
    for i in range(1, steps + 1 - image_doubles):
        x = _upsample_block(x, x.shape[-1] // 2, f"up{i}", condition, bottleneck=i <= bottlenecks)
    return x


def _residual_block(x, name: str, *, bottleneck: bool = False, slope: float = 0.0):
    """Adds to a map what two 3x3 convolutions make of it, then (leaky) ReLU; a bottleneck has three, the first 1x1."""
    width = x.shape[-1]
    narrow = max(width // 4, 1)
    shapes = [(narrow, 1), (narrow, 3), (width, 3)] if bottleneck else [(width, 3), (width, 3)]
    y = x
    for i, (filters, size) in enumerate(shapes, start=1):
        y = _convolve(y, filters, size, f"{name}_{i}", slope=None if i == len(shapes) else slope)
    return layers.ReLU(negative_slope=slope, name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _to_image(x, embedding=None, *, doubles: bool = False):
    """A 3x3 convolution to pixels; given an embedding, each place also has the colour that this asks for there.

    The convolution sees the map doubled if it `doubles`.
    """
    if doubles:
        pixels = UpsampleConv2D(3, name="image_conv")(x)
    else:
        pixels = layers.Conv2D(3, 3, padding="same", use_bias=False, **_kernel(), name="image_conv")(x)
    if embedding is not None:
        pixels = layers.Add(name="image_add")([pixels, _painted(x, embedding)])
    return layers.Activation("tanh", dtype=keras.config.floatx(), name="image")(pixels)  # (B, size, size, 3)


def _painted(x, embedding):
    """Each place of a map in the colour that a sentence chooses for the part that the place is of: (B, size, size, 3).

    Out of `COLOURS` learned colours one is chosen for each of `PARTS`, and for each place a part, both by softmax. Were
    colours computed instead, they would come out somewhere between those that the sentence might mean: read by least
    squares out of the embeddings of new sentences about drawn birds, the crown's colour is nearest to the right one for
    81 % of them, chosen out of 16 for 96 %. With first weights all colours are liked alike, which add up to nothing.
    """
    size = x.shape[2]
    liking = layers.Dense(PARTS * COLOURS, kernel_initializer="zeros", name="palette_dense")(embedding)
    liking = SHARPNESS["colour"] * layers.Reshape((PARTS, COLOURS), name="palette_reshape")(liking)
    chosen = layers.Softmax(dtype=keras.config.floatx(), name="palette_softmax")(liking)
    colour = layers.Dense(3, use_bias=False, kernel_initializer=_corners, name="palette")(chosen)  # (B, PARTS, 3)
    part = layers.Conv2D(PARTS, 1, **_kernel(), name="parts_conv")(x)
    part = SHARPNESS["part"] * layers.Reshape((size * size, PARTS), name="parts_reshape")(part)
    part = layers.Softmax(dtype=keras.config.floatx(), name="parts_softmax")(part)
    painted = layers.Dot(axes=(2, 1), name="painted_dot")([part, colour])
    return layers.Reshape((size, size, 3), name="painted")(painted)


def _corners(shape, dtype=None):
    """First colours: the corners of the space of colours, and those of one half as large."""
    corners = np.array(list(itertools.product((-1, 1), repeat=3)))
    return ops.convert_to_tensor(np.concatenate([corners, corners / 2]).reshape(shape), dtype)


def _tile(x, size: int, name: str):
    """A vector at every place of a `size` x `size` map."""
    x = layers.Reshape((1, 1, x.shape[-1]), name=f"{name}_reshape")(x)
    return layers.UpSampling2D(size, name=name)(x)  # (B, size, size, channels)
