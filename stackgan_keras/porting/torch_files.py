"""PyTorch's files without PyTorch: dicts of dense tensors, in its zip format and in the one before version 1.6.

Source of both: `_load` and `_legacy_load` of torch/serialization.py. The unpickler knows nothing but what such files
need, so that nothing in them is executed. Sizes come from what a file holds, never from what it says.
"""

import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.unpickler import Unpickler

MAGIC = 0x1950A86A20F9469CFC6C  # the first number in a file of the older format
STORAGES = {  # kinds of numbers
    **{"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"},
    **{"ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?"},
}


def read(path: Path) -> Any:
    """What `torch.save` wrote, tensors as arrays. Raises `InputError` if it is broken or holds anything unusual."""
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_older(path)
    except Exception as problem:  # malformed instructions raise whatever the operations under them do
        raise InputError(
            f"{path} cannot be read safely as a PyTorch checkpoint ({first_line(problem)}): give a whole file of "
            "nothing but state dicts, or try again after pip install 'stackgan_keras[torch]', which reads more kinds"
        ) from None


class _Unpickler(Unpickler):
    """Knows dicts, numbers, strings, and tensors as views of what `storage(kind, key, length)` gives."""

    def __init__(self, file: BinaryIO, size: int, storage: Callable[[str, str, int], np.ndarray] | None = None):
        super().__init__(file, size)
        self.storage = storage

    def known(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _view(storage, offset, size, stride)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        raise ValueError(f"it asks for {module}.{name}")

    def persistent_load(self, about: tuple) -> np.ndarray:
        if self.storage is None:
            raise ValueError("a tensor stands where there should be none")
        _, kind, key, _, length, *_ = about
        return self.storage(kind, key, length)


def _view(storage: np.ndarray, offset: int, size: tuple, stride: tuple) -> np.ndarray:
    if math.prod(size) > storage.size:
        raise ValueError(f"a tensor {tuple(size)} is made of {storage.size} numbers")
    width = storage.itemsize  # numpy raises for a view that reaches beyond the storage
    return np.ndarray(size, storage.dtype, storage, offset * width, [step * width for step in stride])


def _read_zip(path: Path):
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl") + "data/"
        content = cache(lambda key: archive.read(folder + key))  # many tensors may be views of it
        instructions = archive.read(pickled)

        def storage(kind: str, key: str, _length: int) -> np.ndarray:
            return np.frombuffer(content(key), kind)

        return _Unpickler(io.BytesIO(instructions), len(instructions), storage).load()


def check_archive(path: Path) -> None:
    """Raises an exception for a zip file whose parts are packed, as PyTorch's never are, or lie on one another."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not stored or sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are packed, or larger than the file")


def _read_older(path: Path):
    """The older format: four pickles, in which storages only have keys, the list of these, and their numbers."""
    storages: dict[str, np.ndarray] = {}
    size = left = path.stat().st_size

    def storage(kind: str, key: str, length: int) -> np.ndarray:
        nonlocal left
        if key not in storages:
            left -= np.dtype(kind).itemsize * length
            if length < 0 or left < 0:
                raise ValueError(f"{length} numbers are more than the file holds")
            storages[key] = np.empty(length, kind)  # filled below, when the tensors already are views of it
        return storages[key]

    with path.open("rb") as file:
        if _Unpickler(file, size).load() != MAGIC:
            raise ValueError("it begins like none")
        _Unpickler(file, size).load()  # the protocol's version
        _Unpickler(file, size).load()  # the sizes of C's numbers
        content = _Unpickler(file, size, storage).load()
        keys = _Unpickler(file, size).load()
        if sorted(keys) != sorted(storages):
            raise ValueError("it does not hold the numbers of all tensors")
        for key in keys:
            length = int.from_bytes(file.read(8), "little")
            if length != storages[key].size or file.readinto(storages[key].data) != storages[key].nbytes:
                raise ValueError(f"it ends before tensor {key} does")
    return content
