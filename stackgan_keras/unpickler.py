"""An unpickler for files of strangers: it calls only what it is given, and takes memory for what a file holds alone.

It is the one in Python, `pickle._Unpickler`. That in C makes room for whatever length and whatever place in its memo a
file of ten bytes names, and prints errors of its own where a memory view outlives the bytes under it.
"""

import pickle
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np

KEYS = (str, bytes, int, float, complex, type(None), np.generic)


class _Opcodes(dict):
    def __missing__(self, opcode: int) -> None:
        raise pickle.UnpicklingError(f"invalid load key, {chr(opcode)!r}")


class _Whole:
    """A file of so many bytes that gives all that it is asked for, or raises an exception before any room is made."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size

    def read(self, length: int) -> bytes:
        content = self.file.read(length) if length <= self.size else b""
        if len(content) < length:
            raise pickle.UnpicklingError("pickle data was truncated")
        return content

    def readline(self) -> bytes:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("pickle data was truncated")
        return line


class Unpickler(pickle._Unpickler):
    """Reads pickles whose names `known(module, name)` stands for, and copies no more of a file than there is in it."""

    memo: dict[int, Any]
    stack: list
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    dispatch = _Opcodes(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO, size: int, encoding: str = "ASCII"):
        super().__init__(_Whole(file, size), encoding=encoding)
        self.left = 2 * size  # that calls may copy, of text to bytes to numbers: a thousand may name one long string

    def load(self) -> Any:
        try:
            return super().load()
        finally:
            self.memo.clear()  # its functions know this object, so that it would wait for the garbage collector

    def known(self, module: str, name: str) -> Any:
        """What a name in the file stands for. Raises an exception for names that no such file needs."""
        raise NotImplementedError

    def find_class(self, module: str, name: str) -> Any:
        found = self.known(module, name)
        # an object of its own, as the file may set attributes of what it gets
        return partial(self._call, found) if callable(found) else found

    def _call(self, function: Callable, *arguments: Any) -> Any:
        self.spend(arguments)
        return function(*arguments)

    def spend(self, arguments: tuple) -> None:
        """Counts what is about to be copied. Raises an exception where it is more than the file can have written."""
        self.left -= sum(len(value) for value in arguments if hasattr(value, "__len__"))
        if self.left < 0:
            raise pickle.UnpicklingError("it makes more of its content than it holds")


def _read_bytearray(self: Unpickler) -> None:
    (length,) = struct.unpack("<Q", self.read(8))
    self.append(bytearray(self.read(length)))


def _checked(opcode: bytes, keys: slice) -> Callable[[Unpickler], None]:
    """The opcode's function, with a look at those of the topmost values that are to be hashed.

    The hash of a tuple in a tuple, and so on, is computed without regard for the stack, whose end is the program's.
    """
    load: Callable[[Any], None] = pickle._Unpickler.dispatch[opcode[0]]

    def checked(self: Unpickler) -> None:
        check_keys(self.stack[keys])
        load(self)

    return checked


def check_keys(values: list) -> None:
    """Raises an exception unless all are numbers, strings, or tuples of these."""
    for value in values:
        if not all(isinstance(part, KEYS) for part in (value if isinstance(value, tuple) else (value,))):
            raise pickle.UnpicklingError("a key that is neither number nor string")


_OF_MAPPINGS = slice(0, None, 2)
Unpickler.dispatch |= {
    pickle.BYTEARRAY8[0]: _read_bytearray,
    pickle.SETITEM[0]: _checked(pickle.SETITEM, slice(-2, -1)),
    pickle.SETITEMS[0]: _checked(pickle.SETITEMS, _OF_MAPPINGS),
    pickle.DICT[0]: _checked(pickle.DICT, _OF_MAPPINGS),
    pickle.ADDITEMS[0]: _checked(pickle.ADDITEMS, slice(None)),
    pickle.FROZENSET[0]: _checked(pickle.FROZENSET, slice(None)),
}
del Unpickler.dispatch[pickle.READONLY_BUFFER[0]]  # a view, which no file holds that has all its bytes
