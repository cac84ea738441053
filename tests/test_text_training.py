"""The joint embedding of sentences and images: its losses, its batches, retrieval, and whole trainings."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import eager, make_dataset, refusal, train_encoders

from stackgan_keras import config
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import FeaturePairStream, PairStream
from stackgan_keras.models import image_encoder, text_encoder, weights
from stackgan_keras.porting import extractors
from stackgan_keras.training import losses, optimizers, text
from stackgan_keras.training.encoders import Encoders, EncoderStep
from stackgan_keras.training.retrieval import Retrieval
from stackgan_keras.training.text import TextFolders

pytestmark = pytest.mark.usefixtures("eagerly")
TEXT = {"filters": 6, "recurrent_dim": 8}


def tiny(variant="flowers") -> Encoders:
    """Encoders of 8 dimensions; the variant for flowers has a shorter recurrence, which is quicker to trace."""
    keras.utils.set_random_seed(0)
    return Encoders(
        text_encoder.text_encoder(variant=variant, text_dim=8, **TEXT),
        image_encoder.image_encoder(image_size=32, filters=4, text_dim=8),
    )


def settings(**text):
    return config.make(
        {
            "run": "tiny",
            "data": {"image_size": 32},
            "generator": {"text_dim": 8},
            "text": {**TEXT, "variant": "flowers", "image_filters": 4, "batch_size": 4, "epochs": 2, **text},
            "train": {"sample_every": 1, "save_every": 1},
        }
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("dataset"), count=8)


# -- the loss -----------------------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    scores = np.float32([[3.0, 2.5, 0.0], [0.0, 1.0, 0.0], [9.0, 0.0, 2.0]])
    counted = ~np.eye(3, dtype=bool)
    counted[2, 0] = False  # these two are of one class
    costs = 0.0
    for i in range(3):
        for j in range(3):
            if counted[i, j]:
                costs += max(0, 1 + scores[i, j] - scores[i, i]) + max(0, 1 + scores[i, j] - scores[j, j])
    np.testing.assert_allclose(losses.joint_embedding(scores, counted), costs / counted.sum(), rtol=1e-6)


def test_several_sentences_of_each_image_are_averaged():
    scores = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    counted = ~np.eye(4, dtype=bool)
    one_by_one = [float(losses.joint_embedding(each, counted)) for each in scores]
    assert float(losses.joint_embedding(scores, counted)) == pytest.approx(np.mean(one_by_one), rel=1e-6)


def test_the_loss_is_zero_where_no_pair_counts():
    scores = np.ones((2, 2), np.float32)
    assert float(losses.joint_embedding(scores, np.zeros((2, 2), bool))) == 0


@pytest.mark.parametrize(
    ("loss", "of", "variant"),
    [("hinge", losses.joint_embedding, "birds"), ("cross_entropy", losses.contrastive, "flowers")],
)
def test_every_weight_of_both_encoders_is_trained(loss, of, variant, dataset):
    encoders = tiny(variant)
    stream = PairStream(dataset, decode(dataset, 32), 32, 4, count=2)
    networks = (encoders.text, encoders.image)
    before = [[v.numpy() for v in network.trainable_variables] for network in networks]
    step = EncoderStep(encoders, optimizers.make_rmsprop(1e-3, 0.98, 100), loss)
    for batch in stream.batches(0, 2):
        seen = encoders.image(batch["image"], training=True)
        scores = [encoders.text(batch["characters"][:, i], training=True) @ tf.transpose(seen) for i in range(2)]
        scalars = step(batch)
        of_two_classes = batch["class_id"][:, None] != batch["class_id"][None, :]
        assert float(scalars["joint"]) == pytest.approx(float(of(tf.stack(scores), of_two_classes)), rel=1e-4)
    assert all(np.isfinite(float(v)) for v in scalars.values())
    for network, old in zip(networks, before, strict=True):
        for variable, value in zip(network.trainable_variables, old, strict=True):
            assert np.abs(variable.numpy() - value).max() > 0, variable.path


# -- the stream ---------------------------------------------------------------------------------------------------


def test_a_batch_holds_different_classes_and_each_image_its_own_sentence(tmp_path):
    dataset = make_dataset(tmp_path, count=12)  # four classes of three
    stream = PairStream(dataset, decode(dataset, 32), 32, 4, seed=3)
    of_code = {tuple(text_encoder.encode([c])[0]): i for i, cs in enumerate(dataset.captions) for c in cs}
    seen = []
    for batch in stream.batches(0, 6):
        assert sorted(batch["class_id"].numpy()) == [0, 1, 2, 3]
        red = batch["image"].numpy()[:, 16, 16, 0]
        images = [round(float(value + 1) * 127.5 / 10) for value in red]  # red is 10 i
        assert images == [of_code[tuple(code)] for code in batch["characters"].numpy()[:, 0]]
        seen += images
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_captions_take_turns(tmp_path):
    dataset = make_dataset(tmp_path, count=4, captions=(3,))
    stream = PairStream(dataset, decode(dataset, 32), 32, 4)
    seen = {tuple(code) for batch in stream.batches(0, 20) for code in batch["characters"].numpy()[:, 0]}
    assert len(seen) == 12


def test_several_captions_of_a_image_are_different_ones(tmp_path):
    dataset = make_dataset(tmp_path, count=4, captions=(3, 1))
    stream = PairStream(dataset, decode(dataset, 32), 32, 4, count=2)
    of_code = {tuple(text_encoder.encode([c])[0]): (i, c) for i, cs in enumerate(dataset.captions) for c in cs}
    for batch in stream.batches(0, 5):
        assert batch["characters"].shape == (4, 2, 201)
        for first, second in batch["characters"].numpy():
            (i, one), (j, other) = of_code[tuple(first)], of_code[tuple(second)]
            assert i == j
            assert (one != other) == (len(dataset.captions[i]) > 1)


# -- retrieval ----------------------------------------------------------------------------------------------------


def test_recall_by_hand(tmp_path):
    dataset = make_dataset(tmp_path, count=4, captions=(1,))
    dataset = replace(dataset, class_ids=np.array([5, 5, 9, 9]))
    scores = np.float32([[1, 1, 3, 0], [2, 0, 0.5, 0], [0, 0, 1, 1], [9, 0, 1, 1]])
    found = Retrieval(dataset, scores, np.arange(4))
    # class means: (1, 1.5) wrong, (1, .25) right, (0, 1) right, (4.5, 1) wrong
    assert found.recall() == 0.5
    assert found.chance() == 0.5


def test_retrieval_scores_are_products(tmp_path):
    dataset, encoders = make_dataset(tmp_path, count=5), tiny()
    images = decode(dataset, 32)[:, 3:35, 3:35]
    found = Retrieval.of(encoders, dataset, images)
    sentences = [c for cs in dataset.captions for c in cs]
    assert found.scores.shape == (len(sentences), 5)
    assert [dataset.captions[i] for i in found.image_of[:4]] == [dataset.captions[i] for i in (0, 1, 1, 1)]
    one = encoders.image(images[2:3].astype(np.float32) / 127.5 - 1)
    expected = text_encoder.embed(encoders.text, sentences) @ np.asarray(one)[0]
    np.testing.assert_allclose(found.scores[:, 2], expected, rtol=1e-4, atol=1e-6)
    assert found.grid(images).ndim == 3


# -- a whole training ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """The folder of a training of two epochs, and the text encoder that it gave; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with eager():
        return folder, train_encoders(folder, settings(), dataset)


