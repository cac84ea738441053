"""`StackGAN`, a trained run from Python: sentences and a seed to images."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras.data import rgb
from stackgan_keras.data.noise import generator_inputs, widths_of
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.models import hugging_face, sentence_reader, weights
from stackgan_keras.models.blocks import ARCHITECTURES
from stackgan_keras.models.generators import images_of, text_dim_of
from stackgan_keras.models.runs import GENERATORS, has_weights, missing_run, places_of, weight_file
from stackgan_keras.models.sentence_reader import CharacterReader, SentenceReader

NETWORKS = {  # in a run's files
    "attngan_gen": "attngan_generator",
    "stackgan_v2_gen": "stackgan_v2_generator",
    "stage2_gen": "stage2_generator",
    "stage1_gen": "stage1_generator",
}
MAX_SEED = 2**31 - 1
MAX_COUNT = 2**31  # copies of a sentence, which is as many as have noise of their own
MAX_SCALE = 100
MAX_STEPS = 1000


class StackGAN:
    """A trained run: sentences to images.

    All randomness is keyed by (seed, place of the sentence, number of the copy), and every image is computed on its
    own. So it depends neither on the other sentences nor on how many copies are asked for, to the bit. Of a generator
    that was trained without text a sentence is only a place; it is not read.
    """

    def __init__(
        self,
        reader: SentenceReader | None,
        generator: keras.Model,
        architecture: str = "pytorch",
    ):
        """What reads sentences, or None to draw embeddings alone, and a generator and its architecture.

        Raises `InputError` if the embeddings of both differ in size, and if the generator needs words but the reader
        gives none.
        """
        read = self.text_dim = text_dim_of(generator)
        made = read if reader is None else reader.text_dim
        if made != read:
            raise InputError(
                f"the text encoder makes embeddings of {made} dimensions but the generator reads {read}: they come "
                "from different runs, take both from one, or the encoder whose embeddings the generator learned from"
            )
        self.takes = [name for name in ("embedding", "words", "mask") if name in generator.input]
        if isinstance(reader, CharacterReader) and "words" in self.takes:
            raise InputError(
                "the generator reads words but the text encoder characters: they come from different runs, take both "
                "from one"
            )
        self.reader, self.encoder = reader, None if reader is None else reader.encoder
        self.generator = generator
        self.widths = widths_of(generator)
        self.truncated = ARCHITECTURES[architecture].truncated_epsilon
        self._read = None if reader is None else tf.function(reader.read)
        self._generate = tf.function(self._image_of)

    @classmethod
    def load(cls, folder: str | Path, *, embedded: bool = False) -> "StackGAN":
        """The run in a folder of weights: its text encoder and its Stage II, or Stage I where it has no other.

        If all sentences to come are `embedded` already, the run needs no text encoder, and none is loaded.
        A relative `weights/<run>` that is not there means the weights of that name that came with the package, and
        `hf://owner/name` a repository of the Hugging Face Hub, `hf://owner/name/folder` a folder in it.
        Raises `InputError` for a folder without them, and for weights that do not fit each other.
        """
        found = _find(folder)
        best = next(name for name in GENERATORS if weight_file(found, name).is_file())
        embedded = embedded or not weights.read_config(weight_file(found, best)).keywords.get("conditional", True)
        if not embedded and not weight_file(found, "text_encoder").is_file():
            raise InputError(
                f"{found} holds generators but no text_encoder.weights.h5, so no sentence can be read: copy the "
                "encoder that made the embeddings of its training data there, or draw embedded sentences"
            )
        reader = None
        if not embedded:
            reader = sentence_reader.load(weight_file(found, "text_encoder"))
            learned_with = weights.read_training(weight_file(found, best)).get("text_encoder")
            if learned_with not in (None, weights.checksum(reader.encoder)):
                raise InputError(
                    f"{weight_file(found, 'text_encoder')} is not the text encoder that {best} was trained with, so it "
                    "would not read what is said: copy the one of its run there"
                )
        config = weights.read_config(weight_file(found, best), NETWORKS[best])
        try:
            generator, architecture = weights.load(weight_file(found, best)), config.keywords.get("architecture")
            return cls(reader, generator, architecture or "pytorch")
        except InputError as problem:
            raise InputError(f"{found}: {problem}") from None

    def generate(
        self,
        sentences: str | Iterable[str],
        count: int = 4,
        seed: int = 0,
        *,
        epsilon_scale: float = 1.0,
        noise_scale: float = 1.0,
        same_noise: bool = False,
    ) -> dict[str, np.ndarray]:
        """`count` images of each sentence: `image` (N, count, size, size, 3) uint8; of Stage II also `stage1_image`.

        Of StackGAN++ they are `image_64`, `image_128` and so on; the final one comes last.

        Any string is a sentence; `text_encoder.unread` says what of it is not read. Noise and epsilons (where around
        its mean the condition lies) are standard normal times their scales: 0 keeps them in the middle, 1 is what the
        networks were trained with. `same_noise` gives copy k of every sentence the same noise and epsilons, so that
        the pose stays and the colours change. Raises `InputError` for anything that is no such value.
        """
        count = whole_number("count", count, 1, MAX_COUNT)
        how: dict[str, Any] = {"epsilon_scale": epsilon_scale, "noise_scale": noise_scale, "same_noise": same_noise}
        return _stacked(self.images(sentences, count, seed, **how), count)

    def interpolate(
        self,
        first: str | np.ndarray,
        second: str | np.ndarray,
        steps: int = 8,
        seed: int = 0,
        *,
        epsilon_scale: float = 1.0,
        noise_scale: float = 1.0,
    ) -> dict[str, np.ndarray]:
        """From one sentence to another in even steps between their embeddings, with the same noise and epsilons.

        Instead of sentences it also takes two embeddings (text_dim,).
        Returns arrays (steps, size, size, 3) uint8, named as by `generate`. The first image is that of
        `generate(first)`, the last that of `generate([first, second], same_noise=True)`.
        """
        steps = whole_number("steps", steps, 2, MAX_STEPS)
        ends = [self.read(each[None] if isinstance(each, np.ndarray) else [each]) for each in (first, second)]
        texts = {name: np.concatenate([each[name] for each in ends]) for name in self.takes}
        texts = _between(texts, np.linspace(0, 1, steps, dtype=np.float32))
        how: dict[str, Any] = {"epsilon_scale": epsilon_scale, "noise_scale": noise_scale, "same_noise": True}
        made = self.images(texts, 1, seed, **how)
        return {name: rows[:, 0] for name, rows in _stacked(made, 1).items()}

    def embed(self, sentences: str | Iterable[str]) -> np.ndarray:
        """The embeddings (N, text_dim) float32 of sentences."""
        return self._each(_sentences(sentences))["embedding"]

    def read(self, sentences: str | Iterable[str] | np.ndarray) -> dict[str, np.ndarray]:
        """What the generator takes of sentences, N rows each, by the names of its inputs.

        Instead of sentences it also takes their embeddings (N, text_dim), which AttnGAN's generator refuses.
        """
        if isinstance(sentences, np.ndarray) and sentences.dtype.kind in "fiu" and self.text_dim:
            if "words" in self.takes:
                raise InputError("AttnGAN reads the words of sentences, not embeddings alone: give sentences")
            if sentences.ndim != 2 or sentences.shape[1] != self.text_dim or not len(sentences):
                wanted = f"give sentences, or an array (N, {self.text_dim})"
                raise InputError(f"the embeddings are {sentences.shape}: {wanted}")
            return {"embedding": sentences.astype(np.float32)}
        return self._each(_sentences(sentences)) if self.takes else {}

    def _each(self, sentences: list[str]) -> dict[str, np.ndarray]:
        """What is read of sentences, each on its own, so that it depends on no other, to the bit."""
        if self.reader is None or self._read is None:
            raise InputError("this run was loaded to draw embeddings alone, so it reads no sentence: load it without")
        rows = [self._read(codes[None]) for codes in self.reader.encode(sentences)]
        return {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}

    def words_of(self, sentence: str) -> list[str]:
        """The words of a sentence that AttnGAN's text encoder reads, in the order of its attention maps."""
        return [] if self.reader is None else self.reader.words_of(sentence)

    def unread(self, sentence: str) -> str:
        """What the text encoder does not read of a sentence, in words; empty where it reads all."""
        return "" if self.reader is None else self.reader.unread(sentence)

    def images(
        self,
        sentences: str | Iterable[str] | np.ndarray | dict[str, np.ndarray],
        count: int = 4,
        seed: int = 0,
        *,
        epsilon_scale: float = 1.0,
        noise_scale: float = 1.0,
        same_noise: bool = False,
        attention: bool = False,
    ) -> Iterator[dict[str, np.ndarray]]:
        """What `generate` returns, one image (size, size, 3) at a time: the copies of the first sentence, and so on.

        Instead of sentences it also takes their embeddings (N, text_dim), or what `read` made of them. With
        `attention` AttnGAN's maps come along, `attention_64` (T, 64, 64) and so on. Raises `InputError` on the way for
        a generator that gives NaN.
        """
        count, seed = whole_number("count", count, 1, MAX_COUNT), whole_number("seed", seed, 0, MAX_SEED)
        scales = [_scale("noise_scale", noise_scale), _scale("epsilon_scale", epsilon_scale)]
        images = images_of(self.generator)
        maps = [name for name in self.generator.output if name.startswith("attention_")] if attention else []
        if isinstance(sentences, dict) and {*self.takes} == {*sentences}:
            texts: dict[str, np.ndarray] = sentences
        else:
            texts = self.read(sentences)
        number = len(texts["embedding"]) if self.takes else 1 if isinstance(sentences, str) else len(list(sentences))

        def draw(place: int, copy: int) -> dict[str, np.ndarray]:
            key = tf.constant([seed, 0 if same_noise else place, copy], tf.int64)
            text = {name: tf.constant(texts[name][place][None]) for name in self.takes}
            outputs = self._generate(text, key, tf.constant(scales, tf.float32))
            made = {name: np.asarray(outputs[name])[0] for name in (*images, *maps)}
            if not all(np.isfinite(values).all() for values in made.values()):
                raise InputError(
                    f"the generator gives NaN or infinity for sentence {place + 1}: its training went astray, take "
                    "weights from before that, or train again at a lower learning rate"
                )
            return {name: rgb.to_uint8(values) if name in images else values for name, values in made.items()}

        return (draw(place, copy) for place in range(number) for copy in range(count))

    def _image_of(self, text, key, scales):
        """The generator's outputs for one row of what it takes of sentences; `key` is seed, place and copy."""
        drawn = generator_inputs(self.widths, key[0], key[1][None], key[2][None], self.truncated)
        drawn = {name: values * scales[0 if name == "noise" else 1] for name, values in drawn.items()}
        return self.generator({**text, **drawn}, training=False)


