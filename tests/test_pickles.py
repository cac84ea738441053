"""The restricted unpickler: what it reads, what it refuses, and spoiled files."""

import builtins
import copyreg
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest

from stackgan_keras.data.pickles import load
from stackgan_keras.errors import InputError

DTYPE_F4 = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"

each_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


def ndarray(shape, dtype, content):
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
    return head + shape + dtype + b"I00\n" + content + b"tb."


@pytest.fixture
def read(tmp_path):
    """Loads a pickle given as bytes."""

    def read(content):
        path = tmp_path / "some.pickle"
        path.write_bytes(content)
        return load(path)

    return read


@pytest.fixture
def refused(read):
    """Expects one sentence that names the file and matches the pattern."""

    def refused(content, pattern):
        with pytest.raises(InputError, match=f"some.pickle .*{pattern}") as caught:
            read(content)
        assert "\n" not in str(caught.value)

    return refused


def same(left, right):
    """Equal in value and in type, at every level."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (np.ndarray, np.generic)):
        return left.dtype == right.dtype and left.shape == right.shape and bool(np.all(left == right))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    return left == right


STRINGS = ["", "a\r\nb", "Écureuil 鳥 🐦", "\\u000a", "x" * 300, b"", b"\x00\r\n\xff", bytearray(b"ab\n"), b"y" * 300]
VALUES = {
    "numbers": [0, 1, -1, 255, 256, 2573, -(2**31), 2**31, 2**70, -(2**2000), 1.5, -1e300, 3 + 4j, True, False, None],
    "strings": STRINGS,
    "containers": [[], (), {}, set(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"a": [1, {"b": (2,)}]}, {(1, "a"): 2}],
    "sets": [{1, "a", (2, 3)}, frozenset([1, b"x"])],
    "ordered": OrderedDict([("z", 1), ("a", [2, np.ones(2)])]),
    "arrays": [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(1, 0, 2),
        np.array(["crow", "é鳥"]),
        np.array([b"crow", b"x"]),
        np.array([True, False]),
        np.zeros((0, 4), np.float16),
        np.array(2.5),
        np.array([1j]),
    ],
    # Python keeps one object for empty and for one-byte contents, so that later arrays take them from the memo
    "shared contents": [np.zeros(0), np.ones(0), np.array([7], np.uint8), np.array([7], np.int8), b"\x07", b""],
    "shared byte order": [np.array([1, 2], ">i2"), np.array([3], ">i2")],
    "a repeated array": [np.ones(3)] * 2,
    "scalars": [np.int64(-3), np.float32(0.1), np.uint8(200), np.bool_(True), np.float64(2.0), np.str_("é")],
    "large": [np.arange(100_000, dtype=np.float64), "x" * 70_000, list(range(5000))],
}


@each_protocol
@pytest.mark.parametrize("name", VALUES)
def test_every_protocol_gives_back_what_was_written(read, name, protocol):
    assert same(read(pickle.dumps(VALUES[name], protocol)), VALUES[name])


PYTHON_2 = {
    "protocol 0 array": (
        ndarray(b"(L2L\nI1\nt", DTYPE_F4, b"S'\\x00\\x00\\x80?\\n\\r\\'@'\n"),
        np.frombuffer(b"\x00\x00\x80?\n\r'@", np.float32).reshape(2, 1),
    ),
    "protocol 1": (b"](U\x03abcU\x02\xe9\nK\x0aI01\nL5L\nU\x02\r\ne.", ["abc", "é\n", 10, True, 5, "\r\n"]),
    "protocol 2": (
        b"\x80\x02]q\x01(cnumpy.core.multiarray\nscalar\nq\x02cnumpy\ndtype\nq\x03U\x02f4K\x00K\x01\x87Rq\x04"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x04\x00\x00\x80?q\x05\x86Rq\x06h\x06T\x02\x00\x00\x00\xc3\r\x8a\x01\x07e.",
        [np.float32(1), np.float32(1), "Ã\r", 7],
    ),
    "protocol 0 strings": (
        b"(lp0\nS'it\\'s \\xe9\\n'\naS\"it's\"\naV\\u9ce5 \xe9\naI00\naF1.5\na(dS'k'\nNsa.",
        ["it's é\n", "it's", "鳥 é", False, 1.5, {"k": None}],
    ),
    "ordered": (b"ccollections\nOrderedDict\n((lp0\n(lp1\nS'a'\naI1\naatR.", OrderedDict(a=1)),
}


@pytest.mark.parametrize("name", PYTHON_2)
def test_what_python_2_writes(read, name):
    content, value = PYTHON_2[name]
    assert same(read(content), value)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("birds", "birds"),
        ("flowers", "flowers"),
        ("published_pickles/intact", "published_pickles/intact"),
        ("published_pickles/crlf_damaged", "published_pickles/intact"),
    ],
)
def test_the_real_files_read_like_the_standard_library_reads_them(shared, folder, expected):
    paths = list((shared / folder).glob("*/*.pickle"))
    assert len(paths) >= 4
    for path in paths:
        with (shared / expected / path.parent.name / path.name).open("rb") as file:
            assert same(load(path), pickle.load(file, encoding="latin-1"))


# nothing runs


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@each_protocol
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, r"(posix|nt)\.system"), (builtins.eval, "eval"), (getattr, "getattr"), (np.load, "numpy.load")],
)
def test_calls_are_refused_by_name(refused, tmp_path, function, name, protocol):
    hostile = Call(function, f"touch {tmp_path / 'ran'}")
    refused(pickle.dumps([1, hostile], protocol), f"asks for .*{name}, which .* could run commands")
    assert not (tmp_path / "ran").exists()


def _text(value):
    return b"\x8c" + bytes([len(value)]) + value


HOSTILE_NAMES = {
    "attribute of an allowed name": (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
    "allowed name, other module": (b"cos\nscalar\n.", "os.scalar"),
    "stack global": (b"\x80\x04" + _text(b"os") + _text(b"system") + b"\x93.", "os.system"),
    "dotted stack global": (b"\x80\x04" + _text(b"numpy") + _text(b"os.system") + b"\x93.", "numpy.os.system"),
    "instance": (b"(S'ls'\nios\nsystem\n.", "os.system"),
    "reconstructor": (b"ccopyreg\n_reconstructor\n.", "copyreg._reconstructor"),
    "chain of attributes": (
        b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(S'ls'\ntR.",
        "__builtin__.getattr",
    ),
    "call as a state": (ndarray(b"(I1\nt", DTYPE_F4, b"cos\nsystem\n(S'ls'\ntR"), "os.system"),
    "terminal escapes": (b"cos\x1b[2J\nsystem\n.", r"os\\x1b\[2J.system"),
    "line ends of a text": (b"(lp0\r\ncos\r\nsystem\r\n(S'ls'\r\ntRa.", "os.system"),
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_outside_the_table_are_refused(refused, name):
    content, wanted = HOSTILE_NAMES[name]
    refused(content, f"asks for {wanted},")


def test_the_scalar_of_an_object_type_does_not_unpickle_its_bytes(refused, tmp_path):
    inner = pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}"), 0)
    dtype = DTYPE_F4.replace(b"f4", b"O8")
    refused(
        b"cnumpy.core.multiarray\nscalar\n(" + dtype + b"S" + repr(inner)[1:].encode() + b"\ntR.",
        "type 'O8', but only numbers",
    )
    assert not (tmp_path / "ran").exists()


@each_protocol
@pytest.mark.parametrize(
    ("dtype", "text"),
    [("O", "O8"), ([("a", "f4"), ("b", "u1")], "V5"), ([("a", "O")], "V8"), ("M8[s]", "M8"), ("m8[D]", "m8")],
)
def test_types_other_than_numbers_and_strings_are_refused(refused, dtype, text, protocol):
    content = pickle.dumps(np.zeros(2, dtype), protocol)
    refused(content, rf"(type '{text}', but only numbers|asks for .*_pickle\.loads)")


@pytest.mark.parametrize(("intact", "changed"), [(b"I0\ntb", b"I63\ntb"), (b"(I0\nt", b"(I99999999999999\nt")])
def test_the_flags_of_a_type_and_the_first_shape_of_an_array_have_no_effect(read, intact, changed):
    """By numpy's own functions, numbers would be used as addresses, and the shape allocated."""
    content = ndarray(b"(I1\nt", DTYPE_F4, b"S'\\x00\\x00\\x80?'\n").replace(intact, changed)
    assert same(read(content), np.ones(1, np.float32))


