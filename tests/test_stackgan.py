"""`StackGAN`: the same images of the same sentence and seed, whatever else is asked for; any sentence is drawn."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import awake, refusal

import stackgan_keras
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import runs, text_encoder, weights
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 16, "filters": 4, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
CONFIGS = {
    "text_encoder": ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": ModelConfig(
        "stage2_generator",
        {"stage1": STAGE1, "image_size": 32, "filters": 4, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1},
    ),
}
RED, BLUE = "this bird is red with black wings", "a blue bird"
ODD = ["", " ", "\n\t", "red " * 250, "x" * 1000, "🐦🦜", "красная птица", "鳥", "\0\x1b[31m", "\udcff", "RED BIRD"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of weights of a run of both stages; not to be changed."""
    folder = tmp_path_factory.mktemp("out") / "weights" / "tiny"
    models = {name: awake(config) for name, config in CONFIGS.items()}
    frozen = models["stage2_gen"].get_layer("stage1_generator")
    frozen.set_weights(models["stage1_gen"].get_weights())
    for name, model in models.items():
        weights.save(model, CONFIGS[name], folder / f"{name}.weights.h5")
    return folder


@pytest.fixture(scope="module")
def model(run):
    return StackGAN.load(run)


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run's folder to do as one likes with."""
    return shutil.copytree(run, tmp_path / "weights" / "tiny")


def without_log_level() -> dict:
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def same(made, other):
    return made.keys() == other.keys() and all(np.array_equal(made[name], other[name]) for name in made)


# -- what comes out -----------------------------------------------------------------------------------------------


def test_shapes_and_seeds(model):
    made = model.generate([RED, BLUE], count=3, seed=5)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        "stage1_image": ((2, 3, 16, 16, 3), np.uint8),
        "image": ((2, 3, 32, 32, 3), np.uint8),
    }
    assert same(made, model.generate([RED, BLUE], count=3, seed=5))
    for name, other in model.generate([RED, BLUE], count=3, seed=6).items():
        assert all(
            not np.array_equal(a, b) for a, b in zip(made[name].reshape(6, -1), other.reshape(6, -1), strict=True)
        )
    for images in made.values():
        assert len({image.tobytes() for image in images.reshape(6, -1)}) == 6


def test_an_image_does_not_depend_on_the_others(model):
    many = model.generate([RED, BLUE, RED, "", BLUE, "yellow", "green", "x", "y"], count=5)
    few = model.generate([RED, BLUE, RED], count=2)
    assert same(few, {name: x[:3, :2] for name, x in many.items()})
    assert same(model.generate(RED, count=1), {name: x[:1, :1] for name, x in many.items()})
    assert not np.array_equal(many["image"][0], many["image"][2])  # the same sentence at another place: other noise


def test_another_process_draws_the_same_by_the_short_names_of_the_package(model, run, tmp_path):
    script = (
        "import sys, numpy, stackgan_keras; assert 'tensorflow' not in sys.modules; "
        "made = stackgan_keras.StackGAN.load(sys.argv[1]).generate([sys.argv[3]], seed=3); "
        "encoder = stackgan_keras.weights.load(sys.argv[1] + '/text_encoder.weights.h5'); "
        "embedding = stackgan_keras.text_encoder.embed(encoder, [sys.argv[3]]); "
        "numpy.savez(sys.argv[2], embedding=embedding, **made)"
    )
    command = [sys.executable, "-c", script, run, tmp_path / "made.npz", RED]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=without_log_level())
    assert done.stderr == ""  # of TensorFlow's notices
    made = dict(np.load(tmp_path / "made.npz"))
    np.testing.assert_array_equal(made.pop("embedding"), text_encoder.embed(model.encoder, [RED]))
    assert same(made, model.generate([RED], seed=3))


def test_short_names_of_the_package():
    from stackgan_keras import StackGAN as short
    from stackgan_keras import images, text_encoder, weights

    assert short is StackGAN
    names = [module.__name__ for module in (images, text_encoder, weights)]
    assert names == [f"stackgan_keras.{name}" for name in ("data.rgb", "models.text_encoder", "models.weights")]
    with pytest.raises(AttributeError, match="StackGANs"):
        stackgan_keras.StackGANs  # noqa: B018


