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


VALUES = {
    "numbers": [0, 1, -1, 255, 256, 2573, -(2**31), 2**31, 2**70, -(2**2000), 1.5, -1e300, 3 + 4j, True, False, None],
    "strings": [
        "",
        "a\r\nb",
        "Écureuil 鳥 🐦",
        "\\u000a",
        "x" * 300,
        b"",
        b"\x00\r\n\xff",
        bytearray(b"ab\n"),
        b"y" * 300,
    ],
    "containers": [[], (), {}, set(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"a": [1, {"b": (2,)}]}, {(1, "a"): 2}],
    "sets": [{1, "a", (2, 3)}, frozenset([1, b"x"])],
    "ordered": OrderedDict([("z", 1), ("a", [2])]),
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
    "scalars": [np.int64(-3), np.float32(0.1), np.uint8(200), np.bool_(True), np.float64(">f8" and 2.0), np.str_("é")],
    "large": [np.arange(100_000, dtype=np.float64), "x" * 70_000, list(range(5000))],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", VALUES)
def test_every_protocol_gives_back_what_was_written(read, name, protocol):
    assert same(read(pickle.dumps(VALUES[name], protocol)), VALUES[name])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_repeated_array_is_one_array(read, protocol):
    array = np.arange(3, dtype=">f4")
    first, second = read(pickle.dumps([array, array], protocol))
    assert first is second and same(first, array)


def test_the_shared_byte_order_of_two_arrays(read):
    """The second array takes its type from the memo, where it was put before it had a byte order."""
    arrays = [np.array([1, 2], ">i2"), np.array([3], ">i2")]
    assert same(read(pickle.dumps(arrays, 2)), arrays)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_content_that_python_shares_between_arrays(read, protocol):
    """Python keeps one object for empty and for one-byte contents, so that later arrays take them from the memo."""
    arrays = [np.zeros(0), np.ones(0), np.array([7], np.uint8), np.array([7], np.int8), b"\x07", b""]
    assert same(read(pickle.dumps(arrays, protocol)), arrays)


def test_arrays_can_be_written_to(read):
    array = read(pickle.dumps(np.zeros(3), 2))
    array[0] = 1
    assert array.tolist() == [1, 0, 0]


PYTHON_2 = {
    "protocol 0 scalars": (
        b"(lp1\ncnumpy.core.multiarray\nscalar\np2\n(cnumpy\ndtype\np3\n(S'i8'\np4\nI0\nI1\ntp5\nRp6\n"
        b"(I3\nS'<'\np7\nNNNI-1\nI-1\nI0\ntp8\nbS'\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\np9\ntp10\nRp11\nag11\na.",
        [np.int64(2), np.int64(2)],
    ),
    "protocol 0 array": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(L2L\nI1\nt"
        + DTYPE_F4
        + b"I00\nS'\\x00\\x00\\x80?\\n\\r\\'@'\ntb.",
        np.frombuffer(b"\x00\x00\x80?\n\r'@", np.float32).reshape(2, 1),
    ),
    "protocol 1": (b"](U\x03abcU\x02\xe9\nK\x0aI01\nL5L\ne.", ["abc", "é\n", 10, True, 5]),
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
    "set": (b"\x80\x02c__builtin__\nset\n]q\x01K\x01a\x85R.", {1}),
}


@pytest.mark.parametrize("name", PYTHON_2)
def test_what_python_2_writes(read, name):
    content, value = PYTHON_2[name]
    assert same(read(content), value)


# nothing runs


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, r"(posix|nt)\.system"), (builtins.eval, "eval"), (getattr, "getattr"), (np.load, "numpy.load")],
)
def test_calls_are_refused_by_name(read, tmp_path, function, name, protocol):
    hostile = Call(function, f"touch {tmp_path / 'ran'}")
    with pytest.raises(InputError, match=f"asks for .*{name}, which .* could run commands"):
        read(pickle.dumps([1, hostile], protocol))
    assert not (tmp_path / "ran").exists()


