"""StackGAN's PyTorch release and the char-CNN-RNN's port: names of layers and tensors, and sizes that shapes tell.

A network is a list of (their layer, our layer, the tensors of such a layer), a layer one of (their tensor, our
variable, order of the axes), and the sizes are the keywords of our builder.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Order = str | Callable[[np.ndarray], np.ndarray]  # of the axes, as einsum has it, or what arranges a tensor itself
Table = Iterator[tuple[str, str, tuple[tuple[str, str, Order], ...]]]


def _flat_map(x: np.ndarray) -> np.ndarray:
    """The values of a 4x4 map, flat on the first axis, from (channels, 4, 4) to (4, 4, channels)."""
    return np.moveaxis(x.reshape(-1, 4, 4, *x.shape[1:]), 0, 2).reshape(x.shape)


# fmt: off
CONV = ((".weight", "/kernel", "oihw->hwio"),)
CONV_BIAS = (*CONV, (".bias", "/bias", "o->o"))
DENSE = ((".weight", "/kernel", "oi->io"), (".bias", "/bias", "o->o"))
NORM = ((".weight",       "/gamma",       "c->c"), (".bias",        "/beta",            "c->c"),
        (".running_mean", "/moving_mean", "c->c"), (".running_var", "/moving_variance", "c->c"))
TEXT_CONV = ((".weight", "/kernel", "oiw->wio"), (".bias", "/bias", "o->o"))
RECURRENT = ((".weight", "_kernel", "oi->io"), (".bias", "_bias", "o->o"))
GATES = {"birds": {"_update": "update", "_reset": "reset", "": "state"}, "flowers": {"": "state"}}
# the dense layer to the first 4x4 map, and its norm
PROJECT = ((".weight", "/kernel", lambda x: _flat_map(x).T),)
PROJECT_NORM = tuple((theirs, ours, _flat_map) for theirs, ours, _ in NORM)


def stage1_generator(*, image_size: int, **_: Any) -> Table:
    yield "ca_net.fc", "conditioning_augmentation/moments_dense", DENSE
    yield "fc.0",      "project_dense",                           PROJECT
    yield "fc.1",      "project_norm",                            PROJECT_NORM
    yield from _up_blocks(4, image_size)


def stage2_generator(*, stage1: dict, image_size: int, residual_blocks: int, **_: Any) -> Table:
    for theirs, ours, tensors in stage1_generator(**stage1):
        yield f"STAGE1_G.{theirs}", f"stage1_generator/{ours}", tensors
    yield "ca_net.fc", "conditioning_augmentation/moments_dense", DENSE
    yield "encoder.0", "encode1_conv",                            CONV
    yield from conv_norm("encoder", 2, "encode2")
    yield from conv_norm("encoder", 5, "encode3")
    yield from conv_norm("hr_joint", 0, "join")
    for i in range(residual_blocks):
        yield from conv_norm(f"residual.{i}.block", 0, f"residual{i + 1}_1")
        yield from conv_norm(f"residual.{i}.block", 3, f"residual{i + 1}_2")
    yield from _up_blocks(stage1["image_size"] // 4, image_size)


def discriminator(*, image_size: int, logits: list[str], **_: Any) -> Table:
    halvings = (image_size // 4).bit_length() - 1
    names = [f"down{i}" for i in range(2, halvings + 1)] + [f"reduce{i}" for i in range(1, halvings - 3)]
    yield "encode_img.0", "encode_image/down1_conv", CONV
    for i, name in enumerate(names):
        yield from conv_norm("encode_img", 3 * i + 2, f"encode_image/{name}")
    yield from conv_norm("get_cond_logits.outlogits", 0, "matched/join")
    yield "get_cond_logits.outlogits.3", "matched/logit_conv", CONV_BIAS
    if "unconditional" in logits:
        yield "get_uncond_logits.outlogits.0", "real/logit_conv", CONV_BIAS


def conv_norm(theirs: str, number: int, ours: str) -> Table:
    """A convolution and its batch norm, which follow each other in a sequence, from that number on."""
    yield f"{theirs}.{number}",     f"{ours}_conv", CONV
    yield f"{theirs}.{number + 1}", f"{ours}_norm", NORM


def _up_blocks(start: int, image_size: int) -> Table:
    for i in range(1, (image_size // start).bit_length()):
        yield from conv_norm(f"upsample{i}", 1, f"up{i}")
    yield "img.0", "image_conv", CONV


def text_encoder(*, variant: str, **_: Any) -> Table:
    yield from ((f"conv{i}", f"conv{i}", TEXT_CONV) for i in (1, 2, 3))
    for suffix, gate in GATES[variant].items():
        yield f"rnn.i2h{suffix}", f"recurrence/{gate}_input",     RECURRENT
        yield f"rnn.h2h{suffix}", f"recurrence/{gate}_recurrent", RECURRENT
    yield "emb_proj", "project", DENSE
# fmt: on


def stage1_generator_sizes(state: dict[str, np.ndarray]) -> dict:
    text = _text_sizes(state)
    values, width = state["fc.0.weight"].shape
    sizes = {"image_size": 4 * 2 ** highest(state, r"upsample(\d+)\."), "filters": values // 16 // 8}
    return sizes | text | {"noise_dim": width - text["condition_dim"], "architecture": "pytorch"}


def stage2_generator_sizes(state: dict[str, np.ndarray]) -> dict:
    inner = "STAGE1_G."
    stage1 = stage1_generator_sizes({n.removeprefix(inner): v for n, v in state.items() if n.startswith(inner)})
    image_size = stage1["image_size"] // 4 * 2 ** highest(state, r"upsample(\d+)\.")
    sizes = {"stage1": stage1, "image_size": image_size, "filters": state["encoder.0.weight"].shape[0]}
    residual_blocks = highest(state, r"residual\.(\d+)\.", none=-1) + 1
    return sizes | _text_sizes(state) | {"residual_blocks": residual_blocks, "architecture": "pytorch"}


def discriminator_sizes(state: dict[str, np.ndarray]) -> dict:
    logits = ["conditional"] + ["unconditional"] * any(name.startswith("get_uncond_logits.") for name in state)
    convolutions = (highest(state, r"encode_img\.(\d+)\.weight") + 1) // 3 + 1  # the first has no norm beside it
    halvings = convolutions if convolutions <= 4 else convolutions // 2 + 2  # beyond 4, each one is undone by a 3x3
    filters = state["encode_img.0.weight"].shape[0]
    condition_dim = state["get_cond_logits.outlogits.0.weight"].shape[1] - filters * 2 ** min(halvings - 1, 3)
    sizes = {"image_size": 4 * 2**halvings, "filters": filters, "logits": logits, "condition_dim": condition_dim}
    return sizes | {"architecture": "pytorch"}


def text_encoder_sizes(state: dict[str, np.ndarray]) -> dict:
    return {
        "variant": "birds" if any(name.startswith("rnn.h2h_update.") for name in state) else "flowers",
        "filters": state["conv1.weight"].shape[0],
        "recurrent_dim": state["conv3.weight"].shape[0],
        "text_dim": state["emb_proj.weight"].shape[0],
    }


def _text_sizes(state: dict) -> dict:
    moments, text_dim = state["ca_net.fc.weight"].shape
    return {"text_dim": text_dim, "condition_dim": moments // 2}


def highest(state: dict[str, np.ndarray], pattern: str, none: int = 0) -> int:
    """The highest number that stands at this place of a name. Raises `ValueError` where no network has so many."""
    found = max((int(match[1]) for name in state if (match := re.match(pattern, name))), default=none)
    if found > 1024:
        raise ValueError(f"its layers are numbered up to {found}")
    return found