MISUSED = {
    "a name inside the result": b"(lcnumpy\nndarray\na.",
    "a type as result": DTYPE_F4 + b".",
    "an unfinished array": b"(lcnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRa.",
    "a type without byte order": ndarray(b"(I1\nt", DTYPE_F4.replace(b"<", b"x"), b"S'abcd'\n"),
    "an array without bytes": ndarray(b"(I1\nt", DTYPE_F4, b"N"),
    "an array of too few bytes": ndarray(b"(I1\nt", DTYPE_F4, b"S'abc'\n"),
    "an array of too many bytes": ndarray(b"(I1\nt", DTYPE_F4, b"S'abcdefgh'\n"),
    "an array far larger than its bytes": ndarray(b"(" + b"I10\n" * 12 + b"t", DTYPE_F4, b"S'abcd'\n"),
    "an array without a type": ndarray(b"(I1\nt", b"S'f4'\n", b"S'abcd'\n"),
    "an array of objects without a type": ndarray(b"(I1\nt", b"S'O'\n", b"(lNa"),
    "a persistent id": b"Pos.system\n.",
    "a new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "a new object with keywords": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "an outside buffer": b"\x80\x05\x97.",
    "an attribute as a type": b"cnumpy.core.multiarray\nscalar\n(ccollections\nOrderedDict\n(tR"
    b"(dS'value'\nS'f4'\nsbS'abcd'\ntR.",
    "a second pickle": pickle.dumps([1], 2) + pickle.dumps([2], 2),
    "deep tuples": b"\x80\x02]" + b"\x85" * 200_000 + b".",
    "deep lists": b"\x80\x02]q\x00" + b"0]q\x01h\x00aq\x00" * 200_000 + b".",
    "doubling lists": b"\x80\x02]" + b"q\x000]q\x01(h\x00h\x00e" * 200 + b".",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", MISUSED)
def test_instructions_that_no_data_needs_are_refused(refused, name):
    refused(MISUSED[name], "is damaged.* or no pickle .*download it again")


def test_a_file_cannot_change_what_names_stand_for(read, refused):
    """The state of a `functools.partial`, which the unpickler gives for a name: another function, and arguments."""
    refused(b"cnumpy\ndtype\n(c__builtin__\nset\n)}Ntb.", "a name or a type")
    assert same(read(pickle.dumps(np.ones(2), 2)), np.ones(2))


def test_extension_codes_that_another_library_registered_are_refused(refused):
    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(b"\x80\x02\x82\x4d.") is os.system  # so that it is in the cache too
        refused(b"\x80\x02\x82\x4d(S'ls'\ntR.", "asks for os.system,")
    finally:
        copyreg.remove_extension("os", "system", 77)


# memory


@each_protocol
def test_a_file_of_images_is_held_twice_at_most(tmp_path, protocol):
    images = [np.full((304, 304, 3), value, np.uint8) for value in range(20)]
    (tmp_path / "304images.pickle").write_bytes(pickle.dumps(images, protocol))
    tracemalloc.start()
    try:
        read = load(tmp_path / "304images.pickle")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert same(read, images)
    size = sum(image.nbytes for image in images)
    assert held < 1.1 * size and peak < 2.3 * size


LONG = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
AGAIN = b"".join(
    bytes([0x30, 0x71, i, 0x28]) + 100 * bytes([0x68, i]) + b"t" for i in range(5)
)  # each of 100 of the last
BOMBS = {
    "bytes by their number": b"c__builtin__\nbytes\n(I3000000000\ntR.",
    "bytearray by its number": b"c__builtin__\nbytearray\n(I3000000000\ntR.",
    "bytearray of a long number": b"c__builtin__\nbytearray\n(L3000000000L\ntR.",
    "an announced bytearray": b"\x80\x05\x96" + struct.pack("<Q", 3_000_000_000) + b"abc.",
    "a place far in the memo": b"\x80\x02]r" + struct.pack("<I", 300_000_000) + b".",
    "a place far in the memo, in text": b"(lp300000000\n.",
    "tuples of tuples": b"\x80\x02)" + AGAIN + b".",
    "lists of lists": b"\x80\x02]" + AGAIN.replace(b"(h", b"](h").replace(b"t", b"e") + b".",
    "one text as many bytes": b"\x80\x02](c_codecs\nencode\nq\x00" + LONG + b"U\x06latin1\x86q\x010"
    + b"h\x00h\x01R" * 3000 + b"e.",
    "one text as many bytearrays": b"\x80\x02](c__builtin__\nbytearray\nq\x00" + LONG + b"U\x06latin1\x86q\x010"
    + b"h\x00h\x01R" * 3000 + b"e.",
    "one list as many sets": b"\x80\x02](c__builtin__\nset\nq\x00](" + b"K\x01" * 10_000 + b"e\x85q\x010"
    + b"h\x00h\x01R" * 3000 + b"e.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_memory_comes_from_what_a_file_holds(tmp_path, name):
    path = tmp_path / "bomb.pickle"
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        load(path)
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20 + 250 * len(BOMBS[name])


@pytest.mark.parametrize(
    "put", [b"})" + b"%sK\x01s.", b"}()" + b"%sK\x01u.", b"\x8f()" + b"%s\x90.", b"()" + b"%s\x91."]
)
def test_tuples_in_tuples_as_keys(refused, put):
    """Their hash would be computed without regard for the end of the stack, and end the process."""
    refused(b"\x80\x04" + put % (b"\x85" * 100_000), "a key that is neither number nor string")
    builder = b"c__builtin__\nset\n](K\x01)" + b"\x85" * 100_000 + b"e\x85R."
    refused(b"\x80\x02" + builder, "a key that is neither number nor string")


def test_views_of_bytearrays_leave_no_message(refused, capfd):
    refused(b"\x80\x05\x96" + struct.pack("<Q", 3) + b"abc\x98\x85.", "invalid load key")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("code", [b"\x8e", b"\x96", b"\x8d", b"B", b"T", b"X", b"\x8b", b"\x95"])
def test_an_announced_length_beyond_the_file_is_truncation(refused, code):
    size = struct.pack("<Q" if code in b"\x8e\x96\x8d\x95" else "<I", 2**31 - 8)
    refused(b"\x80\x05" + code + size + b"abc.", "truncated")


# files that are something else


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is damaged.* or no pickle .*download it again"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>Quota exceeded", "looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-lfs pointer.*git lfs pull"),
        (b"\x1f\x8b\x08", r"or no pickle \(invalid load key, '\\x1f'\): download it again"),
        (b'{"error": "not found"}', "or no pickle"),
    ],
)
def test_files_that_are_no_pickles(refused, content, sentence):
    refused(content, sentence)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "nothing.pickle", tmp_path):
        with pytest.raises(InputError, match=rf"{path.name} cannot be read \(.*\): expected a pickle file"):
            load(path)


