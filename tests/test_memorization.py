"""The discriminator's loss on training images beside that on images it never saw."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from helpers import make_dataset

from stackgan_keras import config
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.models import discriminators, generators
from stackgan_keras.training import objective
from stackgan_keras.training.memorization import Memorization

SIZE, TEXT_DIM = 16, 8


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    whole = make_dataset(tmp_path_factory.mktemp("data"), count=10, text_dim=TEXT_DIM)
    embeddings = np.random.default_rng(0).normal(size=whole.embeddings.shape).astype(np.float32)
    whole = replace(whole, embeddings=embeddings)
    return [whole.subset(range(5)), whole.subset(range(5, 10))]


@pytest.fixture(scope="module")
def generator():
    return generators.stage1_generator(
        image_size=SIZE, filters=2, text_dim=TEXT_DIM, condition_dim=4, noise_dim=3, condition_noise_scale=1.0
    )


def memorization(datasets):
    train_set, test_set = datasets
    stream = AdversarialStream(train_set, decode(train_set, SIZE), SIZE, 2, widths={})
    return Memorization(stream, test_set, SIZE)


def against(generator, network, text, loss="cross_entropy"):
    settings = config.make({"discriminator": {"text": text}, "train": {"adversarial_loss": loss}})
    return objective.adversarial(generator, {"image": network}, settings)


@pytest.mark.parametrize(
    ("text", "loss"), [("embedding", "cross_entropy"), ("mean", "cross_entropy"), ("mean", "hinge")]
)
def test_the_losses_are_those_of_real_images_with_their_own_sentences(datasets, generator, text, loss):
    keras.utils.set_random_seed(1)
    network = discriminators.discriminator(
        image_size=SIZE, filters=2, text=text, text_dim=TEXT_DIM, condition_dim=4, batch_norm=False
    )
    found = memorization(datasets)(against(generator, network, text, loss))
    assert list(found) == ["real_train", "real_test"]
    for value, dataset in zip(found.values(), datasets, strict=True):
        image = decode(dataset, SIZE)[:, 1:17, 1:17].astype(np.float32) / 127.5 - 1  # the middle of 19 pixels
        sentence = np.stack([dataset.embeddings_of(i)[0] for i in range(5)])
        if text == "mean":
            zeros = {name: np.zeros((5, *x.shape[1:]), np.float32) for name, x in generator.input.items()}
            sentence = np.asarray(generator({**zeros, "embedding": sentence}, training=False)["mean"])
        logits = np.asarray(network({"image": image, "text": sentence}, training=False)["conditional"])
        expected = np.log1p(np.exp(-logits)) if loss == "cross_entropy" else np.maximum(1 - logits, 0)
        assert value == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_discriminator_that_knows_its_images_by_heart_is_found_out(datasets, generator):
    keras.utils.set_random_seed(0)
    network = discriminators.discriminator(
        image_size=SIZE, filters=8, text="embedding", text_dim=TEXT_DIM, condition_dim=4, batch_norm=False
    )
    measure = memorization(datasets)
    images, sentences = (np.concatenate(pair) for pair in zip(*measure.pairs.values(), strict=True))
    model = keras.Model(network.input, network.output["conditional"])
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {"image": images.astype(np.float32) / 127.5 - 1, "text": sentences}
    model.fit(inputs, np.repeat([1.0, 0.0], 5), epochs=60, verbose=0)  # as if the test images were none
    found = measure(against(generator, network, "embedding"))
    assert found["real_train"] < 0.3 < 1 < found["real_test"]
