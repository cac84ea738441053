"""The command `export`: other runtimes draw from its files what the Keras models draw here."""

import re
import shutil
from importlib.util import find_spec
from unicodedata import ucd_3_2_0

import numpy as np
import pytest
import tensorflow as tf
from helpers import awake, ended

from stackgan_keras import export
from stackgan_keras.data.noise import generator_inputs
from stackgan_keras.inference import saved_model
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import text_encoder, weights
from stackgan_keras.models.generators import images_of
from stackgan_keras.models.runs import GENERATORS, VOCABULARY
from stackgan_keras.models.sentence_reader import CharacterReader
from stackgan_keras.models.vocabulary import END, READ, Vocabulary
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 16, "filters": 4, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE1 |= {"conditional_batch_norm": True}
STAGE2 = {"image_size": 32, "filters": 4, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
STAGE2 |= {"conditional_batch_norm": True, "stage1": STAGE1}
CONFIGS = {
    "text_encoder": ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": ModelConfig("stage2_generator", STAGE2),
}
KNOWN = Vocabulary([END, "a", "bird", "red", "wings", "with", "blue", "stanbul", "bak", "2cm", "snake_case"])
BRANCHES = {"image_size": 32, "first_size": 8, "filters": 4, "noise_dim": 4, "residual_blocks": 1}
OF_TEXT = {**BRANCHES, "text_dim": 6, "condition_dim": 3}
SUCCESSORS = {
    "branches": {
        "text_encoder": CONFIGS["text_encoder"],
        "stackgan_v2_gen": ModelConfig("stackgan_v2_generator", OF_TEXT),
    },
    "no_text": {"stackgan_v2_gen": ModelConfig("stackgan_v2_generator", {**BRANCHES, "conditional": False})},
    "words": {
        "text_encoder": ModelConfig("word_encoder", {"vocabulary": len(KNOWN), "word_dim": 4, "text_dim": 6}),
        "attngan_gen": ModelConfig("attngan_generator", {**OF_TEXT, "mask_order": "as_released"}),
    },
}
ODD = ["", " ", "a\tb\n", "Red Bird", "x" * 500, "🐦🦜 bird", "ÀÉ ß İ", "красная птица", "鳥", "a-b_c|d\\e~"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """An output folder with the weights of runs, `early` without Stage II; not to be changed."""
    out = tmp_path_factory.mktemp("out")
    for run, configs in {"tiny": CONFIGS, **SUCCESSORS}.items():
        for name, config in configs.items():
            weights.save(awake(config), config, out / "weights" / run / f"{name}.weights.h5")
    KNOWN.save(out / "weights/words" / VOCABULARY)
    (out / "weights" / "early").mkdir()
    for name in ("text_encoder", "stage1_gen"):
        shutil.copy(out / f"weights/tiny/{name}.weights.h5", out / "weights/early")
    return out


@pytest.fixture
def command(out, tmp_path, monkeypatch, capfd):
    """Runs the command on the run `tiny`; returns its exit code, its output and its errors."""

    def run(*arguments):
        given = ["--run", "tiny", "--output_dir", out, "--out", tmp_path / "exported", *arguments]
        return ended(export.main, given, monkeypatch, capfd)

    return run


@pytest.fixture(scope="module")
def model(out):
    return StackGAN.load(out / "weights" / "tiny")


# -- strings to pixels --------------------------------------------------------------------------------------------


def test_characters_are_those_of_the_text_encoder():
    np.testing.assert_array_equal(saved_model.characters(tf.constant(ODD)), text_encoder.encode(ODD))
    assert saved_model.characters(tf.constant([], tf.string)).shape == (0, text_encoder.LENGTH)
    broken = saved_model.characters(tf.constant([b"a \xff bird"])).numpy()[0]
    np.testing.assert_array_equal(broken, text_encoder.encode(["a   bird"])[0])


LONG = "a red bird with blue wings and a BIRD, " * 5
CAPTIONS = ["A red bird, with blue wings!", "an unheard-of zebra", LONG, "red\0blue", "snake_case 2CM", "bird's"]
CAPTIONS += ["b\u00c9ak", "\u0130stanbul", "\ufffd\ufffdred", "red\u00a0bird\u3000blue", "re\u0301d", "R\u00adED wings"]


def test_words_are_those_of_the_vocabulary():
    sentences = [*ODD, *CAPTIONS]
    codes = saved_model.words(tf.constant(sentences), saved_model.table_of(KNOWN))
    assert codes.dtype == tf.int32
    np.testing.assert_array_equal(codes, KNOWN.encode(sentences, READ))
    assert len(KNOWN.numbers_of(LONG)) > READ
    nothing = saved_model.words(tf.constant(sentences), saved_model.table_of(Vocabulary([END])))
    assert not np.any(nothing) and nothing.shape == (len(sentences), READ)
    assert saved_model.words(tf.constant([], tf.string), saved_model.table_of(KNOWN)).shape == (0, READ)


def test_characters_part_words_as_in_python():
    """All those of a Unicode that is older than any Python's or TensorFlow's."""
    characters = (chr(i) for i in range(0x20000) if ucd_3_2_0.category(chr(i)) not in ("Cn", "Cs"))
    sentences = [f"red{character}Bird" for character in characters]
    vocabulary = Vocabulary.of(sentences)
    codes = saved_model.words(tf.constant(sentences), saved_model.table_of(vocabulary))
    np.testing.assert_array_equal(codes, vocabulary.encode(sentences, READ))


def same_images(made, model, sentences, seed):
    """Whether these are the images of `StackGAN`, but for what adding up in another order may do to a pixel."""
    expected = model.generate(sentences, count=1, seed=seed)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {
        name: (images.shape[:1] + images.shape[2:], tf.uint8) for name, images in expected.items()
    }
    apart = {name: np.abs(x.numpy().astype(int) - expected[name][:, 0]) for name, x in made.items()}
    return all(pixels.max() <= 1 and pixels.mean() < 0.001 for pixels in apart.values())


def test_a_saved_model_draws_the_images_of_stackgan(model, tmp_path, command):
    code, output, errors = command("--format", "saved_model")
    assert (code, errors) == (0, "")
    folder = tmp_path / "exported" / "saved_model" / "1"
    assert re.search(rf"{folder}: .* MB; its images differ from those of the Keras models by [01] of 255", output)
    assert sorted(path.name for path in (tmp_path / "exported" / "saved_model").iterdir()) == ["1"]
    served = tf.saved_model.load(str(folder))
    made = served.serve(tf.constant(ODD), tf.constant(7))
    assert set(made) == {"image", "stage1_image"}
    assert same_images(made, model, ODD, 7)
    assert not same_images(made, model, ODD, 8)
    assert not same_images(made, model, ODD[::-1], 7)
    by_name = served.signatures["serve"](sentences=tf.constant(ODD), seed=tf.constant(7))
    np.testing.assert_array_equal(by_name["image"], made["image"])
    one = served.serve(tf.constant(ODD[:1]), tf.constant(2**31 - 1))  # the largest seed
    assert same_images(one, model, ODD[:1], 2**31 - 1)


def test_its_epsilons_are_truncated_as_those_of_stackgan():
    generator = ModelConfig("stage1_generator", {**STAGE1, "architecture": "tensorflow"})
    model = StackGAN(CharacterReader(awake(CONFIGS["text_encoder"])), awake(generator), "tensorflow")
    sentences = ["a red bird"] * 20

    def draw():
        return saved_model.Graph(model).of_sentences(tf.constant(sentences), tf.constant(3))

    assert same_images(draw(), model, sentences, 3)
    model.truncated = False
    assert not same_images(draw(), model, sentences, 3)


@pytest.mark.parametrize("run", [pytest.param("branches", marks=pytest.mark.slow), "words"])
def test_a_saved_model_of_a_successor_reads_sentences(run, out, tmp_path, command):
    code, output, errors = command("--run", run, "--format", "saved_model")
    assert (code, errors) == (0, "") and "its images differ" in output
    served = tf.saved_model.load(str(tmp_path / "exported/saved_model/1"))
    made = served.serve(tf.constant(CAPTIONS), tf.constant(7))
    assert [*sorted(made)] == ["image_16", "image_32", "image_8"]
    model = StackGAN.load(out / "weights" / run)
    assert same_images(made, model, CAPTIONS, 7)
    assert not same_images(made, model, CAPTIONS[::-1], 7)


def test_a_saved_model_without_text_takes_a_number_of_images(out, tmp_path, command):
    code, output, errors = command("--run", "no_text", "--format", "saved_model")
    assert (code, errors) == (0, "") and "its images differ" in output
    served = tf.saved_model.load(str(tmp_path / "exported/saved_model/1"))
    made = served.serve(tf.constant(5), tf.constant(7))
    expected = StackGAN.load(out / "weights/no_text").generate("", 5, 7)
    assert {name: x.shape for name, x in made.items()} == {name: x[0].shape for name, x in expected.items()}
    for name, x in made.items():
        assert np.abs(x.numpy().astype(int) - expected[name][0]).max() <= 1
    by_name = served.signatures["serve"](count=tf.constant(5), seed=tf.constant(7))
    np.testing.assert_array_equal(by_name["image_32"], made["image_32"])


def test_again_replaces_the_whole_folder(out, tmp_path, command):
    folder = tmp_path / "exported" / "saved_model" / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "old").write_text("of before")
    (folder.parent / ".1.unfinished").mkdir()
    assert command("--format", "saved_model", "--run", "early")[0] == 0
    assert not (folder / "variables" / "old").exists() and (folder / "saved_model.pb").is_file()
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    served = tf.saved_model.load(str(folder))
    made = served.serve(tf.constant(ODD), tf.constant(0))
    assert set(made) == {"image"}  # Stage I alone
    assert same_images(made, StackGAN.load(out / "weights" / "early"), ODD, 0)


# -- generators ---------------------------------------------------------------------------------------------------


def generators(out):
    return {
        name: weights.load(out / "weights" / "tiny" / f"{name}.weights.h5") for name in ("stage2_gen", "stage1_gen")
    }


def inputs_of(generator, count=3):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(count, *x.shape[1:])).astype(np.float32) for name, x in generator.input.items()}


