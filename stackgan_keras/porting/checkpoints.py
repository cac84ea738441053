"""Tensors by name in checkpoints of other programs, read without running anything that stands in them."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.porting import torch7

TABLE_END = bytes.fromhex("57fb808b247547db")  # of a TensorFlow checkpoint in one file, and of the index of others


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, read without executing anything that stands in the file.

    It is an `.npz`, a PyTorch file, a TensorFlow checkpoint, for which any of its files or what they all begin with
    will do, or a Torch-7 file of a text encoder, whose tensors are called as in its PyTorch port. Those of a dict in a
    dict are called `outer/inner`. Raises `InputError` for a missing or broken file, one that asks for code, and one
    that holds no tensors.
    """
    if prefix := _tensorflow_prefix(path):
        tensors = _read_tensorflow(prefix)
    elif path.is_file():
        tensors = {".npz": _read_npz, ".t7": _read_torch7}.get(path.suffix, _read_torch)(path)
    else:
        raise InputError(f"there is no file {path}: give the path of a checkpoint")
    if not tensors:
        raise InputError(f"{path} holds no tensors under names: give a state dict, as the release saves them")
    return tensors


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as problem:  # numpy and zipfile raise a dozen kinds for files that are broken or foreign
        raise InputError(f"{path} cannot be read as an .npz of arrays ({first_line(problem)}): make it again") from None
    return {name: array for name, array in arrays.items() if array.dtype.kind in "fiu"}


def _read_torch7(path: Path) -> dict[str, np.ndarray]:
    content = torch7.read(path)
    state = torch7.encoder(content)
    if state is None and torch7.embedded(content) is not None:
        raise InputError(
            f"{path} holds embedded sentences, no network: draw them with python -m stackgan_keras.generate --embedded"
        )
    if state is None:
        raise InputError(f"{path} holds no text encoder: give the .t7 file of a char-CNN-RNN")
    return state


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path.name} is a PyTorch file and torch is not installed: pip install 'stackgan_keras[torch]'"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises a dozen kinds for files that are broken, foreign or hostile
        lines = str(problem).split("Please file an issue")[0].strip().splitlines() or [type(problem).__name__]
        blamed = next((line.strip() for line in lines if "GLOBAL" in line or "global" in line), lines[0])
        raise InputError(
            f"{path} cannot be read safely as a PyTorch checkpoint ({blamed}): give a whole file that holds "
            "nothing but a state dict, as the release saves it"
        ) from None

    def tensors(values: dict, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from tensors(value, f"{prefix}{name}/")
            elif isinstance(value, torch.Tensor) and not value.is_complex():
                yield f"{prefix}{name}", value.detach().to_dense().float().numpy()

    return dict(tensors(content, "")) if isinstance(content, dict) else {}


def _tensorflow_prefix(path: Path) -> Path | None:
    """What the files of a TensorFlow checkpoint begin with, if this is one of them or that; None if not."""
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if prefix.with_name(f"{prefix.name}.index").is_file() or prefix != path:
        return prefix
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - len(TABLE_END), 0))
        return path if file.read() == TABLE_END else None


def _read_tensorflow(prefix: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        types = reader.get_variable_to_dtype_map()
        return {name: reader.get_tensor(name) for name in sorted(types) if types[name].is_floating}
    except Exception as problem:  # TensorFlow raises a dozen kinds for files that are missing, broken or foreign
        raise InputError(
            f"{prefix} cannot be read as a TensorFlow checkpoint ({first_line(problem)}): give all its files, whole, "
            "side by side"
        ) from None
