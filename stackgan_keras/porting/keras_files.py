"""Which Keras model files of others can be read: those of Keras's layers and ours, which hold all of their numbers.

Keras refuses lambda layers by itself, in its safe mode. Beside them there are layers that read a file which the model
names, run another library's program, or were called by a name that older versions import from anywhere.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from stackgan_keras.models import hdf5

CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # in a .keras file
OF_KERAS = (
    r"keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies|src\.(ops|models|layers)\..+))?"
)
OURS = r"stackgan_keras\.models\.(blocks|filter_gradients|inception|vgg16)"  # layers of this package's own networks
RUNNING = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "function", "__lambda__"}
READING = {"StringLookup", "IntegerLookup", "TextVectorization", "Hashing"}  # a vocabulary, of any file


def check(path: Path) -> None:
    """Raises an exception for a model file that could run a program, read other files, or be larger than it is."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        with h5py.File(path) as file:
            hdf5.check(file, size)
            _check_config(file.attrs.get("model_config", "{}"))
        return
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > size:
            raise ValueError("its parts are packed, as Keras's never are")
        _check_config(archive.read(CONFIG))
        with archive.open(WEIGHTS) as part, h5py.File(part) as file:
            hdf5.check(file, size)


def _check_config(config: str | bytes) -> None:
    values = json.loads(config)
    values.pop("compile_config", None)  # of its training, which is not read
    for kind, module in _classes(values):
        if kind in RUNNING | READING or not re.fullmatch(f"{OF_KERAS}|{OURS}", module or "keras"):
            raise ValueError(f"it holds a {module}.{kind}, where Keras's layers of images are read")


def _classes(values: Any) -> Iterator[tuple[Any, Any]]:
    """What is to be made of every part of a model: the names of classes and of their modules."""
    if isinstance(values, dict):
        if "class_name" in values:
            yield str(values["class_name"]), values.get("module")
        values = list(values.values())
    for value in values if isinstance(values, list) else ():
        yield from _classes(value)
