"""Which of our networks is in this checkpoint of the PyTorch release, and what is each of its tensors called here?

    python -m stackgan_keras.convert netG_epoch_600.pth --out weights/birds/stage1_gen.weights.h5

Takes `netG` and `netD` files of both stages, in torch's old and new formats, and `.npz` files of the same names.
"""

import argparse
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stackgan_keras import weights
from stackgan_keras.commands import run
from stackgan_keras.errors import InputError


class Target(NamedTuple):
    """Where a tensor of the release goes: our variable's path, and how its axes are put in our order."""

    path: str
    arrange: Callable[[np.ndarray], np.ndarray]


def convert(state: dict[str, np.ndarray]):
    """The Keras model and the recipe for one network's tensors by their names in the PyTorch release.

    Raises `InputError`, listing the names, if any is missing, left over or of another shape.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    recipe = recognize(state)
    model = recipe.build()
    variables = weights.named_variables(model)
    targets = dict(_targets(recipe))
    faults = [f"{name} is missing" for name in targets if name not in state]
    faults += [f"{name} is left over" for name in state if name not in targets]
    arranged = {}
    for name in targets.keys() & state.keys():
        path, arrange = targets[name]
        try:
            arranged[path] = arrange(state[name])
            shape = arranged[path].shape
        except ValueError:  # too few axes, or too few values, to be put in our order
            shape = None
        if shape != tuple(variables[path].shape):
            expected = f"{tuple(variables[path].shape)} as {path}"
            faults.append(f"{name} is {state[name].shape}, which does not give {expected}")
    if faults:
        raise InputError(
            f"the file looks like a {recipe.network} but {len(faults)} of its names do not fit: "
            + "; ".join(sorted(faults)[:20])
            + ("; …" if len(faults) > 20 else "")
            + ". Convert the checkpoint as the release saved it"
        )
    for path, value in arranged.items():
        variables[path].assign(value)
    return model, recipe


def recognize(state: dict[str, np.ndarray]) -> weights.Recipe:
    """The network, and the sizes it was built with, from names and shapes alone."""
    try:
        if any(name.startswith("STAGE1_G.") for name in state):
            return weights.Recipe("stage2_generator", _stage2_sizes(state))
        if any(name.startswith("upsample") for name in state):
            return weights.Recipe("stage1_generator", _stage1_sizes(state))
        if any(name.startswith("encode_img.") for name in state):
            return weights.Recipe("discriminator", _discriminator_sizes(state))
    except (KeyError, ValueError, IndexError) as missing:
        raise InputError(
            f"the file has the names of a StackGAN network but its sizes cannot be read from {missing}: "
            "convert the checkpoint as the release saved it"
        ) from missing
    found = ", ".join(list(state)[:3]) or "nothing"
    raise InputError(
        f"the file holds {found}…, which is no network of StackGAN's PyTorch release: give a netG or netD file"
    )


def _text_sizes(state) -> dict:
    moments, text_dim = state["ca_net.fc.weight"].shape
    return {"text_dim": text_dim, "condition_dim": moments // 2}


def _stage1_sizes(state) -> dict:
    text = _text_sizes(state)
    values, width = state["fc.0.weight"].shape
    return {
        "image_size": 4 * 2 ** _count(state, r"upsample(\d+)\."),
        "filters": values // 16 // 8,
        **text,
        "noise_dim": width - text["condition_dim"],
    }


def _stage2_sizes(state) -> dict:
    stage1 = _stage1_sizes({name.removeprefix("STAGE1_G."): v for name, v in state.items() if "STAGE1_G." in name})
    return {
        "stage1": stage1,
        "image_size": stage1["image_size"] // 4 * 2 ** _count(state, r"upsample(\d+)\."),
        "filters": state["encoder.0.weight"].shape[0],
        **_text_sizes(state),
        "residual_blocks": _count(state, r"residual\.(\d+)\."),
    }


def _discriminator_sizes(state) -> dict:
    heads = ["matched"] + ["real"] * any(name.startswith("get_uncond_logits.") for name in state)
    halvings = sum(bool(re.fullmatch(r"encode_img\.\d+\.weight", n)) and v.shape[2:] == (4, 4) for n, v in state.items())
    features = state[max((n for n in state if n.startswith("encode_img.")), key=_layer_number)].shape[0]
    return {
        "image_size": 4 * 2**halvings,
        "filters": state["encode_img.0.weight"].shape[0],
        "heads": heads,
        "condition_dim": state["get_cond_logits.outlogits.0.weight"].shape[1] - features,
    }


def _layer_number(name: str) -> int:
    return int(name.split(".")[1])


def _count(state, pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})


# -- the table: the release's names, and ours ---------------------------------------------------------------------


def _targets(recipe: weights.Recipe) -> Iterator[tuple[str, Target]]:
    tables = {"stage1_generator": _stage1_table, "stage2_generator": _stage2_table, "discriminator": _encoder_table}
    return tables[recipe.network](**recipe.keywords)


def _stage1_table(*, image_size, filters, **_):
    yield from _dense("ca_net.fc", "conditioning_augmentation/moments_dense", bias=True)
    order = _channels_last(8 * filters)
    yield "fc.0.weight", Target("project_dense/kernel", lambda x: order(x).T)
    yield from _norm("fc.1", "project_norm", order)
    yield from _up_blocks(4, image_size)


def _stage2_table(*, stage1, image_size, residual_blocks, **_):
    for name, (path, arrange) in _stage1_table(**stage1):
        yield f"STAGE1_G.{name}", Target(f"stage1_generator/{path}", arrange)
    yield from _dense("ca_net.fc", "conditioning_augmentation/moments_dense", bias=True)
    yield from _conv("encoder.0", "encode1_conv")
    yield from _conv_norm("encoder.2", "encoder.3", "encode2")
    yield from _conv_norm("encoder.5", "encoder.6", "encode3")
    yield from _conv_norm("hr_joint.0", "hr_joint.1", "join")
    for i in range(residual_blocks):
        yield from _conv_norm(f"residual.{i}.block.0", f"residual.{i}.block.1", f"residual{i + 1}_1")
        yield from _conv_norm(f"residual.{i}.block.3", f"residual.{i}.block.4", f"residual{i + 1}_2")
    yield from _up_blocks(stage1["image_size"] // 4, image_size)


def _encoder_table(*, image_size, heads, **_):
    halvings = (image_size // 4).bit_length() - 1
    names = [f"down{i + 1}" for i in range(halvings)] + [f"reduce{i + 1}" for i in range(max(halvings - 4, 0))]
    yield from _conv("encode_img.0", "encode_image/down1_conv")
    for i, name in enumerate(names[1:]):
        yield from _conv_norm(f"encode_img.{3 * i + 2}", f"encode_img.{3 * i + 3}", f"encode_image/{name}")
    yield from _conv_norm("get_cond_logits.outlogits.0", "get_cond_logits.outlogits.1", "matched/join")
    yield from _conv("get_cond_logits.outlogits.3", "matched/logit_conv", bias=True)
    if "real" in heads:
        yield from _conv("get_uncond_logits.outlogits.0", "real/logit_conv", bias=True)


def _up_blocks(start: int, image_size: int):
    for i in range(1, (image_size // start).bit_length()):
        yield from _conv_norm(f"upsample{i}.1", f"upsample{i}.2", f"up{i}")
    yield from _conv("img.0", "image_conv")


def _conv_norm(conv: str, norm: str, name: str):
    yield from _conv(conv, f"{name}_conv")
    yield from _norm(norm, f"{name}_norm")


def _conv(theirs: str, ours: str, bias: bool = False):
    yield f"{theirs}.weight", Target(f"{ours}/kernel", lambda x: x.transpose(2, 3, 1, 0))
    if bias:
        yield f"{theirs}.bias", Target(f"{ours}/bias", _as_it_is)


def _dense(theirs: str, ours: str, bias: bool):
    yield f"{theirs}.weight", Target(f"{ours}/kernel", np.transpose)
    if bias:
        yield f"{theirs}.bias", Target(f"{ours}/bias", _as_it_is)


def _norm(theirs: str, ours: str, arrange: Callable | None = None):
    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for their_name, our_name in pairs.items():
        yield f"{theirs}.{their_name}", Target(f"{ours}/{our_name}", arrange or _as_it_is)


def _as_it_is(x: np.ndarray) -> np.ndarray:
    return x


def _channels_last(width: int) -> Callable[[np.ndarray], np.ndarray]:
    """The 4x4 map's values, flat on the first axis, from (width, 4, 4) order to (4, 4, width)."""
    return lambda x: np.moveaxis(x.reshape(width, 4, 4, *x.shape[1:]), 0, 2).reshape(x.shape)


