"""Differentiable augmentation: the discriminator sees real and generated images changed alike at random.

Gradients go through it to the generator, so that it does not learn to draw the changes. Source: Zhao et al.,
"Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, with the ranges of its release.
"""

from keras import ops

from stackgan_keras.models.projected import crop
from stackgan_keras.models.tensors import Tensor

DRAWS = 7  # uniform numbers that an image takes: brightness, saturation, contrast, and two places each


def augment(images: Tensor, draws: Tensor, policy: str) -> Tensor:
    """Images (B, s, s, 3) in [-1, 1] changed by uniform `draws` (B, 7) in [0, 1).

    `policy` names the changes in their order, as in "color,translation,cutout". What comes in at an edge, and what is
    cut out, is 0. Colours may leave [-1, 1].
    """
    for name in policy.split(","):
        images = CHANGES[name](images, draws)
    return images


def _color(images, draws):
    brightness, saturation, contrast = (ops.cast(draws[:, i, None, None, None], images.dtype) for i in range(3))
    images = images + brightness - 0.5
    grey = ops.mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * 2 * saturation
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images, draws):
    """Moves each image by up to an eighth of its size."""
    size = images.shape[1]
    most = size // 8
    moves = ops.cast(ops.floor(draws[:, 3:5] * (2 * most + 1)), "int32")  # 0: as far as it goes
    return crop(ops.pad(images, [[0, 0], [most, most], [most, most], [0, 0]]), moves, size)


def _cut_out(images, draws):
    """Blanks a square of half the size, anywhere, also partly outside."""
    size = images.shape[1]
    half = size // 2
    centres = ops.floor(ops.cast(draws[:, 5:7], "float32") * (size + 1 - half % 2))
    pixels = ops.arange(size, dtype="float32")
    first = centres - half // 2
    inside = (pixels >= first[..., None]) & (pixels < first[..., None] + half)  # (B, 2, size)
    blank = inside[:, 0, :, None, None] & inside[:, 1, None, :, None]
    return ops.where(blank, ops.zeros((), images.dtype), images)


CHANGES = {"color": _color, "translation": _translate, "cutout": _cut_out}
