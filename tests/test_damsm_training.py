"""AttnGAN's encoders: their batches, what a generator takes of them, and whole trainings."""

import json
import pickle
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import eager, ended, make_dataset, refusal, train_encoders

from stackgan_keras import config, convert, prepare, train_text
from stackgan_keras.data import numbered_captions
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.numbered_captions import NumberedCaptions
from stackgan_keras.data.pipeline import WordStream
from stackgan_keras.models import image_encoder, inception, runs, sentence_reader, weights
from stackgan_keras.models.region_encoder import region_encoder
from stackgan_keras.models.vocabulary import END, Vocabulary
from stackgan_keras.models.word_encoder import word_encoder
from stackgan_keras.porting import extractors, frozen_networks
from stackgan_keras.training import optimizers, run
from stackgan_keras.training.damsm_encoders import DamsmEncoders, DamsmStep
from stackgan_keras.training.retrieval import Retrieval

pytestmark = pytest.mark.usefixtures("eagerly")


def settings(**changes):
    return config.make(
        {
            "run": "tiny",
            "data": {"image_size": 32},
            "generator": {"text_dim": 8},
            "text": {"loss": "damsm", "image_filters": 4, "batch_size": 4, "epochs": 2, "words": 3, **changes},
            "train": {"sample_every": 1, "save_every": 1},
        }
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("dataset"), count=8)


def vocabulary_of(dataset) -> Vocabulary:
    return Vocabulary.of(caption for captions in dataset.captions for caption in captions)


def tiny(vocabulary, network="small") -> DamsmEncoders:
    keras.utils.set_random_seed(0)
    image = region_encoder(text_dim=8, network=network, image_size=32, filters=4)
    return DamsmEncoders(word_encoder(vocabulary=len(vocabulary), text_dim=8), image, vocabulary)


# -- batches ------------------------------------------------------------------------------------------------------


def stream_of(dataset, **changes):
    vocabulary = vocabulary_of(dataset)
    captions = NumberedCaptions(dataset.captions, vocabulary, 3)
    given = {"captions": captions, "word_dim": 5, "count": 2, "seed": 3, **changes}
    return WordStream(dataset, decode(dataset, 32), 32, 4, **given), vocabulary


def test_a_batch_holds_words_of_its_images_captions(dataset):
    stream, vocabulary = stream_of(dataset)
    seen = set()
    for batch in stream.batches(0, 10):
        assert batch["captions"].shape == (4, 2, 3) and batch["keep"].shape == (4, 2, 3, 5)
        assert 0.3 < np.mean(batch["keep"]) < 0.7
        images = [round(float(value + 1) * 127.5 / 10) for value in batch["image"].numpy()[:, 16, 16, 0]]
        for image, sentences in zip(images, batch["captions"].numpy(), strict=True):
            for numbers in sentences:  # "image 3 caption 1" without one of its four words
                words = [vocabulary.words[number] for number in numbers]
                pattern = ".*".join(words)
                assert any(re.search(pattern, caption) for caption in dataset.captions[image])
                seen.add(words.index("caption") if "caption" in words else None)
    assert seen == {None, 1, 2}


def test_batches_follow_from_their_step(dataset):
    stream, _ = stream_of(dataset)
    late = next(iter(stream.batches(3, 4)))
    for name, values in list(stream.batches(0, 4))[3].items():
        np.testing.assert_array_equal(values, late[name])
    halves = list(stream.batches(3, 4, replicas=2, mine=range(2)))
    for name in ("captions", "keep"):
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), late[name])


def test_captions_without_words_are_left_out(tmp_path):
    dataset = make_dataset(tmp_path, count=3, captions=(2,))
    captions = (("a bird", "..."), ("!", "?"), ("the bird", "a wing"))
    dataset = numbered_captions.replace(dataset, captions=captions)
    kept = numbered_captions.readable(dataset, Vocabulary([END, "a", "bird", "the"]))
    assert kept.captions == (("a bird",), ("the bird", "a wing"))
    assert kept.names == (dataset.names[0], dataset.names[2])
    assert "has a caption" in refusal(numbered_captions.readable, dataset, Vocabulary([END, "cat"]))


# -- a train step -------------------------------------------------------------------------------------------------


