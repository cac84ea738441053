"""Weight files: they give back their network to the bit, old ones too, and every file that is none says why."""

import json
import resource
import shutil

import h5py
import keras
import numpy as np
import pytest
from helpers import refusal
from keras import layers

from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
CONFIGS = {
    "stage1_generator": ModelConfig("stage1_generator", STAGE1),
    "without_augmentation": ModelConfig("stage1_generator", {**STAGE1, "augment_condition": False}),
    "stage2_generator": ModelConfig(
        "stage2_generator",
        {
            "stage1": STAGE1,
            "image_size": 32,
            "filters": 2,
            "text_dim": 6,
            "condition_dim": 3,
            "residual_blocks": 1,
            "conditional_batch_norm": True,
        },
    ),
    "discriminator": ModelConfig("discriminator", {"image_size": 16, "filters": 2, "condition_dim": 3}),
    "both_logits": ModelConfig(
        "discriminator",
        {
            "image_size": 32,
            "filters": 2,
            "logits": ["conditional", "unconditional"],
            "text": "embedding",
            "text_dim": 6,
        },
    ),
}


def build(config):
    """The network with every variable, also those that begin as zeros and ones, at random."""
    model = config.build()
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    return model


def values(model):
    return {path: np.asarray(variable) for path, variable in weights.named_variables(model).items()}


def same(model, other):
    mine, theirs = values(model), values(other)
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[path], theirs[path]) for path in mine)


