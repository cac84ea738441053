"""Weight files: Keras's `.weights.h5` with the model config that builds their network and the list of its variables."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from stackgan_keras.errors import InputError, first_line, is_exhausted
from stackgan_keras.files import atomic_write
from stackgan_keras.models import (
    attngan,
    attribute_classifier,
    discriminators,
    efficientnet_lite0,
    fid_inception,
    generators,
    hdf5,
    image_encoder,
    limits,
    region_encoder,
    stackgan_v2,
    text_encoder,
    word_encoder,
)

CONFIG = "stackgan_keras_recipe"  # attribute: JSON of the network's name and its builder's keywords
VARIABLES = "stackgan_keras_variables"  # attribute: JSON list of [path, shape]
CHECKSUM = "stackgan_keras_checksum"  # attribute: that of the variables
TRAINING = "stackgan_keras_training"  # attribute: JSON of what a reader should know of the training

# what odd keywords can lead to, beside a memory that is too small
ODD_KEYWORDS = (InputError, TypeError, ValueError, AttributeError, KeyError, ArithmeticError)
NETWORKS = {
    network.__name__: network
    for network in (
        generators.stage1_generator,
        generators.stage2_generator,
        stackgan_v2.stackgan_v2_generator,
        attngan.attngan_generator,
        discriminators.discriminator,
        text_encoder.text_encoder,
        image_encoder.image_encoder,
        word_encoder.word_encoder,
        region_encoder.region_encoder,
        attribute_classifier.attribute_classifier,
        fid_inception.fid_inception,
        efficientnet_lite0.efficientnet_lite0,
    )
}


@dataclass(frozen=True)
class ModelConfig:
    """What builds a network again: its builder's name in `NETWORKS` and the builder's keywords."""

    network: str
    keywords: dict

    def build(self) -> keras.Model:
        return NETWORKS[self.network](**self.keywords)


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable under its path through the nested models, `stage1_generator/up1_conv/kernel`, in layer order."""
    return dict(_walk(model, ""))


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
        else:
            yield from ((f"{prefix}{layer.name}/{variable.name}", variable) for variable in layer.weights)


def checksum(model: keras.Model) -> str:
    """SHA-256 of all variables with their paths: equal networks with equal weights have the same."""
    found = hashlib.sha256()
    for path, variable in named_variables(model).items():
        found.update(path.encode())
        found.update(np.ascontiguousarray(variable).data)
    return found.hexdigest()


def save(model: keras.Model, config: ModelConfig, path: str | Path, training: dict | None = None) -> None:
    """Writes a weight file that `load` and Keras's own `load_weights` read; an older one is replaced in one move.

    `training` is what `read_training` gives back.
    Raises `InputError` unless the name ends in `.weights.h5`.
    """
    path = Path(path)
    if not path.name.endswith(".weights.h5"):
        raise InputError(f"weight files are called NAME.weights.h5, not {path.name}: change the name")
    try:
        with atomic_write(path) as unfinished:
            _try_disk(unfinished, sum(np.asarray(variable).nbytes + 4096 for variable in model.variables))
            model.save_weights(unfinished)
            with h5py.File(unfinished, "a") as file:
                file.attrs[CONFIG] = json.dumps(asdict(config))
                file.attrs[VARIABLES] = json.dumps(_listed(model))
                file.attrs[CHECKSUM] = checksum(model)
                if training:
                    file.attrs[TRAINING] = json.dumps(training)
    except (OSError, RuntimeError) as problem:
        raise InputError(
            f"{path} could not be written ({first_line(problem)}), what was there before is untouched: make room on "
            "the disk or mend the folder, and run the same command again"
        ) from None


def _try_disk(path: Path, size: int) -> None:
    """Writes as many bytes as the weights will take, as HDF5 does not raise on a full disk but ends the process."""
    with path.open("wb") as file:
        for start in range(0, size, 2**20):
            file.write(bytes(min(2**20, size - start)))
        file.flush()
        os.fsync(file.fileno())


def load(path: str | Path, network: str | None = None) -> keras.Model:
    """The Keras model in a weight file, built and filled.

    Raises `InputError` if the file is not what it says, or if it holds another network than `network`.
    """
    model = build(path, network)
    load_into(model, path)
    return model


