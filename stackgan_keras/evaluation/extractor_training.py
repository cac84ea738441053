"""Fine-tuning of a feature extractor on a data set's training classes, as for the Inception Scores of StackGAN's paper.

Source: Zhang et al., ICCV 2017, section 4.1: the score of birds and flowers is by an Inception fine-tuned on each.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from keras import layers

from stackgan_keras.data import photographs, published, rgb
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import ImageStream
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write
from stackgan_keras.porting import extractors

BATCH = 32  # images in a step
HELD_OUT = 10  # one image of so many of a class
DROPOUT = 0.3  # share of the features that are dropped in a training step
ALONE = 1 / 5  # share of the epochs in which the new layer is trained alone
RATE_ALONE = 1e-3  # its learning rate then


@dataclass(frozen=True)
class FineTuning:
    """How a feature extractor is fine-tuned."""

    extractor: str  # name or file
    epochs: int  # passes over the training images
    image_size: int  # pixels of the crops
    learning_rate: float  # of all layers, once the new one is trained
    seed: int


@dataclass(frozen=True)
class ClassStream(ImageStream):
    """Images and their classes, no sentences."""

    def _add_text(self, batch: dict, step, image, rows) -> dict:
        return batch


def train(root: Path, path: Path, how: FineTuning) -> tuple[int, float, float]:
    """Fine-tunes an extractor on the training classes at `root` and saves it at `path`, a `.keras` file.

    Returns how many images were held out, the share of them whose class it finds, and that found by chance. Raises
    `InputError` for data of one class, or too little of each.
    """
    dataset = published.read(root, "train", text_dim=None)
    classes, class_ids = np.unique(dataset.class_ids, return_inverse=True)
    dataset, held_out = replace(dataset, class_ids=class_ids), _held_out(class_ids)
    if len(classes) < 2 or not held_out.any():
        raise InputError(
            f"{root} holds {len(dataset)} training images of {len(classes)} classes: give two classes or more, and "
            f"one at least of {HELD_OUT} images, of which one is held out"
        )
    base = extractors.load(how.extractor).model
    keras.utils.set_random_seed(how.seed)
    model = with_classes(base, len(classes))
    train_set, test_set = (dataset.subset(np.flatnonzero(rows)) for rows in (~held_out, held_out))
    images, unseen = (decode(rows, how.image_size, folder=path.parent) for rows in (train_set, test_set))
    batch_size = min(BATCH, len(train_set))
    _fit(model, base, ClassStream(train_set, images, how.image_size, batch_size, seed=how.seed), how)
    with atomic_write(path) as unfinished:
        model.save(unfinished)
    _, probabilities = extractors.load(path)(photographs.centre_crops(unseen, how.image_size))
    assert probabilities is not None  # `with_classes` gave the network classes
    return len(test_set), float(np.mean(probabilities.argmax(axis=1) == test_set.class_ids)), 1 / len(classes)


def with_classes(base: keras.Model, classes: int) -> keras.Model:
    """An extractor's model with the same `features` and new `probabilities` (B, classes), by a layer called `classes`.

    In training some of the features are dropped.
    """
    features = base.output["features"]
    x = layers.Dropout(DROPOUT, name="classes_dropout")(features)
    probabilities = layers.Dense(classes, "softmax", name="classes")(x)
    return keras.Model(base.input, {"features": features, "probabilities": probabilities}, name="extractor")


def set_trainable(base: keras.Model, trainable: bool) -> None:
    """Whether the layers of an extractor are trained, but for batch norm: it keeps its scales and its statistics."""
    base.trainable = trainable
    for layer in base._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _held_out(class_ids: np.ndarray) -> np.ndarray:
    """Which images are held out: the tenth of each class, the twentieth, and so on."""
    held_out = np.zeros(len(class_ids), bool)
    for own in np.unique(class_ids):
        held_out[np.flatnonzero(class_ids == own)[HELD_OUT - 1 :: HELD_OUT]] = True
    return held_out


def _fit(model: keras.Model, base: keras.Model, stream: ClassStream, how: FineTuning) -> None:
    """Trains the new layer, then all."""
    classifier = keras.Model(model.input, model.output["probabilities"])  # so that it is saved without an optimizer
    alone = max(1, round(ALONE * how.epochs)) * stream.steps_per_epoch
    every = how.epochs * stream.steps_per_epoch
    for first, last, rate in ((0, alone, RATE_ALONE), (alone, every, how.learning_rate)):
        if first == last:
            continue
        set_trainable(base, first > 0)
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, last - first))
        classifier.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        batches = stream.batches(first, last).map(lambda b: (rgb.to_pixels(b["image"]), b["class_id"]))
        classifier.fit(
            batches,
            initial_epoch=first // stream.steps_per_epoch,
            epochs=last // stream.steps_per_epoch,
            steps_per_epoch=stream.steps_per_epoch,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )
