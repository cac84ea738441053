"""What the generators of StackGAN++ and AttnGAN are built of: blocks with gated linear units, and the first branch.

Maps are (height, width, channels); kernels start orthogonal, no convolution has a bias. Source: the releases of both
(Zhang et al., "StackGAN++", TPAMI 2018, arXiv:1710.10916; Xu et al., "AttnGAN", CVPR 2018, arXiv:1711.10485).
"""

from collections.abc import Sequence

from keras import layers

from stackgan_keras.models.blocks import CORE, UpsampleConv2D, batch_norm, convolve, doublings, glu
from stackgan_keras.models.orthogonal import orthogonal_kernel
from stackgan_keras.models.tensors import Tensor


def branch_sizes(first_size: int, image_size: int) -> list[int]:
    """The image sizes of all branches, each twice the one before. Raises `InputError` where they never meet."""
    more = 0 if image_size == first_size else doublings(image_size, start=first_size)
    return [first_size * 2**i for i in range(more + 1)]


def gated_convolution(x: Tensor, filters: int, name: str) -> Tensor:
    """3x3 convolution to twice the filters, batch norm, GLU: (B, h, w, filters)."""
    return glu(convolve(x, 2 * filters, 3, name, slope=None, kernel=orthogonal_kernel))


def gated_up_block(x: Tensor, filters: int, name: str) -> Tensor:
    """Upsampling by two, 3x3 convolution to twice the filters, batch norm, GLU: (B, 2h, 2w, filters)."""
    x = UpsampleConv2D(2 * filters, **orthogonal_kernel(), name=f"{name}_conv")(x)
    return glu(batch_norm(x, f"{name}_norm"))


def gated_residual_block(x: Tensor, name: str) -> Tensor:
    """A residual block of a gated and a plain convolution, with nothing after the sum."""
    y = gated_convolution(x, x.shape[-1], f"{name}_1")
    y = convolve(y, x.shape[-1], 3, f"{name}_2", slope=None, kernel=orthogonal_kernel)
    return layers.Add(name=f"{name}_add")([x, y])


def first_branch(vectors: Sequence[Tensor], image_size: int, filters: int) -> Tensor:
    """From vectors (B, n), joined, by up-blocks of half the channels each to a map (B, size, size, filters)."""
    steps = doublings(image_size)
    width = filters * 2**steps
    x = layers.Concatenate(name="join")(vectors) if len(vectors) > 1 else vectors[0]
    x = layers.Dense(CORE * CORE * 2 * width, use_bias=False, **orthogonal_kernel(), name="project_dense")(x)
    x = batch_norm(x, "project_norm")
    x = glu(layers.Reshape((CORE, CORE, 2 * width), name="project")(x))  # (B, 4, 4, width)
    for i in range(1, steps + 1):
        x = gated_up_block(x, width // 2**i, f"up{i}")
    return x