def test_same_noise(model):
    made = model.generate([RED, RED, BLUE], count=2, same_noise=True)
    for images in made.values():
        assert np.array_equal(images[0], images[1])
        assert not np.array_equal(images[0], images[2])
        assert not np.array_equal(images[0, 0], images[0, 1])
    assert same(model.generate(RED, count=2), {name: x[:1] for name, x in made.items()})


def test_scales(model):
    still = model.generate([RED, BLUE], count=2, epsilon_scale=0, noise_scale=0)
    for images in still.values():
        assert np.array_equal(images[:, 0], images[:, 1])
        assert not np.array_equal(images[0], images[1])
    plain, calm, posed = (model.generate(RED, **given) for given in ({}, {"epsilon_scale": 0.0}, {"noise_scale": 0.0}))
    for name in plain:
        assert len({made[name].tobytes() for made in (plain, calm, posed)}) == 3


def taken_by(generator, architecture="pytorch", **scales):
    """What a generator is given to generate 50 images of each of 8 sentences, by input: (400, width)."""
    shows_all = keras.Model(generator.input, {**generator.output, **generator.input})
    model, given = StackGAN(None, shows_all, architecture), []
    generate = model._generate
    model._generate = lambda *inputs: given.append(generate(*inputs)) or given[-1]
    model.generate(np.ones((8, 6), np.float32), count=50, **scales)
    return {name: np.concatenate([outputs[name] for outputs in given]) for name in generator.input}


def test_the_noise_is_normal_and_scaled(model):
    drawn = taken_by(model.generator, epsilon_scale=0.5, noise_scale=2)
    assert drawn.keys() == {"embedding", "noise", "epsilon", "stage1_epsilon"}
    for name, scale in (("noise", 2), ("epsilon", 0.5), ("stage1_epsilon", 0.5)):
        assert abs(drawn[name].mean()) < 0.1 * scale
        assert drawn[name].std() == pytest.approx(scale, rel=0.08)
        assert np.abs(drawn[name]).max() > 2 * scale
        assert len(np.unique(drawn[name])) > 0.99 * drawn[name].size  # one noise for all would show
    between = np.corrcoef(drawn["epsilon"].ravel(), drawn["stage1_epsilon"].ravel())[0, 1]
    assert abs(between) < 0.1


def test_epsilons_are_as_the_architecture_was_trained_with(copy):
    style = {"architecture": "tensorflow"}
    keywords = CONFIGS["stage2_gen"].keywords
    config = ModelConfig("stage2_generator", {**keywords, **style, "stage1": {**keywords["stage1"], **style}})
    weights.save(config.build(), config, copy / "stage2_gen.weights.h5")
    model = StackGAN.load(copy)
    assert model.truncated
    drawn = taken_by(model.generator, **style)
    for name, limited in (("noise", False), ("epsilon", True), ("stage1_epsilon", True)):
        assert (np.abs(drawn[name]).max() <= 2) == limited
        assert drawn[name].std() == pytest.approx(0.88 if limited else 1, abs=0.06)


def test_interpolation(model):
    made = model.interpolate(RED, BLUE, steps=5, seed=2)
    assert {name: x.shape for name, x in made.items()} == {"stage1_image": (5, 16, 16, 3), "image": (5, 32, 32, 3)}
    ends = model.generate([RED, BLUE], count=1, seed=2, same_noise=True)
    between = model.embed([RED, BLUE]).mean(axis=0, keepdims=True)
    middle = next(model.images(between, 1, seed=2))
    for name, steps in made.items():
        assert np.array_equal(steps[0], model.generate(RED, seed=2)[name][0, 0])
        assert np.array_equal(steps[[0, -1]], ends[name][:, 0])
        np.testing.assert_allclose(steps[2].astype(int), middle[name].astype(int), atol=1)
        assert len({step.tobytes() for step in steps}) == 5
    assert not same(made, model.interpolate(RED, BLUE, steps=5, seed=2, noise_scale=0.5))


def test_embeddings_are_those_of_the_encoder(model):
    mine = model.embed([RED, *ODD])
    np.testing.assert_allclose(mine, text_encoder.embed(model.encoder, [RED, *ODD]), atol=1e-5)
    given = list(model.images(mine, count=1))
    drawn = model.generate([RED, *ODD], count=1)
    assert all(np.array_equal(image["image"], drawn["image"][i, 0]) for i, image in enumerate(given))


