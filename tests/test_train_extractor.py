"""Fine-tuning a feature extractor: it learns classes that it never knew, and the file that it leaves is one."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import refusal
from keras import layers
from PIL import Image

from stackgan_keras import train_extractor
from stackgan_keras.data.writing import write_pickle
from stackgan_keras.evaluation import extractor_training
from stackgan_keras.evaluation.extractor_training import _held_out, set_trainable, with_classes
from stackgan_keras.porting import extractors


def save_images(root: Path, counts: dict[int, int]) -> Path:
    """Training images of 40 pixels: so many of each class, whose number says how red they are."""
    rng, names, class_ids = np.random.default_rng(0), [], []
    (root / "images/a").mkdir(parents=True)
    for class_id, count in counts.items():
        for i in range(count):
            pixels = rng.integers(0, 80, (40, 40, 3), np.uint8)
            pixels[..., 0] += np.uint8(40 * class_id % 160)
            Image.fromarray(pixels).save(root / f"images/a/{class_id}_{i}.png")
            names.append(f"a/{class_id}_{i}")
            class_ids.append(class_id)
    (root / "train").mkdir()
    write_pickle(root / "train/filenames.pickle", names)
    write_pickle(root / "train/class_info.pickle", class_ids)
    return root


def save_network(path: Path) -> None:
    """A network of random weights with batch norm, from images of 16 pixels to 6 features."""
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, 2)(layers.Rescaling(1 / 127.5, -1)(image))
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(x))).save(path)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Two classes, one red, whose numbers are not 0 and 1, and a network; not to be changed."""
    folder = tmp_path_factory.mktemp("given")
    save_images(folder / "data", {3: 20, 8: 24})
    save_network(folder / "net.keras")
    return folder


def call(*arguments) -> list[str]:
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
        patch.setattr(sys, "argv", ["train_extractor", *map(str, arguments)])
        train_extractor.main()
    return output.getvalue().splitlines()


def asked(given, out, *more):
    network = ("--extractor", given / "net.keras", "--image_size", 32)
    return ("--data.root", given / "data", "--out", out, *network, *more)


@pytest.fixture(scope="module")
def trained(given, tmp_path_factory):
    """What the command prints, and the file that it leaves."""
    out = tmp_path_factory.mktemp("trained") / "new/birds.keras"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor_training, "BATCH", 8)
        patch.setattr(extractor_training, "RATE_ALONE", 0.03)
        return call(*asked(given, out, "--epochs", 15, "--learning_rate", 0.01)), out


def test_it_learns_classes_that_it_never_knew(trained):
    assert "of 4 training images that were held out, 100.0% find their class (chance 50.0%)" in trained[0]
    assert trained[0][-1] == f"extractor: {trained[1]}"


def test_what_it_leaves_is_an_extractor(given, trained):
    extractor = extractors.load(trained[1])
    assert extractor.name == "birds.keras"
    for size in (16, 50):
        features, probabilities = extractor(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8))
        assert features.shape == (3, 6) and probabilities.shape == (3, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert [path.name for path in trained[1].parent.iterdir()] == ["birds.keras"]


def test_every_weight_but_those_of_batch_norm_is_trained(given, trained):
    before, after = (extractors.load(path).model for path in (given / "net.keras", trained[1]))
    moved = {
        tuple(mine.shape): float(np.abs(np.asarray(mine) - np.asarray(theirs)).max())
        for mine, theirs in zip(before.weights, after.weights[: len(before.weights)], strict=True)
    }
    of_norm = [variable for variable in before.weights if variable.path.startswith("norm/")]
    assert len(of_norm) == 4 and len(before.weights) == 8
    for mine, theirs in zip(before.weights, after.weights, strict=False):
        equal = np.array_equal(mine, theirs)
        assert equal == mine.path.startswith("norm/"), (mine.path, moved)


def test_features_are_trained_alone_at_first(given, tmp_path):
    call(*asked(given, tmp_path / "one.keras", "--epochs", 1))
    before, after = (extractors.load(path) for path in (given / "net.keras", tmp_path / "one.keras"))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(after(images)[0], before(images)[0], rtol=1e-5)


def test_the_same_seed_gives_the_same_weights(given, tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        call(*asked(given, tmp_path / f"{name}.keras", "--epochs", 2, "--seed", seed))
        made.append(extractors.load(tmp_path / f"{name}.keras").digest)
    assert made[0] == made[1] != made[2]


def test_every_tenth_image_of_each_class_is_held_out():
    class_ids = np.array([0, 1] * 12 + [1] * 8 + [2] * 9)
    held_out = np.flatnonzero(_held_out(class_ids))
    assert held_out.tolist() == [18, 19, 31]  # the tenth of class 0, the tenth and the twentieth of class 1


def test_batch_norm_of_nested_networks_is_frozen_too(given):
    base = extractors.load(given / "net.keras").model
    model = with_classes(base, 3)
    set_trainable(base, False)
    assert [variable.path for variable in model.trainable_variables] == ["classes/kernel", "classes/bias"]
    set_trainable(base, True)
    assert len(model.trainable_variables) == 6
    images = np.random.default_rng(0).normal(0, 100, (4, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(model(images, training=True)["features"], model(images)["features"], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epochs", "0"], "--epochs is '0': give a whole number of 1 or more"),
        (["--image_size", "8"], "--image_size is '8': give a whole number from 16"),
        (["--seed=-1"], "--seed is '-1': give a whole number from 0"),
        (["--learning_rate", "0"], "--learning_rate is 0.0: give a number above 0"),
        (["--learning_rate", "nan"], "--learning_rate is nan: give a number above 0"),
        (["--learning_rate", "fast"], "--learning_rate: invalid float value: 'fast'"),
        (["--out", "birds.h5"], "--out is 'birds.h5': give a file that ends in .keras"),
        (["--extractor", "squirrel"], "there is no feature extractor squirrel"),
        (["--data.root", "absent"], "there is no folder absent"),
        (["--metrics", "fid"], "unrecognized arguments: --metrics fid"),
    ],
)
def test_wrong_arguments(given, tmp_path, arguments, expected):
    assert expected in refusal(call, *asked(given, tmp_path / "out.keras", *arguments))
    assert not list(tmp_path.iterdir())


def test_what_is_needed(given, tmp_path):
    assert "the following arguments are required: --data.root, --out" in refusal(call)
    for counts in ({1: 30}, {1: 9, 2: 9}):
        root = save_images(tmp_path / str(counts), counts)
        sentence = refusal(call, *asked(given, tmp_path / "out.keras", "--data.root", root))
        assert f"of {len(counts)} classes: give two classes or more, and one at least of 10 images" in sentence
    (tmp_path / "file").touch()
    assert "cannot be made" in refusal(call, *asked(given, tmp_path / "file/out.keras"))
