"""The generators of both stages (section 3.3 and 3.4 of the paper).

Layer names are public: converters and the variable list in every weight file rely on them. Source: the PyTorch and,
where `architecture` asks for it, the TensorFlow release of StackGAN (Zhang et al., ICCV 2017, arXiv:1612.03242).
"""

import keras
from keras import layers

from stackgan_keras.models.blocks import (
    ARCHITECTURES,
    CORE,
    batch_norm,
    convolve,
    normal_kernel,
    residual_block,
    tile,
    to_image,
    upsample,
)
from stackgan_keras.models.conditioning import conditioning_augmentation, text_inputs


def stage1_generator(
    *,
    image_size: int = 64,
    filters: int = 128,
    text_dim: int = 1024,
    condition_dim: int = 128,
    noise_dim: int = 100,
    augment_condition: bool = True,
    condition_noise_scale: float = 1.0,
    conditional_batch_norm: bool = False,
    min_filters: int = 1,
    architecture: str = "pytorch",
) -> keras.Model:
    """A sentence and noise to the Stage-I image.

    In: `embedding` (B, text_dim), `noise` (B, noise_dim), `epsilon` (B, condition_dim). Out: `image`
    (B, image_size, image_size, 3) in [-1, 1], `mean` and (with `augment_condition`) `log_variance`,
    (B, condition_dim). Without `augment_condition` there is no `epsilon` to give. `image_size` is a power of two; the
    4x4 map has 8 * `filters` channels, each larger one half as many, but `min_filters` at least. `architecture` is one
    of `ARCHITECTURES`.
    """
    style = ARCHITECTURES[architecture]
    inputs, text = _condition(text_dim, condition_dim, augment_condition, condition_noise_scale, architecture)
    inputs = {**inputs, "noise": keras.Input((noise_dim,), name="noise")}
    condition = text.pop("condition")
    width = 8 * filters
    x = layers.Concatenate(name="join")([inputs["noise"], condition])
    x = layers.Dense(CORE * CORE * width, use_bias=not style.logits_bias, **normal_kernel(), name="project_dense")(x)
    x = batch_norm(x, "project_norm")
    if not style.bottlenecks:
        x = layers.ReLU(name="project_relu")(x)
    x = layers.Reshape((CORE, CORE, width), name="project")(x)  # (B, 4, 4, 8 filters)
    if style.bottlenecks:
        x = residual_block(x, "project_residual", bottleneck=True)
    x = upsample(
        x,
        image_size,
        condition if conditional_batch_norm else None,
        min_filters=min_filters,
        bottlenecks=style.bottlenecks - 1,
        image_doubles=style.image_doubles,
    )
    return keras.Model(inputs, {"image": to_image(x, doubles=style.image_doubles), **text}, name="stage1_generator")


