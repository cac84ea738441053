"""Which of our networks is in the tensors of an older release, and what is each of them called here?"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stackgan_keras import weights
from stackgan_keras.errors import InputError


def networks(tensors: dict[str, np.ndarray]) -> tuple[dict[str, dict], list[str]]:
    """The state dicts among the tensors, by what stands before the last slash of their names, and the names left."""
    groups: dict[str, dict] = {}
    for name, value in tensors.items():
        group, _, inner = name.rpartition("/")
        groups.setdefault(group, {})[inner] = value
    found = {group: state for group, state in groups.items() if _network(state)}
    return found, [name for name in tensors if name.rpartition("/")[0] not in found]


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
    try:
        model = recipe.build()
    except ValueError as problem:
        raise InputError(
            f"the sizes of the {recipe.network} in the file, {recipe.keywords}, are impossible ({problem}): "
            "convert the checkpoint as the release saved it"
        ) from None
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
    network = _network(state)
    if network is None:
        found = ", ".join(list(state)[:3]) or "nothing"
        raise InputError(
            f"the file holds {found}…, which is no network of StackGAN's PyTorch release: give a netG or netD file"
        )
    sizes = {
        "stage2_generator": _stage2_sizes,
        "stage1_generator": _stage1_sizes,
        "discriminator": _discriminator_sizes,
    }
    try:
        return weights.Recipe(network, sizes[network](state))
    except KeyError as missing:
        reason = f"{missing.args[0]} is missing"
    except (ValueError, IndexError):
        reason = "a tensor has too few dimensions, or a name has no number"
    raise InputError(
        f"the file has the names of a {network} but its sizes cannot be told ({reason}): "
        "convert the checkpoint as the release saved it"
    )


def _network(state: dict) -> str | None:
    """Which network has such names, if any."""
    names = [name.removeprefix("module.") for name in state]
    marks = {"STAGE1_G.": "stage2_generator", "upsample": "stage1_generator", "encode_img.": "discriminator"}
    return next((net for mark, net in marks.items() if any(name.startswith(mark) for name in names)), None)


def _text_sizes(state) -> dict:
    moments, text_dim = state["ca_net.fc.weight"].shape
    return {"text_dim": text_dim, "condition_dim": moments // 2}


def _stage1_sizes(state) -> dict:
    text = _text_sizes(state)
    values, width = state["fc.0.weight"].shape
    return {
        "image_size": 4 * 2 ** _highest(state, r"upsample(\d+)\."),
        "filters": values // 16 // 8,
        **text,
        "noise_dim": width - text["condition_dim"],
    }


def _stage2_sizes(state) -> dict:
    stage1 = _stage1_sizes({name.removeprefix("STAGE1_G."): v for name, v in state.items() if "STAGE1_G." in name})
    return {
        "stage1": stage1,
        "image_size": stage1["image_size"] // 4 * 2 ** _highest(state, r"upsample(\d+)\."),
        "filters": state["encoder.0.weight"].shape[0],
        **_text_sizes(state),
        "residual_blocks": _highest(state, r"residual\.(\d+)\.", none=-1) + 1,
    }


def _discriminator_sizes(state) -> dict:
    heads = ["matched"] + ["real"] * any(name.startswith("get_uncond_logits.") for name in state)
    convolutions = (_highest(state, r"encode_img\.(\d+)\.weight") + 1) // 3 + 1  # the first has no norm beside it
    halvings = convolutions if convolutions <= 4 else convolutions // 2 + 2  # beyond 4, each one is undone by a 3x3
    filters = state["encode_img.0.weight"].shape[0]
    features = filters * 2 ** min(halvings - 1, 3)
    return {
        "image_size": 4 * 2**halvings,
        "filters": filters,
        "heads": heads,
        "condition_dim": state["get_cond_logits.outlogits.0.weight"].shape[1] - features,
    }


def _highest(state, pattern: str, none: int = 0) -> int:
    """The highest number that stands at this place of a name."""
    return max((int(match[1]) for name in state if (match := re.match(pattern, name))), default=none)


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