def test_a_training_leaves_encoders_figures_and_grids(trained):
    folder, model = trained
    saved = weights.load(folder / "weights/text_encoder.weights.h5")
    np.testing.assert_array_equal(text_encoder.embed(saved, ["a bird"]), text_encoder.embed(model, ["a bird"]))
    assert weights.load(folder / "weights/image_encoder.weights.h5").output_shape == (None, 8)
    figures = json.loads((folder / "logs/retrieval.json").read_text())
    assert figures["chance"] == 0.25 and figures["sentences"] == 16
    assert (folder / "results/epoch_00002.png").is_file()


def test_embeddings_get_the_scale_that_is_asked_for(dataset, tmp_path):
    model = train_encoders(tmp_path, settings(embedding_scale=0.5, epochs=1), dataset)
    made = text_encoder.embed(model, [captions[0] for captions in dataset.captions])
    assert made.std() == pytest.approx(0.5, rel=1e-3)


def test_the_scale_changes_no_score(dataset):
    encoders, images = tiny(), decode(dataset, 32)[:, :32, :32]
    before = Retrieval.of(encoders, dataset, images).scores
    text.scale_embeddings(encoders, dataset, 3.0)
    np.testing.assert_allclose(Retrieval.of(encoders, dataset, images).scores, before, rtol=1e-4, atol=1e-5)


