"""The attribute classifier's training on drawn birds, and its accuracy on birds of species that it never saw."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import published, rgb
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import untuned
from stackgan_keras.errors import InputError
from stackgan_keras.evaluation import attributes
from stackgan_keras.evaluation.features import AttributePredictor
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

BATCH = 50  # images in a step
LEARNING_RATE = 2e-3  # at the start; it falls to nothing along a cosine
SIZES = (256, 64)  # pixels of the images that it must be right on
BLURRED = 1 / 3  # share of the training images that go through 64 pixels: Stage-I images are no sharper
BRIGHTNESS = 20.0  # grey levels by which a training image may be lighter or darker


def train(root: Path, path: Path, *, epochs: int, seed: int) -> dict[int, dict[str, float]]:
    """Trains a classifier on the drawn birds at `root` and saves it at `path`.

    Returns, for each of `SIZES`, the share of each part's colours that it predicts right in the test set.
    """
    train_set, test_set = (published.read(root, split, text_dim=None) for split in published.SPLITS)
    if len(train_set) < BATCH:
        raise InputError(f"{root} holds {len(train_set)} images to train on: the classifier needs {BATCH} or more")
    labels, expected = (attributes.truth(root, dataset.names) for dataset in (train_set, test_set))
    keras.utils.set_random_seed(seed)
    config = ModelConfig("attribute_classifier", attributes.CLASSIFIER)
    classifier, size = config.build(), attributes.CLASSIFIER["image_size"]
    steps = len(train_set) // BATCH
    compiled = keras.Model(classifier.input, classifier.output)  # so that it is saved without an optimizer
    compiled.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * epochs)),
        loss=dict.fromkeys(attributes.PARTS, "sparse_categorical_crossentropy"),
    )
    images = decode(train_set, size, cache="memory")
    batches = augmented(images, class_numbers(labels), size, seed).batch(BATCH, drop_remainder=True).prefetch(4)
    compiled.fit(untuned(batches), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=2)
    weights.save(classifier, config, path)
    predictor, scores = AttributePredictor(classifier), {}
    for size in SIZES:
        colours, _ = predictor(crops(decode(test_set, size, cache="memory"), size, seed))
        scores[size] = attributes.accuracy(expected, colours)
    return scores


def crops(images: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Random crops (N, size, size, 3) of larger images (N, s, s, 3): real birds framed as training sees them."""
    places = np.random.default_rng(seed).integers(images.shape[1] - size + 1, size=(len(images), 2))
    return np.stack([image[y : y + size, x : x + size] for image, (y, x) in zip(images, places, strict=True)])


def class_numbers(birds: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """The colours in `attributes.truth` as numbers: for each of `PARTS` the places (N,) among those of the part."""
    return {part: np.array([colours.index(bird[part]) for bird in birds]) for part, colours in attributes.PARTS.items()}


def augmented(images: np.ndarray, labels: dict, image_size: int, seed: int) -> tf.data.Dataset:
    """(image in [-1, 1], labels) without end: shuffled, and each image augmented anew every time.

    `images` is (N, `photographs.load_size(image_size)`, same, 3) uint8. An image is a random crop of `image_size`,
    mirrored half the time as in the stages' training, a little lighter or darker, and often blurred.
    """

    def example(row, position):
        of_row = {part: places[row] for part, places in tensors.items()}
        return rgb.to_range(_augment(everything[row], image_size, tf.stack([seed, position]))), of_row

    everything, tensors = tf.constant(images), {part: tf.constant(places) for part, places in labels.items()}
    rows = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed).repeat()
    return tf.data.Dataset.zip(rows, tf.data.Dataset.counter()).map(example, num_parallel_calls=2)


def _augment(pixels, size: int, seed):
    """One image (load_size, load_size, 3) uint8 as training takes it: (size, size, 3) floats of 0..255."""
    place, side, tone = tf.unstack(tf.random.split(seed, 3))  # by one seed all that is blurred would be mirrored
    pixels = tf.image.stateless_random_crop(pixels, (size, size, 3), place)
    pixels = tf.cast(tf.image.stateless_random_flip_left_right(pixels, side), tf.float32)
    blur, brightness = tf.unstack(tf.random.stateless_uniform([2], tone))
    small = tf.image.resize(pixels, (size // 2, size // 2), antialias=True)
    pixels = tf.cond(blur < BLURRED, lambda: tf.image.resize(small, (size, size)), lambda: pixels)
    return tf.clip_by_value(pixels + BRIGHTNESS * (2 * brightness - 1), 0, 255)
