"""How is a pickle of arrays and strings read without running anything?

A pickle is a program. The standard unpickler imports and calls whatever that program names, so a downloaded file
can run any command. This module steps through the same instructions (protocols 0 to 5, as Python 2 and 3 write
them) with a machine that cannot import or call: the few names that arrays and plain containers need are keys of a
table of small builders in this file, and every other name is refused where it is read. The instructions are those
of the standard library's `pickletools`; the layout of an array's state is that of `numpy.ndarray.__reduce__`.

The reading is stricter than the standard one: nothing may be left over or crossed, a line may not end in a carriage
return, and no array may be larger than its bytes in the file. So a file spoiled by a line-end conversion does not
yield names that end in `\\r` or shifted numbers: it is mended where that is exact, and refused otherwise. One case
leaves no trace: in a binary pickle, CRLF became LF inside a bare Python number (2573 at least) or an unnumbered string,
and the values that follow it are just as short as what was lost.
"""

import codecs
import math
import mmap
import pickle
import pickletools
import re
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError

MAX_DEPTH = 64  # levels of containers inside containers; deeper files only serve to exhaust the reader
FORGET_ABOVE = 4096  # bytes; short content may be shared, as Python keeps one object for equal ones
MAX_DIMENSIONS = 32  # of an array; numpy's own limit when the published files were written

_DOWNLOAD_AGAIN = "download it again as a binary file"
_CONVERTED = (
    "was changed by a line-end conversion (git autocrlf, FTP in text mode, an archive unpacked as text): "
    f"{_DOWNLOAD_AGAIN}, in git with `*.pickle -text` in .gitattributes"
)
_NOT_PICKLES = (  # (how the file begins, what that means)
    (b"version https://git-lfs", "is a git-lfs pointer, not the file itself: fetch the file with `git lfs pull`"),
    (b"PK\x03\x04", "is a zip archive, not a pickle: unpack it first"),
    (b"\x1f\x8b", "is a gzip archive, not a pickle: unpack it first"),
    (b"\x93NUMPY", "is a .npy file, not a pickle: give the .pickle file as published"),
)
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
_TEXT_PICKLE = re.compile(rb"p\d+\r*\n|\A\(?c[\w.]+\r*\n")  # protocol 0 numbers its values, as in (lp0
_TEXT = re.compile(rb"[^\x00-\x08\x0e-\x1f\x7f]*")
_OLD_MODULES = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_NUMBERS_AND_STRINGS = (str, bytes, int, float, complex, bool, type(None), np.generic)
_PLAIN_DTYPE = re.compile(r"[<>=|]?[biufcSU]\d{1,9}")


def load(path):
    """Returns the object in the pickle at `path`, without importing or calling anything that the file names.

    Known are None, numbers, strings, bytes, bytearrays, lists, tuples, dicts, OrderedDicts, sets, numpy arrays and
    numpy scalars of numbers or fixed-length strings. Python 2's byte strings are decoded as latin-1. Keys of dicts
    and members of sets are numbers, strings or tuples of them.

    A text pickle (protocol 0) whose line ends were turned from LF to CRLF is mended in memory. That is exact
    because no line of an intact one ends in a carriage return, unless one of its strings does, and no file name
    does; if another carriage return stands in it, the file is refused.

    Raises InputError for a file that is missing, empty, truncated, spoiled or no pickle, and for one that asks for
    anything else than the above.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise InputError(f"{path} is empty: {_DOWNLOAD_AGAIN}")
            # mapped, not read: a 2.4 GB file of pictures is then never held beside its own arrays
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, data)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the folder, or download the file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): expected a readable pickle file") from None


class _Malformed(Exception):
    """The instructions make no sense; the caller finds out why."""


class _LineEnds(_Malformed):
    """They make no sense in the way that a line-end conversion brings about."""


@dataclass(frozen=True)
class _Name:
    """What the file means by "the thing of this name in that module". Nothing is imported for it."""

    text: str


class _Unfinished:
    """An array or dtype between its creation and its state; `built` is the value once the state has come."""

    def __init__(self, finish):
        self.finish = finish  # state -> value
        self.built = None


def _read(path, data):
    """Reads `data`, mends converted line ends where that is exact, and words what is wrong otherwise."""
    head = data[:512]
    for beginning, meaning in _NOT_PICKLES:
        if head.startswith(beginning):
            raise InputError(f"{path} {meaning}")
    if _WEB_PAGE.match(head):
        raise InputError(f"{path} looks like a web page that was saved in place of the file: {_DOWNLOAD_AGAIN}")
    try:
        return _run(path, data)
    except _Malformed as error:
        problem = error
    content = data[:]
    if content[:1] != pickle.PROTO and _TEXT_PICKLE.search(content, 0, 4096) and _all_lines_end_in_crlf(content):
        return _mend(path, content)
    raise InputError(f"{path} {_diagnosis(content, problem)}")


def _all_lines_end_in_crlf(content):
    return content.count(b"\n") == content.count(b"\r\n") > 0


def _mend(path, content):
    """Reads a protocol 0 pickle whose every LF became CRLF; refuses where undoing that could lose anything."""
    mended = content.replace(b"\r\n", b"\n")
    if b"\r" not in mended:
        try:
            return _run(path, mended, only_text=True)
        except _Malformed:
            pass  # spoiled in more ways than this one: refused like the rest
    raise InputError(f"{path} {_CONVERTED}")


def _diagnosis(content, problem):
    """The sentence, after the file's name, for a file that could not be read."""
    binary = content[:1] == pickle.PROTO
    if not binary and _TEXT.fullmatch(content, 0, 4096) and not _TEXT_PICKLE.search(content, 0, 4096):
        beginning = content[:24].decode("latin-1")
        return f"is a text file, not a pickle (it begins with {beginning!a}): {_DOWNLOAD_AGAIN}"
    if _all_lines_end_in_crlf(content) or isinstance(problem, _LineEnds):
        return _CONVERTED
    # an intact binary file has CR before one LF in 256: none in 2000 means that all CRLF became LF
    if binary and b"\r\n" not in content and content.count(b"\n") > 2000:
        return _CONVERTED
    return f"is damaged or no pickle at all ({problem}): {_DOWNLOAD_AGAIN}"


