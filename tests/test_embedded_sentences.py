"""Tests of sentences that another program embedded: they are read whole, and every other file is refused."""

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.porting import embedded_sentences

ROWS = np.arange(6, dtype=np.float64).reshape(2, 3) / 7


def test_the_golden_sentence(shared):
    pytest.importorskip("torchfile", reason="reading .t7 files needs torchfile")
    folder = shared / "golden/caption_embedding_t7"
    sentences, embeddings = embedded_sentences.read(folder / "example_captions.t7")
    assert sentences == ["this bird has a bright yellow body with brown on its crown and wings"]
    np.testing.assert_array_equal(embeddings, np.load(folder / "embedding_1x1024.npy"))


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", embeddings=ROWS, sentences=np.array(["a", "ü"]), other=np.zeros(3))
    np.savez(tmp_path / "b.npz", embeddings=ROWS)
    np.save(tmp_path / "one.npy", ROWS[0])
    numbered = ["embedding 1", "embedding 2"]
    for name, expected in (("a.npy", numbered), ("a.npz", ["a", "ü"]), ("b.npz", numbered), ("one.npy", numbered[:1])):
        sentences, embeddings = embedded_sentences.read(tmp_path / name)
        assert sentences == expected
        assert embeddings.dtype == np.float32
        np.testing.assert_array_equal(embeddings, ROWS[: len(expected)].astype(np.float32))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("a.npy", np.array(["a"]), "holds an array (1, 1) of <U1"),
        ("a.npy", np.zeros((2, 3, 4)), "holds an array (2, 3, 4)"),
        ("a.npy", np.zeros((0, 3)), "holds an array (0, 3)"),
        ("a.npy", np.array([[1, np.nan]]), "infinite or none"),
        ("a.npy", np.array([[1, np.inf]]), "infinite or none"),
        ("a.npy", np.array([{}]), "cannot be read as arrays (it holds Python objects"),
        ("a.npz", {"x": ROWS}, "holds no embedded sentences"),
        ("a.npz", {"embeddings": ROWS, "sentences": np.array(["a"])}, "holds 1 sentences and 2 embeddings"),
    ],
)
def test_arrays_that_are_none(name, values, expected, tmp_path):
    save = np.savez if name.endswith("npz") else np.save
    save(tmp_path / name, **values) if isinstance(values, dict) else save(tmp_path / name, values)
    assert expected in refusal(embedded_sentences.read, tmp_path / name)


def test_other_files(tmp_path):
    for name in ("a.txt", "a"):
        assert f"{tmp_path / name} does not end in .t7, .npy or .npz" in refusal(
            embedded_sentences.read, tmp_path / name
        )
    assert f"there is no file {tmp_path / 'a.npy'}" in refusal(embedded_sentences.read, tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    assert "cannot be read as arrays" in refusal(embedded_sentences.read, tmp_path / "a.npy")
    (tmp_path / "a.npz").write_bytes(b"no archive")
    assert "cannot be read as arrays" in refusal(embedded_sentences.read, tmp_path / "a.npz")
