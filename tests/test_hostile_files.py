"""Files that are made to run a program, to lead out of their folder or to take more memory than they hold."""

import io
import json
import os
import pickle
import resource
import struct
import zipfile
from contextlib import contextmanager

import h5py
import keras
import numpy as np
import pytest
from helpers import make_dataset, refusal
from PIL import Image, ImageFile

from stackgan_keras import config, weights
from stackgan_keras.data import photographs, published, writing
from stackgan_keras.data.sources import drawn
from stackgan_keras.evaluation.frechet import Gaussian
from stackgan_keras.files import read_text
from stackgan_keras.models.vocabulary import Vocabulary
from stackgan_keras.porting import checkpoints, embedded_sentences, extractors, torch_files

MOST_MEMORY = 2**8 * 2**10  # KB that a refusal may add to the most that this process took


@contextmanager
def little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


# -- weight files and Keras models --------------------------------------------------------------------------------


@pytest.fixture
def weight_file(tmp_path):
    made = weights.ModelConfig("text_encoder", {"variant": "flowers", "filters": 3, "recurrent_dim": 2, "text_dim": 2})
    weights.save(made.build(), made, tmp_path / "a.weights.h5")
    return tmp_path / "a.weights.h5"


def an_array_of_nothing(file, name):
    file.create_dataset(name, (2**36,), "f4", chunks=(1024,), fillvalue=1.0)


def numbers_of_another_file(file, name):
    file.create_dataset(name, (4,), "u1", external=[("/etc/passwd", 0, 4)])


def a_link_to_another_file(file, name):
    file[name] = h5py.ExternalLink("/etc/passwd", "/")


def a_link_inside(file, name):
    file[name] = h5py.SoftLink("/")


