"""A restricted unpickler for lists, names and numpy arrays, as the published data sets hold them.

The standard unpickler imports and calls whatever a file names, so a downloaded file can run any command. This one knows
only the names in `_BUILDERS`. Arrays and their types are placeholders while the file is read, as numpy's own ones would
take any state that the file gives them. Sizes come from what the file holds, never from what it says.
"""

import copyreg
import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.unpickler import Unpickler, check_keys

MAX_DEPTH = 8  # levels of lists in lists; published files have three

_OTHER_FORMATS = {  # how the file begins: what that means
    rb"version https://git-lfs": "is a git-lfs pointer, not the file itself: fetch the file with `git lfs pull`",
    rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)": (
        "looks like a web page that was saved in place of the file: download it again"
    ),
}
_VALUES = (str, bytes, bytearray, int, float, complex, type(None), set, frozenset, np.generic, np.ndarray)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def load(path: str | Path) -> Any:
    """The object in the pickle at `path`, of protocol 0 to 5, from Python 2 or 3.

    It may consist of None, numbers, strings, bytes, bytearrays, lists, tuples, dicts, OrderedDicts, sets, and numpy
    arrays and scalars of numbers or fixed-length strings. Arrays are read-only, so that the memory never holds their
    content more than twice. Python 2's byte strings are decoded as latin-1. A text pickle (protocol 0) whose LFs became
    CRLFs is mended in memory. Raises InputError for a file that cannot be read, is damaged or no pickle, and for one
    that asks for anything else than the above.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): expected a pickle file there") from None
    except MemoryError:
        raise InputError(
            f"{path} needs more memory than is free: close other programs, or download it again if it is damaged"
        ) from None
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # malformed instructions raise whatever the operations under them do
        raise InputError(
            f"{path} is damaged, perhaps by a line-end conversion (git's autocrlf, FTP in text mode), or no pickle "
            f"({first_line(error)}): download it again as a binary file"
        ) from None


def _read(file: BinaryIO):
    beginning = file.read(512)
    for pattern, meaning in _OTHER_FORMATS.items():
        if re.match(pattern, beginning):
            raise InputError(meaning)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if b"\r\n" in beginning and not _BINARY.search(beginning):  # no line of an intact text pickle ends in CR
        file = io.BytesIO(file.read().replace(b"\r\n", b"\n"))
    copyreg.clear_extension_cache()  # what is in it would not be asked for by name
    value = _Unpickler(file, size, encoding="latin-1").load()
    if file.read(1024).strip():
        raise pickle.UnpicklingError("it goes on after its end")
    return _finished(value, MAX_DEPTH, {})


class _Unpickler(Unpickler):
    def known(self, module: str, name: str) -> Callable:
        if module.endswith("\r"):
            raise pickle.UnpicklingError("a line ends in a carriage return")
        known = f"{module}.{name}".replace("__builtin__", "builtins").replace("numpy.core", "numpy._core")
        if known not in _BUILDERS:
            raise InputError(
                f"asks for {ascii(f'{module}.{name}'[:80])[1:-1]}, which data of arrays and strings does not need and "
                "which could run commands on this computer: do not load this file, get it from a source you trust"
            )
        return _BUILDERS[known]

    def _call(self, function: Callable, *arguments: Any) -> Any:
        made = super()._call(function, *arguments)
        if isinstance(made, _Unfinished):
            made.spend = self.spend
        return made


class _Unfinished:
    """An array or a type that is complete once it is given its state."""

    def __init__(self, finish: Callable):
        self.finish = finish  # state -> value
        self.spend: Callable[[tuple], None]
        self.value: Any = self  # which is none that may leave

    def __setstate__(self, state: tuple) -> None:
        self.spend(tuple(part for part in state if isinstance(part, str)))  # bytes are not copied
        self.value = self.finish(*state)


def _finished(value, levels: int, seen: dict[int, tuple[int, Any, Any]]):
    """The value with arrays in place of placeholders. Lists and dicts are changed in place.

    `levels` may follow below it. `seen` has by its id what was finished already: with how many levels, the value itself
    (which so keeps its id), and what it became.
    """
    if levels < 0:
        raise pickle.UnpicklingError(f"it nests more than {MAX_DEPTH} levels deep")
    known = seen.get(id(value))
    if known and known[0] <= levels:
        return known[2]
    before = value
    if isinstance(value, _Unfinished):
        value = value.value
    if isinstance(value, list):
        value[:] = [_finished(part, levels - 1, seen) for part in value]
    elif isinstance(value, tuple):
        value = tuple(_finished(part, levels - 1, seen) for part in value)
    elif isinstance(value, dict) and not getattr(value, "__dict__", None):
        for key, part in value.items():
            value[key] = _finished(part, levels - 1, seen)
    elif not isinstance(value, _VALUES):
        raise pickle.UnpicklingError("it holds a name or a type where a value belongs")
    if isinstance(value, (list, tuple, dict)):
        seen[id(before)] = levels, before, value
    return value


def _dtype(text, *_alignment):
    if not re.fullmatch(r"[<>=|]?[biufcSU]\d{1,9}", text):
        raise InputError(
            f"holds an array of type {text[:40]!a}, but only numbers and fixed-length strings are read (Python objects "
            "in an array could run commands): save it again as lists of plain arrays"
        )
    return _Unfinished(lambda _version, order, *_fields: np.dtype(text).newbyteorder(order))


def _reconstruct(*_empty_array):
    return _Unfinished(lambda _version, shape, dtype, fortran, raw: _array(raw, dtype, shape, "F" if fortran else "C"))


def _bytes(kind: type, *content):
    """What Python 3 writes of bytes and bytearrays: nothing, bytes, or text and `latin-1`; a number would be a size."""
    if content and not isinstance(content[0], (str, bytes, bytearray)):
        raise pickle.UnpicklingError("bytes of something else than bytes")
    return kind(*content)


def _hashed(kind: type, *content):
    """A set of a list, or an OrderedDict of a list of pairs."""
    for values in content:
        if not isinstance(values, list):
            raise pickle.UnpicklingError("members that are no list")
        check_keys([pair[0] for pair in values] if kind is OrderedDict else values)
    return kind(*content)


def _array(raw, dtype, shape, order, axes=None) -> np.ndarray:
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(dtype.value, np.dtype):
        raise pickle.UnpicklingError("an array of no known type")
    array = np.frombuffer(raw, dtype.value)
    return array.reshape(shape).transpose(axes) if order == "K" else array.reshape(shape, order=order)


_BUILDERS: dict[str, Callable] = {  # every name that a file may use, under its module's present name
    "numpy.ndarray": object,  # an argument of _reconstruct, never called
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": lambda dtype, raw: _array(raw, dtype, (), "C")[()],
    "numpy._core.numeric._frombuffer": _array,
    "_codecs.encode": lambda text, _latin_1: text.encode("latin-1"),
    "builtins.bytes": partial(_bytes, bytes),
    "builtins.bytearray": partial(_bytes, bytearray),
    "builtins.set": partial(_hashed, set),
    "builtins.frozenset": partial(_hashed, frozenset),
    "builtins.complex": complex,
    "collections.OrderedDict": partial(_hashed, OrderedDict),
}
