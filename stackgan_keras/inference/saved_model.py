"""A run as one TensorFlow graph for SavedModel: strings and a seed to uint8 images, without text a number of them."""

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import rgb
from stackgan_keras.data.noise import generator_inputs
from stackgan_keras.errors import InputError
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.attngan import with_aligned_masks
from stackgan_keras.models.generators import images_of
from stackgan_keras.models.sentence_reader import SentenceReader, WordReader
from stackgan_keras.models.tensors import Tensor
from stackgan_keras.models.text_encoder import ALPHABET, CODES, LENGTH
from stackgan_keras.models.vocabulary import END, READ, Vocabulary

OTHERS = 128  # the place of all characters beyond ASCII in the table of codes


class TextReader:
    """What a run reads of strings in UTF-8 (B,): as its `SentenceReader`, in TensorFlow's operations alone."""

    def __init__(self, reader: SentenceReader):
        self.read, self.encoder = reader.read, reader.encoder
        self.table = table_of(reader.vocabulary) if isinstance(reader, WordReader) else None

    def __call__(self, sentences: Tensor) -> dict[str, Tensor]:
        return self.read(characters(sentences) if self.table is None else words(sentences, self.table))

    @property
    def parts(self) -> list:
        """What is saved with it."""
        return [part for part in (self.encoder, self.table) if part is not None]


class Graph:
    """A run in TensorFlow's operations alone. Raises `InputError` if it reads text and has no text encoder."""

    def __init__(self, model: StackGAN):
        if model.takes and model.reader is None:
            raise InputError("the run has no text encoder, which a SavedModel needs: train_text makes one")
        self.generator = with_aligned_masks(model.generator)
        self.widths, self.truncated = model.widths, model.truncated
        self.read = None if model.reader is None else TextReader(model.reader)

    def of_sentences(self, sentences: Tensor, seed: Tensor) -> dict[str, Tensor]:
        """One image of each sentence: `image` and, of Stage II, `stage1_image` (B, size, size, 3) uint8.

        Of StackGAN++ and AttnGAN they are `image_64`, `image_128` and so on. `sentences` (B,) are strings in UTF-8,
        `seed` is a whole number (). They are the images that `StackGAN.generate` draws with count=1 and this seed.
        """
        if self.read is None:
            raise InputError("the run draws without text, so it takes no sentences: call of_count")
        places = tf.range(tf.shape(sentences)[0])
        return self._images(self.read(sentences), places, tf.zeros_like(places), seed)

    def of_count(self, count: Tensor, seed: Tensor) -> dict[str, Tensor]:
        """`count` () images without text, named likewise: those that `StackGAN.generate` draws of one place."""
        copies = tf.range(count)
        return self._images({}, tf.zeros_like(copies), copies, seed)

    def archive(self) -> keras.export.ExportArchive:
        """A SavedModel to be written whose endpoint `serve` takes by name `sentences`, or `count`, and `seed`."""
        made = keras.export.ExportArchive()
        seed = tf.TensorSpec([], tf.int32, "seed")
        made.track(self.generator)
        if self.read is None:
            number = tf.TensorSpec([], tf.int32, "count")
            made.add_endpoint("serve", lambda count, seed: self.of_count(count, seed), [number, seed])
            return made
        for part in self.read.parts:
            made.track(part)
        strings = tf.TensorSpec([None], tf.string, "sentences")
        made.add_endpoint("serve", lambda sentences, seed: self.of_sentences(sentences, seed), [strings, seed])
        return made

    def _images(self, text: dict[str, Tensor], places: Tensor, copies: Tensor, seed: Tensor) -> dict[str, Tensor]:
        drawn = generator_inputs(self.widths, seed, places, copies, self.truncated)
        outputs = self.generator({**text, **drawn}, training=False)
        return {
            name: tf.cast(tf.clip_by_value(tf.round(rgb.to_pixels(outputs[name])), 0, 255), tf.uint8)
            for name in images_of(self.generator)
        }


def characters(sentences: Tensor) -> Tensor:
    """What `text_encoder.encode` makes of sentences (B,), as strings in UTF-8: codes (B, 201) int32."""
    table = np.full(OTHERS + 1, CODES[" "], np.int32)
    for character in ALPHABET:
        table[ord(character)] = CODES[character]
    points = tf.strings.unicode_decode(_lower(sentences), "UTF-8")
    points = points.to_tensor(default_value=-1, shape=(None, LENGTH))
    codes = tf.gather(table, tf.clip_by_value(points, 0, OTHERS))
    return tf.where(points < 0, 0, codes)


def words(sentences: Tensor, table: tf.lookup.StaticHashTable) -> Tensor:
    """What `Vocabulary.encode` makes of sentences (B,), as strings in UTF-8: numbers (B, 25) int32, 0 past the end."""
    only_words = tf.strings.regex_replace(_lower(sentences), r"[^\pL\pN_]+", " ")
    found = tf.strings.split(tf.strings.regex_replace(only_words, r"[^\x00-\x7f]+", ""))
    numbers = found.with_flat_values(table.lookup(found.flat_values))
    return tf.ragged.boolean_mask(numbers, numbers > 0).to_tensor(shape=(None, READ))


def table_of(vocabulary: Vocabulary) -> tf.lookup.StaticHashTable:
    """The numbers of words; 0 of those that the vocabulary lacks."""
    known = {END: 0, **vocabulary.numbers}  # a table of no words would be refused
    rows = tf.lookup.KeyValueTensorInitializer([*known], [*known.values()], tf.string, tf.int32)
    return tf.lookup.StaticHashTable(rows, default_value=0)


def _lower(sentences: Tensor) -> Tensor:
    """Lower case, in which a null character, where TensorFlow's would end the string, is a space."""
    return tf.strings.lower(tf.strings.regex_replace(sentences, r"\x00", " "), encoding="utf-8")