def _find(folder: str | Path) -> Path:
    """The folder that holds a run's weights on this disk."""
    if hugging_face.is_address(folder):
        return hugging_face.download(str(folder))
    places = places_of(Path(folder))
    found = next((place for place in places if has_weights(place)), None)
    if found is None:
        raise InputError(missing_run(places[0]))
    return found


def _between(texts: dict[str, np.ndarray], along: np.ndarray) -> dict[str, np.ndarray]:
    """Texts (N, ...) at places `along` (N,), 0 to 1, of the way from the first of two to the second.

    Words are taken place by place, and a place of either counts.
    """
    made = {}
    for name, (start, end) in texts.items():
        if start.dtype == bool:
            made[name] = np.repeat((start | end)[None], len(along), axis=0)
        else:
            share = along.reshape(-1, *[1] * start.ndim).astype(np.float32)
            made[name] = (1 - share) * start + share * end
    return made


def _stacked(images: Iterator[dict], count: int) -> dict[str, np.ndarray]:
    """Single images, `count` of each sentence in turn, as arrays (N, count, size, size, 3)."""
    made: dict[str, list] = {}
    for image in images:
        for name, pixels in image.items():
            made.setdefault(name, []).append(pixels)
    return {name: np.stack(all_).reshape(-1, count, *all_[0].shape) for name, all_ in made.items()}


def _sentences(given: str | Iterable[str]) -> list[str]:
    sentences = [given] if isinstance(given, str) else list(given)
    if not sentences:
        raise InputError("there is no sentence: give at least one")
    for place, sentence in enumerate(sentences, start=1):
        if not isinstance(sentence, str):
            raise InputError(f"sentence {place} is of type {type(sentence).__name__}: give strings")
    return sentences


def _scale(name: str, value: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MAX_SCALE:
        raise InputError(f"{name} is {value!r}: give a number from 0 to {MAX_SCALE}, 1 is what was trained with")
    return number
