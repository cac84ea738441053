"""Tensors by their names in another program to a Keras model: which network they are, and where each of them goes."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.models import limits, weights
from stackgan_keras.porting import attngan_release as attngan
from stackgan_keras.porting import pretrained
from stackgan_keras.porting import pytorch_release as pytorch
from stackgan_keras.porting import stackgan_v2_release as stackgan_v2
from stackgan_keras.porting import tensorflow_release as tensorflow
from stackgan_keras.porting.pytorch_release import Order, Table

NO_NETWORK = "this is no network of StackGAN's releases; give a netG or netD file, a checkpoint, or a char-CNN-RNN"
AS_SAVED = "convert the checkpoint as the release saved it"


class Kind(NamedTuple):
    """A network as another program names it."""

    network: str  # the name of our builder
    prefixes: tuple[str, ...]  # with which some of its tensors' names begin, and none of the kinds that follow
    sizes: Callable[[dict], dict]  # its tensors to the builder's keywords
    layers: Callable[..., Table]  # these keywords to rows (their layer, our layer, its tensors)
    unused: tuple[str, ...] = ()  # tensors that our network has no place for

    def tensors(self, keywords: dict) -> dict[str, tuple[str, Order]]:
        """Our path, and the order of the axes, of each tensor by its name."""
        return {
            their_layer + theirs: (our_layer + ours, order)
            for their_layer, our_layer, tensors in self.layers(**keywords)
            for theirs, ours, order in tensors
        }


def _one_size(_state: dict) -> dict:
    return {}


KINDS = (
    Kind("stage2_generator", ("STAGE1_G.",), pytorch.stage2_generator_sizes, pytorch.stage2_generator),
    Kind("stage1_generator", ("upsample",), pytorch.stage1_generator_sizes, pytorch.stage1_generator),
    Kind("discriminator", ("encode_img.",), pytorch.discriminator_sizes, pytorch.discriminator),
    Kind("text_encoder", ("emb_proj.",), pytorch.text_encoder_sizes, pytorch.text_encoder),
    Kind("attngan_generator", ("h_net2.att.",), attngan.generator_sizes, attngan.generator),
    Kind("stackgan_v2_generator", ("h_net1.",), stackgan_v2.generator_sizes, stackgan_v2.generator),
    Kind("discriminator", ("COND_DNET.",), attngan.discriminator_sizes, attngan.discriminator),
    Kind("discriminator", ("img_code_s16.",), stackgan_v2.discriminator_sizes, stackgan_v2.discriminator),
    Kind("word_encoder", ("rnn.weight_ih_l0",), attngan.word_encoder_sizes, attngan.word_encoder),
    Kind("region_encoder", ("emb_features.",), attngan.region_encoder_sizes, attngan.region_encoder),
    Kind("fid_inception", ("Conv2d_1a_3x3.",), _one_size, pretrained.fid_inception, unused=("fc.bias",)),
    Kind("efficientnet_lite0", ("_conv_stem.",), _one_size, pretrained.efficientnet_lite0),
    Kind("stage2_generator", ("hr_g_net/",), tensorflow.stage2_generator_sizes, tensorflow.stage2_generator),
    Kind("stage1_generator", ("g_net/",), tensorflow.stage1_generator_sizes, tensorflow.stage1_generator),
    Kind("discriminator", ("d_net/", "hr_d_net/"), tensorflow.discriminator_sizes, tensorflow.discriminator),
)


def networks(tensors: dict[str, np.ndarray]) -> tuple[dict[str, dict], list[str]]:
    """The state dicts among the tensors, by name, and the names left.

    A state dict is called by what stands before the last slash of its tensors' names or, in a checkpoint of the
    TensorFlow release, as the weight files of a run are.
    """
    if found := tensorflow.networks(tensors):
        return found, [name for name in tensors if not any(name in state for state in found.values())]
    groups: dict[str, dict] = {}
    for name, value in tensors.items():
        group, _, inner = name.rpartition("/")
        groups.setdefault(group, {})[inner.removeprefix("module.")] = value  # a DataParallel has it before all names
    found = {group: state for group, state in groups.items() if _kind(state)}
    return found, [name for name in tensors if name.rpartition("/")[0] not in found]


def convert(state: dict[str, np.ndarray]) -> tuple[keras.Model, weights.ModelConfig]:
    """The Keras model and the config for one network's tensors by their names in a release.

    Raises `InputError`, listing the names, if any is missing, left over or of another shape.
    """
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    kind, config = _known_kind(state), recognize(state)
    try:
        with limits.at_most(sum(value.nbytes for value in state.values())):  # shapes without numbers may be of any size
            model = config.build()
    except (InputError, ValueError, ArithmeticError) as problem:
        raise InputError(f"{config.network} with {config.keywords} is impossible ({problem}): {AS_SAVED}") from None
    variables, tensors = weights.named_variables(model), kind.tensors(config.keywords)
    faults = [f"{name} is missing" for name in tensors if name not in state]
    faults += [f"{name} is left over" for name in state if name not in tensors and name not in kind.unused]
    for name in tensors.keys() & state.keys():
        path, order = tensors[name]
        try:
            variables[path].assign(arranged(state[name], order))
        except ValueError:  # too few axes or values to be put in our order, or another shape then
            shape = tuple(variables[path].shape)
            faults.append(f"{name} is {state[name].shape}, which does not give {shape} as {path}")
    if faults:
        listed = "; ".join(sorted(faults)[:20]) + ("; …" if len(faults) > 20 else "")
        raise InputError(f"{len(faults)} names of the {config.network} do not fit: {listed}. {AS_SAVED.capitalize()}")
    return model, config


def arranged(value: np.ndarray, order: Order) -> np.ndarray:
    """A tensor with its axes in our order. Raises `ValueError` if it has not the axes for it."""
    return np.einsum(order, value) if isinstance(order, str) else order(value)


def recognize(state: dict[str, np.ndarray]) -> weights.ModelConfig:
    """The network, and the sizes it was built with, from names and shapes alone."""
    kind = _known_kind(state)
    try:
        return weights.ModelConfig(kind.network, kind.sizes(state))
    except (LookupError, ValueError) as problem:  # a tensor is missing, or has too few dimensions
        reason = f"{problem.args[0]} is missing" if isinstance(problem, KeyError) else first_line(problem)
        raise InputError(f"the sizes of the {kind.network} cannot be told ({reason}): {AS_SAVED}") from None


def _known_kind(state: dict) -> Kind:
    if kind := _kind(state):
        return kind
    raise InputError(f"the file holds {', '.join(list(state)[:3]) or 'nothing'}: {NO_NETWORK}")


def _kind(state: dict) -> Kind | None:
    return next((kind for kind in KINDS if any(name.startswith(kind.prefixes) for name in state)), None)
