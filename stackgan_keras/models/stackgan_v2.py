"""The generator of StackGAN++ (StackGAN-v2): one network whose branches make images of several sizes at once.

Layer names are public, as in `generators`. Source: the release and Zhang et al., "StackGAN++: Realistic Image Synthesis
with Stacked Generative Adversarial Networks", TPAMI 2018, arXiv:1710.10916.
"""

import keras
from keras import layers

from stackgan_keras.errors import InputError
from stackgan_keras.models.blocks import tile, to_image
from stackgan_keras.models.conditioning import conditioning_augmentation, text_inputs
from stackgan_keras.models.gated_blocks import (
    branch_sizes,
    first_branch,
    gated_convolution,
    gated_residual_block,
    gated_up_block,
)
from stackgan_keras.models.orthogonal import orthogonal_kernel
from stackgan_keras.models.tensors import Tensor


def stackgan_v2_generator(
    *,
    image_size: int = 256,
    first_size: int = 64,
    filters: int = 64,
    text_dim: int = 1024,
    condition_dim: int = 128,
    noise_dim: int = 100,
    residual_blocks: int = 2,
    conditional: bool = True,
) -> keras.Model:
    """A sentence and noise to an image from every branch.

    In: `embedding` (B, text_dim), `noise` (B, noise_dim), `epsilon` (B, condition_dim). Out: `image_64`, `image_128`
    and so on, (B, size, size, 3) in [-1, 1], from `first_size` doubling to `image_size`; `mean` and `log_variance`
    (B, condition_dim). If not `conditional` there is no sentence, only `noise`, and only images come out. The map of
    the first branch has `filters` channels, each later one half as many as the one before.
    """
    sizes = branch_sizes(first_size, image_size)
    if filters >> (len(sizes) - 1) == 0:
        raise InputError(
            f"generator.filters is {filters}, which cannot be halved {len(sizes) - 1} times on the way from "
            f"{first_size} to {image_size} pixels: ask for {2 ** (len(sizes) - 1)} or more"
        )
    noise = keras.Input((noise_dim,), name="noise")
    inputs, text, code = {"noise": noise}, {}, noise
    if conditional:
        inputs = {**text_inputs(text_dim, condition_dim), "noise": noise}
        read = conditioning_augmentation(text_dim=text_dim, condition_dim=condition_dim, gated=True)
        text = read({name: inputs[name] for name in read.input})
        code = text.pop("condition")
    x = first_branch([code, noise] if conditional else [noise], first_size, filters)
    images = {f"image_{first_size}": to_image(x, name=f"image_{first_size}", kernel=orthogonal_kernel)}
    for number, size in enumerate(sizes[1:], start=2):
        # as released, the branches beyond the third have one residual block
        x = _branch(code, x, residual_blocks if number <= 3 else 1, f"branch_{size}")
        images[f"image_{size}"] = to_image(x, name=f"image_{size}", kernel=orthogonal_kernel)
    return keras.Model(inputs, {**images, **text}, name="stackgan_v2_generator")


def _branch(code: Tensor, x: Tensor, residual_blocks: int, name: str) -> Tensor:
    """A map (B, s, s, filters) and the code joined once more: (B, 2s, 2s, filters / 2)."""
    filters = x.shape[-1]
    x = layers.Concatenate(name=f"{name}_concatenate")([tile(code, x.shape[1], f"{name}_tile"), x])
    x = gated_convolution(x, filters, f"{name}_join")
    for i in range(1, residual_blocks + 1):
        x = gated_residual_block(x, f"{name}_residual{i}")
    return gated_up_block(x, filters // 2, f"{name}_up")
