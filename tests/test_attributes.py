"""Attributes of drawn birds: what a caption names, and the classifier that predicts the colours in an image."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import refusal

from stackgan_keras import train_attributes
from stackgan_keras.data import drawn_birds, photographs, rgb
from stackgan_keras.evaluation import attributes, classifier_training, features
from stackgan_keras.evaluation.attributes import PARTS, accuracy, named_parts
from stackgan_keras.evaluation.features import AttributePredictor, resized
from stackgan_keras.models import weights
from stackgan_keras.models.attribute_classifier import attribute_classifier
from stackgan_keras.models.weights import ModelConfig

TINY = {**attributes.CLASSIFIER, "image_size": 32, "filters": 2}


@pytest.fixture(scope="module")
def birds():
    """One individual of each of 200 species."""
    species = drawn_birds.species.invent_species(180, 20, np.random.default_rng(3))
    return [drawn_birds.species.individual(kind, np.random.default_rng([3, i])) for i, kind in enumerate(species)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """60 drawn birds of 10 species, one of them for the test; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(folder, count=66, classes=11, test_classes=1, embedding_dim=1, workers=1)


# Captions


class Recorded(drawn_birds.captions.Phrases):
    """The words of a caption, and which colours of which parts they named."""

    def __init__(self, bird, rng):
        super().__init__(bird, rng)
        self.named = {}

    def take_part(self):
        self.named[self.unnamed[-1]] = getattr(self.bird, self.unnamed[-1])
        return super().take_part()

    def beak(self):
        phrase = super().beak()
        if self.bird.beak in phrase.split():
            self.named["beak"] = self.bird.beak
        return phrase


@pytest.mark.parametrize("wording", range(len(drawn_birds.captions.WORDINGS)))
def test_every_wording_is_understood(wording, birds):
    for i, bird in enumerate(birds):
        words = Recorded(bird, np.random.default_rng([wording, i]))
        sentence = drawn_birds.captions.WORDINGS[wording](words)
        assert words.named, sentence
        assert named_parts(sentence) == words.named, sentence


@pytest.mark.parametrize("wording", range(len(drawn_birds.captions.PLAIN_WORDINGS)))
def test_the_colour_of_the_whole_bird_is_taken_for_no_part(wording, birds):
    plain = [bird for bird in birds if bird.main]
    assert len(plain) > 20
    for i, bird in enumerate(plain):
        words = Recorded(bird, np.random.default_rng([wording, i]))
        sentence = drawn_birds.captions.PLAIN_WORDINGS[wording](words)
        assert bird.main in sentence.split(), sentence
        assert named_parts(sentence) == words.named, sentence


def test_drawn_captions_name_only_what_is_true(birds):
    sentences = 0
    for i, bird in enumerate(birds):
        for sentence in drawn_birds.captions.describe(bird, np.random.default_rng(i)):
            named = named_parts(sentence)
            assert named.items() <= asdict(bird).items(), sentence
            sentences += 1
    assert sentences == 2000


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A bird with a gray CAP and Yellow wings", {"crown": "grey", "wing": "yellow"}),
        ("wing feathers that are pink, red tail feathers", {"wing": "pink", "tail": "red"}),
        ("its bill is orange and its chest is white", {"beak": "orange", "belly": "white"}),
        ("a short pointed bill", {}),
        ("this red and blue bird", {}),
        ("a green beak", {}),  # no drawn beak is, so there is no such value
        ("a blackback, a tailor and a reddish crown", {}),
        ("", {}),
    ],
)
def test_words_of_ones_own(sentence, expected):
    assert named_parts(sentence) == expected


# The network


def test_one_distribution_a_part():
    model = attribute_classifier(**TINY)
    outputs = model(np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype("float32"))
    assert list(outputs) == ["crown", "back", "belly", "wing", "tail", "beak"]
    for part, colours in PARTS.items():
        assert outputs[part].shape == (3, len(colours))
        np.testing.assert_allclose(np.sum(outputs[part], axis=1), 1, atol=1e-5)
    assert len(PARTS["crown"]) == 11
    assert len(PARTS["beak"]) == 5


def test_every_weight_is_used():
    model = attribute_classifier(**TINY)
    with tf.GradientTape() as tape:
        outputs = model(np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("float32"), training=True)
        loss = sum(tf.reduce_sum(tf.math.log(value[:, 0])) for value in outputs.values())
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-7, variable.path


@pytest.mark.parametrize("size", [16, 48, 100])
def test_a_size_that_cannot_be_halved_is_refused(size):
    assert "multiple of 32" in refusal(lambda: attribute_classifier(**{**TINY, "image_size": size}))