def test_any_sentence_is_drawn(model):
    made = model.generate(ODD, count=1)
    assert made["image"].shape == (len(ODD), 1, 32, 32, 3)
    assert len({image.tobytes() for image in made["image"]}) == len(ODD)  # each by its own noise


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (RED, ""),
        ('Tab\tand: "all" {of} it!', ""),
        ("x" * 201, ""),
        ("x" * 1000, "only its first 201 of 1,000 characters are read"),
        ("a 🐦 in a café", "2 of 13 characters read as spaces"),
        ("bird\0", "1 of 5 characters read as spaces"),
        ("鳥", "the text encoder knows none of its characters, so"),
        ("", "it is empty, so"),
        (" \n ", "it is empty, so"),
        ("é" + "x" * 300, "only its first 201 of 301 characters are read; 1 of 201 characters read as spaces"),
    ],
)
def test_what_is_not_read(sentence, expected):
    assert text_encoder.unread(sentence).startswith(expected)
    assert bool(text_encoder.unread(sentence)) == bool(expected)


# -- what is there ------------------------------------------------------------------------------------------------


def test_stage1_alone_draws_the_stage1_images_of_stage2(model, copy):
    (copy / "stage2_gen.weights.h5").unlink()
    made = StackGAN.load(copy).generate([RED, BLUE], count=2)
    assert set(made) == {"image"}
    difference = made["image"].astype(int) - model.generate([RED, BLUE], count=2)["stage1_image"]
    assert np.abs(difference).max() <= 1


def test_without_augmentation(copy):
    keywords = {**STAGE1, "augment_condition": False}
    weights.save(
        awake(ModelConfig("stage1_generator", keywords)),
        ModelConfig("stage1_generator", keywords),
        copy / "stage1_gen.weights.h5",
    )
    (copy / "stage2_gen.weights.h5").unlink()
    assert StackGAN.load(copy).generate(RED, count=2)["image"].shape == (1, 2, 16, 16, 3)


def test_an_encoder_of_another_size(copy):
    other = ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 8})
    weights.save(other.build(), other, copy / "text_encoder.weights.h5")
    sentence = refusal(StackGAN.load, copy)
    assert sentence.startswith(f"{copy}: the text encoder makes embeddings of 8 dimensions but the generator reads 6")


def test_the_encoder_of_another_run(copy):
    encoder, generator = (weights.load(copy / f"{name}.weights.h5") for name in ("text_encoder", "stage2_gen"))
    learned = {"text_encoder": weights.checksum(encoder)}
    weights.save(generator, CONFIGS["stage2_gen"], copy / "stage2_gen.weights.h5", learned)
    StackGAN.load(copy)
    weights.save(CONFIGS["text_encoder"].build(), CONFIGS["text_encoder"], copy / "text_encoder.weights.h5")
    assert "is not the text encoder that stage2_gen was trained with" in refusal(StackGAN.load, copy)


def test_no_encoder(copy):
    (copy / "text_encoder.weights.h5").unlink()
    assert refusal(StackGAN.load, copy).startswith(f"{copy} holds generators but no text_encoder.weights.h5")


def test_embeddings_need_no_encoder(copy, model):
    embeddings = model.embed([RED, BLUE])
    (copy / "text_encoder.weights.h5").unlink()
    alone = StackGAN.load(copy, embedded=True)
    assert same(alone.generate(embeddings, count=2, seed=3), model.generate([RED, BLUE], count=2, seed=3))
    assert same(alone.interpolate(*embeddings, steps=3), model.interpolate(RED, BLUE, steps=3))
    for draw in (alone.generate, alone.embed):
        assert "was loaded to draw embeddings alone" in refusal(draw, RED)


def test_no_generator(copy):
    for name in ("stage1_gen", "stage2_gen"):
        (copy / f"{name}.weights.h5").unlink()
    assert f"{copy} holds no generator: " in refusal(StackGAN.load, copy)


def test_files_in_each_others_place(copy):
    shutil.copy(copy / "stage1_gen.weights.h5", copy / "stage2_gen.weights.h5")
    assert "stage2_gen.weights.h5 holds a stage1_generator where a stage2_generator" in refusal(StackGAN.load, copy)
    shutil.copy(copy / "stage1_gen.weights.h5", copy / "text_encoder.weights.h5")
    assert "holds a stage1_generator where a text_encoder is expected" in refusal(StackGAN.load, copy)