def stage2_generator(
    *,
    stage1: dict,
    image_size: int = 256,
    filters: int = 128,
    text_dim: int = 1024,
    condition_dim: int = 128,
    residual_blocks: int = 4,
    read_text_again: bool = True,
    augment_condition: bool = True,
    condition_noise_scale: float = 1.0,
    conditional_batch_norm: bool = False,
    min_filters: int = 1,
    skip_connections: bool = False,
    architecture: str = "pytorch",
) -> keras.Model:
    """A sentence, read again, turns the image of a frozen Stage I into a larger one.

    `stage1` holds the keywords of `stage1_generator`. In: as Stage I, and `stage1_epsilon`, the frozen part's own.
    Out: `image` (B, image_size, image_size, 3), `stage1_image`, `mean` and `log_variance` of this stage's own
    conditioning augmentation, if it is to `read_text_again`: else the Stage-I image is all that it is given. With
    `skip_connections` the up-blocks also see the encoder's maps of their size, as in a U-Net (Isola et al., CVPR 2017,
    section 3.2.1). The layer
    `stage1_generator` is frozen and always in inference mode. `architecture` is how the sentence is read, the only
    difference of this network between the releases.
    """
    frozen = stage1_generator(**stage1)
    frozen.trainable = False
    condition = None
    inputs, text = text_inputs(text_dim, condition_dim, augment=False), {}
    if read_text_again:
        inputs, text = _condition(text_dim, condition_dim, augment_condition, condition_noise_scale, architecture)
        condition = text.pop("condition")
    inputs["noise"] = keras.Input(frozen.input["noise"].shape[1:], name="noise")
    given = {"embedding": inputs["embedding"], "noise": inputs["noise"]}
    if "epsilon" in frozen.input:
        inputs["stage1_epsilon"] = keras.Input(frozen.input["epsilon"].shape[1:], name="stage1_epsilon")
        given["epsilon"] = inputs["stage1_epsilon"]
    stage1_image = frozen(given)["image"]
    full = convolve(stage1_image, filters, 3, "encode1", norm=False, slope=0.0)  # (B, s, s, filters), s: Stage I's size
    half = convolve(full, 2 * filters, 4, "encode2", strides=2, slope=0.0)  # (B, s/2, s/2, 2 filters)
    x = convolve(half, 4 * filters, 4, "encode3", strides=2, slope=0.0)  # (B, s/4, s/4, 4 filters)
    if condition is not None:
        x = layers.Concatenate(name="join")([x, tile(condition, x.shape[1], "tile")])
    x = convolve(x, 4 * filters, 3, "join", slope=0.0)
    for i in range(1, residual_blocks + 1):
        x = residual_block(x, f"residual{i}")
    skips = (half, full) if skip_connections else ()
    x = upsample(x, image_size, condition if conditional_batch_norm else None, min_filters=min_filters, skips=skips)
    stage1_image = layers.Identity(dtype=keras.config.floatx(), name="stage1_image")(stage1_image)
    return keras.Model(inputs, {"image": to_image(x), "stage1_image": stage1_image, **text}, name="stage2_generator")


def images_of(generator: keras.Model) -> dict[str, int]:
    """The images that a generator makes: their names and sizes in pixels, the final one last.

    The final one is called `image`, or is the largest of those called by their sizes: `image_64`, `image_128`.
    """
    sizes = {name: output.shape[1] for name, output in generator.output.items() if "image" in name.split("_")}
    return dict(sorted(sizes.items(), key=lambda item: (item[0].startswith("image"), item[1])))


def text_dim_of(generator: keras.Model) -> int:
    """The dimensions of the embeddings that a generator reads; 0 if it draws without text."""
    return generator.input["embedding"].shape[-1] if "embedding" in generator.input else 0


def named_by(image: str, name: str) -> str:
    """The name of what belongs to one of a generator's images: `name` of `image`, `name_64` of `image_64`."""
    return f"{name}{image.removeprefix('image')}" if image.startswith("image") else f"{name}_{image}"


def without_stage1(generator: keras.Model) -> keras.Model:
    """A `stage2_generator` as a function of any small image, by the same weights: what its pixel loss trains.

    In: `stage1_image` (B, s, s, 3) in [-1, 1] and, as far as the generator reads them again, `embedding` and `epsilon`.
    Out: `image`, `mean` and `log_variance` as the generator gives them.
    """
    reads = ("embedding", "epsilon") if "mean" in generator.output else ()
    text = {name: generator.input[name] for name in reads if name in generator.input}
    outputs = {name: output for name, output in generator.output.items() if name != "stage1_image"}
    first = generator.get_layer("encode1_conv").input
    rest = keras.Model([first, *text.values()], outputs, name="stage2")
    small = keras.Input(first.shape[1:], name="stage1_image")
    return keras.Model({"stage1_image": small, **text}, rest([small, *text.values()]), name="without_stage1")


def _condition(text_dim: int, condition_dim: int, augment: bool, noise_scale: float, architecture: str):
    """A generator's inputs that come with a sentence, and what its conditioning augmentation makes of them."""
    inputs = text_inputs(text_dim, condition_dim, augment)
    read = conditioning_augmentation(
        text_dim=text_dim,
        condition_dim=condition_dim,
        augment=augment,
        noise_scale=noise_scale,
        architecture=architecture,
    )
    return inputs, read(inputs)
