"""Tests of PyTorch's files without PyTorch: both formats are read, and nothing in them is executed."""

import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.porting import torch_files


class FloatStorage:
    """Numbers of a tensor, with torch's name."""


class Tensor:
    """An array that is pickled as torch pickles a tensor of a storage with three more numbers before it."""

    def __init__(self, values: np.ndarray):
        self.numbers = np.concatenate([[7, 7, 7], values.ravel()]).astype("<f4")
        self.shape, self.strides = values.shape, tuple(step // values.itemsize for step in values.strides)

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self, 3, self.shape, self.strides, False, OrderedDict())


class Storages(pickle.Pickler):
    """Writes the first argument of every tensor as a storage."""

    def __init__(self, file):
        super().__init__(file, 2)
        self.found, self.seen = [], set()

    def persistent_id(self, thing):
        if not isinstance(thing, Tensor) or id(thing) not in self.seen:
            self.seen.add(id(thing))
            return None
        self.found.append(thing.numbers)
        return ("storage", FloatStorage, str(len(self.found) - 1), "cpu", len(thing.numbers), None)


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Writes a file as `torch.save` would."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2 = types.FunctionType((lambda: None).__code__, {}, "_rebuild_tensor_v2")
    utils._rebuild_tensor_v2.__module__, utils._rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage, torch._utils = FloatStorage, utils
    monkeypatch.setattr(FloatStorage, "__module__", "torch")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def write(content, zipped: bool):
        path = tmp_path / "net.pth"
        pickled = tmp_path / "data.pkl"
        with pickled.open("wb") as file:
            pickler = Storages(file)
            pickler.dump(content)
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.write(pickled, "archive/data.pkl")
                for key, numbers in enumerate(pickler.found):
                    archive.writestr(f"archive/data/{key}", numbers.tobytes())
            return path
        with path.open("wb") as file:
            for head in (torch_files.MAGIC, 1001, {"little_endian": True}):
                pickle.dump(head, file, 2)
            file.write(pickled.read_bytes())
            pickle.dump([str(key) for key in range(len(pickler.found))], file, 2)
            for numbers in pickler.found:
                file.write(len(numbers).to_bytes(8, "little") + numbers.tobytes())
        return path

    return write


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_from_both_formats(zipped, save):
    values = np.arange(24, dtype="f4").reshape(2, 3, 4)
    content = {"net": OrderedDict(a=Tensor(values), b=Tensor(values[0] + 1)), "epoch": 7, "names": ["x", None, 0.5]}
    read = torch_files.read(save(content, zipped))
    assert np.array_equal(read["net"]["a"], values)
    assert np.array_equal(read["net"]["b"], values[0] + 1)
    assert (read["epoch"], read["names"]) == (7, ["x", None, 0.5])


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_larger_than_their_numbers(zipped, save):
    for shape, strides in (((9, 9), (9, 1)), ((2, 2), (40, 1)), ((2, 2), (-9, 1)), ((10**9,), (0,))):
        tensor = Tensor(np.zeros(4, "f4"))
        tensor.shape, tensor.strides = shape, strides
        assert "net.pth cannot be read safely" in refusal(torch_files.read, save({"a": tensor}, zipped))


@pytest.mark.parametrize("zipped", [True, False])
def test_half_a_file(zipped, save):
    path = save({"a": Tensor(np.zeros(400, "f4"))}, zipped)
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        assert "net.pth cannot be read safely as a PyTorch checkpoint" in refusal(torch_files.read, path)


class Command:
    """What would run a command if a file were simply unpickled."""

    def __reduce__(self):
        return print, ("this must not be printed",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_executed(zipped, save, capsys):
    sentence = refusal(torch_files.read, save({"a": Command()}, zipped))
    assert "it asks for __builtin__.print" in sentence
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read_as_torch_reads_it(zipped, tmp_path):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 6).half())
    transposed = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    content = {"net": network.state_dict(), "one": transposed, "none": torch.zeros(0), "epoch": 3}
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    read = torch_files.read(tmp_path / "net.pth")
    expected = torch.load(tmp_path / "net.pth", weights_only=True)
    assert read.keys() == expected.keys()
    assert read["net"].keys() == expected["net"].keys()
    for name, tensor in expected["net"].items():
        assert np.array_equal(read["net"][name], tensor.numpy()), name
        assert read["net"][name].dtype == tensor.numpy().dtype
    assert np.array_equal(read["one"], expected["one"].detach().numpy())
    assert (read["none"].shape, read["epoch"]) == ((0,), 3)
