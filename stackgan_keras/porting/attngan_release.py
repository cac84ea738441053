"""AttnGAN's release: names of layers and tensors, and sizes, as in pytorch_release."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackgan_keras.porting import stackgan_v2_release as stackgan_v2
from stackgan_keras.porting.pretrained import inception
from stackgan_keras.porting.pytorch_release import CONV, CONV_BIAS, DENSE, Table, conv_norm, highest


def _one_pixel(kernel: np.ndarray) -> np.ndarray:
    """A 1x1 convolution (out, in, 1, 1) as a dense kernel (in, out)."""
    return kernel.reshape(kernel.shape[:2]).T


# fmt: off
ATTENTION = ((".weight", "/kernel", _one_pixel),)
EMBEDDING = ((".weight", "/embeddings", "vd->vd"),)
LSTM = (
    ("weight_ih_l0", "kernel", "oi->io"), ("weight_hh_l0", "recurrent_kernel", "oi->io"),
    ("bias_ih_l0",   "bias",   "o->o"),   ("bias_hh_l0",   "recurrent_bias",   "o->o"),
)


def generator(
    *, image_size: int, first_size: int, residual_blocks: int, final_image_only: bool = False, **_: Any
) -> Table:
    sizes = stackgan_v2.branches(first_size, image_size)
    yield "ca_net.fc", "conditioning_augmentation/moments_dense", DENSE
    yield from stackgan_v2.first_branch(first_size)
    for i, size in enumerate(sizes[1:], start=2):
        yield f"h_net{i}.att.conv_context", f"branch_{size}_words_dense", ATTENTION
        yield from stackgan_v2.later_branch(i, size, residual_blocks)
    if final_image_only:
        yield "img_net.img.0", f"image_{image_size}_conv", CONV
    else:
        yield from ((f"img_net{i}.img.0", f"image_{size}_conv", CONV) for i, size in enumerate(sizes, start=1))


def discriminator(*, image_size: int, logits: Sequence[str], **_: Any) -> Table:
    yield from stackgan_v2.image_encoder(image_size)
    yield from conv_norm("COND_DNET.jointConv", 0, "matched/join")
    yield "COND_DNET.outlogits.0", "matched/logit_conv", CONV_BIAS
    if "unconditional" in logits:
        yield "UNCOND_DNET.outlogits.0", "real/logit_conv", CONV_BIAS


def word_encoder(**_: Any) -> Table:
    yield "encoder", "embed", EMBEDDING
    for direction, suffix in (("forward", ""), ("backward", "_reverse")):
        names = tuple((f".{theirs}{suffix}", f"/{ours}", order) for theirs, ours, order in LSTM)
        yield "rnn", f"lstm_{direction}", names


def region_encoder(**_: Any) -> Table:
    yield from inception()
    yield "emb_features", "regions", CONV
    yield "emb_cnn_code", "code",    DENSE
# fmt: on


def generator_sizes(state: dict[str, np.ndarray]) -> dict:
    text = stackgan_v2.text_sizes(state)
    sizes = stackgan_v2.first_sizes(state, text["condition_dim"]) | text
    return sizes | {
        "residual_blocks": highest(state, r"h_net2\.residual\.(\d+)\.", none=-1) + 1,
        "final_image_only": "img_net.img.0.weight" in state,
        "mask_order": "as_released",
    }


def discriminator_sizes(state: dict[str, np.ndarray]) -> dict:
    sizes = stackgan_v2.image_sizes(state)
    logits = ["conditional"] + ["unconditional"] * any(name.startswith("UNCOND_DNET.") for name in state)
    text_dim = state["COND_DNET.jointConv.0.weight"].shape[1] - stackgan_v2.features(sizes)
    return sizes | {"logits": logits, "text": "embedding", "text_dim": text_dim, "family": "attngan"}


def word_encoder_sizes(state: dict[str, np.ndarray]) -> dict:
    vocabulary, word_dim = state["encoder.weight"].shape
    return {"vocabulary": vocabulary, "word_dim": word_dim, "text_dim": 2 * state["rnn.weight_hh_l0"].shape[1]}


def region_encoder_sizes(state: dict[str, np.ndarray]) -> dict:
    return {"text_dim": state["emb_features.weight"].shape[0]}