# -- files --------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, read without executing anything that stands in the file.

    Raises `InputError` for a missing or broken file, one that asks for code, and one that is no dict of tensors.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: give the path of a netG or netD checkpoint")
    if path.suffix == ".npz":
        return _read_npz(path)
    return _read_torch(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as problem:
        raise InputError(f"{path} cannot be read as an .npz of arrays ({problem}): make it again") from problem


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as problem:
        raise InputError(
            f"{path.name} is a PyTorch file and torch is not installed: pip install 'stackgan_keras[torch]'"
        ) from problem
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises a dozen kinds for files that are broken, foreign or hostile
        reason = str(problem).split("Please file an issue")[0].strip().splitlines()
        blamed = next((line.strip() for line in reason if "GLOBAL" in line or "global" in line), reason[0])
        raise InputError(
            f"{path} cannot be read safely as a PyTorch checkpoint ({blamed}): give the file as the release saved it"
        ) from problem
    if not isinstance(state, dict) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise InputError(f"{path} holds no dict of tensors: give a state dict, as the release saves them")
    return {name: tensor.numpy() for name, tensor in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stackgan_keras.convert",
        description="Turns a checkpoint of StackGAN's PyTorch release into a weight file of this package.",
    )
    parser.add_argument("file", type=Path, help="netG or netD of either stage, .pth (needs torch) or .npz")
    parser.add_argument("--out", type=Path, required=True, help="FILE.weights.h5 to write")
    arguments = parser.parse_args()
    model, recipe = convert(read(arguments.file))
    weights.save(model, recipe, arguments.out)
    print(f"{arguments.file} holds a {recipe.network} with {recipe.keywords}")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    run(main)
