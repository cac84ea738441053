"""Tensors by name in checkpoints of other programs, read without running anything that stands in them."""

import math
import mmap
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.porting import torch7, torch_files

MOST_PACKED = 100  # times an `.npz`'s size that its arrays may have, beyond 16 MB; zeros would be packed 1000 times
TABLE_END = bytes.fromhex("57fb808b247547db")  # of a TensorFlow checkpoint in one file, and of the index of others


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, read without executing anything that stands in the file.

    It is an `.npz`, a PyTorch file, whose dicts in dicts give names like `outer/inner`, a TensorFlow checkpoint (any of
    its files, or what they all begin with), or a Torch-7 file of a text encoder, whose tensors are called as in its
    PyTorch port. Raises `InputError` for a file that is missing, broken, asks for code, or holds no tensors.
    """
    if prefix := _tensorflow_prefix(path):
        tensors = _read_tensorflow(prefix)
    elif not path.is_file():
        raise InputError(f"there is no file {path}: give the path of a checkpoint")
    elif path.suffix == ".npz":
        tensors = {name: array for name, array in read_numpy(path).items() if name and array.dtype.kind in "fiu"}
    elif path.suffix == ".t7":
        tensors = torch7.encoder(torch7.read(path)) or {}
        if not tensors:
            raise InputError(f"{path} holds no text encoder: give one, or embedded sentences to generate --embedded")
    else:
        tensors = _read_torch(path)
    if not tensors:
        raise InputError(f"{path} holds no tensors under names: give a state dict, as the release saves them")
    return tensors


def read_numpy(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` by name, that of an `.npy` under no name. Raises `InputError` if they cannot be read."""
    try:
        check_unpacked(path)
        content = np.load(path, allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else content
        return {name: np.asarray(array) for name, array in arrays.items()}
    except Exception as problem:  # numpy and zipfile raise a dozen kinds for files that are broken or foreign
        raise InputError(f"{path} cannot be read as arrays ({first_line(problem)}): make it again") from None


def check_unpacked(path: Path) -> None:
    """Raises ValueError for an `.npz` whose arrays are far larger than the file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > 2**24 + MOST_PACKED * path.stat().st_size:
            raise ValueError(f"unpacked it would take {unpacked:,} bytes")


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        arrays = _flat(torch_files.read(path), np.ndarray)
        _check_numbers(path, (array.size for array in arrays.values()))
        return {name: np.array(array, np.float32) for name, array in arrays.items()}
    try:
        _check_for_torch(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: tensor for name, tensor in _flat(content, torch.Tensor).items() if not tensor.is_complex()}
        _check_numbers(path, (tensor.numel() for tensor in found.values()))
        return {name: tensor.detach().to_dense().float().numpy() for name, tensor in found.items()}
    except InputError:
        raise
    except Exception as problem:  # torch raises a dozen kinds for files that are broken, foreign or hostile
        blamed = next((line.strip() for line in str(problem).splitlines() if "GLOBAL" in line), first_line(problem))
        reason = f"{path} cannot be read safely as a PyTorch checkpoint ({blamed})"
        raise InputError(f"{reason}: give a whole file of nothing but state dicts, as the release saves it") from None


def _check_for_torch(path: Path) -> None:
    """Raises an exception for what `torch.load` would give memory without end, though it executes nothing."""
    if zipfile.is_zipfile(path):
        torch_files.check_archive(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if named := next((name for name in (b"bytearray", b"_codecs") if content.find(name) >= 0), None):
            raise ValueError(f"it asks for {named.decode()}")


def _check_numbers(path: Path, sizes: Iterable[int]) -> None:
    """Raises `InputError` where tensors, views of others or sparse ones, have more numbers than the file bytes."""
    numbers, size = sum(sizes), path.stat().st_size
    if numbers > size:
        raise InputError(
            f"{path} has tensors of {numbers:,} numbers in {size:,} bytes: give a file that holds them all"
        )


def _flat(content, kind: type) -> dict:
    """What is of this kind in a dict and the dicts in it, under names like `outer/inner`."""
    found: dict = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            found |= {f"{name}/{inner}": each for inner, each in _flat(value, kind).items()}
        elif isinstance(value, kind):
            found[str(name)] = value
    return found


def _tensorflow_prefix(path: Path) -> Path | None:
    """What the files of a TensorFlow checkpoint begin with, if this is one of them or that; None if not."""
    prefix = Path(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path)))
    if prefix != path or Path(f"{path}.index").is_file():
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
        files = [file for file in prefix.parent.iterdir() if file.name.startswith(prefix.name)]
        numbers = sum(math.prod(shape) for shape in reader.get_variable_to_shape_map().values())
        if numbers > sum(file.stat().st_size for file in files):
            raise ValueError(f"it announces {numbers:,} numbers, which it does not hold")
        types = reader.get_variable_to_dtype_map()
        return {name: reader.get_tensor(name) for name in sorted(types) if types[name].is_floating}
    except Exception as problem:  # TensorFlow raises a dozen kinds for files that are missing, broken or foreign
        reason = f"{prefix} cannot be read as a TensorFlow checkpoint ({first_line(problem)})"
        raise InputError(f"{reason}: give all its files, whole, side by side") from None