def _run(path, data, only_text=False):
    """The object that the instructions in `data` build; _Malformed if they do not fit together."""
    machine = _Machine(path, data, only_text)
    try:
        value = machine.run()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        reason = f"{type(error).__name__} at byte {machine.position}"
        raise _Malformed(reason) from None
    _check_finished(value)
    return value


def _check_finished(value):
    """Only plain values may leave: walks level by level, each container once, so loops and repeats end."""
    level, seen = [value], set()
    for _ in range(MAX_DEPTH):
        below = []
        for item in level:
            if isinstance(item, (_Name, _Unfinished, np.dtype)):
                raise _Malformed("it holds a name or a type where a value belongs")
            if isinstance(item, (list, tuple, dict)) and id(item) not in seen:
                seen.add(id(item))
                below.extend(item.values() if isinstance(item, dict) else item)  # keys are plain already
        if not below:
            return
        level = below
    raise _Malformed(f"it nests more than {MAX_DEPTH} levels deep")


def _check_key(key):
    """Keys are hashed, and hashing nested tuples is recursive: one level of them is enough."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _NUMBERS_AND_STRINGS) for part in parts):
        raise _Malformed("a key is neither a number, a string nor a tuple of them")
    return key


def _expect(condition, problem):
    if not condition:
        raise _Malformed(problem)


def _raw_bytes(value):
    """The bytes of an array: bytes, or what Python 2's byte strings were decoded to."""
    return value.encode("latin-1") if isinstance(value, str) else value