def build(path: str | Path, network: str | None = None) -> keras.Model:
    """The network that a weight file asks for, with random weights. Raises `InputError` as `load` does."""
    config = read_config(path, network)
    try:
        with limits.at_most(Path(path).stat().st_size):  # a number takes a byte at least
            return config.build()
    except Exception as problem:
        if not isinstance(problem, ODD_KEYWORDS) and not is_exhausted(problem):
            raise
        raise InputError(
            f"{path} asks for a {config.network} with {config.keywords}, which cannot be built "
            f"({first_line(problem)}): use the version of this package that wrote it, or copy the file again"
        ) from None


def load_into(model: keras.Model, path: str | Path) -> None:
    """Loads a weight file into a model whose variables are exactly the listed ones.

    Keras matches such files by layer class and order and would load swapped layers without a word; so the list of
    (path, shape) in the file is compared first. Raises `InputError` naming the first difference, and where the weights
    do not have the file's checksum.
    """
    path = Path(path)
    if not path.name.endswith(".weights.h5"):
        raise InputError(f"{path} does not end in .weights.h5, by which Keras knows the format: rename it so")
    with _open(path) as file:
        listed, kept = _attribute(file, VARIABLES, path), file.attrs.get(CHECKSUM)
    expected = _listed(model)
    for theirs, mine in zip(listed, expected, strict=False):
        if theirs != mine:
            raise InputError(
                f"{path} holds {_shown(theirs)} where this {model.name} has {_shown(mine)}: "
                "give a file of the same network and sizes, or change the settings to the file's"
            )
    if len(listed) != len(expected):
        raise InputError(
            f"{path} holds {len(listed)} variables where this {model.name} has {len(expected)}: "
            "give a file of the same network and sizes, or change the settings to the file's"
        )
    try:
        with _open(path) as file:
            hdf5.check(file, path.stat().st_size)
        model.load_weights(path)
    except (ValueError, KeyError, OSError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged ({first_line(problem)}): make or copy it again") from None
    if kept not in (None, checksum(model)):  # files of before have none
        raise InputError(f"{path} is damaged (its weights are not those that were saved): make or copy it again")


def read_checksum(path: str | Path) -> str | None:
    """The `checksum` of the network in a weight file; None where the file is older than these are."""
    with _open(path) as file:
        return file.attrs.get(CHECKSUM)


def read_config(path: str | Path, network: str | None = None) -> ModelConfig:
    """What builds the network in a weight file.

    Raises `InputError` if the file was not written by `save`, or if it holds another network than `network`.
    """
    with _open(path) as file:
        values = _attribute(file, CONFIG, path)
    values = values if isinstance(values, dict) else {}
    name, keywords = str(values.get("network")), values.get("keywords")
    if name not in NETWORKS or not isinstance(keywords, dict):
        raise InputError(f"{path} names no network of this package: give a file that this version wrote")
    if network not in (None, name):
        raise InputError(f"{path} holds a {name} where a {network} is expected: give the right file")
    return ModelConfig(name, keywords)


def read_training(path: str | Path) -> dict:
    """What a weight file says of its network's training; nothing where it says nothing."""
    with _open(path) as file:
        values = _attribute(file, TRAINING, path) if TRAINING in file.attrs else {}
    return values if isinstance(values, dict) else {}


def _listed(model: keras.Model) -> list:
    return [[path, list(variable.shape)] for path, variable in named_variables(model).items()]


def _shown(entry) -> str:
    try:
        path, shape = entry
        return f"{path} {tuple(shape)}"
    except (TypeError, ValueError):  # no entry that `save` wrote
        return repr(entry)


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path)
    except FileNotFoundError:
        raise InputError(f"there is no weight file {path}: check the path and the run's name") from None
    except PermissionError:
        raise InputError(f"{path} may not be read: change its permissions") from None
    except OSError:
        raise InputError(f"{path} is no HDF5 file, or a damaged one: give a .weights.h5 file of this package") from None


def _attribute(file: h5py.File, name: str, path: str | Path) -> dict | list:
    """The list or dict that stands as JSON in an attribute."""
    if name not in file.attrs:
        raise InputError(f"{path} is HDF5 but was not written by this package: it lacks the attribute {name}")
    try:
        values = json.loads(file.attrs[name])
    except (ValueError, TypeError, OSError, RecursionError):
        values = None
    if not isinstance(values, (dict, list)):
        raise InputError(f"{path} is damaged (its attribute {name} cannot be read): make or copy it again")
    return values
