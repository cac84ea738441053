"""The networks of pytorch-fid and efficientnet-lite-pytorch: names of layers and tensors, as in pytorch_release."""

from typing import Any

from stackgan_keras.models.efficientnet_lite0 import STAGES
from stackgan_keras.porting.pytorch_release import CONV, DENSE, NORM, Table

# fmt: off
DEPTHWISE = ((".weight", "/kernel", "oihw->hwoi"),)
UNBIASED = ((".weight", "/kernel", "oi->io"),)
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
A = ("1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "_pool")
B = ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3")
C = ("1x1", "7x7_1", "7x7_2", "7x7_3", "7x7dbl_1", "7x7dbl_2", "7x7dbl_3", "7x7dbl_4", "7x7dbl_5", "_pool")
D = ("3x3_1", "3x3_2", "7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4")
E = ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b", "_pool")
BRANCHES = {"5b": A, "5c": A, "5d": A, "6a": B, "6b": C, "6c": C, "6d": C, "6e": C, "7a": D, "7b": E, "7c": E}


def fid_inception(**_: Any) -> Table:
    yield from inception()
    yield "fc", "fc", UNBIASED


def inception() -> Table:
    names = [*STEM, *(f"Mixed_{block}.branch{name}" for block, branches in BRANCHES.items() for name in branches)]
    for theirs in names:
        ours = theirs.replace(".", "_")
        yield f"{theirs}.conv", f"{ours}_conv", CONV
        yield f"{theirs}.bn",   f"{ours}_norm", NORM


def efficientnet_lite0() -> Table:
    yield "_conv_stem", "stem_conv", CONV
    yield "_bn0",       "stem_norm", NORM
    widenings = [widening for blocks, _, _, widening, _ in STAGES for _ in range(blocks)]
    for i, widening in enumerate(widenings):
        theirs, ours = f"_blocks.{i}.", f"block{i}_"
        if widening > 1:
            yield f"{theirs}_expand_conv", f"{ours}expand_conv", CONV
            yield f"{theirs}_bn0",         f"{ours}expand_norm", NORM
        yield f"{theirs}_depthwise_conv", f"{ours}depthwise_conv", DEPTHWISE
        yield f"{theirs}_bn1",            f"{ours}depthwise_norm", NORM
        yield f"{theirs}_project_conv",   f"{ours}project_conv",   CONV
        yield f"{theirs}_bn2",            f"{ours}project_norm",   NORM
    yield "_conv_head", "head_conv", CONV
    yield "_bn1",       "head_norm", NORM
    yield "_fc",        "fc",        DENSE
# fmt: on
