"""The TensorFlow release of StackGAN: the names of its layers and tensors, and the sizes that their shapes tell.

The tables are as in `pytorch_release`. A checkpoint holds all networks of a run, each in a scope of its own, in which
layers of a kind are numbered in the order they were built.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from stackgan_keras.porting.pytorch_release import Table

NAME = re.compile(  # of a weight or a moving average; what else a checkpoint holds is bookkeeping
    r"((?:hr_)?[gd]_net)/(custom_conv2d|conv_batch_norm|custom_fully_connected|fc_batch_norm)((?:_\d+)?)/"
    r"(?:Linear/(?:Matrix|bias)|(?:\2\3|batch_norm)/(?:w|mean|variance|gamma|beta))"
)
SCOPES = {"stage1_gen": "g_net", "stage1_dis": "d_net", "stage2_gen": "hr_g_net", "stage2_dis": "hr_d_net"}


def networks(tensors: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of each network in a checkpoint, called as its weight file; none if it is not of this release."""
    scope_of = {name: match[1] for name in tensors if (match := NAME.fullmatch(name))}
    found = {
        network: {name: tensors[name] for name in scope_of if scope_of[name] == scope}
        for network, scope in SCOPES.items()
        if scope in scope_of.values()
    }
    if "stage2_gen" in found:  # it holds the Stage I that it starts from
        found["stage2_gen"] |= found.get("stage1_gen", {})
    return found


# fmt: off
CONV = (("/w", "/kernel", "hwio->hwio"),)
DENSE = (("/Linear/Matrix", "/kernel", "io->io"), ("/Linear/bias", "/bias", "o->o"))
NORM = (("/gamma", "/gamma",       "c->c"), ("/beta",     "/beta",            "c->c"),
        ("/mean",  "/moving_mean", "c->c"), ("/variance", "/moving_variance", "c->c"))


def stage1_generator(*, image_size: int, noise_dim: int, **_: Any) -> Table:
    # the release joins condition and noise, we noise and condition
    map_dense = (("/Linear/Matrix", "/kernel", lambda x: np.roll(x, noise_dim, axis=0)), DENSE[1])
    yield "g_net/custom_fully_connected",   "conditioning_augmentation/moments_dense", DENSE
    yield "g_net/custom_fully_connected_1", "project_dense",                           map_dense
    yield "g_net/fc_batch_norm/batch_norm", "project_norm",                            NORM
    ups = [f"up{i}" for i in range(2, (image_size // 4).bit_length() - 1)]
    names = [*_bottleneck("project_"), "up1", *_bottleneck("up1_"), *ups, "image"]
    yield from _convolutions("g_net", names, without_norm=["image"])


def stage2_generator(*, stage1: dict, image_size: int, residual_blocks: int, **_: Any) -> Table:
    for theirs, ours, tensors in stage1_generator(**stage1):
        yield theirs, f"stage1_generator/{ours}", tensors
    yield "hr_g_net/custom_fully_connected", "conditioning_augmentation/moments_dense", DENSE
    residual = [f"residual{i}_{j}" for i in range(1, residual_blocks + 1) for j in (1, 2)]
    ups = [f"up{i}" for i in range(1, (image_size * 4 // stage1["image_size"]).bit_length())]
    names = ["encode1", "encode2", "encode3", "join", *residual, *ups, "image"]
    yield from _convolutions("hr_g_net", names, without_norm=["encode1", "image"])


def discriminator(*, image_size: int, **_: Any) -> Table:
    halvings = (image_size // 4).bit_length() - 1
    scope = "d_net" if halvings <= 4 else "hr_d_net"
    yield f"{scope}/custom_fully_connected", "matched/compress_dense", DENSE
    downs = [f"encode_image/down{i}" for i in range(1, halvings + 1)]
    reduced = [f"encode_image/reduce{i}" for i in range(1, halvings - 3)]
    names = [*downs, *reduced, *_bottleneck("encode_image/"), "matched/join", "matched/logit"]
    yield from _convolutions(scope, names, without_norm=[downs[0], "matched/logit"])


def _bottleneck(prefix: str) -> list[str]:
    return [f"{prefix}residual_{i}" for i in (1, 2, 3)]


def _convolutions(scope: str, names: Sequence[str], without_norm: Collection[str]) -> Table:
    """Convolutions, and the batch norms after all but some of them, in the order they were built."""
    for i, name in enumerate(names):
        yield _numbered(scope, "custom_conv2d", i), f"{name}_conv", CONV
    for i, name in enumerate(name for name in names if name not in without_norm):
        yield _numbered(scope, "conv_batch_norm", i), f"{name}_norm", NORM
# fmt: on


def _numbered(scope: str, layer: str, number: int) -> str:
    layer = f"{layer}_{number}" if number else layer
    return f"{scope}/{layer}/{layer}"


def stage1_generator_sizes(state: dict[str, np.ndarray]) -> dict:
    text = _text_sizes(state, "g_net")
    width, values = state["g_net/custom_fully_connected_1/Linear/Matrix"].shape
    ups = len(_kernels(state, "g_net")) - 7  # beside two bottlenecks and the image's convolution, which doubles too
    sizes = {"image_size": 4 * 2 ** (max(ups, 1) + 1), "filters": values // 16 // 8}
    return sizes | text | {"noise_dim": width - text["condition_dim"], "architecture": "tensorflow"}


def stage2_generator_sizes(state: dict[str, np.ndarray]) -> dict:
    stage1 = stage1_generator_sizes(state)
    widths = [shape[3] for shape in _kernels(state, "hr_g_net")]
    last = len(widths) - 1
    first_up = next((i for i in range(4, last) if widths[i] != 4 * widths[0]), last)  # before it, all are as wide
    image_size = stage1["image_size"] // 4 * 2 ** (last - first_up)
    sizes = {"stage1": stage1, "image_size": image_size, "filters": widths[0], **_text_sizes(state, "hr_g_net")}
    return sizes | {"residual_blocks": (first_up - 4) // 2, "architecture": "tensorflow"}


def discriminator_sizes(state: dict[str, np.ndarray]) -> dict:
    scope = next(iter(state)).split("/")[0]
    kernels = _kernels(state, scope)
    halvings = sum(shape[0] == 4 for shape in kernels) - 1  # all 4x4 but the logit's halve the map
    sizes = {"image_size": 4 * 2**halvings, "filters": kernels[0][3], "logits": ["conditional"]}
    text_dim, condition_dim = state[f"{scope}/custom_fully_connected/Linear/Matrix"].shape
    text = {"text": "embedding", "text_dim": text_dim, "condition_dim": condition_dim}
    return sizes | text | {"architecture": "tensorflow"}


def _text_sizes(state: dict, scope: str) -> dict:
    text_dim, moments = state[f"{scope}/custom_fully_connected/Linear/Matrix"].shape
    return {"text_dim": text_dim, "condition_dim": moments // 2}


def _kernels(state: dict, scope: str) -> list[tuple[int, ...]]:
    """The shapes of a scope's convolutions, in the order they were built."""
    count = sum(name.startswith(f"{scope}/custom_conv2d") for name in state)
    return [state[f"{_numbered(scope, 'custom_conv2d', i)}/w"].shape for i in range(count)]
