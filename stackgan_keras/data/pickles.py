"""A restricted unpickler for lists, names and numpy arrays, as the published data sets hold them.

The standard unpickler imports and calls whatever a file names, so a downloaded file can run any command. This one knows
only the names in `_BUILDERS`, and calls a function of this file in place of each. It extends the standard library's
`_Unpickler`, as joblib does: the one written in C cannot be kept from setting attributes, from hashing endlessly nested
keys, nor from allocating whatever a file claims to need.
"""

import io
import math
import os
import pickle
import pickletools
import re
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stackgan_keras.errors import InputError

MAX_DEPTH = 64  # levels of containers inside containers
LARGE = 1 << 16  # bytes of content that only one array is made of

_DOWNLOAD_AGAIN = "download it again as a binary file"
_CONVERTED = (
    "was changed by a line-end conversion (git autocrlf, FTP in text mode, an archive unpacked as text): "
    f"{_DOWNLOAD_AGAIN}, in git with `*.pickle -text` in .gitattributes"
)
_OTHER_FORMATS = {  # how the file begins: what that means
    rb"version https://git-lfs": "is a git-lfs pointer, not the file itself: fetch the file with `git lfs pull`",
    rb"PK\x03\x04": "is a zip archive, not a pickle: unpack it first",
    rb"\x1f\x8b": "is a gzip archive, not a pickle: unpack it first",
    rb"\x93NUMPY": "is a .npy file, not a pickle: give the .pickle file as published",
    rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)": (
        f"looks like a web page that was saved in place of the file: {_DOWNLOAD_AGAIN}"
    ),
}
_TEXT_PICKLE = re.compile(rb"p\d+\r*\n|\A\(?c[\w.]+\r*\n")  # protocol 0 numbers its values, as in (lp0
_TEXT = re.compile(rb"[^\x00-\x08\x0e-\x1f\x7f]*")
_KEYS = (str, bytes, int, float, complex, bool, type(None), np.generic)
_VALUES = (*_KEYS, bytearray, set, frozenset, np.ndarray, list, tuple, dict)
_REFUSED = (  # instructions that look something up outside the file, or make instances
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


def load(path: str | Path):
    """The object in the pickle at `path`, of protocol 0 to 5, from Python 2 or 3.

    It may consist of None, numbers, strings, bytes, bytearrays, lists, tuples, dicts, OrderedDicts, sets, and numpy
    arrays and scalars of numbers or fixed-length strings. Python 2's byte strings are decoded as latin-1. Keys of dicts
    and members of sets are numbers, strings or tuples of them.

    A text pickle (protocol 0) whose every LF became CRLF is mended in memory: no line of an intact one ends in a
    carriage return. Raises InputError for a file that is missing, empty, truncated, spoiled by a line-end conversion or
    no pickle, and for one that asks for anything else than the above.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the folder, or download the file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): expected a readable pickle file") from None
    except MemoryError:
        raise InputError(f"{path} needs more memory than is free: close other programs to read it") from None
    except InputError as error:
        raise InputError(f"{path} {error}") from None


def _read(file: BinaryIO):
    """The object in an open file. Errors lack the file's name."""
    beginning = file.read(512)
    if not beginning:
        raise InputError(f"is empty: {_DOWNLOAD_AGAIN}")
    for pattern, meaning in _OTHER_FORMATS.items():
        if re.match(pattern, beginning):
            raise InputError(meaning)
    try:
        return _Unpickler(file).load()
    except pickle.UnpicklingError as error:
        problem = error
    file.seek(0)
    content = file.read()
    binary = content[:1] == pickle.PROTO
    if not binary and _TEXT.fullmatch(content, 0, 4096) and not _TEXT_PICKLE.search(content, 0, 4096):
        text = content[:24].decode("latin-1")
        raise InputError(f"is a text file, not a pickle (it begins with {text!a}): {_DOWNLOAD_AGAIN}")
    line_ends, crlf = content.count(b"\n"), content.count(b"\r\n")
    if not binary and line_ends == crlf == content.count(b"\r"):
        try:
            return _Unpickler(io.BytesIO(content.replace(b"\r\n", b"\n")), protocol=0).load()
        except pickle.UnpicklingError:
            pass  # spoiled in more ways than this one: refused like the rest
    # an intact binary file has CR before one LF in 256: none in 2000 means that all CRLF became LF
    if isinstance(problem, _LineEnds) or line_ends == crlf > 0 or (binary and crlf == 0 and line_ends > 2000):
        raise InputError(_CONVERTED)
    raise InputError(f"is damaged or no pickle at all ({problem}): {_DOWNLOAD_AGAIN}")


class _LineEnds(pickle.UnpicklingError):
    """The file is malformed in the way that a line-end conversion brings about."""


def _expect(condition, problem: str) -> None:
    if not condition:
        raise pickle.UnpicklingError(problem)


class _Reader:
    """A file for the unpickler that never returns less than was asked for, nor a line that ends in CRLF."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.ending = b""  # of the latest content that holds an LF
        file.seek(0)

    def read(self, count: int) -> bytes:
        content = self.file.read(min(count, self.size + 1))  # what a file claims is not allocated unseen
        _expect(len(content) == count, f"it is incomplete: it ends where {count} bytes were announced")
        if count > 1 and b"\n" in content:
            self.ending = content[-5:]
        return content

    def readline(self) -> bytes:
        line = self.file.readline()
        _expect(line.endswith(b"\n"), "it is incomplete: its last line has no end")
        if line.endswith(b"\r\n"):
            raise _LineEnds("a line ends in a carriage return")
        return line


class _Unfinished:
    """An array or dtype that waits for its state; `value` is what it becomes."""

    def __init__(self, finish=None):
        self.finish = finish  # state -> value
        self.value = self


class _Memo(dict):
    """The values that a pickle numbers to refer to again."""

    def __getitem__(self, index):
        value = super().__getitem__(index)
        return value.value if isinstance(value, _Unfinished) else value

    def __setitem__(self, index, value):
        # an array's content and state are not asked for again; kept, they would double the memory of many pictures
        parts = value if isinstance(value, tuple) else (value,)
        large = any(isinstance(part, (str, bytes, bytearray)) and len(part) > LARGE for part in parts)
        super().__setitem__(index, _Unfinished() if large else value)


def _checked(code: bytes, keys: slice):
    """The standard library's step for an instruction, after a check of the items on the stack that it hashes."""
    step = pickle._Unpickler.dispatch[code[0]]

    def checked_step(unpickler):
        _check_keys(unpickler.stack[keys])
        step(unpickler)

    return checked_step


class _Unpickler(pickle._Unpickler):
    """The standard unpickler without the instructions in `_REFUSED`, and with checks in those that hash or build."""

    def __init__(self, file: BinaryIO, protocol: int = pickle.HIGHEST_PROTOCOL):
        self.file, self.reader = file, _Reader(file)
        super().__init__(self.reader, encoding="latin-1")
        self.memo = _Memo()
        self.allowance = 4 * self.reader.size + (1 << 16)  # bytes: values are made of those in the file, each used once
        known = {ord(operation.code) for operation in pickletools.opcodes if operation.proto <= protocol}
        self.dispatch = {code: step for code, step in self.dispatch.items() if code in known}

    def load(self):
        """The one value that the file holds. Raises UnpicklingError if it is malformed."""
        try:
            value = super().load()
            _expect(not self.stack and not self.metastack, "values are left over at its end")
            _expect(not self.file.read(1024).strip(), "it goes on after its end")
            _check_value(value)
            self.check_numbers()
            return value
        except (InputError, OSError, MemoryError, _LineEnds):
            raise
        except Exception as error:  # malformed instructions raise whatever the operations under them do
            reason = error if isinstance(error, pickle.UnpicklingError) else type(error).__name__
            raise pickle.UnpicklingError(f"{reason}, near byte {self.file.tell()}") from None

    def check_numbers(self) -> None:
        """Refuses a file in which CRLF became LF inside a string, which so takes in what follows it.

        If these are whole instructions, nothing is amiss but that the number is missing that they gave to the string.
        """
        ending = self.reader.ending
        if ending and self.memo:
            first, last = min(self.memo), max(self.memo)
            put = b"q%c" % (last + 1) if last < 255 else b"r" + struct.pack("<I", last + 1)
            if last - first >= len(self.memo) or ending.endswith(put):
                self.file.seek(0)
                if b"\r\n" not in self.file.read():
                    raise _LineEnds("a string has run on into what follows it")

    def find_class(self, module: str, name: str):
        known = f"{module}.{name}".replace("__builtin__", "builtins").replace("numpy.core", "numpy._core")
        if known not in _BUILDERS:
            raise InputError(
                f"asks for {ascii(f'{module}.{name}'[:80])[1:-1]}, which data of arrays and strings does not need and "
                "which could run commands on this computer: do not load this file, get it from a source you trust"
            )
        return _BUILDERS[known]

    def load_reduce(self):
        arguments = self.stack.pop()
        _expect(isinstance(arguments, tuple), "a function's arguments are not a tuple")
        self.spend(arguments)
        self.stack[-1] = self.stack[-1](*arguments)

    def load_build(self):
        state, unfinished = self.stack.pop(), self.stack[-1]
        _expect(isinstance(unfinished, _Unfinished) and isinstance(state, tuple), "a state for what has none")
        self.spend(state)
        self.stack[-1] = unfinished.value = unfinished.finish(*state)

    def load_bytearray8(self):
        self.append(bytearray(self.read(*struct.unpack("<Q", self.read(8)))))

    def spend(self, arguments: tuple) -> None:
        """Refuses the file if the same bytes or lists are made into values again and again."""
        self.allowance -= sum(len(part) for part in arguments if isinstance(part, (str, bytes, bytearray, list, tuple)))
        if self.allowance < 0:
            raise InputError(
                f"unfolds to far more memory than its {self.reader.size} bytes explain, as no published file does: "
                "do not load this file, get it from a source you trust"
            )

    dispatch = {code: step for code, step in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED} | {
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.INST[0]: pickle._Unpickler.load_global,  # an instance: here only so that the refusal names its class
        pickle.SETITEM[0]: _checked(pickle.SETITEM, slice(-2, -1)),
        pickle.SETITEMS[0]: _checked(pickle.SETITEMS, slice(None, None, 2)),
        pickle.DICT[0]: _checked(pickle.DICT, slice(None, None, 2)),
        pickle.ADDITEMS[0]: _checked(pickle.ADDITEMS, slice(None)),
        pickle.FROZENSET[0]: _checked(pickle.FROZENSET, slice(None)),
    }


def _check_keys(keys) -> None:
    """Python's hash of nested tuples recurses until the process dies: only tuples of plain values are keys."""
    parts = [part for key in keys for part in (key if isinstance(key, tuple) else (key,))]
    _expect(all(isinstance(part, _KEYS) for part in parts), "a key is neither a number, a string nor a tuple of them")


def _check_value(value) -> None:
    """Only complete values of the known types leave, not nested too deeply. Looks into each container once."""
    level, seen = [value], set()
    for _ in range(MAX_DEPTH):
        _expect(all(isinstance(item, _VALUES) for item in level), "it holds a name or a type where a value belongs")
        "".join(item for item in level if isinstance(item, str)).encode()  # fails for what no file can be named
        containers = {
            id(item): item for item in level if isinstance(item, (list, tuple, dict)) and id(item) not in seen
        }
        seen |= containers.keys()
        level = [part for item in containers.values() for part in (item.values() if isinstance(item, dict) else item)]
    _expect(not level, f"it nests more than {MAX_DEPTH} levels deep")


# What is called in place of the names in a file. Arrays and dtypes are made when their state comes (BUILD).


def _no_function(*_arguments):
    raise pickle.UnpicklingError("a type is used as a function")


def _reconstruct(kind, _first_shape, _first_type):
    _expect(kind is _no_function, "an array of no known kind")
    return _Unfinished(lambda _version, shape, dtype, fortran, raw: _array(raw, dtype, shape, "F" if fortran else "C"))


def _array_from_buffer(raw, dtype, shape, order, axes=None):
    return _array(raw, dtype, shape, "C").transpose(axes) if order == "K" else _array(raw, dtype, shape, order)


def _array(raw, dtype, shape, order) -> np.ndarray:
    """A new array of `raw`'s bytes, if they are just as many as the shape needs."""
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    _expect(isinstance(raw, (bytes, bytearray)) and isinstance(dtype, np.dtype), "an array without bytes or type")
    _expect(isinstance(shape, tuple) and len(shape) <= 32, "an array without a shape")
    # an array without content may not claim endless rows either
    possible = all(type(size) is int and 0 <= size <= max(len(raw), LARGE) for size in shape)
    _expect(possible and dtype.itemsize > 0, "an array of impossible shape")
    needed = math.prod(shape) * dtype.itemsize
    _expect(needed == len(raw), f"an array needs {needed} bytes and has {len(raw)}")
    if dtype.kind == "U":  # what is no character would only fail much later
        codes = np.frombuffer(raw, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        _expect(codes.max(initial=0) <= sys.maxunicode, "an array of impossible characters")
    return np.ndarray(shape, dtype, buffer=raw, order=order).copy(order="K")


def _dtype(text, *_alignment):
    if not re.fullmatch(r"[<>=|]?[biufcSU]\d{1,9}", text):
        raise InputError(
            f"holds an array of type {text[:40]!a}, but only numbers and fixed-length strings are read (Python objects "
            "in an array could run commands): save it again as lists of plain arrays"
        )

    def finish(version, order, subtype, names, fields, *sizes):
        plain = version == 3 and subtype is names is fields is None and len(sizes) == 3
        _expect(plain, "a type with fields or metadata")
        return np.dtype(text).newbyteorder(order)

    return _Unfinished(finish)


def _encode(text, encoding) -> bytes:
    _expect(encoding in ("latin1", "latin-1"), "bytes in an unknown encoding")
    return str.encode(text, "latin-1")


def _bytearray(content=b"", encoding="latin-1") -> bytearray:
    content = _encode(content, encoding) if isinstance(content, str) else content
    _expect(isinstance(content, bytes), "a bytearray of something else than bytes")  # a number would be its length
    return bytearray(content)


def _set(items=()) -> set:
    _expect(isinstance(items, (list, tuple)), "a set of something else than a list")
    _check_keys(items)
    return set(items)


def _ordered_dict(items=()) -> OrderedDict:
    _expect(isinstance(items, (list, tuple)), "an OrderedDict of something else than a list")
    _check_keys([key for key, _ in items])
    return OrderedDict(items)


_BUILDERS = {  # every name that a file may use, under its module's present name
    "numpy.ndarray": _no_function,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": lambda dtype, raw: _array(raw, dtype, (), "C")[()],
    "numpy._core.numeric._frombuffer": _array_from_buffer,
    "_codecs.encode": _encode,
    "builtins.bytes": lambda: b"",
    "builtins.bytearray": _bytearray,
    "builtins.set": _set,
    "builtins.frozenset": lambda items=(): frozenset(_set(items)),
    "builtins.complex": complex,
    "collections.OrderedDict": _ordered_dict,
}