def test_its_file_is_small_and_gives_it_back(tmp_path):
    config = ModelConfig("attribute_classifier", attributes.CLASSIFIER)
    model, path = config.build(), tmp_path / "attribute_classifier.weights.h5"
    weights.save(model, config, path)
    assert path.stat().st_size < 1.5e6
    assert weights.read_config(path, "attribute_classifier") == config
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    (mine, one), (theirs, other) = (AttributePredictor(of)(images) for of in (model, weights.load(path)))
    assert all((mine[part] == theirs[part]).all() for part in PARTS)
    np.testing.assert_array_equal(one, other)


def test_images_of_any_size_are_fitted():
    large = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    same, half, double = (rgb.to_range(np.asarray(resized(large, size))) for size in (64, 32, 128))
    np.testing.assert_array_equal(rgb.to_uint8(same), large)
    assert half.shape == (2, 32, 32, 3)
    assert double.shape == (2, 128, 128, 3)
    assert -1 <= half.min() < half.max() <= 1
    assert half.std() < 0.8 * same.std()  # antialiased: pixels are averaged, not left out


def test_predictions_do_not_depend_on_the_batch(monkeypatch):
    predictor = AttributePredictor(attribute_classifier(**TINY))
    images = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), np.uint8)
    whole, one = predictor(images)
    monkeypatch.setattr(features, "CLASSIFIED", 3)
    parts, other = predictor(images)
    for part in PARTS:
        assert whole[part].shape == (7,)
        assert set(whole[part]) <= set(PARTS[part])
        assert (whole[part] == parts[part]).all()
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_features_are_those_of_each_image():
    model = attribute_classifier(**TINY)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    colours, made = AttributePredictor(model)(images)
    assert made.shape == (3, 6 * TINY["filters"])
    assert made.dtype == np.float32
    assert len(np.unique(made.round(6), axis=0)) == 3
    plain = model(rgb.to_range(images.astype(np.float32)), training=False)
    assert all((colours[part] == np.array(PARTS[part])[np.argmax(plain[part], axis=1)]).all() for part in PARTS)


# Accuracy


def test_accuracy_is_the_share_of_named_parts():
    named = [{"crown": "red", "beak": "black"}, {"crown": "blue"}, {}]
    predicted = {part: np.array(["red", "red", "red"]) for part in PARTS}
    scores = accuracy(named, predicted)
    assert scores["crown"] == 0.5
    assert scores["beak"] == 0
    assert scores["all"] == pytest.approx(1 / 3)
    assert np.isnan(scores["back"])
    assert attributes.chance(named) == pytest.approx((1 / 11 + 1 / 11 + 1 / 5) / 3)
    assert np.isnan(attributes.chance([{}]))
    assert np.isnan(accuracy([{}], predicted)["all"])


# Truth and training


def test_truth_is_that_of_the_images_named(root):
    rows = [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]
    birds = attributes.truth(root, [rows[7]["name"], rows[2]["name"]])
    assert birds == [{part: rows[i][part] for part in PARTS} for i in (7, 2)]
    places = classifier_training.class_numbers(birds)
    assert {part: PARTS[part][places[part][1]] for part in PARTS} == birds[1]


def test_without_truth_it_is_no_drawn_set(root, tmp_path):
    assert "there is no" in refusal(attributes.truth, tmp_path, ["a"])
    assert "lacks images" in refusal(attributes.truth, root, ["absent/bird"])
    (tmp_path / "truth.jsonl").write_text('{"name": "a"\n')
    assert "is damaged" in refusal(attributes.truth, tmp_path, ["a"])
    (tmp_path / "truth.jsonl").write_text('{"name": "a"}\n[]\n')
    assert "is damaged" in refusal(attributes.truth, tmp_path, ["a"])


def test_crops_lie_inside_and_at_random():
    ramp = np.arange(38, dtype=np.uint8)
    images = np.broadcast_to((ramp[:, None] + ramp)[None, :, :, None], (400, 38, 38, 3))
    crops = classifier_training.crops(images, 32, seed=1)
    assert crops.shape == (400, 32, 32, 3)
    corners = crops[:, 0, 0, 0]
    assert (corners.min(), corners.max()) == (0, 12)  # up to 6 down and 6 right
    np.testing.assert_array_equal(classifier_training.crops(images, 32, seed=1), crops)
    assert (classifier_training.crops(images, 32, seed=2) != crops).any()


def test_augmented_images_keep_their_labels_and_are_new_each_time():
    images = np.zeros((5, 38, 38, 3), np.uint8)  # image i has its left half at 40 i + 30
    images[:, :, :19] = (40 * np.arange(5) + 30)[:, None, None, None]
    labels = {part: np.arange(5) for part in PARTS}

    def some(seed):
        examples = classifier_training.augmented(images, labels, 32, seed).take(60)
        return [(np.asarray(x), {part: int(y[part]) for part in PARTS}) for x, y in examples]

    first, counts = some(0), np.zeros(5, int)
    mirrored, blurred, levels = [], [], []
    for x, y in first:
        assert x.shape == (32, 32, 3)
        assert -1 <= x.min() < x.max() <= 1
        assert len(set(y.values())) == 1
        view, left, right = (x + 1) * 127.5, *((x[:, [2, -3]].mean(axis=(0, 2)) + 1) * 127.5)
        levels.append(max(left, right) - (40 * y["tail"] + 30))
        mirrored.append(right > left)
        blurred.append(len(np.unique(view.round(1))) > 2)
        counts[y["tail"]] += 1
    assert counts.tolist() == [12] * 5
    assert 8 < np.std(levels) < np.max(np.abs(levels)) <= classifier_training.BRIGHTNESS + 1
    mirrored, blurred = np.array(mirrored), np.array(blurred)
    assert 20 <= mirrored.sum() <= 40
    assert 10 <= blurred.sum() <= 30
    assert 0.2 < mirrored[blurred].mean() < 0.8  # the one says nothing of the other
    again, other = some(0), some(1)
    assert all((a[0] == b[0]).all() for a, b in zip(first, again, strict=True))
    assert any((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


# The command


@pytest.fixture
def trained(monkeypatch):
    """Runs the command with these arguments and returns what it prints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train_attributes", *map(str, arguments)])
        with redirect_stdout(io.StringIO()) as output:
            train_attributes.main()
        return output.getvalue()

    return run


def test_what_training_leaves(trained, root, tmp_path, monkeypatch):
    monkeypatch.setattr(attributes, "CLASSIFIER", TINY)
    printed = trained("--data.root", root, "--output_dir", tmp_path, "--run", "mine", "--epochs", 2)
    path = tmp_path / "weights/mine/attribute_classifier.weights.h5"
    assert f"weights: {path}" in printed
    assert " 256 pixels: crown " in printed and "  64 pixels: crown " in printed
    assert weights.read_config(path, "attribute_classifier").keywords == TINY
    changed = weights.named_variables(weights.load(path))
    keras.utils.set_random_seed(0)  # the command's own
    for name, variable in weights.named_variables(attribute_classifier(**TINY)).items():
        assert 0 < np.abs(np.asarray(variable) - np.asarray(changed[name])).max() < 0.5, name


@pytest.mark.slow
def test_a_classifier_of_sixty_birds_reads_better_than_chance(trained, root, tmp_path):
    arguments = ("--data.root", root, "--output_dir", tmp_path, "--run", "mine")
    trained(*arguments, "--epochs", 40, "--precision", "float32")
    predictor = AttributePredictor(weights.load(tmp_path / "weights/mine/attribute_classifier.weights.h5"))
    rows = [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]
    images = [photographs.read(root / f"CUB_200_2011/images/{row['name']}.jpg", row["box"], 76) for row in rows]
    truth = attributes.truth(root, [row["name"] for row in rows])
    scores = accuracy(truth, predictor(classifier_training.crops(np.stack(images), 64, 0))[0])
    assert scores["all"] > 3 * attributes.chance(truth), scores


def test_what_cannot_be_trained_is_refused(trained, root, tmp_path):
    few = drawn_birds.write(tmp_path / "few", count=20, classes=4, test_classes=1, embedding_dim=1, workers=1)
    out = ("--output_dir", tmp_path / "out")
    assert "holds 15 images to train on: the classifier needs 50" in refusal(trained, "--data.root", few, *out)
    blind = shutil.copytree(root, tmp_path / "blind")
    (blind / "truth.jsonl").unlink()
    assert "truth.jsonl: give a folder of drawn birds" in refusal(trained, "--data.root", blind, *out)
    assert "there is no folder" in refusal(trained, "--data.root", tmp_path / "absent", *out)
    assert "--epochs is '0': give a whole number of 1 or more" in refusal(trained, "--epochs", "0", *out)
    assert "--seed is '-1': give a whole number from 0" in refusal(trained, "--seed=-1", *out)
    assert "run is '../x'" in refusal(trained, "--run", "../x", *out)
    assert "--help shows how" in refusal(trained, "--data.size", "3", *out)
    assert not list((tmp_path / "out").rglob("*.h5"))
