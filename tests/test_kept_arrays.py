"""Decoded images and embeddings that a run keeps in files: a damaged one is named and made anew."""

import io

import numpy as np
import pytest
from helpers import make_dataset

from stackgan_keras.data import kept_arrays
from stackgan_keras.data.decoding import decode
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.training import run


def as_file(array, **options):
    made = io.BytesIO()
    np.save(made, array, **options)
    return made.getvalue()


DAMAGES = {
    "empty": lambda content: b"",
    "half a head": lambda content: content[:30],
    "a head alone": lambda content: content[:128],
    "half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-1],
    "another file": lambda content: b"PK\x03\x04" + content,
    "a changed head": lambda content: content[:40] + b"\xff" + content[41:],
    "other numbers": lambda content: as_file(np.zeros(3)),
    "other type": lambda content: as_file(np.load(io.BytesIO(content)).astype(np.int16)),
    "fewer": lambda content: as_file(np.load(io.BytesIO(content))[1:]),
    "objects": lambda content: as_file(np.array([{}], object), allow_pickle=True),
    "beyond all memory": lambda content: content[:10] + as_head("(99999999, 99999999)") + content[128:],
}


def as_head(shape):
    return f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("images"), count=4)


def images(dataset, folder):
    return decode(dataset, 16, cache="disk", folder=folder)


def embeddings(dataset, folder):
    return run._embedded(folder.parent / "text_encoder.weights.h5", dataset, folder).embeddings


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a text encoder."""
    folder = tmp_path_factory.mktemp("home")
    made = ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 6})
    weights.save(made.build(), made, folder / "text_encoder.weights.h5")
    return folder


@pytest.mark.parametrize(("kept", "damages"), [(images, DAMAGES), (embeddings, ["half", "fewer"])])
def test_a_damaged_file_is_made_anew(kept, damages, dataset, home, capsys):
    folder = home / kept.__name__
    expected = np.array(kept(dataset, folder))
    (file,) = folder.iterdir()
    content = file.read_bytes()
    for name in damages:
        file.write_bytes(DAMAGES[name](content))
        capsys.readouterr()
        np.testing.assert_array_equal(kept(dataset, folder), expected, err_msg=name)
        printed = capsys.readouterr().out
        assert printed.startswith(f"{file} is damaged (") and printed.endswith("): it is made anew\n"), name
        assert printed.count("\n") == 1 and file.read_bytes() == content, name
    kept(dataset, folder)
    assert capsys.readouterr().out == ""


def test_what_is_whole_is_read(tmp_path):
    file, values = tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(2, 3)
    assert kept_arrays.read(file, (2, 3), np.float32) is None
    np.save(file, values)
    for shape in ((2, 3), (2, None)):
        np.testing.assert_array_equal(kept_arrays.read(file, shape, np.float32), values)
    assert isinstance(kept_arrays.read(file, (2, 3), np.float32, memory_map=True), np.memmap)
    assert kept_arrays.read(file, (2, 3, 1), np.float32) is None and not file.exists()
