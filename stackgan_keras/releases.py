"""Which of our networks is in the tensors of an older release, and what is each of them called here?"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stackgan_keras import weights
from stackgan_keras.errors import InputError

TENSORFLOW = re.compile(  # what has a name in a checkpoint of the TensorFlow release and is no bookkeeping
    r"((?:hr_)?[gd]_net)/(custom_conv2d|conv_batch_norm|custom_fully_connected|fc_batch_norm)((?:_\d+)?)/"
    r"(?:Linear/(?:Matrix|bias)|(?:\2\3|batch_norm)/(?:w|mean|variance|gamma|beta))"
)
NO_NETWORK = (
    "no network of StackGAN's PyTorch or TensorFlow release and no char-CNN-RNN: give a netG or netD file, a "
    "checkpoint, or a text encoder"
)
SCOPES = {  # its networks, each with what is needed to build it
    "stage1_gen": ("g_net",),
    "stage1_dis": ("d_net",),
    "stage2_gen": ("g_net", "hr_g_net"),
    "stage2_dis": ("hr_d_net",),
}


class Target(NamedTuple):
    """Where a tensor of the release goes: our variable's path, and how its axes are put in our order."""

    path: str
    arrange: Callable[[np.ndarray], np.ndarray]


class Kind(NamedTuple):
    """A network as one of the releases knows it."""

    network: str  # what we call it
    marks: tuple[str, ...]  # how some of its names begin, and none of the kinds that follow
    sizes: Callable[[dict], dict]  # the keywords that build it, by its tensors
    table: Callable[..., Iterator[tuple[str, Target]]]  # where each of them goes, by these keywords


def networks(tensors: dict[str, np.ndarray]) -> tuple[dict[str, dict], list[str]]:
    """The state dicts among the tensors, by name, and the names left.

    A state dict is called by what stands before the last slash of its tensors' names or, in a checkpoint of the
    TensorFlow release, as the weight files of a run are.
    """
    if any(TENSORFLOW.fullmatch(name) for name in tensors):
        return _scopes(tensors)
    groups: dict[str, dict] = {}
    for name, value in tensors.items():
        group, _, inner = name.rpartition("/")
        groups.setdefault(group, {})[inner.removeprefix("module.")] = value  # a DataParallel has it before all names
    found = {group: state for group, state in groups.items() if _kind(state)}
    return found, [name for name in tensors if name.rpartition("/")[0] not in found]


def _scopes(tensors: dict) -> tuple[dict[str, dict], list[str]]:
    scopes: dict[str, dict] = {}
    for name, value in tensors.items():
        if match := TENSORFLOW.fullmatch(name):
            scopes.setdefault(match[1], {})[name] = value
    found = {
        group: {name: value for scope in needed for name, value in scopes.get(scope, {}).items()}
        for group, needed in SCOPES.items()
        if needed[-1] in scopes
    }
    taken = set().union(*found.values())
    return found, [name for name in tensors if name not in taken]


def convert(state: dict[str, np.ndarray]):
    """The Keras model and the recipe for one network's tensors by their names in a release.

    Raises `InputError`, listing the names, if any is missing, left over or of another shape.
    """
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    recipe = recognize(state)
    try:
        model = recipe.build()
    except (ValueError, ArithmeticError) as problem:
        raise InputError(
            f"the sizes of the {recipe.network} in the file, {recipe.keywords}, are impossible ({problem}): "
            "convert the checkpoint as the release saved it"
        ) from None
    variables = weights.named_variables(model)
    targets = dict(_kind(state).table(**recipe.keywords))
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
    kind = _kind(state)
    if kind is None:
        found = ", ".join(list(state)[:3]) or "nothing"
        raise InputError(f"the file holds {found}…, which is {NO_NETWORK}")
    try:
        return weights.Recipe(kind.network, kind.sizes(state))
    except KeyError as missing:
        reason = f"{missing.args[0]} is missing"
    except (ValueError, IndexError):
        reason = "a tensor has too few dimensions, or a name has no number"
    raise InputError(
        f"the file has the names of a {kind.network} but its sizes cannot be told ({reason}): "
        "convert the checkpoint as the release saved it"
    )