def outputs(model):
    rng = np.random.default_rng(1)
    given = {name: rng.normal(size=(2, *x.shape[1:])).astype("float32") for name, x in model.input.items()}
    return {name: np.asarray(y) for name, y in model(given, training=False).items()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A Stage-I generator and its file."""
    model, path = build(CONFIGS["stage1_generator"]), tmp_path_factory.mktemp("weights") / "gen.weights.h5"
    weights.save(model, CONFIGS["stage1_generator"], path)
    return model, path


@pytest.fixture
def saved(original, tmp_path):
    """The same, with a copy of the file to do as one likes with."""
    model, path = original
    return model, shutil.copy(path, tmp_path / path.name)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_saved_is_loaded(name, tmp_path):
    path = tmp_path / "new" / "folder" / "x.weights.h5"
    model = build(CONFIGS[name])
    weights.save(model, CONFIGS[name], path)
    loaded = weights.load(path)
    assert same(loaded, model)
    assert len(values(model)) == len(model.variables)
    expected = outputs(model)
    assert all(np.array_equal(value, expected[key]) for key, value in outputs(loaded).items())
    assert weights.read_config(path) == CONFIGS[name]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_paths_may_be_strings(original, tmp_path):
    (model, _), path = original, str(tmp_path / "again.weights.h5")
    weights.save(model, CONFIGS["stage1_generator"], path)
    assert weights.read_config(path) == CONFIGS["stage1_generator"]
    assert same(weights.load(path), model)
    weights.load_into(model, path)


@pytest.mark.parametrize("name", CONFIGS)
def test_keras_itself_reads_the_file(name, tmp_path):
    model = build(CONFIGS[name])
    weights.save(model, CONFIGS[name], tmp_path / "x.weights.h5")
    other = CONFIGS[name].build()
    other.load_weights(tmp_path / "x.weights.h5")
    assert same(other, model)


def test_stage2_takes_its_stage1_from_the_file(saved):
    model, path = saved
    stage2 = CONFIGS["stage2_generator"].build()
    weights.load_into(stage2.get_layer("stage1_generator"), path)
    assert same(stage2.get_layer("stage1_generator"), model)


def test_names_must_end_as_keras_wants_them(saved, tmp_path):
    model, path = saved
    assert "x.h5" in refusal(weights.save, model, CONFIGS["stage1_generator"], tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
    assert "does not end in .weights.h5" in refusal(weights.load, path.rename(tmp_path / "x.h5"))


def test_swapped_layers(tmp_path):
    def network(*names):
        x = inputs = keras.Input((3,))
        for name in names:
            x = layers.Dense(3, name=name)(x)
        return keras.Model(inputs, x, name="network")

    weights.save(network("first", "second"), ModelConfig("discriminator", {}), tmp_path / "x.weights.h5")
    swapped = network("second", "first")
    swapped.load_weights(tmp_path / "x.weights.h5")  # Keras does not notice
    sentence = refusal(weights.load_into, swapped, tmp_path / "x.weights.h5")
    assert "holds first/kernel (3, 3) where this network has second/kernel (3, 3)" in sentence


def test_another_width(saved):
    _, path = saved
    wider = ModelConfig("stage1_generator", {**STAGE1, "filters": 3}).build()
    sentence = refusal(weights.load_into, wider, path)
    assert (
        "holds project_dense/kernel (7, 256) where this stage1_generator has project_dense/kernel (7, 384)" in sentence
    )


def test_more_or_fewer_variables(saved):
    _, path = saved
    with h5py.File(path, "a") as file:
        listed = json.loads(file.attrs[weights.VARIABLES])
        file.attrs[weights.VARIABLES] = json.dumps(listed[:-1])
    assert f"holds {len(listed) - 1} variables where this stage1_generator has {len(listed)}" in refusal(
        weights.load, path
    )


def test_another_network(saved):
    _, path = saved
    assert weights.read_config(path, "stage1_generator") == CONFIGS["stage1_generator"]
    sentence = refusal(weights.read_config, path, "discriminator")
    assert f"{path} holds a stage1_generator where a discriminator is expected" in sentence
    assert refusal(weights.load, path, "discriminator") == sentence
    assert "holds conditioning_augmentation/" in refusal(weights.load_into, CONFIGS["discriminator"].build(), path)


def _text(path):
    path.write_text("these are no weights\n" * 99)


def _half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


def _folder(path):
    path.unlink()
    path.mkdir()


def _something_else(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2, 3]


def _by_keras(path):
    path.unlink()
    CONFIGS["stage1_generator"].build().save_weights(path)


def _attribute(name, value):
    def change(path):
        with h5py.File(path, "a") as file:
            file.attrs[name] = value

    return change


def _config(**changed):
    return _attribute(weights.CONFIG, json.dumps({"network": "stage1_generator", "keywords": STAGE1} | changed))


def _without(name):
    def change(path):
        with h5py.File(path, "a") as file:
            del file.attrs[name]

    return change


def _first_dataset(file, keep):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    kept = file[found[0]][()]
    del file[found[0]]
    if keep:
        file[found[0]] = kept[..., :1]


def _dataset(keep):
    def change(path):
        with h5py.File(path, "a") as file:
            _first_dataset(file, keep)

    return change


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_text, "is no HDF5 file"),
        (_half, "is no HDF5 file, or a damaged one"),
        (_empty, "is no HDF5 file"),
        (_folder, "is no HDF5 file"),
        (_something_else, "was not written by this package: it lacks the attribute stackgan_keras_recipe"),
        (_by_keras, "was not written by this package: it lacks the attribute stackgan_keras_recipe"),
        (_without(weights.VARIABLES), "lacks the attribute stackgan_keras_variables"),
        (_attribute(weights.CONFIG, '{"network": "stage1_gen'), "attribute stackgan_keras_recipe cannot be read"),
        (_attribute(weights.CONFIG, 5), "attribute stackgan_keras_recipe cannot be read"),
        (_attribute(weights.CONFIG, np.void(b"\xff\xfe")), "attribute stackgan_keras_recipe cannot be read"),
        (_attribute(weights.CONFIG, "[" * 9999), "attribute stackgan_keras_recipe cannot be read"),
        (_attribute(weights.CONFIG, "[]"), "names no network of this package"),
        (_attribute(weights.VARIABLES, "[[1"), "attribute stackgan_keras_variables cannot be read"),
        (_attribute(weights.VARIABLES, "[1, [2]]"), "holds 1 where this stage1_generator has"),
        (_attribute(weights.VARIABLES, "{}"), "holds 0 variables where"),
        (_config(network="stage3_generator"), "names no network of this package"),
        (_config(network=["stage1_generator"]), "names no network of this package"),
        (_config(keywords=None), "names no network of this package"),
        (_config(keywords={**STAGE1, "colour": "red"}), "unexpected keyword argument 'colour'"),
        (_config(keywords={**STAGE1, "filters": "wide"}), "cannot be built"),
        (_config(keywords={**STAGE1, "filters": 0}), "cannot be built"),
        (_config(keywords={**STAGE1, "filters": 10_000_000}), "cannot be built (it is larger than the file)"),
        (_config(keywords={**STAGE1, "text_dim": 10**15}), "cannot be built (it is larger than the file)"),
        (_config(keywords={**STAGE1, "image_size": 65}), "cannot be built"),
        (_config(keywords={**STAGE1, "image_size": None}), "cannot be built"),
        (_config(network="stage2_generator", keywords={}), "cannot be built"),
        (_config(network="stage2_generator", keywords={"stage1": 5}), "cannot be built"),
        (
            _config(
                network="stage2_generator", keywords={**CONFIGS["stage2_generator"].keywords, "residual_blocks": 10**9}
            ),
            "larger than the file",
        ),
        (_config(network="discriminator", keywords={"heads": 5}), "cannot be built"),
        (
            _config(network="discriminator", keywords={"image_size": 16, "filters": 1}),
            "where this discriminator has encode_image/",
        ),
        (_dataset(keep=False), "is damaged"),
        (_dataset(keep=True), "is damaged"),
    ],
)
def test_files_that_are_none(saved, spoil, expected):
    _, path = saved
    spoil(path)
    sentence = refusal(weights.load, path)
    assert sentence.startswith(str(path))
    assert expected in sentence


def test_a_missing_file(tmp_path):
    assert refusal(weights.load, tmp_path / "x.weights.h5").startswith(
        f"there is no weight file {tmp_path / 'x.weights.h5'}"
    )


def test_an_interrupted_save_leaves_the_old_file(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def interrupted(model):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "_listed", interrupted)  # Ctrl-C after the weights, before the list
    with pytest.raises(KeyboardInterrupt):
        weights.save(build(CONFIGS["stage1_generator"]), CONFIGS["stage1_generator"], path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_full_disk_leaves_the_old_file(saved):
    """A limit on the size of files stands in for the full disk: writing past it fails in the same place."""
    model, path = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        sentence = refusal(weights.save, model, CONFIGS["stage1_generator"], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sentence.startswith(f"{path} could not be written")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_in_the_files_place(saved):
    model, path = saved
    path.unlink()
    path.mkdir()
    assert f"{path} could not be written" in refusal(weights.save, model, CONFIGS["stage1_generator"], path)
    assert path.is_dir()
    shutil.rmtree(path)


def test_flipped_bytes_are_noticed(tmp_path):
    path, config = tmp_path / "stage1_gen.weights.h5", CONFIGS["stage1_generator"]
    weights.save(build(config), config, path)
    assert weights.read_checksum(path) == weights.checksum(build(config))
    content = bytearray(path.read_bytes())
    values_of = np.asarray(max(build(config).variables, key=lambda variable: np.size(variable))).tobytes()
    place = content.find(values_of[:64])
    content[place : place + 40] = bytes(byte ^ 1 for byte in content[place : place + 40])
    path.write_bytes(content)
    assert "not those that were saved" in refusal(weights.load, path)
    with h5py.File(path, "a") as file:
        del file.attrs[weights.CHECKSUM]
    weights.load(path)  # files of before had none
