"""StackGAN++'s release (StackGAN-v2): names of layers and tensors, and sizes, as in pytorch_release."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackgan_keras.porting.pytorch_release import (
    CONV,
    CONV_BIAS,
    DENSE,
    PROJECT,
    PROJECT_NORM,
    Table,
    conv_norm,
    highest,
)


# fmt: off
def generator(
    *, image_size: int, first_size: int, residual_blocks: int, conditional: bool = True, **_: Any
) -> Table:
    sizes = branches(first_size, image_size)
    if conditional:
        yield "ca_net.fc", "conditioning_augmentation/moments_dense", DENSE
    yield from first_branch(first_size)
    for i, size in enumerate(sizes, start=1):
        yield f"img_net{i}.img.0", f"image_{size}_conv", CONV
    for i, size in enumerate(sizes[1:], start=2):
        yield from conv_norm(f"h_net{i}.jointConv", 0, f"branch_{size}_join")
        yield from later_branch(i, size, residual_blocks if i <= 3 else 1)


def discriminator(*, image_size: int, logits: Sequence[str], **_: Any) -> Table:
    yield from image_encoder(image_size)
    if "conditional" in logits:
        yield from conv_norm("jointConv", 0, "matched/join")
        yield "logits.0",        "matched/logit_conv", CONV_BIAS
        if "unconditional" in logits:
            yield "uncond_logits.0", "real/logit_conv", CONV_BIAS
    else:
        yield "logits.0",        "real/logit_conv",    CONV_BIAS


def first_branch(first_size: int) -> Table:
    yield "h_net1.fc.0", "project_dense", PROJECT
    yield "h_net1.fc.1", "project_norm",  PROJECT_NORM
    for i in range(1, (first_size // 4).bit_length()):
        yield from conv_norm(f"h_net1.upsample{i}", 1, f"up{i}")


def later_branch(number: int, size: int, residual_blocks: int) -> Table:
    """What follows the join of the branch that makes this size."""
    theirs, ours = f"h_net{number}", f"branch_{size}"
    for i in range(residual_blocks):
        yield from conv_norm(f"{theirs}.residual.{i}.block", 0, f"{ours}_residual{i + 1}_1")
        yield from conv_norm(f"{theirs}.residual.{i}.block", 3, f"{ours}_residual{i + 1}_2")
    yield from conv_norm(f"{theirs}.upsample", 1, f"{ours}_up")


def image_encoder(image_size: int) -> Table:
    """A discriminator's: four convolutions in one sequence, and one sequence for each of the others."""
    halvings = (image_size // 4).bit_length() - 1
    yield "img_code_s16.0", "encode_image/down1_conv", CONV
    for i in range(2, min(halvings, 4) + 1):
        yield from conv_norm("img_code_s16", 3 * i - 4, f"encode_image/down{i}")
    for i in range(5, halvings + 1):
        yield from conv_norm(f"img_code_s{2**i}", 0, f"encode_image/down{i}")
    for i in range(1, halvings - 3):
        yield from conv_norm(f"img_code_s{2**halvings}_{i}", 0, f"encode_image/reduce{i}")
# fmt: on


def generator_sizes(state: dict[str, np.ndarray]) -> dict:
    conditional = "ca_net.fc.weight" in state
    text = text_sizes(state) if conditional else {}
    residual_blocks = highest(state, r"h_net2\.residual\.(\d+)\.", none=-1) + 1
    sizes = first_sizes(state, text.get("condition_dim", 0))
    return sizes | text | {"residual_blocks": residual_blocks, "conditional": conditional}


def discriminator_sizes(state: dict[str, np.ndarray]) -> dict:
    sizes = image_sizes(state)
    if "jointConv.0.weight" not in state:
        return sizes | {"logits": ["unconditional"], "family": "stackgan_v2"}
    logits = ["conditional"] + ["unconditional"] * ("uncond_logits.0.weight" in state)
    condition_dim = state["jointConv.0.weight"].shape[1] - features(sizes)
    return sizes | {"logits": logits, "condition_dim": condition_dim, "family": "stackgan_v2"}


def branches(first_size: int, image_size: int) -> list[int]:
    return [first_size * 2**i for i in range((image_size // first_size).bit_length())]


def first_sizes(state: dict[str, np.ndarray], condition_dim: int) -> dict:
    """What the first branch tells, and how many there are."""
    values, width = state["h_net1.fc.0.weight"].shape
    doublings = highest(state, r"h_net1\.upsample(\d+)\.")
    first_size = 4 * 2**doublings
    return {
        "image_size": first_size * 2 ** (highest(state, r"h_net(\d+)\.") - 1),
        "first_size": first_size,
        "filters": values // 32 // 2**doublings,
        "noise_dim": width - condition_dim,
    }


def text_sizes(state: dict[str, np.ndarray]) -> dict:
    gated_moments, text_dim = state["ca_net.fc.weight"].shape
    return {"text_dim": text_dim, "condition_dim": gated_moments // 4}


def image_sizes(state: dict[str, np.ndarray]) -> dict:
    """A discriminator's image size and filters."""
    smallest = highest(state, r"img_code_s(\d+)\.")  # so many times smaller the last map is
    return {"image_size": 4 * smallest, "filters": state["img_code_s16.0.weight"].shape[0]}


def features(sizes: dict) -> int:
    """The channels of a discriminator's last map."""
    return 8 * sizes["filters"]
