"""A run as one TensorFlow graph: strings and a seed to uint8 images, for SavedModel."""

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import rgb
from stackgan_keras.data.noise import generator_inputs
from stackgan_keras.errors import InputError
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.generators import images_of
from stackgan_keras.models.tensors import Tensor
from stackgan_keras.models.text_encoder import ALPHABET, CODES, LENGTH

OTHERS = 128  # the place of all characters beyond ASCII in the table of codes


def generate(model: StackGAN, sentences: Tensor, seed: Tensor) -> dict[str, Tensor]:
    """One image of each sentence: `image` and, of Stage II, `stage1_image` (B, size, size, 3) uint8.

    `sentences` (B,) are strings in UTF-8, `seed` is a whole number (). They are the images that `StackGAN.generate`
    draws with count=1 and this seed.
    """
    if model.encoder is None:
        raise InputError("the run has no text encoder, which a SavedModel needs: train_text makes one")
    embedding = model.encoder(characters(sentences), training=False)
    places = tf.range(tf.shape(sentences)[0])
    drawn = generator_inputs(model.widths, seed, places, tf.zeros_like(places), model.truncated)
    outputs = model.generator({"embedding": embedding, **drawn}, training=False)
    return {
        name: tf.cast(tf.clip_by_value(tf.round(rgb.to_pixels(outputs[name])), 0, 255), tf.uint8)
        for name in images_of(model.generator)
    }


def characters(sentences: Tensor) -> Tensor:
    """What `text_encoder.encode` makes of sentences (B,), as strings in UTF-8: codes (B, 201) int32."""
    table = np.full(OTHERS + 1, CODES[" "], np.int32)
    for character in ALPHABET:
        table[ord(character)] = CODES[character]
    points = tf.strings.unicode_decode(tf.strings.lower(sentences, encoding="utf-8"), "UTF-8")
    points = points.to_tensor(default_value=-1, shape=(None, LENGTH))
    codes = tf.gather(table, tf.clip_by_value(points, 0, OTHERS))
    return tf.where(points < 0, 0, codes)


def archive(model: StackGAN) -> keras.export.ExportArchive:
    """A SavedModel to be written whose endpoint `serve` is `generate`, called by name: `sentences` and `seed`."""
    made = keras.export.ExportArchive()
    made.track(model.encoder)
    made.track(model.generator)
    strings, number = tf.TensorSpec([None], tf.string, "sentences"), tf.TensorSpec([], tf.int32, "seed")
    made.add_endpoint("serve", lambda sentences, seed: generate(model, sentences, seed), [strings, number])
    return made