def _kind(state: dict) -> Kind | None:
    """Which kind of network has such names, if any."""
    return next((kind for kind in KINDS if any(name.startswith(kind.marks) for name in state)), None)


# -- the PyTorch release: sizes -----------------------------------------------------------------------------------


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


# -- the PyTorch release: its names, and ours ---------------------------------------------------------------------


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


def _discriminator_table(*, image_size, heads, **_):
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


# -- text encoders, as their PyTorch port names them --------------------------------------------------------------


def _encoder_sizes(state) -> dict:
    return {
        "form": "birds" if any(name.startswith("rnn.h2h_update.") for name in state) else "flowers",
        "filters": state["conv1.weight"].shape[0],
        "recurrent_dim": state["conv3.weight"].shape[0],
        "text_dim": state["emb_proj.weight"].shape[0],
    }


def _encoder_table(*, form, **_):
    for name in ("conv1", "conv2", "conv3"):
        yield f"{name}.weight", Target(f"{name}/kernel", np.transpose)  # (filters, channels, width) there
        yield f"{name}.bias", Target(f"{name}/bias", _as_it_is)
    gates = {"_update": "update", "_reset": "reset", "": "state"} if form == "birds" else {"": "state"}
    for suffix, gate in gates.items():
        for theirs, ours in (("i2h", "input"), ("h2h", "recurrent")):
            yield f"rnn.{theirs}{suffix}.weight", Target(f"recurrence/{gate}_{ours}_kernel", np.transpose)
            yield f"rnn.{theirs}{suffix}.bias", Target(f"recurrence/{gate}_{ours}_bias", _as_it_is)
    yield from _dense("emb_proj", "project", bias=True)


# -- the TensorFlow release ---------------------------------------------------------------------------------------


def _tf_stage1_sizes(state) -> dict:
    text_dim, moments = state["g_net/custom_fully_connected/Linear/Matrix"].shape
    width, values = state["g_net/custom_fully_connected_1/Linear/Matrix"].shape
    ups = _tf_count(state, "g_net") - 7  # beside two bottlenecks and the image's convolution, which doubles as well
    return {
        "image_size": 4 * 2 ** (ups + 1),
        "filters": values // 16 // 8,
        "text_dim": text_dim,
        "condition_dim": moments // 2,
        "noise_dim": width - moments // 2,
        "architecture": "tensorflow",
    }


def _tf_stage2_sizes(state) -> dict:
    stage1 = _tf_stage1_sizes(state)
    text_dim, moments = state["hr_g_net/custom_fully_connected/Linear/Matrix"].shape
    filters = state[_tf_name("hr_g_net", 0)].shape[3]
    last = _tf_count(state, "hr_g_net") - 1
    first_up = next((i for i in range(4, last) if state[_tf_name("hr_g_net", i)].shape[3] != 4 * filters), last)
    return {
        "stage1": stage1,
        "image_size": stage1["image_size"] // 4 * 2 ** (last - first_up),
        "filters": filters,
        "text_dim": text_dim,
        "condition_dim": moments // 2,
        "residual_blocks": (first_up - 4) // 2,
        "architecture": "tensorflow",
    }


def _tf_discriminator_sizes(state) -> dict:
    scope = next(iter(state)).split("/")[0]
    text_dim, condition_dim = state[f"{scope}/custom_fully_connected/Linear/Matrix"].shape
    kernels = [state[_tf_name(scope, i)].shape[0] for i in range(_tf_count(state, scope))]
    return {
        "image_size": 4 * 2 ** (kernels.count(4) - 1),  # each of these but the logit's halves the picture
        "filters": state[_tf_name(scope, 0)].shape[3],
        "heads": ["matched"],
        "text": "embedding",
        "text_dim": text_dim,
        "condition_dim": condition_dim,
        "architecture": "tensorflow",
    }


def _tf_count(state, scope: str) -> int:
    return sum(name.startswith(f"{scope}/custom_conv2d") for name in state)