def test_whitened_embeddings_differ_alike_in_all_directions_but_the_dead(tmp_path):
    dataset, encoders = make_dataset(tmp_path, count=25), tiny("birds")
    encoder, shown = encoders.text, decode(dataset, 32)[:, :32, :32]
    captions = [captions[0] for captions in dataset.captions]
    kernel, bias = encoder.get_layer("project").get_weights()
    kernel[:, :3] *= [100, 10, 0.1]
    kernel[:, 3] = kernel[:, 4]  # so in one direction there is nothing
    encoder.get_layer("project").set_weights([kernel, bias + 1])
    before, ranked = text_encoder.embed(encoder, captions).astype(np.float64), Retrieval.of(encoders, dataset, shown)
    text.whiten(encoders, dataset)
    after, again = text_encoder.embed(encoder, captions).astype(np.float64), Retrieval.of(encoders, dataset, shown)
    moved = ranked.scores - again.scores  # by one number an image, so that it ranks sentences as before
    np.testing.assert_allclose(moved, np.tile(moved[:1], (len(moved), 1)), atol=1e-3 * ranked.scores.std())

    deviations = np.sqrt(np.linalg.eigvalsh(np.cov(before.T)).clip(0))
    overall = np.sqrt(np.mean(deviations**2))
    wanted = np.square(overall * deviations / (deviations + 0.05 * overall))
    np.testing.assert_allclose(np.cov(after.T), np.diag(wanted), atol=1e-3 * wanted.max())
    np.testing.assert_allclose(after.mean(axis=0), 0, atol=1e-3 * overall)
    assert deviations[-1] > 3 * deviations[-2] and wanted[-1] < 2 * wanted[-2] and wanted[0] < 1e-6 * wanted[-1]


