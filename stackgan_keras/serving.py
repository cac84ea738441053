"""What does a run do as one TensorFlow graph, from strings and a seed to pixels?"""

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import images, sampler
from stackgan_keras.text_encoder import ALPHABET, CODES, LENGTH

OTHERS = 128  # the place of all characters beyond ASCII in the table of codes


def draw(model: sampler.StackGAN, sentences, seed) -> dict:
    """One picture of each sentence: `image` and, of Stage II, `stage1_image` (B, size, size, 3) uint8.

    `sentences` (B,) are strings in UTF-8, `seed` is a whole number (). The same seed gives the same noise, other than
    that of `StackGAN.generate`, whose numbers come from NumPy.
    """
    embedding = model.encoder(characters(sentences), training=False)
    drawn = sampler.noise(model.generator, tf.shape(sentences)[0], seed)
    outputs = model.generator({"embedding": embedding, **drawn}, training=False)
    pictures = {name: outputs[name] for name in ("image", "stage1_image") if name in outputs}
    return {
        name: tf.cast(tf.clip_by_value(tf.round(images.to_pixels(values)), 0, 255), tf.uint8)
        for name, values in pictures.items()
    }


def characters(sentences):
    """What `text_encoder.encode` makes of sentences (B,), as strings in UTF-8: codes (B, 201) int32."""
    table = np.full(OTHERS + 1, CODES[" "], np.int32)
    for character in ALPHABET:
        table[ord(character)] = CODES[character]
    points = tf.strings.unicode_decode(tf.strings.lower(sentences, encoding="utf-8"), "UTF-8")
    points = points.to_tensor(default_value=-1, shape=(None, LENGTH))
    codes = tf.gather(table, tf.clip_by_value(points, 0, OTHERS))
    return tf.where(points < 0, 0, codes)


def archive(model: sampler.StackGAN) -> keras.export.ExportArchive:
    """A SavedModel to be written whose endpoint `serve` is `draw`, called by name: `sentences` and `seed`."""
    made = keras.export.ExportArchive()
    made.track(model.encoder)
    made.track(model.generator)
    strings, number = tf.TensorSpec([None], tf.string, "sentences"), tf.TensorSpec([], tf.int32, "seed")
    made.add_endpoint("serve", lambda sentences, seed: draw(model, sentences, seed), [strings, number])
    return made