def _tf_stage1_table(*, image_size, noise_dim, **_):
    yield from _tf_dense("g_net/custom_fully_connected", "conditioning_augmentation/moments_dense")
    # the release joins condition and noise, we noise and condition
    yield from _tf_dense("g_net/custom_fully_connected_1", "project_dense", lambda x: np.roll(x, noise_dim, axis=0))
    yield from _tf_norm("g_net/fc_batch_norm/batch_norm", "project_norm")
    ups = [f"up{i}" for i in range(1, (image_size // 4).bit_length() - 1)]
    blocks = [f"{name}_residual_{i}" for name in ("project", "up1") for i in (1, 2, 3)]
    yield from _tf_layers("g_net", [*blocks[:3], *ups[:1], *blocks[3:], *ups[1:]], last="image")


def _tf_stage2_table(*, stage1, image_size, residual_blocks, **_):
    for name, (path, arrange) in _tf_stage1_table(**stage1):
        yield name, Target(f"stage1_generator/{path}", arrange)
    yield from _tf_dense("hr_g_net/custom_fully_connected", "conditioning_augmentation/moments_dense")
    blocks = [f"residual{i}_{j}" for i in range(1, residual_blocks + 1) for j in (1, 2)]
    ups = [f"up{i}" for i in range(1, (image_size * 4 // stage1["image_size"]).bit_length())]
    yield from _tf_layers("hr_g_net", ["encode1", "encode2", "encode3", "join", *blocks, *ups], last="image", bare=1)


def _tf_discriminator_table(*, image_size, **_):
    halvings = (image_size // 4).bit_length() - 1
    scope = "d_net" if halvings <= 4 else "hr_d_net"
    yield from _tf_dense(f"{scope}/custom_fully_connected", "matched/compress_dense")
    names = [f"down{i}" for i in range(1, halvings + 1)] + [f"reduce{i}" for i in range(1, halvings - 3)]
    names = [f"encode_image/{name}" for name in [*names, *(f"residual_{i}" for i in (1, 2, 3))]]
    yield from _tf_layers(scope, [*names, "matched/join"], last="matched/logit", bare=1)


def _tf_layers(scope: str, names: list[str], *, last: str, bare: int = 0):
    """Convolutions in the order they were built, and their norms, which the last and the first `bare` ones lack."""
    for i, name in enumerate([*names, last]):
        yield _tf_name(scope, i), Target(f"{name}_conv/kernel", _as_it_is)
    for i, name in enumerate(names[bare:]):
        layer = _numbered("conv_batch_norm", i)
        yield from _tf_norm(f"{scope}/{layer}/{layer}", f"{name}_norm")


def _tf_name(scope: str, number: int) -> str:
    layer = _numbered("custom_conv2d", number)
    return f"{scope}/{layer}/{layer}/w"


def _numbered(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer


def _tf_dense(theirs: str, ours: str, arrange: Callable | None = None):
    yield f"{theirs}/Linear/Matrix", Target(f"{ours}/kernel", arrange or _as_it_is)
    yield f"{theirs}/Linear/bias", Target(f"{ours}/bias", _as_it_is)


def _tf_norm(theirs: str, ours: str):
    pairs = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
    for their_name, our_name in pairs.items():
        yield f"{theirs}/{their_name}", Target(f"{ours}/{our_name}", _as_it_is)


KINDS = (
    Kind("stage2_generator", ("STAGE1_G.",), _stage2_sizes, _stage2_table),
    Kind("stage1_generator", ("upsample",), _stage1_sizes, _stage1_table),
    Kind("discriminator", ("encode_img.",), _discriminator_sizes, _discriminator_table),
    Kind("text_encoder", ("emb_proj.",), _encoder_sizes, _encoder_table),
    Kind("stage2_generator", ("hr_g_net/",), _tf_stage2_sizes, _tf_stage2_table),
    Kind("stage1_generator", ("g_net/",), _tf_stage1_sizes, _tf_stage1_table),
    Kind("discriminator", ("d_net/", "hr_d_net/"), _tf_discriminator_sizes, _tf_discriminator_table),
)