def _text(value):
    return b"\x8c" + bytes([len(value)]) + value


HOSTILE_NAMES = {
    "attribute of an allowed module": (b"cnumpy\nf2py\n.", "numpy.f2py"),
    "attribute of an allowed name": (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
    "allowed name, other module": (b"cos\nscalar\n.", "os.scalar"),
    "stack global": (b"\x80\x04" + _text(b"os") + _text(b"system") + b"\x93.", "os.system"),
    "stack global from the memo": (
        b"\x80\x04" + _text(b"posix") + b"\x940" + _text(b"system") + b"\x940h\x00h\x01\x93.",
        "posix.system",
    ),
    "dotted stack global": (b"\x80\x04" + _text(b"numpy") + _text(b"os.system") + b"\x93.", "numpy.os.system"),
    "instance": (b"(S'ls'\nios\nsystem\n.", "os.system"),
    "Python 2's reconstructor": (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
    "reconstructor": (b"ccopyreg\n_reconstructor\n.", "copyreg._reconstructor"),
    "new object": (b"ccopyreg\n__newobj__\n.", "copyreg.__newobj__"),
    "chain of attributes": (
        b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(S'ls'\ntR.",
        "__builtin__.getattr",
    ),
    "call as an argument": (b"c__builtin__\nset\n((lcos\nsystem\n(S'ls'\ntRatR.", "os.system"),
    "call as a state": (ndarray(b"(I1\nt", DTYPE_F4, b"cos\nsystem\n(S'ls'\ntR"), "os.system"),
    "object type": (b"c__builtin__\nobject\n)\x81.", "__builtin__.object"),
    "method of an allowed name": (
        b"\x80\x04" + _text(b"builtins") + _text(b"bytes.fromhex") + b"\x93.",
        "builtins.bytes.fromhex",
    ),
    "name that ends in CR": (b"\x80\x04" + _text(b"numpy\r") + _text(b"dtype\r") + b"\x93.", r"numpy\\r.dtype\\r"),
    "nested loader": (b"c_pickle\nloads\n.", "_pickle.loads"),
    "codec": (b"c_codecs\ndecode\n.", "_codecs.decode"),
    "raw numpy": (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
    "terminal escapes": (b"cos\x1b[2J\nsystem\n.", r"os\\x1b\[2J.system"),
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_outside_the_table_are_refused(read, name):
    content, wanted = HOSTILE_NAMES[name]
    with pytest.raises(InputError, match=f"asks for {wanted},"):
        read(content)


OBJECT_DTYPE = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"


def test_arrays_of_objects_are_refused(read):
    with pytest.raises(InputError, match="type 'O8', but only numbers"):
        read(pickle.dumps(np.array([{}, None], object), 2))


def test_the_scalar_of_an_object_type_does_not_unpickle_its_bytes(read, tmp_path):
    inner = pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}"), 0)
    outer = b"cnumpy.core.multiarray\nscalar\n(" + OBJECT_DTYPE + b"S" + repr(inner)[1:].encode() + b"\ntR."
    with pytest.raises(InputError, match="type 'O8', but only numbers"):
        read(outer)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("dtype", "text"),
    [([("a", "f4"), ("b", "u1")], "V5"), ([("a", "O")], "V8"), ("V3", "V3"), ("M8[s]", "M8"), ("m8[D]", "m8")],
)
def test_types_other_than_numbers_and_strings_are_refused(read, dtype, text, protocol):
    with pytest.raises(InputError, match=f"type '{text}', but only numbers"):
        read(pickle.dumps(np.zeros(2, dtype), protocol))


def dtype_with_state(state):
    return ndarray(b"(I1\nt", b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(" + state + b"tb", b"S'abcd'\n")


DTYPE_STATES = {
    "metadata": b"I4\nS'<'\nNNNI-1\nI-1\nI0\n(dS'a'\nI1\ns",
    "metadata in the old version": b"I3\nS'<'\nNNNI-1\nI-1\nI0\n(dS'a'\nI1\ns",
    "sub-array": b"I3\nS'|'\n(cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I2\nttNNI8\nI4\nI0\n",
    "fields": b"I3\nS'|'\nN(S'a'\nt(dS'a'\n(" + OBJECT_DTYPE.replace(b"O8", b"f4") + b"I0\ntsI8\nI1\nI27\n",
    "no byte order": b"I3\nS'x'\nNNNI-1\nI-1\nI0\n",
    "too short": b"I3\nS'<'\n",
}


@pytest.mark.parametrize("name", DTYPE_STATES)
def test_states_that_make_another_type_are_refused(read, name):
    with pytest.raises(InputError, match=r"damaged or no pickle"):
        read(dtype_with_state(DTYPE_STATES[name]))


def test_a_type_with_metadata_is_refused_as_numpy_writes_it(read):
    with pytest.raises(InputError, match="a type with fields or metadata"):
        read(pickle.dumps(np.zeros(2, np.dtype("f4", metadata={"a": 1})), 2))


MISUSED = {
    "a number called": b"I1\n(tR.",
    "a list called": b"](tR.",
    "a type called": b"cnumpy\nndarray\n((I99999\nttR.",
    "a name as result": b"cnumpy\nndarray\n.",
    "a name inside the result": b"(lcnumpy\nndarray\na.",
    "an unfinished array": b"(lcnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRa.",
    "a state for a list": b"](tb.",
    "a state for a name": b"ccollections\nOrderedDict\n(N(dS'__call__'\nI1\nstb.",
    "a state for a dict": b"ccollections\nOrderedDict\n(tR(dS'items'\nI1\nsb.",
    "attributes for a function": b"cnumpy\ndtype\n(N(dS'__doc__'\nS'x'\nstb.",
    "attributes for a complete type": DTYPE_F4 + b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb.",
    "attributes for a number": b"I1\n(dS'real'\nI2\nsb.",
    "a second state": ndarray(b"(I1\nt", DTYPE_F4, b"S'abcd'\n")[:-1] + b"(I1\n(t" + DTYPE_F4 + b"I00\nS'abcd'\ntb.",
    "an array without bytes": ndarray(b"(I1\nt", DTYPE_F4, b"N"),
    "an array of too few bytes": ndarray(b"(I1\nt", DTYPE_F4, b"S'abc'\n"),
    "an array of too many bytes": ndarray(b"(I1\nt", DTYPE_F4, b"S'abcde'\n"),
    "an array of negative size": ndarray(b"(I-1\nt", DTYPE_F4, b"S''\n"),
    "an array that is its own content": ndarray(b"(I1\nt", DTYPE_F4, b"cnumpy\nndarray\n"),
    "an array without a type": ndarray(b"(I1\nt", b"S'f4'\n", b"S'abcd'\n"),
    "an array of a list": ndarray(b"(I1\nt", DTYPE_F4, b"(lI1\naI1\naI1\naI1\na"),
    "a persistent id": b"Pos.system\n.",
    "a binary persistent id": b"\x80\x02S'os.system'\nQ.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a longer extension code": b"\x80\x02\x83\x01\x01.",
    "the longest extension code": b"\x80\x02\x84\x01\x01\x01\x01.",
    "an instance": b"(ccollections\nOrderedDict\no.",
    "an instance of a builder": b"(S'abc'\nS'latin1'\ni_codecs\nencode\n.",
    "a new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "a new object with keywords": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "a set of a string": b"c__builtin__\nset\n(S'abc'\ntR.",
    "bytes of a size": b"c__builtin__\nbytes\n(I1000000000000\ntR.",
    "a bytearray of a size": b"c__builtin__\nbytearray\n(I1000000000000\ntR.",
    "a lone surrogate": b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
    "an outside buffer": b"\x80\x05\x97.",
    "a read-only buffer": b"\x80\x05\x8e\x01" + bytes(7) + b"a\x98.",
    "another codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "no character": ndarray(b"(I1\nt", DTYPE_F4.replace(b"f4", b"U1"), b"S'\\xff\\xff\\xff\\xff'\n"),
    "an unknown protocol": b"\x80\x06N.",
    "a frame that the file does not hold": b"\x80\x04\x95\xff" + bytes(7) + b"K\x05.",
    "a frame inside a frame": b"\x80\x04\x95\x0c" + bytes(7) + b"\x95\x02" + bytes(7) + b"K\x05.",
    "a negative memo": b"Np-1\n.",
    "an odd dict": b"(I1\nd.",
    "an empty stack": b".",
}


@pytest.mark.parametrize("name", MISUSED)
def test_instructions_that_no_data_needs_are_refused(read, name):
    with pytest.raises(InputError, match=r"damaged or no pickle|text file, not a pickle"):
        read(MISUSED[name])


def test_extension_codes_that_another_library_registered_are_refused(read):
    copyreg.add_extension("os", "system", 77)
    try:
        content = pickle.dumps(os.system, 2).replace(b"cposix\nsystem\n", b"\x82\x4d")
        assert pickle.loads(b"\x80\x02\x82\x4d.") is os.system  # so that it is in the cache too
        for each in (content, b"\x80\x02\x82\x4d(S'ls'\ntR."):
            with pytest.raises(InputError, match="damaged or no pickle"):
                read(each)
    finally:
        copyreg.remove_extension("os", "system", 77)


# nothing exhausts the reader


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_file_of_pictures_is_not_held_twice(tmp_path, protocol):
    pictures = [np.full((304, 304, 3), value, np.uint8) for value in range(20)]
    (tmp_path / "304images.pickle").write_bytes(pickle.dumps(pictures, protocol))
    tracemalloc.start()
    try:
        read = load(tmp_path / "304images.pickle")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert same(read, pictures)
    assert peak < 1.5 * sum(picture.nbytes for picture in pictures)


def test_an_array_may_not_be_larger_than_its_bytes(read):
    with pytest.raises(InputError, match="needs 4000000000000 bytes and has 4"):
        read(ndarray(b"(" + b"I10\n" * 12 + b"t", DTYPE_F4, b"S'abcd'\n"))


def test_an_empty_array_may_not_claim_endless_rows(read):
    with pytest.raises(InputError, match="impossible shape"):
        read(ndarray(b"(I1000000000\nI0\nt", DTYPE_F4, b"S''\n"))


def test_the_first_shape_of_an_array_allocates_nothing(read):
    content = ndarray(b"(I1\nt", DTYPE_F4, b"S'\\x00\\x00\\x80?'\n").replace(b"(I0\nt", b"(I99999999999999\nt", 1)
    assert same(read(content), np.ones(1, np.float32))


@pytest.mark.parametrize("code", [b"\x8e", b"\x96", b"\x8d", b"B", b"T", b"X", b"\x8b", b"\x95"])
def test_an_announced_length_beyond_the_file_is_truncation(read, code):
    size = struct.pack("<Q" if code in b"\x8e\x96\x8d\x95" else "<I", 2**31 - 8)
    with pytest.raises(InputError, match="incomplete"):
        read(b"\x80\x05" + code + size + b"abc.")


def test_a_far_memo_index_costs_nothing(read):
    assert read(b"\x80\x02Nr\xfe\xff\xff\xff0j\xfe\xff\xff\xff.") is None


def test_one_string_may_not_become_many_arrays(read):
    text = b"\x80\x02X" + struct.pack("<I", 4000) + b"a" * 4000 + b"q\x000"
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0"
    with pytest.raises(InputError, match="unfolds to far more memory than its"):
        read(text + call * 200 + b"N.")


def test_one_list_may_not_become_many_sets(read):
    items = b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x000"
    call = b"c__builtin__\nfrozenset\nh\x00\x85R0"
    with pytest.raises(InputError, match="unfolds to far more memory"):
        read(items + call * 20 + b"N.")


@pytest.mark.parametrize("level", [b"\x85", b"0]q\x01h\x00aq\x00"])
def test_deep_nesting_is_refused(read, level):
    nested = b"\x80\x02]q\x00" + level * 200_000
    with pytest.raises(InputError, match="nests more than 64 levels"):
        read(nested + b".")


def test_a_deep_key_is_refused_before_it_is_hashed(read):
    with pytest.raises(InputError, match="a key is neither"):
        read(b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.")


def test_a_doubling_key_is_refused_before_it_is_hashed(read):
    double = b"q\x00h\x00\x86"
    with pytest.raises(InputError, match="a key is neither"):
        read(b"\x80\x02})" + double * 200 + b"Ns.")


def test_a_doubling_list_ends_at_once(read):
    double = b"q\x000]q\x01(h\x00h\x00e"
    with pytest.raises(InputError, match="nests more than 64 levels"):
        read(b"\x80\x02]" + double * 200 + b".")


def test_a_list_that_holds_itself_ends(read):
    value = read(b"\x80\x02]q\x00h\x00a.")
    assert value[0] is value


# files that are something else


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: download it again"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>Quota exceeded", "looks like a web page"),
        (b"<html><head>", "looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-lfs pointer.*git lfs pull"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x1f\x8b\x08", "gzip archive"),
        (b"\x93NUMPY\x01\x00", ".npy file"),
        (b"I am a text.\r\nTwo lines.\r\n", "is a text file, not a pickle.*'I am a text"),
        (b"001.Black_footed_Albatross\n", "is a text file, not a pickle"),
        (b'{"error": "not found"}', "is a text file, not a pickle"),
        (b"\x00\x01\x02\x03", "damaged or no pickle at all.*near byte 1"),
    ],
)
def test_files_that_are_no_pickles(read, content, sentence):
    with pytest.raises(InputError, match=f"some.pickle .*{sentence}"):
        read(content)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nothing.pickle"):
        load(tmp_path / "nothing.pickle")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_truncation_is_refused(read, protocol):
    content = pickle.dumps([np.arange(3, dtype=np.float32), "name", np.int64(7), {"k": (1.5, None)}], protocol)
    for length in range(len(content)):
        with pytest.raises(InputError):
            read(content[:length])


def test_what_follows_the_end_is_refused_but_blank_lines(read):
    assert read(pickle.dumps([1], 2) + b"\r\n") == [1]
    with pytest.raises(InputError, match="goes on after its end"):
        read(pickle.dumps([1], 2) + pickle.dumps([2], 2))


# line ends


PROTOCOL_0 = pickle.dumps(
    ["002.Laysan/Laysan_1", b"a\r\nb", np.int64(10), np.arange(20.0), {"k": -1.5}, "x\\y", True], 0
)


def test_the_published_damaged_files_read_like_the_intact_ones(shared):
    folder = shared / "published_pickles"
    damaged = sorted((folder / "crlf_damaged").glob("*/*.pickle"))
    assert len(damaged) == 4
    for path in damaged:
        intact = folder / "intact" / path.parent.name / path.name
        mended = load(path)
        assert same(mended, load(intact))
        with intact.open("rb") as file:
            assert same(mended, pickle.load(file, encoding="latin-1"))


def test_the_real_files_read_like_the_standard_library_reads_them(shared):
    for path in (shared / "birds").glob("*/*.pickle"):
        with path.open("rb") as file:
            assert same(load(path), pickle.load(file, encoding="latin-1"))


def test_lf_to_crlf_in_a_text_pickle_is_mended(read):
    assert b"\r" not in PROTOCOL_0
    assert same(read(PROTOCOL_0.replace(b"\n", b"\r\n")), read(PROTOCOL_0))


@pytest.mark.parametrize("line", range(0, PROTOCOL_0.count(b"\n"), 7))
def test_a_partly_converted_text_pickle_is_refused(read, line):
    lines = PROTOCOL_0.split(b"\n")
    content = b"\n".join(lines[:line]) + b"\n" * (line > 0) + lines[line] + b"\r\n" + b"\n".join(lines[line + 1 :])
    with pytest.raises(InputError, match=r"line-end conversion.*download it again"):
        read(content)


def test_a_text_pickle_with_other_carriage_returns_is_not_mended(read):
    with pytest.raises(InputError, match=r"line-end conversion"):
        read(b"(lp0\r\nVa\rb\r\np1\r\na.")
    with pytest.raises(InputError, match=r"line-end conversion"):
        read(PROTOCOL_0.replace(b"\n", b"\r\n").replace(b"\n", b"\r\n"))


def test_a_mended_pickle_may_not_hold_binary_instructions(read):
    """Python 2's protocol 1 has no mark of its own, and its lengths and numbers do not survive a conversion."""
    intact = b"(lp0\nK\x0aaI1\na."
    assert read(intact) == [10, 1]
    with pytest.raises(InputError, match=r"line-end conversion"):
        read(intact.replace(b"\n", b"\r\n"))


def test_a_hostile_file_is_not_mended_into_running(read):
    with pytest.raises(InputError, match=r"asks for os.system,"):
        read(b"(lp0\r\ncos\r\nsystem\r\n(S'ls'\r\ntRa.")


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_converted_binary_pickles_are_never_read_wrong(read, protocol):
    """Both ways round, over many strings and arrays with line ends in their bytes."""
    generator = np.random.default_rng(protocol)
    refused = 0
    for length in range(1, 40):
        numbers = generator.choice([10, 13, 2573, 3338, 0x0A0D0A0D, 65], length)
        names = ["\r\n" * generator.integers(0, 4) + "x" * int(n % 290) for n in numbers]
        array = numbers.astype(np.int32)
        for value in (names, [array, array + 1], [array.tobytes()], array, list(array), [str(names)] * 3):
            content = pickle.dumps(value, protocol)
            for changed in {content.replace(b"\n", b"\r\n"), content.replace(b"\r\n", b"\n")} - {content}:
                with pytest.raises(InputError):
                    read(changed)
                refused += 1
    assert refused > 200


@pytest.mark.parametrize(
    "intact",
    [
        b"]q\x00(U\x04\r\n\r\nq\x01K\x01e.",
        b"]q\x00(U\x04\r\n\r\nq\x01U\x01bq\x02e.",
        b"]q\x00(U\x06\r\n\r\n\r\nq\x01NU\x01bq\x02e.",
    ],
)
def test_a_string_that_swallows_its_own_number_is_refused(read, intact):
    """The bytes lost are as many as whole instructions after the string: nothing but the numbering is out of step."""
    content = b"\x80\x02" + intact
    assert read(content)
    with pytest.raises(InputError, match="line-end conversion"):
        read(content.replace(b"\r\n", b"\n"))


def test_gaps_in_the_numbering_alone_are_no_damage(read):
    """Python 2's pickletools.optimize leaves them."""
    assert read(b"\x80\x02]q\x00(U\x01aU\x01bq\x07h\x07e.") == ["a", "b", "b"]
    assert read(b"\x80\x02]q\x00(U\x03a\r\nU\x01bq\x07h\x07e.") == ["a\r\n", "b", "b"]


def test_a_converted_binary_pickle_says_so(read):
    content = pickle.dumps(np.random.default_rng(0).bytes(1 << 20), 2) + b""
    array = pickle.dumps([np.frombuffer(np.random.default_rng(0).bytes(1 << 20), np.uint8)], 4)
    for changed in (content.replace(b"\n", b"\r\n"), array.replace(b"\n", b"\r\n"), array.replace(b"\r\n", b"\n")):
        with pytest.raises(InputError, match=r"line-end conversion.*download it again as a binary file"):
            read(changed)