def a_view_of_another_file(file, name):
    layout = h5py.VirtualLayout((2**36,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (2**36,))
    file.create_virtual_dataset(name, layout)


HDF5 = [
    (an_array_of_nothing, "it announces more numbers than it holds"),
    (numbers_of_another_file, "are in another file"),
    (a_link_to_another_file, "links to something else"),
    (a_link_inside, "links to something else"),
    (a_view_of_another_file, "are in another file"),
]


@pytest.mark.parametrize(("harm", "expected"), HDF5)
def test_a_weight_file_holds_its_numbers_itself(harm, expected, weight_file):
    with h5py.File(weight_file, "a") as file:
        place = []
        file.visititems(lambda name, thing: place.append(name) if isinstance(thing, h5py.Dataset) else None)
        del file[place[0]]
        harm(file, place[0])
    with little_memory():
        sentence = refusal(weights.load, weight_file)
    assert "a.weights.h5 is damaged (" in sentence and expected in sentence


@pytest.fixture(params=["a.keras", "a.h5"])
def model_file(request, tmp_path):
    image = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model(image, features)
    model.compile("adam", lambda true, made: made)  # what it was trained by is not read
    model.save(tmp_path / request.param)
    return tmp_path / request.param


def rewrite(path, change, weights_change=None, kind=zipfile.ZIP_STORED):
    """Changes the config in a Keras file, and its weights."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
            if weights_change:
                weights_change(file, "more")
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json.dumps(change(json.loads(parts["config.json"]))).encode()
    if weights_change:
        content = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(content, "a") as file:
            weights_change(file, "more")
        parts["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def as_layer(**layer):
    """Puts another thing in the place of the last layer."""

    def change(values):
        values["config"]["layers"][-1] |= layer
        return values

    return change


CODE = {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}}
FOREIGN = [
    {"class_name": "Lambda", "config": {"name": "x", "function": CODE}},
    {"class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp/model"}},
    {"class_name": "TorchModuleWrapper", "config": {"name": "x", "module": "AAAA"}},
    {"class_name": "TextVectorization", "config": {"name": "x", "vocabulary": "/etc/passwd"}},
    {"module": "os", "class_name": "system", "config": "touch ran"},
    {"module": "builtins", "class_name": "function", "config": "eval"},
    {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://localhost/"}},
    {"module": "keras.src.saving.saving_lib", "class_name": "load_model", "config": {}},
]


@pytest.mark.parametrize("layer", FOREIGN)
def test_a_model_of_keras_has_no_layers_that_run_programs_or_read_files(layer, model_file):
    rewrite(model_file, as_layer(**layer))
    sentence = refusal(extractors.load, model_file)
    assert "cannot be read as a Keras model (it holds a " in sentence and layer["class_name"] in sentence


@pytest.mark.parametrize(("harm", "expected"), HDF5)
def test_a_model_of_keras_holds_its_numbers_itself(harm, expected, model_file):
    assert extractors.load(model_file)(np.zeros((1, 8, 8, 3)))[0].shape == (1, 2)
    rewrite(model_file, lambda values: values, harm)
    with little_memory():
        assert expected in refusal(extractors.load, model_file)


def test_a_model_of_keras_is_not_packed(model_file):
    if model_file.suffix == ".keras":
        rewrite(model_file, lambda values: values | {"more": "a" * 10**6}, kind=zipfile.ZIP_DEFLATED)
        assert "its parts are packed" in refusal(extractors.load, model_file)


# -- checkpoints and arrays of other programs ---------------------------------------------------------------------


@pytest.mark.parametrize("read", [torch_files.read, checkpoints.read])
def test_parts_of_a_pytorch_file_are_not_packed(read, tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", bytes(2**20))
    assert "its parts are packed" in refusal(read, path)


def test_what_torch_itself_would_make_of_a_number(tmp_path):
    pytest.importorskip("torch", reason="PyTorch's own reader knows bytearrays")
    path = tmp_path / "a.pth"
    content = b"\x80\x02}X\x01\x00\x00\x00ac__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85Rs."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/version", "3\n")
    with little_memory():
        assert "it asks for bytearray" in refusal(checkpoints.read, path)


def test_tensors_of_more_numbers_than_the_file_has_bytes(tmp_path):
    torch = pytest.importorskip("torch", reason="writes sparse tensors and views")
    sparse = torch.sparse_coo_tensor([[0], [0]], [1.0], (2**17, 2**17))
    shared = torch.ones(1000)
    for state in ({"a": sparse}, {f"{i}": shared[:] for i in range(1000)}, {"a": torch.ones(1).expand(2**34)}):
        torch.save(state, tmp_path / "a.pth")
        with little_memory():
            assert "numbers in" in refusal(checkpoints.read, tmp_path / "a.pth")


def test_storages_that_an_older_pytorch_file_does_not_hold(tmp_path):
    path = tmp_path / "a.pth"
    storage = b"(U\x07storagectorch\nDoubleStorage\nU\x010U\x03cpuJ" + struct.pack("<i", 50) + b"NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K2\x85K\x01\x85\x89}tR"
    heads = [pickle.dumps(value, 2) for value in (torch_files.MAGIC, 1001, {})]
    path.write_bytes(b"".join([*heads, b"\x80\x02}U\x01a" + tensor + b"s.", pickle.dumps([], 2), bytes(1000)]))
    assert "it does not hold the numbers of all tensors" in refusal(torch_files.read, path)


@pytest.mark.parametrize("read", [checkpoints.read, embedded_sentences.read, Gaussian.read])
def test_packed_arrays_of_zeros(read, tmp_path):
    path, shape = tmp_path / "a.npz", {"descr": "<f8", "fortran_order": False, "shape": (2**25,)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mu.npy", "w") as part:
        np.lib.format.write_array_header_1_0(part, shape)
        for _ in range(2**8):
            part.write(bytes(2**20))
    with little_memory():
        assert "unpacked it would take" in refusal(read, path)


# -- images -------------------------------------------------------------------------------------------------------


def test_a_program_called_an_image_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n"
    )
    assert "cannot identify image file" in refusal(photographs.read, tmp_path / "a.jpg", None, 16)
    with pytest.raises(writing.BadImage, match="cannot identify image file"):
        writing.write_image(tmp_path / "a.jpg", tmp_path / "copy", upright=True)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 60_000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_small_files_of_large_images(side, kind, tmp_path):
    content = io.BytesIO()
    Image.new("L", (300, 300)).save(content, kind)
    size = {"JPEG": ">HH", "PNG": ">II", "GIF": "<HH"}[kind]  # (300, 300), whatever comes first
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(content.getvalue().replace(struct.pack(size, 300, 300), struct.pack(size, side, side)))
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with little_memory():
        assert "cannot be read" in refusal(photographs.read, path, None, 16)
        with pytest.raises(writing.BadImage):
            writing.write_image(path, tmp_path / "copy", upright=True)


# -- text ---------------------------------------------------------------------------------------------------------


def test_settings_that_repeat_and_repeat(tmp_path):
    lines = [
        "a: &a [x, x]",
        *(
            f"{after}: &{after} [{', '.join(10 * [f'*{name}'])}]"
            for name, after in zip("abcdefg", "bcdefgh", strict=True)
        ),
    ]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join([*lines, "train: {epochs: *h}"]))
    with little_memory():
        assert "write out what *aliases stand for" in refusal(config.read, path)
    path.write_text("# " + 70_000 * "x")
    assert "is longer than 65,536 bytes" in refusal(config.read, path)


def test_captions_without_end(tmp_path):
    (tmp_path / "long.txt").write_text("a bird\n" * 200_000)
    assert "long.txt holds more than 1,048,576 bytes of text" in refusal(read_text, tmp_path / "long.txt")
    for path in (tmp_path / "pipe.txt", tmp_path / "device.txt"):
        os.mkfifo(path) if path.stem == "pipe" else path.symlink_to("/dev/zero")
        assert f"{path.name} is no file" in refusal(read_text, path)


def test_a_vocabulary_of_lists_in_lists(tmp_path):
    (tmp_path / "vocabulary.json").write_text("[" * 100_000)
    assert "is no vocabulary" in refusal(Vocabulary.load, tmp_path / "vocabulary.json")


# -- folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "001.crow/../../../secret", "001.crow", ".../x"])
def test_birds_whose_names_lead_elsewhere(name, tmp_path):
    bird = {"name": name, "box": [1, 2, 3, 4], "split": "train", "class_id": 1}
    (tmp_path / "truth.jsonl").write_text(json.dumps(bird) + "\n")
    assert "line 1 of" in (sentence := refusal(drawn.read, tmp_path)) and "tells of no drawn bird" in sentence


@pytest.fixture
def folder(tmp_path):
    """Two images in the published layout."""
    root = tmp_path / "data"
    (root / "images/a").mkdir(parents=True)
    make_dataset(root / "images/a", 2)
    (root / "text_c10/a").mkdir(parents=True)
    (root / "train").mkdir()
    for i in range(2):
        (root / f"text_c10/a/image_{i}.txt").write_text("a bird\n")
    write(root, "filenames", ["a/image_0", "a/image_1"])
    write(root, "class_info", [1, 2])
    write(root, "char-CNN-RNN-embeddings", [np.ones((1, 4), np.float32)] * 2)
    return root


def write(root, name, value):
    (root / f"train/{name}.pickle").write_bytes(pickle.dumps(value, 2))


def test_one_array_for_many_images(folder):
    assert len(published.read(folder, "train", 4)) == 2
    write(folder, "filenames", ["a/image_0"] * 5000)
    write(folder, "class_info", [1] * 5000)
    write(folder, "char-CNN-RNN-embeddings", [np.ones((1, 4000), np.float32)] * 5000)
    with little_memory():
        assert "names the same arrays again and again" in refusal(published.read, folder, "train", 4000)
    (folder / "train/76images.pickle").write_bytes(pickle.dumps([np.ones((76, 76, 3), np.uint8)] * 5000, 2))
    with little_memory():
        assert "names the same arrays" in refusal(published.read_packed, folder / "train/76images.pickle", 5000, 76)


def test_images_of_an_endless_number(folder):
    (folder / "images.txt").write_text(f"{'1' * 99} a/image_0.png\n2 a/image_1.png\n")
    (folder / "bounding_boxes.txt").write_text("1 1 2 30 40\n2 1 2 30 40\n")
    assert "cannot be read (" in refusal(published.read, folder, "train", 4)


@pytest.mark.parametrize("name", ["images/a/image_0.png", "text_c10/a/image_0.txt"])
def test_links_that_lead_out_of_the_data(name, folder):
    outside = folder.parent / "secret"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    assert f"is a link to {outside}, outside {folder}" in refusal(published.read, folder, "train", 4)
    (folder / name).unlink()
    outside.rename(folder / f"kept{outside.suffix}")
    (folder / name).symlink_to(folder / "kept")
    assert len(published.read(folder, "train", 4)) == 2
