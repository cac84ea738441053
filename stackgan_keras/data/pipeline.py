"""A dataset in memory to a `tf.data` stream of batches that is a pure function of (seed, step).

Order, crops, mirror images, captions, noise and epsilons are drawn from (seed, step) alone. So a stream that starts
at step n gives what an unbroken one gives from there on, and any number of replicas sees the same global batch.
"""

import os
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from stackgan_keras.data import noise, rgb
from stackgan_keras.data.numbered_captions import NumberedCaptions
from stackgan_keras.data.shards.dataset import ShardedImages, TrainingSet
from stackgan_keras.errors import InputError
from stackgan_keras.models import text_encoder
from stackgan_keras.models.generators import named_by
from stackgan_keras.models.word_encoder import KEPT

AT_ONCE = min(4, os.cpu_count() or 1)  # batches that are made at the same time


class Rows(NamedTuple):
    """Some rows of the global batch: those of one replica."""

    first: tf.Tensor
    size: int

    def of(self, values: tf.Tensor) -> tf.Tensor:
        return values[self.first : self.first + self.size]


@dataclass(frozen=True)
class ImageStream:
    """Batches of images with something of their sentences, which subclasses add; addressed by step.

    A batch is a dict of `image` (B, image_size, image_size, 3) in [-1, 1], `class_id` (B,) and what `_add_text`
    adds. Every epoch is a new permutation; its remainder is dropped.
    """

    dataset: TrainingSet
    images: np.ndarray | ShardedImages  # (N, s, s, 3) uint8 from `decode`
    image_size: int  # pixels
    batch_size: int  # over all replicas together
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size > len(self.dataset):
            raise InputError(
                f"train.batch_size is {self.batch_size} but the data holds {len(self.dataset)} images: "
                f"ask for a batch of at most {len(self.dataset)}"
            )

    @property
    def steps_per_epoch(self) -> int:
        return len(self.dataset) // self.batch_size

    def batches(self, first_step: int, last_step: int, *, replicas: int = 1, mine: range = range(1)) -> tf.data.Dataset:
        """The batches of steps `first_step` up to (not including) `last_step`, in order.

        With several replicas each step is cut into `replicas` equal per-replica batches and the stream holds, one
        after the other, those numbered in `mine`: those of this machine's replicas.
        """
        size, count = self.batch_size // replicas, len(mine)

        def of_epoch(epoch):
            """Step, replica and images of each batch of an epoch, whose order is drawn once."""
            order = self._arrange(noise.shuffle(tf.range(len(self.dataset)), self.seed, noise.ORDER, epoch))
            begin, end = epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch

            def place(number):
                step, replica = number // count, mine.start + number % count
                start = (step - begin) * self.batch_size + replica * size
                return step, replica, order[start : start + size]

            return tf.data.Dataset.range(tf.maximum(begin, first_step) * count, tf.minimum(end, last_step) * count).map(
                place
            )

        def per_replica(step, replica, index):
            return self._rows(step, index, Rows(replica * size, size))

        epochs = tf.data.Dataset.range(first_step // self.steps_per_epoch, -(-last_step // self.steps_per_epoch))
        places = epochs.flat_map(of_epoch)
        return untuned(places.map(per_replica, AT_ONCE, deterministic=True).prefetch(2))

    def _rows(self, step, index, rows: Rows) -> dict:
        """These rows of the global batch of a step: the images `index`."""
        batch = {
            "image": self._image(step, index, rows),
            "class_id": tf.gather(self.dataset.class_ids, index),
        }
        return self._add_text(batch, step, index, rows)

    def _image(self, step, index, rows: Rows):
        """A random crop of each image, or its mirror image."""
        places = self.images.shape[1] - self.image_size + 1
        crop = [self._uniform(noise.TOP, step, rows, places), self._uniform(noise.LEFT, step, rows, places)]
        crop.append(self._uniform(noise.MIRROR, step, rows, 2))
        image = tf.numpy_function(self._crop, [index, *crop], tf.uint8, stateful=False)
        image.set_shape((rows.size, self.image_size, self.image_size, 3))
        return rgb.to_range(tf.cast(image, tf.float32))

    def _add_text(self, batch: dict, step, index, rows: Rows) -> dict:
        """The batch with what it holds besides images."""
        raise NotImplementedError

    def _arrange(self, order):
        """The order of an epoch, given a random one."""
        return order

    def _uniform(self, purpose: int, step, rows: Rows, limit: int | None = None, width: tuple = ()):
        return rows.of(noise.uniform((self.batch_size, *width), self.seed, purpose, step, limit))

    def _caption_order(self, step, rows: Rows):
        """Uniform draws whose order says which of each image's captions are taken."""
        return self._uniform(noise.CAPTION, step, rows, width=(self.dataset.most_captions,))

    def _crop(self, index, top, left, mirror) -> np.ndarray:
        size = self.image_size
        out = np.empty((len(index), size, size, 3), np.uint8)
        for row, i, y, x, flip in zip(out, index, top, left, mirror, strict=True):
            crop = self.images[i, y : y + size, x : x + size]
            row[:] = crop[:, ::-1] if flip else crop
        return out


def untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Without TensorFlow's tuning, whose thread may sleep for a minute, and nothing that reads them ends before it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


@dataclass(frozen=True)
class AdversarialStream(ImageStream):
    """What generator and discriminator are trained on.

    Besides images and classes: `embedding` (B, text_dim), the mean of those of `captions_per_embedding` captions, or,
    given `captions`, one of them as numbers of words, `captions` (B, T); and standard normal draws, what the generator
    takes, `noise` (B, noise_dim) and the epsilons, by `widths`. `truncated` epsilons stay within two deviations. With
    `sizes` the images come in other sizes too, by name and pixels, made by averaging or, if `bilinear`, as PIL does.
    With `wrong` there is a `wrong_image` of another class beside each, in these sizes, too. `directions` asks for
    standard normal ones of the shapes of images, by name and pixels; with `augmentations` and `framings` there are so
    many uniform draws, `augmentation` (B, augmentations) and `framing` (B, framings).
    """

    widths: dict[str, int]  # of the generator's random inputs
    captions_per_embedding: int = 1
    truncated: bool = False
    captions: NumberedCaptions | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    bilinear: bool = False
    wrong: bool = False
    directions: dict[str, int] = field(default_factory=dict)
    augmentations: int = 0
    framings: int = 0

    def _add_text(self, batch: dict, step, index, rows: Rows) -> dict:
        order = self._caption_order(step, rows)
        if self.captions is None:
            embedding = tf.numpy_function(self._embed, [index, order], tf.float32, stateful=False)
            embedding.set_shape((rows.size, self.dataset.text_dim))
            batch["embedding"] = embedding
        else:
            draws = self._uniform(noise.WORDS, step, rows, width=(1, self.captions.longest))
            captions = tf.numpy_function(self.captions.choose, [index, order, draws], tf.int32, stateful=False)
            captions.set_shape((rows.size, 1, self.captions.limit))
            batch["captions"] = captions[:, 0]
        for name, width in self.widths.items():
            purpose, truncated = noise.GENERATOR_INPUTS[name], self.truncated and name != "noise"
            batch[name] = rows.of(noise.normal((self.batch_size, width), self.seed, purpose, step, truncated))
        for name, pixels in self.directions.items():
            batch[name] = self._directions(step, rows, pixels)
        if self.augmentations:
            batch["augmentation"] = self._uniform(noise.AUGMENTATION, step, rows, width=(self.augmentations,))
        if self.framings:
            batch["framing"] = self._uniform(noise.FRAMING, step, rows, width=(self.framings,))
        if self.wrong:
            batch["wrong_image"] = self._wrong(step, index, rows)
        for name, pixels in self.sizes.items():
            batch[name] = self._resized(batch["image"], pixels)
            if self.wrong:
                batch[named_by(name, "wrong_image")] = self._resized(batch["wrong_image"], pixels)
        return batch

    def _resized(self, image, pixels: int):
        if self.bilinear:
            return tf.image.resize(image, (pixels, pixels), antialias=True)
        block = self.image_size // pixels
        return tf.nn.avg_pool2d(image, block, block, "VALID")

    def _wrong(self, step, index, rows: Rows):
        """A crop of another image for each; drawn again, once, where it is of the same class, as StackGAN++ does."""
        draws = self._uniform(noise.WRONG, step, rows, width=(5,))
        image = tf.numpy_function(self._crop_wrong, [index, draws], tf.uint8, stateful=False)
        image.set_shape((rows.size, self.image_size, self.image_size, 3))
        return rgb.to_range(tf.cast(image, tf.float32))

    def _crop_wrong(self, index, draws) -> np.ndarray:
        first, second, top, left, mirror = draws.T
        classes, count, places = self.dataset.class_ids, len(self.dataset), self.images.shape[1] - self.image_size + 1
        chosen = (first * count).astype(int)
        chosen = np.where(classes[chosen] == classes[index], (second * count).astype(int), chosen)
        return self._crop(chosen, (top * places).astype(int), (left * places).astype(int), mirror < 0.5)

    def _directions(self, step, rows: Rows, pixels: int):
        """Row by row, as those of all replicas together are large."""
        numbers = step * self.batch_size + tf.cast(rows.first, tf.int64) + tf.range(rows.size, dtype=tf.int64)
        shape = (pixels, pixels, 3)
        return tf.map_fn(
            lambda i: noise.normal(shape, self.seed, noise.DIRECTION, i), numbers, fn_output_signature=tf.float32
        )

    def _embed(self, index, order) -> np.ndarray:
        """The means over so many different captions (all, where there are fewer)."""
        out = np.empty((len(index), self.dataset.text_dim), np.float32)
        for row, i, draws in zip(out, index, order, strict=True):
            choices = self.dataset.embeddings_of(i)
            row[:] = choices[np.argsort(draws[: len(choices)])[: self.captions_per_embedding]].mean(axis=0)
        return out


@dataclass(frozen=True)
class PairStream(ImageStream):
    """What a text encoder learns from: images of different classes, and the `characters` (B, count, 201) of each.

    They are `count` different sentences of the image, some again where it has fewer. A batch holds a class twice
    only where there are fewer classes than images in it, or at the few places where one round through the classes
    ends and the next begins. Every image needs a caption.
    """

    count: int = 1

    def _add_text(self, batch: dict, step, index, rows: Rows) -> dict:
        order = self._caption_order(step, rows)
        characters = tf.numpy_function(self._characters, [index, order], tf.int32, stateful=False)
        characters.set_shape((rows.size, self.count, text_encoder.LENGTH))
        return {**batch, "characters": characters}

    def _characters(self, index, order) -> np.ndarray:
        sentences = []
        for i, draws in zip(index, order, strict=True):
            captions = self.dataset.captions[i]
            sentences += [captions[j] for j in np.resize(np.argsort(draws[: len(captions)]), self.count)]
        return text_encoder.encode(sentences).reshape(len(index), self.count, -1)

    def _arrange(self, order):
        return tf.numpy_function(self._in_rounds, [order], tf.int32, stateful=False)

    def _in_rounds(self, order) -> np.ndarray:
        """First one image of every class, then a second one of every class that has two, and so on."""
        rounds = pd.Series(self.dataset.class_ids[order]).groupby(self.dataset.class_ids[order]).cumcount()
        return order[np.argsort(rounds.to_numpy(), kind="stable")]


@dataclass(frozen=True)
class FeaturePairStream(PairStream):
    """As `PairStream`, but `images` is (N, crops, D), features, and `image` (B, D) is those of one random crop."""

    def _image(self, step, index, rows: Rows):
        crop = self._uniform(noise.TOP, step, rows, self.images.shape[1])
        features = tf.numpy_function(lambda i, k: self.images[i, k], [index, crop], tf.float32, stateful=False)
        features.set_shape((rows.size, self.images.shape[2]))
        return features


@dataclass(frozen=True)
class WordStream(ImageStream):
    """What AttnGAN's encoders learn from: images, and the `captions` (B, count, words) of each, numbers of words.

    They are `count` different sentences of the image, of long ones random `words`; every image needs one. `keep`
    (B, count, words, word_dim) says which numbers of an embedded word dropout keeps.
    """

    captions: NumberedCaptions
    word_dim: int
    count: int = 1

    def _add_text(self, batch: dict, step, index, rows: Rows) -> dict:
        draws = self._uniform(noise.WORDS, step, rows, width=(self.count, self.captions.longest))
        given = [index, self._caption_order(step, rows), draws]
        captions = tf.numpy_function(self.captions.choose, given, tf.int32, stateful=False)
        captions.set_shape((rows.size, self.count, self.captions.limit))
        keep = self._uniform(noise.KEEP, step, rows, width=(*captions.shape[1:], self.word_dim)) < KEPT
        return {**batch, "captions": captions, "keep": keep}