def test_no_folder(copy):
    sentence = refusal(StackGAN.load, copy.parent / "other")
    assert sentence.startswith(f"{copy.parent / 'other'} is not there: take one of the runs ")
    assert "tiny" in sentence
    assert "holds no generator" in refusal(StackGAN.load, copy / "stage2_gen.weights.h5")
    (copy.parent / "empty").mkdir()
    assert "holds no generator" in refusal(StackGAN.load, copy.parent / "empty")


@pytest.fixture
def shipped(copy, tmp_path, monkeypatch):
    """The run as one that came with the package, seen from a fresh folder."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "stackgan_keras/models/runs.py"))
    assert runs.shipped_homes() == [tmp_path / "stackgan_keras/weights", copy.parent]
    (tmp_path / "fresh").mkdir()
    monkeypatch.chdir(tmp_path / "fresh")
    return copy


def test_shipped_weights_from_a_fresh_folder(shipped, model):
    assert same(StackGAN.load("weights/tiny").generate(RED, count=1), model.generate(RED, count=1))
    assert runs.find_run(".", "tiny") == shipped
    assert "take one of the runs tiny" in refusal(StackGAN.load, "weights/other")
    for path in ("tiny", "other/tiny", "weights/../tiny", shipped.parents[1] / "gone" / "weights" / "tiny"):
        refusal(StackGAN.load, path)


def test_a_run_of_ones_own_comes_before_the_shipped_one(shipped, tmp_path):
    own = shutil.copytree(shipped, tmp_path / "fresh/weights/tiny")
    (own / "stage2_gen.weights.h5").unlink()
    assert runs.find_run(tmp_path / "fresh", "tiny") == own
    assert "stage1_image" not in StackGAN.load("weights/tiny").generate(RED, count=1)


def test_find_run(run):
    assert runs.find_run(run.parents[1], "tiny") == run
    sentence = refusal(runs.find_run, run.parents[1], "gone")
    assert sentence.startswith(f"{run.parent / 'gone'} is not there: take one of the runs ")
    assert "tiny" in sentence
    for name in ("../weights/tiny", "", ".", "a/b"):
        assert "must be a name" in refusal(runs.find_run, run.parents[1], name)


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, [], (), iter([])], ids=["dict", "list", "tuple", "iterator"])
def test_no_sentence(model, given):
    assert refusal(model.generate, given) == "there is no sentence: give at least one"


@pytest.mark.parametrize("given", [[RED, None], [b"red"], [1.5]])
def test_no_strings(model, given):
    assert "give strings" in refusal(model.generate, given)


@pytest.mark.parametrize("shape", [(6,), (2, 5), (0, 6), (1, 2, 6)])
def test_no_embeddings(model, shape):
    assert "give sentences, or an array (N, 6)" in refusal(model.images, np.zeros(shape))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("count", [0, -1, 1.0, "two", None, True]),
        ("seed", [-1, 2**31, 0.5, "", None]),
        ("epsilon_scale", [-0.1, float("nan"), float("inf"), 1e9, "wide", None, True]),
        ("noise_scale", [-1, float("nan"), float("-inf"), []]),
    ],
)
def test_impossible_values(model, name, values):
    for value in values:
        sentence = refusal(lambda value=value: model.generate(RED, **{name: value}))
        assert sentence.startswith(f"{name} is {value!r}: give a ")


def test_impossible_interpolations(model):
    for steps in (1, 0, 2.0, 10**6):
        assert f"steps is {steps!r}: give a whole number from 2 to 1,000" in refusal(
            model.interpolate, RED, BLUE, steps
        )
    assert "give strings" in refusal(model.interpolate, RED, None)
    assert "noise_scale is -1" in refusal(lambda: model.interpolate(RED, BLUE, noise_scale=-1))


def test_numbers_of_numpy_or_as_digits_and_any_iterable(model):
    made = model.generate(
        (s for s in np.array([RED, BLUE])), count=np.int64(1), seed=np.int32(4), noise_scale=np.float64(1)
    )
    assert same(made, model.generate([RED, BLUE], count=1, seed=4))
    assert same(made, model.generate([RED, BLUE], count="1", seed="4"))
    assert same(made, model.generate(np.array([RED, BLUE]), count=1, seed=4))