def test_every_weight_but_the_frozen_is_trained(dataset):
    stream, vocabulary = stream_of(dataset, word_dim=300)
    for network in ("small", "efficientnet_lite0"):
        encoders = tiny(vocabulary, network)
        before = {v.path: v.numpy() for model in (encoders.text, encoders.image) for v in model.variables}
        step = DamsmStep(encoders, optimizers.make_damsm_adam(1e-2, 0.98, 100))
        scalars = [step(batch) for batch in stream.batches(0, 1)]
        assert all(np.isfinite(float(value)) for each in scalars for value in each.values())
        trained = {v.path for v in encoders.variables}
        assert len(trained) == (9 + 26 if network == "small" else 9 + 3)
        for model in (encoders.text, encoders.image):
            for v in model.variables:
                moved = np.abs(v.numpy() - before[v.path]).max() > 0
                assert moved == (v.path in trained) or "moving" in v.path, v.path


def test_the_rate_falls_to_a_tenth_and_moments_begin_anew():
    rate = optimizers.FallingRate(2.0, 0.5, 3)
    made = [float(rate(np.int64(step))) for step in range(16)]
    np.testing.assert_allclose(made, np.repeat([2, 1, 0.5, 0.25, 0.125, 0.125], 3)[:16])  # the first below 0.2
    rng = np.random.default_rng(0)
    gradients, variable = rng.normal(size=(6, 4)).astype(np.float32), keras.Variable(np.zeros(4, np.float32))
    optimizer = optimizers.make_damsm_adam(0.1, 0.98, 3)
    optimizer.build([variable])
    expected = np.zeros(4)
    for epoch in range(2):
        mean = square = np.zeros(4)
        for step in range(3):
            gradient = gradients[3 * epoch + step]
            mean, square = 0.5 * mean + 0.5 * gradient, 0.999 * square + 0.001 * gradient**2
            corrected = mean / (1 - 0.5 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            expected = expected - 0.1 * 0.98**epoch * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
            optimizer.apply([tf.constant(gradient)], [variable])
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-6)


# -- what a generator's training takes ----------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "regions"), [("small", image_encoder.PLACES), ("efficientnet_lite0", 196)])
def test_what_a_generator_takes_of_sentences_and_images(dataset, network, regions):
    encoders = tiny(vocabulary_of(dataset), network)
    read = encoders.read(encoders.vocabulary.encode(["image 1", "caption of image 2"]))
    assert {k: v.shape.as_list() for k, v in read.items()} == {"embedding": [2, 8], "words": [2, 3, 8], "mask": [2, 3]}
    np.testing.assert_array_equal(read["mask"], [[True, True, False], [True, True, True]])
    images = tf.random.stateless_uniform((2, 64, 64, 3), (0, 0), -1, 1)  # of another size than the small one takes
    with tf.GradientTape() as tape:
        tape.watch(images)
        seen = encoders.see(images)
        total = tf.reduce_sum(seen["regions"][..., 0]) + tf.reduce_sum(seen["code"][..., 0])
    assert seen["regions"].shape == (2, regions, 8) and seen["code"].shape == (2, 8)
    gradient = tape.gradient(total, images)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    before = [v.numpy() for v in encoders.image.variables]
    encoders.see(images)
    assert all(np.array_equal(old, v) for old, v in zip(before, encoders.image.variables, strict=True))


def test_r_precision_by_hand(tmp_path):
    dataset = make_dataset(tmp_path, count=4, captions=(1,))
    scores = np.float32([[3, 0, 0, 9], [2, 5, 0, 0], [1, 6, 1, 0], [0, 0, 1, 0.5]])  # row: sentence, column: image
    found = Retrieval(dataset, scores, np.arange(4)).r_precision()
    assert found == 0.25  # the first's; another fits the second and the fourth better, and one fits the third alike
    rng = np.random.default_rng(0)
    dataset = make_dataset(tmp_path, count=25, captions=(8,))
    found = Retrieval(dataset, rng.normal(size=(200, 25)), np.repeat(np.arange(25), 8)).r_precision()
    assert 0.002 < found < 0.03  # chance: 1 in 100


# -- a whole training ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """The folder of a training of two epochs, and the text encoder that it gave; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with eager():
        return folder, train_encoders(folder, settings(), dataset)


def test_a_training_leaves_encoders_vocabulary_figures_and_grids(trained, dataset):
    folder, model = trained
    made = DamsmEncoders.load(folder / "weights")
    assert made.vocabulary.words[:3] == (END, "caption", "image")
    codes = made.vocabulary.encode(["image 3 caption 1"])
    np.testing.assert_array_equal(made.read(codes)["words"], model({"captions": codes}, training=False)["words"])
    embedded = made.embed_sentences(["image 3 caption 1", "nothing known"])
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), [1, 0], atol=1e-6)
    figures = json.loads((folder / "logs/retrieval.json").read_text())
    assert figures["chance"] == 0.25 and figures["sentences"] == 16 and 0 <= figures["r_precision"] <= 1
    assert (folder / "results/epoch_00002.png").is_file()
    logged = json.loads((folder / "logs/metrics.jsonl").read_text().splitlines()[0])
    assert {"joint", "words_of_image", "image_of_sentence", "text_gradient"} <= set(logged)


def test_the_command_trains_on_synthetic_birds(tmp_path, capsys):
    given = {"text.loss": "damsm", "text.batch_size": 10, "text.words": 4, "text.image_filters": 4}
    given |= {"data.synthetic_count": 50, "data.synthetic_classes": 10, "data.image_size": 32, "train.save_every": 1}
    given |= {"run": "tiny", "generator.text_dim": 8, "train.precision": "float32"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    train_text.main([*words, "--output_dir", str(tmp_path), "--train.max_steps", "2"])
    assert "among 99 of other classes" in capsys.readouterr().out
    vocabulary = DamsmEncoders.load(tmp_path / "weights/tiny").vocabulary
    assert vocabulary.unread("a bird with a purple patella").endswith("them: patella")
    assert list((tmp_path / "results/tiny/text").glob("*.png"))


def test_a_stopped_training_ends_like_an_unbroken_one(trained, dataset, tmp_path):
    chosen = settings()
    begun = chosen.model_copy(update={"train": chosen.train.model_copy(update={"max_steps": 3})})
    for each in (begun, chosen):  # stopped within the second epoch
        train_encoders(tmp_path, each, dataset)
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        unbroken, resumed = (weights.load(folder / "weights" / name) for folder in (trained[0], tmp_path))
        for mine, theirs in zip(unbroken.get_weights(), resumed.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_training_begins_with_weights_and_vocabulary_of_another(trained, dataset, tmp_path):
    start = trained[0] / "weights"
    fewer = dataset.subset(range(4))  # which would number words otherwise
    train_encoders(tmp_path, settings(epochs=1, learning_rate=1e-9), fewer, start)
    made, given = (DamsmEncoders.load(folder) for folder in (tmp_path / "weights", start))
    assert made.vocabulary.words == given.vocabulary.words
    for mine, theirs in zip(made.text.get_weights(), given.text.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_encoders_that_do_not_belong_together_are_refused(trained, tmp_path):
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        (tmp_path / name).write_bytes((trained[0] / "weights" / name).read_bytes())
    assert "vocabulary.json cannot be read" in refusal(DamsmEncoders.load, tmp_path)
    Vocabulary([END, "bird"]).save(tmp_path / runs.VOCABULARY)
    assert "has 2 words" in refusal(DamsmEncoders.load, tmp_path)


def test_what_cannot_be_trained_is_refused(dataset, tmp_path):
    assert "no feature extractor squirrel" in refusal(
        train_encoders, tmp_path, settings(image_encoder="squirrel"), dataset
    )
    odd = config.make({"generator": {"text_dim": 7}, "data": {"image_size": 32}, "text": {"loss": "damsm"}})
    assert "text.whiten" in refusal(train_encoders, tmp_path, settings(whiten=True), dataset)
    assert "even number" in refusal(train_encoders, tmp_path, odd, dataset)


def test_a_prepared_folder_has_encoder_and_vocabulary(tmp_path, capsys):
    """And a stage that is trained on it takes both along, and the sentences' embeddings as its own."""
    given = {"text.loss": "damsm", "text.batch_size": 8, "text.image_filters": 4, "data.image_size": 32}
    given |= {"generator.text_dim": 8, "train.precision": "float32", "train.max_steps": 1}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    root = tmp_path / "birds"
    prepare.main(["drawn", "--out", str(root), "--count", "50", "--classes", "10", *words])
    reader = sentence_reader.load(root / runs.TEXT_ENCODER)
    assert reader.unread("a bird with a purple patella").endswith("them: patella")
    settings = config.make({"run": "mine", "data": {"root": root}, "generator": {"text_dim": 8}})
    train_set, _ = run.read_datasets(settings, config.Folders(tmp_path, "mine"))
    made = sentence_reader.load(tmp_path / "weights/mine" / runs.TEXT_ENCODER)
    for embed in (reader.embed, made.embed):
        np.testing.assert_allclose(embed(train_set.captions[1]), train_set.embeddings_of(1), atol=1e-6)
    settings = config.make({"run": "attn", "data": {"root": root}, "generator": {"text_dim": 8, "family": "attngan"}})
    run.read_datasets(settings, config.Folders(tmp_path, "attn"))
    assert DamsmEncoders.load(tmp_path / "weights/attn").vocabulary.words[0] == END
    again = tmp_path / "again"
    prepare.main(["drawn", "--out", str(again), "--count", "50", "--classes", "10", "--text_encoder", str(root)])
    assert (again / runs.VOCABULARY).read_text() == (root / runs.VOCABULARY).read_text()


def test_released_words_go_beside_their_encoder(tmp_path, capsys, monkeypatch):
    words = {0: END, 1: "wing", 2: "a"}
    content = [[], [], words, {word: number for number, word in words.items()}]
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps(content, 2))
    code, output, _ = ended(
        convert.main, [tmp_path / "captions.pickle", "--out", tmp_path / "birds"], monkeypatch, capsys
    )
    assert code == 0 and "the 3 words" in output
    model_config = weights.ModelConfig("word_encoder", {"vocabulary": 3, "text_dim": 8})
    weights.save(model_config.build(), model_config, tmp_path / "birds" / runs.TEXT_ENCODER)
    assert sentence_reader.load(tmp_path / "birds" / runs.TEXT_ENCODER).embed(["A wing"]).shape == (1, 8)


# -- frozen networks ----------------------------------------------------------------------------------------------


@pytest.fixture
def random_efficientnet(tmp_path):
    """A file of EfficientNet-Lite0 with random weights."""
    keras.utils.set_random_seed(2)
    model_config = weights.ModelConfig("efficientnet_lite0", {})
    model = model_config.build()
    path = tmp_path / "net.weights.h5"
    weights.save(model, model_config, path)
    return path, model


def test_a_frozen_network_reads_the_images(random_efficientnet, dataset, tmp_path):
    path, network = random_efficientnet
    train_encoders(tmp_path, settings(image_encoder=str(path), epochs=1, batch_size=8), dataset)
    made = DamsmEncoders.load(tmp_path / "weights")
    assert made.image.output["regions"].shape == (None, 14, 14, 8)
    for name in ("stem_conv", "block12_project_norm", "head_conv"):
        for mine, theirs in zip(
            made.image.get_layer(name).get_weights(), network.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    images = decode(dataset, 32)[:2]
    features = extractors.load(path)(images)[0]
    inside = keras.Model(made.image.input, made.image.get_layer("features").output)
    np.testing.assert_allclose(inside({"image": images / np.float32(127.5) - 1}), features, rtol=1e-3, atol=1e-5)
    name, again = frozen_networks.find(str(tmp_path / "weights" / runs.IMAGE_ENCODER), tmp_path)
    assert name == "efficientnet_lite0" and len(again["stem_conv"]) == 1  # the file of a run serves another


@pytest.mark.slow
def test_keras_inception_is_put_into_ours():
    body = keras.applications.InceptionV3(weights=None)
    rng = np.random.default_rng(0)
    for variable in body.variables:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif "batch_normalization" in variable.path:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    image = keras.Input((299, 299, 3))
    average = inception.average_without_padding  # which Keras has, and torchvision has not
    maps = keras.Model(image, inception.inception_maps(image, average, last=average))
    for layer in maps.layers:
        layer.trainable = False
    frozen_networks.put(frozen_networks.of_keras_inception(body), maps)
    theirs = keras.Model(body.input, [body.get_layer("mixed7").output, body.get_layer("mixed10").output])
    images = rng.uniform(-1, 1, (1, 299, 299, 3)).astype(np.float32)
    for mine, other in zip(maps(images), theirs(images), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4 * np.abs(other).max())