@pytest.mark.slow
def test_onnx(out, tmp_path, command):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    code, output, errors = command("--format", "onnx")
    assert (code, errors) == (0, "")
    assert output.count(" MB; its images differ from those of the Keras model by ") == 2
    for name, generator in generators(out).items():
        session = onnxruntime.InferenceSession(str(tmp_path / "exported" / f"{name}.onnx"))
        inputs = inputs_of(generator)
        assert {given.name for given in session.get_inputs()} == set(inputs)
        (image,) = session.run(None, inputs)
        np.testing.assert_allclose(image, generator(inputs, training=False)["image"], atol=1e-4)


def final_image(model, run, seed=3):
    """What a generator takes of sentences, and the final images that it makes of each on its own, in [-1, 1]."""
    sentences = [sentence for sentence in CAPTIONS if sentence != LONG]
    places = np.arange(len(sentences))
    text = {} if run == "no_text" else model.read(sentences)
    drawn = generator_inputs(model.widths, seed, places, places * 0)
    inputs = {**text, **{name: values.numpy() for name, values in drawn.items()}}
    rows = [{name: values[i : i + 1] for name, values in inputs.items()} for i in places]
    name = [*images_of(model.generator)][-1]
    return inputs, np.concatenate([model.generator(row, training=False)[name] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("run", SUCCESSORS)
def test_onnx_of_a_successor(run, out, tmp_path, command):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    code, _, errors = command("--run", run, "--format", "onnx")
    assert (code, errors) == (0, "")
    (name,) = {*GENERATORS} & {*SUCCESSORS[run]}
    session = onnxruntime.InferenceSession(str(tmp_path / "exported" / f"{name}.onnx"))
    inputs, expected = final_image(StackGAN.load(out / "weights" / run), run)
    assert {given.name for given in session.get_inputs()} == set(inputs)
    assert near(session.run(None, inputs)[0], expected)
    if run == "words":  # no more words than the longest sentence has
        longest = inputs["mask"].any(axis=0).sum()
        assert longest < READ
        fewer = inputs | {name: inputs[name][:, :longest] for name in ("words", "mask")}
        assert near(session.run(None, fewer)[0], expected)


def near(made, expected):
    """Equal to 1e-5, but for single pixels, whose differences such wide random weights amplify."""
    apart = np.abs(made - expected)
    return made.shape == expected.shape and apart.mean() < 1e-6 and np.quantile(apart, 0.99) < 1e-5 > apart.max() / 10


@pytest.mark.slow
def test_litert_of_words(out, tmp_path, command):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    code, _, errors = command("--run", "words", "--format", "litert")
    assert (code, errors) == (0, "")
    inputs, expected = final_image(StackGAN.load(out / "weights/words"), "words")
    runner = interpreter.Interpreter(str(tmp_path / "exported/attngan_gen_float32.tflite")).get_signature_runner()
    made = runner(**{name: values[:1] for name, values in inputs.items()})["image"]
    np.testing.assert_allclose(made, expected[:1], atol=1e-4)


@pytest.mark.slow
def test_litert(out, tmp_path, command):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    code, output, errors = command("--format", "litert")
    assert (code, errors) == (0, "")
    assert output.count(" MB; its images differ from those of the Keras model by ") == 4
    sizes = {}
    for name, generator in generators(out).items():
        inputs = inputs_of(generator, count=1)
        expected = generator(inputs, training=False)["image"]
        for precision, tolerance in (("float32", 1e-4), ("float16", 2e-2)):
            file = tmp_path / "exported" / f"{name}_{precision}.tflite"
            made = interpreter.Interpreter(str(file)).get_signature_runner()(**inputs)["image"]
            np.testing.assert_allclose(made, expected, atol=tolerance, err_msg=file.name)
            sizes[precision] = file.stat().st_size
        assert sizes["float16"] < sizes["float32"]
    assert sorted(path.suffix for path in (tmp_path / "exported").iterdir()) == [".tflite"] * 4


# -- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "package"), [("onnx", "tf2onnx"), ("litert", "ai_edge_litert")])
def test_a_format_whose_package_is_not_there(name, package, command, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda wanted: None if wanted == package else find_spec("sys"))
    code, output, errors = command()
    assert (code, output) == (2, "")
    assert f"error: {name} needs {package}, which is not installed: pip install 'stackgan_keras[{name}]'" in errors
    assert not (tmp_path / "exported").exists()
    code, _, errors = command("--run", "nothere")
    assert code == 2 and "nothere is not there" in errors  # which comes before what to install


def test_runs_that_are_not_there_or_cannot_read(out, command, tmp_path):
    assert command("--run", "none", "--format", "saved_model")[0] == 2
    code, _, errors = command("--format", "png")
    assert code == 2 and "invalid choice" in errors
    blind = tmp_path / "weights" / "blind"
    blind.mkdir(parents=True)
    (blind / "stage1_gen.weights.h5").write_bytes((out / "weights/tiny/stage1_gen.weights.h5").read_bytes())
    code, _, errors = command("--run", "blind", "--output_dir", tmp_path, "--format", "saved_model")
    assert code == 2 and "holds generators but no text_encoder.weights.h5" in errors
    assert not (tmp_path / "exported" / "saved_model" / "1").exists()


def test_a_file_stands_in_the_way(command, tmp_path):
    (tmp_path / "exported").write_text("mine")
    code, _, errors = command("--format", "saved_model")
    assert code == 2 and "a file stands where a folder should be" in errors
    assert (tmp_path / "exported").read_text() == "mine"