@each_protocol
def test_every_truncation_is_refused(refused, protocol):
    content = pickle.dumps([np.arange(3, dtype=np.float32), "name", np.int64(7), {"k": (1.5, None)}], protocol)
    for length in range(len(content)):
        refused(content[:length], "download it again")


# line ends


PROTOCOL_0 = pickle.dumps(
    ["002.Laysan/Laysan_1", b"a\r\nb", np.int64(10), np.arange(20.0), {"k": -1.5}, "x\\y", True], 0
)


def test_crlf_in_a_text_pickle_is_mended(read):
    assert b"\r" not in PROTOCOL_0
    assert same(read(PROTOCOL_0.replace(b"\n", b"\r\n")), read(PROTOCOL_0))
    assert same(read(PROTOCOL_0.replace(b"\n", b"\r\n", 3) + b"\r\n"), read(PROTOCOL_0))


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_binary_pickles_whose_lf_became_crlf_are_never_read_wrong(refused, protocol):
    """Over many strings and arrays with line ends in their bytes."""
    generator = np.random.default_rng(protocol)
    for length in range(1, 40):
        numbers = generator.choice([10, 13, 2573, 3338, 0x0A0D0A0D, 65], length)
        names = ["\r\n" * generator.integers(0, 4) + "x" * int(n % 290) for n in numbers]
        array = numbers.astype(np.int32)
        for value in (names, [array, array + 1], [array.tobytes()], array, list(array), [str(names)] * 3):
            content = pickle.dumps(value, protocol)
            if b"\n" in content:
                refused(content.replace(b"\n", b"\r\n"), "line-end conversion.*download it again as a binary file")


def test_a_binary_pickle_whose_crlf_became_lf_is_refused(refused):
    random = np.random.default_rng(0)
    rows = [np.frombuffer(random.bytes(1 << 16), np.uint8) for _ in range(20)]
    for value in (rows, rows[0].repeat(2).reshape(-1, 2), [row.tobytes() for row in rows]):
        content = pickle.dumps(value, 2)
        refused(content.replace(b"\r\n", b"\n"), "line-end conversion.*download it again as a binary file")