def test_an_encoder_is_whitened_once_it_has_been_scored(trained, dataset, tmp_path, capsys):
    white = train_encoders(tmp_path, settings(whiten=True), dataset)
    assert "chance 25.0%" in capsys.readouterr().out
    again = train_encoders(tmp_path, settings(whiten=True), dataset)  # is over: it is not whitened twice
    files = [trained[0] / f"weights/{name}_encoder.weights.h5" for name in ("text", "image")]
    plain = weights.load(files[0])
    text.whiten(Encoders(plain, weights.load(files[1])), dataset)
    saved = weights.load(tmp_path / "weights/text_encoder.weights.h5")
    for made in (white, again, saved):
        for mine, theirs in zip(made.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
    reports = [(folder / "logs/retrieval.json").read_text() for folder in (trained[0], tmp_path)]
    assert reports[0] == reports[1]


def test_a_stopped_training_ends_like_an_unbroken_one(trained, dataset, tmp_path):
    train_encoders(tmp_path, settings(epochs=1), dataset)
    resumed = train_encoders(tmp_path, settings(), dataset)
    for mine, theirs in zip(trained[1].get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_training_begins_with_the_weights_of_another(trained, dataset, tmp_path):
    start = trained[0] / "weights"
    still = {"learning_rate": 1e-9, "epochs": 1, "embedding_scale": embedding_scale(trained[1], dataset)}
    train_encoders(tmp_path, settings(**still), dataset, start)
    for name in ("text_encoder", "image_encoder"):
        made, given = (weights.load(folder / f"{name}.weights.h5") for folder in (tmp_path / "weights", start))
        for mine, theirs in zip(made.trainable_variables, given.trainable_variables, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def embedding_scale(encoder, dataset):
    return float(text_encoder.embed(encoder, [captions[0] for captions in dataset.captions]).std())


def test_one_class_is_refused(dataset, tmp_path):
    one_class = replace(dataset, class_ids=np.zeros(8, np.int64))
    assert "one class" in refusal(train_encoders, tmp_path, settings(), one_class)


def test_images_without_captions_are_left_out(dataset):
    captions = [() if i % 2 else c for i, c in enumerate(dataset.captions)]
    kept = replace(dataset, captions=tuple(captions)).captioned()
    assert kept.names == dataset.names[::2]
    np.testing.assert_array_equal(kept.embeddings_of(1), dataset.embeddings_of(2))
    nothing = replace(dataset, captions=((),) * 8)
    assert "has a caption" in refusal(nothing.captioned)


@pytest.mark.slow
def test_classes_never_seen_are_found_by_their_sentences(tmp_path):
    """Two minutes are enough to find classes never seen several times as often as by chance."""
    drawn_birds.write(tmp_path / "birds", count=600, classes=60, test_classes=10, embedding_dim=4, workers=1)
    datasets = tuple(published.read(tmp_path / "birds", split, text_dim=None) for split in published.SPLITS)
    chosen = config.make(
        {
            "generator": {"text_dim": 64},
            "text": {"filters": 48, "recurrent_dim": 64, "image_filters": 16, "epochs": 60, "learning_rate": 1e-3},
            "train": {"sample_every": 60, "save_every": 60},
        }
    )
    folders = TextFolders(tmp_path / "weights", tmp_path / "logs", tmp_path / "results")
    text.train_encoders(datasets, chosen, folders)
    figures = json.loads((tmp_path / "logs/retrieval.json").read_text())
    assert figures["recall"] > 2.5 * figures["chance"]


# -- features of a frozen network ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extractor_file(tmp_path_factory):
    """A network of random weights, from images of 16 pixels to 5 features."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(5, 3, 2)(keras.layers.Rescaling(1 / 255)(image))
    path = tmp_path_factory.mktemp("extractor") / "net.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(path)
    return path


def test_an_image_encoder_may_read_features_of_a_frozen_network(dataset, extractor_file, tmp_path):
    train_encoders(tmp_path, settings(image_encoder=str(extractor_file)), dataset)
    head = weights.load(tmp_path / "weights/image_encoder.weights.h5")
    assert head.input_shape == (None, 5) and head.output_shape == (None, 8)
    assert weights.read_config(tmp_path / "weights/image_encoder.weights.h5").keywords["network"] == str(extractor_file)
    (file,) = (tmp_path / "logs/cache").glob("features_*.npy")
    kept, date = np.load(file), file.stat().st_mtime_ns
    extractor, images = extractors.load(extractor_file), decode(dataset, 32)
    np.testing.assert_allclose(kept[3, 0], extractor(images[3:4, 3:35, 3:35])[0][0], rtol=1e-5)  # the middle
    np.testing.assert_allclose(
        kept[3, 9], extractor(images[3:4, 6:, :5:-1])[0][0], rtol=1e-5
    )  # a corner's mirror image
    train_encoders(tmp_path, settings(image_encoder=str(extractor_file), epochs=3), dataset)
    assert file.stat().st_mtime_ns == date  # read, not computed again


def test_batches_hold_the_features_of_their_own_images(dataset):
    features = np.arange(8 * 10 * 2, dtype=np.float32).reshape(8, 10, 2)
    stream = FeaturePairStream(dataset, features, 32, 4, seed=1)
    plain = PairStream(dataset, decode(dataset, 32), 32, 4, seed=1)
    crops = set()
    for made, other in zip(stream.batches(0, 8), plain.batches(0, 8), strict=True):
        np.testing.assert_array_equal(made["characters"], other["characters"])
        images, crop = np.divmod(made["image"].numpy()[:, 0] / 2, 10)
        np.testing.assert_array_equal(dataset.class_ids[images.astype(int)], made["class_id"])
        crops |= set(crop)
    assert len(crops) == 10


def test_an_extractor_that_is_not_there_is_refused(dataset, tmp_path):
    assert "no feature extractor squirrel" in refusal(
        train_encoders, tmp_path, settings(image_encoder="squirrel"), dataset
    )