class _Machine:
    """Runs the instructions of one pickle over its own stack and memo."""

    def __init__(self, path, data, only_text):
        self.path = path
        self.data = data
        self.only_text = only_text  # refuse what protocol 0 does not have
        self.position = 0
        self.frame_end = 0  # no instruction may cross it
        self.stack = []
        self.outer_stacks = []  # those below the marks
        self.memo = {}
        self.next_index = 0  # of the memo: values are numbered in order
        self.gap = False  # in that order
        self.line_in_string = False
        self.swallowed = False  # did a string's content run on into the instruction that numbers it?
        # Values are built from bytes of the file, each used once, if nobody tries to exhaust the memory.
        self.allowance = 4 * len(data) + (1 << 16)  # bytes

    def run(self):
        while True:
            start = self.position
            code = self.take(1)
            if code == pickle.STOP:
                return self.result()
            instruction = _INSTRUCTIONS.get(code)
            _expect(instruction is not None, f"unknown instruction {code!r} at byte {start}")
            if self.only_text:
                _expect(pickletools.code2op[code.decode("latin-1")].proto == 0, f"binary instruction at byte {start}")
            instruction(self)
            _expect(not start < self.frame_end < self.position, f"a frame ends inside byte {start}'s instruction")

    def result(self):
        """The one value that is left, if nothing else is: leftovers mean that the file was read out of step."""
        _expect(len(self.stack) == 1 and not self.outer_stacks, "values are left over at its end")
        _expect(self.frame_end <= self.position, "it ends before its last frame does")
        rest = self.data[self.position : self.position + 1024]
        _expect(not rest.strip(), f"it goes on after its end at byte {self.position}")
        if self.out_of_step() and self.data.find(b"\r\n") < 0:
            raise _LineEnds("a string has run on into what follows it")
        self.memo.clear()  # unfinished values in it hold this machine in a loop
        return self.stack.pop()

    def out_of_step(self):
        """Whether a string that lost its carriage returns may have taken in the instruction that numbers it.

        All else that such a string can take in leaves the stack in disorder; this alone would pass unseen.
        """
        return self.swallowed or (self.gap and self.line_in_string)

    # reading

    def take(self, count):
        chunk = self.data[self.position : self.position + count]
        if len(chunk) != count:
            raise _Malformed(f"it is incomplete: it ends at byte {len(self.data)} where {count} more were announced")
        self.position += count
        return chunk

    def number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def counted(self, layout):
        content = self.take(self.number(layout))
        if b"\n" in content:
            self.line_in_string = True
            self.swallowed = self.swallowed or content.endswith(self.next_put())
        return content

    def next_put(self):
        """The instruction that would number the next value."""
        if self.next_index < 256:
            return pickle.BINPUT + bytes([self.next_index])
        return pickle.LONG_BINPUT + struct.pack("<I", self.next_index)

    def line(self):
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise _Malformed(f"it is incomplete: the line at byte {self.position} has no end")
        text = self.data[self.position : end]
        if text.endswith(b"\r"):
            raise _LineEnds(f"the line at byte {self.position} ends in a carriage return")
        self.position = end + 1
        return text

    # stack and memo

    def push(self, value):
        self.stack.append(value)

    def mark(self):
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_to_mark(self):
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def drop(self):
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def push_tuple(self, count):
        _expect(len(self.stack) >= count, "a tuple lacks members")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.push(items)

    def put(self, index):
        _expect(index >= 0, "a negative memo index")
        self.gap = self.gap or (index > self.next_index > 0)  # the first may be 0 or 1
        self.next_index = index + 1
        self.memo[index] = self.stack[-1]

    def get(self, index):
        value = self.memo[index]
        built = value.built if isinstance(value, _Unfinished) else None
        self.push(value if built is None else built)

    def top(self, kind):
        _expect(isinstance(self.stack[-1], kind), f"a {kind.__name__} is missing at byte {self.position}")
        return self.stack[-1]

    def append(self, items):
        self.top(list).extend(items)

    def add(self, items):
        self.top(set).update(_check_key(item) for item in items)

    def set_items(self, items):
        self.top(dict).update(self.pairs(items))

    def pairs(self, items):
        _expect(len(items) % 2 == 0, "a key lacks its value")
        return {_check_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}

    # names, and what stands for calling them

    def name(self, module, name):
        """Pushes a name of the table; refuses any other before anything is done with it."""
        _expect(isinstance(module, str) and isinstance(name, str), "a name is not a string")
        text = f"{_OLD_MODULES.get(module, module)}.{name}"
        if text not in _BUILDERS:
            wanted = ascii(f"{module}.{name}"[:80])[1:-1]
            raise InputError(
                f"{self.path} asks for {wanted}, which data of arrays and strings does not need and which could run "
                "commands on this computer: do not load this file, get it from a source you trust"
            )
        self.push(_Name(text))

    def reduce(self):
        arguments, name = self.stack.pop(), self.stack.pop()
        _expect(isinstance(name, _Name) and isinstance(arguments, tuple), "a value is used as a function")
        self.push(_BUILDERS[name.text](self, *arguments))
        self.forget(arguments)

    def build(self):
        state = self.stack.pop()
        unfinished = self.top(_Unfinished)
        _expect(isinstance(state, tuple), "a state is not a tuple")
        unfinished.built = unfinished.finish(*state)
        self.stack[-1] = unfinished.built
        self.forget(state)

    def forget(self, used):
        """Drops large raw content, once a value is built of it, from the latest numbers.

        Picklers make such content for one value alone, so nothing asks for it again; kept, it would double the
        memory that a file of pictures takes.
        """
        large = [item for item in used if isinstance(item, (str, bytes, bytearray)) and len(item) > FORGET_ABOVE]
        if large:
            for index in range(self.next_index - 32, self.next_index):
                if any(self.memo.get(index) is item for item in (used, *large)):
                    del self.memo[index]

    def spend(self, size):
        self.allowance -= size
        if self.allowance < 0:
            raise InputError(
                f"{self.path} unfolds to far more memory than its {len(self.data)} bytes explain, as no published "
                "file does: do not load this file, get it from a source you trust"
            )

    # builders

    def empty_array(self, kind, *_first_shape_and_type):
        """What `numpy._reconstruct` starts; the shape and type given there are overwritten by the state."""
        _expect(kind == _Name("numpy.ndarray"), "an array of no known kind")
        return _Unfinished(self.array_from_state)

    def array_from_state(self, version, shape, dtype, columns_first, raw):
        _expect(version == 1, f"an array state of version {version!r}")
        return self.array(raw, dtype, shape, "F" if columns_first else "C")

    def array_from_buffer(self, raw, dtype, shape, order, axes=None):
        if order == "K":
            return self.array(raw, dtype, shape, "C").transpose(axes)
        return self.array(raw, dtype, shape, order)

    def array(self, raw, dtype, shape, order):
        """A new array of `raw`'s bytes, if they are just as many as the shape needs."""
        raw = _raw_bytes(raw)
        _expect(isinstance(dtype, np.dtype), "an array without a type")
        _expect(isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS, "an array without a shape")
        _expect(all(type(size) is int and size >= 0 for size in shape), "an array of impossible shape")
        # even an array without content may not claim more rows than the file could hold
        _expect(dtype.itemsize > 0 and max(shape, default=0) <= len(self.data), "an array of impossible shape")
        needed = math.prod(shape) * dtype.itemsize
        _expect(needed == len(raw), f"an array needs {needed} bytes and has {len(raw)}")
        self.spend(needed)
        array = np.ndarray(shape, dtype, buffer=raw, order=order).copy(order="K")
        if dtype.kind == "U":  # what is no character would only fail much later
            codes = np.frombuffer(raw, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
            _expect(codes.max(initial=0) <= sys.maxunicode, "an array of impossible characters")
        return array

    def scalar(self, dtype, raw):
        return self.array(raw, dtype, (), "C")[()]

    def dtype(self, text, *_alignment):
        """A type whose byte order is still to come; only numbers and fixed-length strings."""
        _expect(isinstance(text, str), "a type without a name")
        if not _PLAIN_DTYPE.fullmatch(text):
            raise InputError(
                f"{self.path} holds an array of type {text[:40]!a}, but only numbers and fixed-length strings are "
                "read (Python objects in an array could run commands): save it again as lists of plain arrays"
            )
        plain = np.dtype(text)

        def finish(_version, order, subtype, names, fields, *_sizes):
            _expect(subtype is None and names is None and fields is None, "an array of records")
            _expect(order in ("<", ">", "=", "|"), "an unknown byte order")
            return plain.newbyteorder(order)

        return _Unfinished(finish)

    def encoded(self, text, encoding):
        _expect(isinstance(text, str) and encoding in ("latin1", "latin-1"), "bytes in an unknown encoding")
        self.spend(len(text))
        return text.encode("latin-1")

    def empty_bytes(self):
        return b""

    def byte_array(self, content=b"", encoding="latin-1"):
        content = self.encoded(content, encoding) if isinstance(content, str) else content
        _expect(isinstance(content, (bytes, bytearray)), "a bytearray of something else than bytes")
        self.spend(len(content))
        return bytearray(content)

    def keys(self, items):
        _expect(isinstance(items, (list, tuple)), "a set of something else than a list")
        self.spend(len(items))
        return (_check_key(item) for item in items)

    def set(self, items=()):
        return set(self.keys(items))

    def frozenset(self, items=()):
        return frozenset(self.keys(items))

    def ordered_dict(self, items=()):
        _expect(isinstance(items, (list, tuple)), "an OrderedDict of something else than a list")
        self.spend(len(items))
        return OrderedDict((_check_key(key), value) for key, value in items)

    def complex(self, real, imaginary):
        _expect(type(real) is float and type(imaginary) is float, "a complex number of something else than floats")
        return complex(real, imaginary)

    def no_builder(self, *_arguments):
        raise _Malformed("a type is used as a function")


def _text_integer(machine):
    """Protocol 0's integers, among them Python 2's booleans (00, 01) and long integers (with an L)."""
    line = machine.line()
    if line in (b"00", b"01"):
        return line == b"01"
    _expect(re.fullmatch(rb"-?\d+L?", line), f"{line[:20].decode('latin-1')!a} is no integer")
    return int(line.rstrip(b"L"))


def _text_string(machine):
    """Protocol 0's byte string: the quoted form that `repr` gives it, decoded as latin-1."""
    line = machine.line()
    _expect(len(line) >= 2 and line[:1] == line[-1:] and line[:1] in b"'\"", "a string lacks its quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _long(content):
    return int.from_bytes(content, "little", signed=True)


def _frame(machine):
    size = machine.number("<Q")
    _expect(machine.position >= machine.frame_end, "a frame inside a frame")
    _expect(machine.position + size <= len(machine.data), "it is incomplete: a frame runs past its end")
    machine.frame_end = machine.position + size


def _protocol(machine):
    protocol = machine.number("B")
    _expect(protocol <= 5, f"protocol {protocol}, but 5 is the newest known")


def _global(machine):
    module, name = machine.line(), machine.line()
    machine.name(module.decode("utf-8"), name.decode("utf-8"))


def _stack_global(machine):
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.name(module, name)


# Each instruction that data needs. Those left out (persistent ids, extension codes, instances, buffers kept
# elsewhere, new objects) could only ask for something to be looked up or made.
_INSTRUCTIONS = {
    pickle.PROTO: _protocol,
    pickle.FRAME: _frame,
    # values
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: lambda m: m.push(_text_integer(m)),
    pickle.LONG: lambda m: m.push(_text_integer(m)),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: lambda m: m.push(_long(m.counted("B"))),
    pickle.LONG4: lambda m: m.push(_long(m.counted("<I"))),
    pickle.FLOAT: lambda m: m.push(float(m.line())),
    pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
    pickle.STRING: lambda m: m.push(_text_string(m)),
    pickle.BINSTRING: lambda m: m.push(m.counted("<I").decode("latin-1")),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.counted("B").decode("latin-1")),
    pickle.UNICODE: lambda m: m.push(m.line().decode("raw-unicode-escape")),
    pickle.BINUNICODE: lambda m: m.push(m.counted("<I").decode("utf-8")),
    pickle.BINUNICODE8: lambda m: m.push(m.counted("<Q").decode("utf-8")),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.counted("B").decode("utf-8")),
    pickle.BINBYTES: lambda m: m.push(m.counted("<I")),
    pickle.BINBYTES8: lambda m: m.push(m.counted("<Q")),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.counted("B")),
    pickle.BYTEARRAY8: lambda m: m.push(bytearray(m.counted("<Q"))),
    # containers
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.EMPTY_SET: lambda m: m.push(set()),
    pickle.MARK: _Machine.mark,
    pickle.LIST: lambda m: m.push(m.pop_to_mark()),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_to_mark())),
    pickle.TUPLE1: lambda m: m.push_tuple(1),
    pickle.TUPLE2: lambda m: m.push_tuple(2),
    pickle.TUPLE3: lambda m: m.push_tuple(3),
    pickle.DICT: lambda m: m.push(m.pairs(m.pop_to_mark())),
    pickle.FROZENSET: lambda m: m.push(m.frozenset(m.pop_to_mark())),
    pickle.APPEND: lambda m: m.append([m.stack.pop()]),
    pickle.APPENDS: lambda m: m.append(m.pop_to_mark()),
    pickle.SETITEM: lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_to_mark()),
    pickle.ADDITEMS: lambda m: m.add(m.pop_to_mark()),
    # stack and memo
    pickle.POP: _Machine.drop,
    pickle.POP_MARK: _Machine.pop_to_mark,
    pickle.DUP: lambda m: m.push(m.stack[-1]),
    pickle.PUT: lambda m: m.put(int(m.line())),
    pickle.BINPUT: lambda m: m.put(m.number("B")),
    pickle.LONG_BINPUT: lambda m: m.put(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.put(m.next_index),
    pickle.GET: lambda m: m.get(int(m.line())),
    pickle.BINGET: lambda m: m.get(m.number("B")),
    pickle.LONG_BINGET: lambda m: m.get(m.number("<I")),
    # names
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.INST: _global,  # "an instance of this class": here only so that the refusal names the class
    pickle.REDUCE: _Machine.reduce,
    pickle.BUILD: _Machine.build,
}

# Every name that a file may use, under its module's present name, and what is done here in place of calling it.
_BUILDERS = {
    "numpy.ndarray": _Machine.no_builder,
    "numpy.dtype": _Machine.dtype,
    "numpy._core.multiarray._reconstruct": _Machine.empty_array,
    "numpy._core.multiarray.scalar": _Machine.scalar,
    "numpy._core.numeric._frombuffer": _Machine.array_from_buffer,
    "_codecs.encode": _Machine.encoded,
    "builtins.bytes": _Machine.empty_bytes,
    "builtins.bytearray": _Machine.byte_array,
    "builtins.set": _Machine.set,
    "builtins.frozenset": _Machine.frozenset,
    "builtins.complex": _Machine.complex,
    "collections.OrderedDict": _Machine.ordered_dict,
}
