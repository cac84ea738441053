"""What does a generator draw? Sentences or embeddings and a seed to pictures, and no training."""

import math
import operator
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from stackgan_keras import config, images, models, text_encoder, weights
from stackgan_keras.datasets import Records
from stackgan_keras.errors import InputError
from stackgan_keras.text_encoder import ALPHABET, LENGTH

BATCH = 8  # sentences at a time: what fits beside a training run
GENERATORS = {"stage2_gen": "stage2_generator", "stage1_gen": "stage1_generator"}  # the best first
DRAWN = ("noise", "epsilon", "stage1_epsilon")  # what a generator wants drawn
MOST_SEED = 2**31 - 1
MOST_SCALE = 100
MOST_STEPS = 1000


# -- a trained run ------------------------------------------------------------------------------------------------


class StackGAN:
    """A trained run: sentences to pictures.

    All randomness is keyed by (seed, place of the sentence, number of the copy), and every picture is computed on its
    own. So it depends neither on the other sentences nor on how many copies are asked for, to the bit.
    """

    def __init__(self, encoder: keras.Model | None, generator: keras.Model):
        """A text encoder, or None to draw embeddings alone, and a generator of either stage.

        Raises `InputError` if their embeddings differ in size.
        """
        read = generator.input["embedding"].shape[-1]
        made = read if encoder is None else encoder.output_shape[-1]
        if made != read:
            raise InputError(
                f"the text encoder makes embeddings of {made} numbers but the generator reads {read}: they come from "
                "different runs, take both from one, or the encoder with whose embeddings the generator was trained"
            )
        self.encoder, self.generator = encoder, generator
        self._truncated = models.architecture_of(generator).truncated
        self._encode = None if encoder is None else tf.function(partial(encoder, training=False))
        self._draw = tf.function(partial(generator, training=False))

    @classmethod
    def load(cls, folder: str | Path, *, embedded: bool = False) -> "StackGAN":
        """The run in a folder of weights: its text encoder and its Stage II, or Stage I where it has no other.

        If all sentences to come are `embedded` already, the run needs no text encoder, and none is loaded.
        A relative `weights/<run>` that is not there means the weights of that name that came with the package.
        Raises `InputError` for a folder without them, and for weights that do not fit each other.
        """
        folder = Path(folder).expanduser()
        shipped = [home / folder.name for home in shipped_homes()] if folder.parts[:-1] == ("weights",) else []
        found = next((candidate for candidate in (folder, *shipped) if _has_weights(candidate)), None)
        if found is None:
            raise InputError(_no_weights(folder))
        if not embedded and not _file(found, "text_encoder").is_file():
            raise InputError(
                f"{found} holds generators but no text_encoder.weights.h5, so no sentence can be read: copy the "
                "encoder that made the embeddings of its training data there, or draw embedded sentences"
            )
        encoder = None if embedded else _load(_file(found, "text_encoder"), "text_encoder")
        best = next(name for name in GENERATORS if _file(found, name).is_file())
        generator = _load(_file(found, best), GENERATORS[best])
        try:
            return cls(encoder, generator)
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
        """`count` pictures of each sentence: `image` (N, count, size, size, 3) uint8; of Stage II also `stage1_image`.

        Any string is a sentence; `unread` tells what of it is not read. Noise and epsilons (where around a sentence's
        meaning its condition lies) are standard normal times their scales: 0 keeps them in the middle, 1 is what the
        networks were trained with. `same_noise` gives copy k of every sentence the same noise and epsilons, so that
        the pose stays and the colours change. Raises `InputError` for anything that is no such value.
        """
        scales = {"epsilon_scale": epsilon_scale, "noise_scale": noise_scale}
        return _stacked(self.pictures(sentences, count, seed, **scales, same_noise=same_noise), count)

    def walk(
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
        Returns arrays (steps, size, size, 3) uint8, named as by `generate`. The first picture is that of
        `generate(first)`, the last that of `generate([first, second], same_noise=True)`.
        """
        steps = _whole("steps", steps, 2, MOST_STEPS)
        start, end = self._meanings(np.stack([first, second]) if isinstance(first, np.ndarray) else [first, second])
        along = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        scales = {"epsilon_scale": epsilon_scale, "noise_scale": noise_scale}
        pictures = self.pictures((1 - along) * start + along * end, 1, seed, **scales, same_noise=True)
        return {name: rows[:, 0] for name, rows in _stacked(pictures, 1).items()}

    def embed(self, sentences: str | Iterable[str]) -> np.ndarray:
        """The embeddings (N, text_dim) float32 of sentences."""
        if self._encode is None:
            raise InputError("this run was loaded to draw embeddings alone, so it reads no sentence: load it without")
        codes = text_encoder.encode(_sentences(sentences))
        return np.concatenate([np.asarray(self._encode(row[None]), np.float32) for row in codes])

    def pictures(
        self,
        sentences: str | Iterable[str] | np.ndarray,
        count: int = 4,
        seed: int = 0,
        *,
        epsilon_scale: float = 1.0,
        noise_scale: float = 1.0,
        same_noise: bool = False,
    ) -> Iterator[dict[str, np.ndarray]]:
        """What `generate` returns, one picture (size, size, 3) at a time: the copies of the first sentence, and so on.

        Instead of sentences it also takes their embeddings (N, text_dim).
        """
        count, seed = _whole("count", count, 1), _whole("seed", seed, 0, MOST_SEED)
        epsilon_scale, noise_scale = _scale("epsilon_scale", epsilon_scale), _scale("noise_scale", noise_scale)
        scales = {"noise": noise_scale, "epsilon": epsilon_scale, "stage1_epsilon": epsilon_scale}
        embeddings = self._meanings(sentences)
        return (
            self._picture(embedding, (seed, 0 if same_noise else place, copy), scales)
            for place, embedding in enumerate(embeddings)
            for copy in range(count)
        )

    def _picture(self, embedding: np.ndarray, key: tuple[int, int, int], scales: dict) -> dict[str, np.ndarray]:
        inputs = {"embedding": embedding[None]}
        for name, purpose in self._purposes().items():
            rng = np.random.Generator(np.random.PCG64((*key, purpose)))
            drawn = rng.standard_normal((1, self.generator.input[name].shape[1]), np.float32)
            while name != "noise" and self._truncated and (far := np.abs(drawn) > 2).any():
                drawn[far] = rng.standard_normal(far.sum(), np.float32)
            inputs[name] = drawn * np.float32(scales[name])
        return {name: pixels[0] for name, pixels in _pixels(self._draw(inputs)).items()}

    def _purposes(self) -> dict[str, int]:
        """What is drawn, and the last number of its key. A sketch is the same before and after there is a Stage II."""
        stage1_epsilon = "stage1_epsilon" if models.is_second(self.generator) else "epsilon"
        order = ["noise", stage1_epsilon, *(name for name in DRAWN[1:] if name != stage1_epsilon)]
        return {name: purpose for purpose, name in enumerate(order) if name in self.generator.input}

    def _meanings(self, given: str | Iterable[str] | np.ndarray) -> np.ndarray:
        """The embeddings (N, text_dim) of sentences, or those that are given instead."""
        if not isinstance(given, np.ndarray) or given.dtype.kind not in "fiu":
            return self.embed(given)
        text_dim = self.generator.input["embedding"].shape[1]
        if given.ndim != 2 or given.shape[1] != text_dim or not len(given):
            raise InputError(f"the embeddings are {given.shape}: give sentences, or an array (N, {text_dim})")
        return given.astype(np.float32)


def find_run(output_dir: Path, name: str, *, holding: Iterable[str] = GENERATORS) -> Path:
    """The folder with a run's weights: below `output_dir`, else of those that came with the package.

    It holds one at least of the networks in `holding`, which are names of weight files without their ending. Raises
    `InputError`, listing the runs that are there, if there is none of this name.
    """
    config.make({"run": name})
    homes = [Path(output_dir) / "weights", *shipped_homes()]
    found = next((home / name for home in homes if _has_weights(home / name, holding)), None)
    if found is None:
        raise InputError(_no_weights(homes[0] / name, holding))
    return found


def generators(folder: Path) -> dict[str, keras.Model]:
    """The generators in a folder of weights, by the names of their files without their ending."""
    return {
        name: _load(_file(folder, name), network)
        for name, network in GENERATORS.items()
        if _has_weights(folder, [name])
    }


def unread(sentence: str) -> str:
    """What the text encoder does not read of a sentence, in words; empty where it reads all."""
    text = sentence.lower()
    read = text[:LENGTH]
    foreign = sum(character not in ALPHABET and not character.isspace() for character in read)
    if not any(character in ALPHABET and not character.isspace() for character in read):
        found = "the text encoder knows none of its characters" if foreign else "it is empty"
        return f"{found}, so its pictures show what is drawn when nothing is asked for"
    notes = []
    if len(text) > LENGTH:
        notes.append(f"only its first {LENGTH} of {len(text):,} characters are read")
    if foreign:
        notes.append(
            f"{foreign} of {len(read)} characters read as spaces: the text encoder knows a to z, digits and punctuation"
        )
    return "; ".join(notes)


def shipped_homes() -> list[Path]:
    """Where the weights that came with the package are: inside it once installed, beside it in the repository."""
    package = Path(__file__).parent
    return [package / "weights", package.parent / "weights"]


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.weights.h5"


def _has_weights(folder: Path, names: Iterable[str] = GENERATORS) -> bool:
    return any(_file(folder, name).is_file() for name in names)


def _no_weights(folder: Path, names: Iterable[str] = GENERATORS) -> str:
    runs = {
        home: sorted(path.name for path in home.iterdir() if _has_weights(path, names)) if home.is_dir() else []
        for home in (folder.parent, *shipped_homes())
    }
    there = sorted({name for names in runs.values() for name in names})
    remedy = f"take one of the runs {', '.join(there)}, or train it" if there else "train it"
    kind, command = ("text encoder", "train_text") if "text_encoder" in names else ("generator", "train_stage1")
    found = f"holds no {kind}" if folder.exists() else "is not there"
    return f"{folder} {found}: {remedy} with python -m stackgan_keras.{command} --run {folder.name}"


def _load(path: Path, network: str) -> keras.Model:
    weights.read_recipe(path, network)
    return weights.load(path)


def _stacked(pictures: Iterator[dict], count: int) -> dict[str, np.ndarray]:
    """Single pictures, `count` of each sentence in turn, as arrays (N, count, size, size, 3)."""
    made: dict[str, list] = {}
    for picture in pictures:
        for name, pixels in picture.items():
            made.setdefault(name, []).append(pixels)
    return {name: np.stack(all_).reshape(-1, count, *all_[0].shape) for name, all_ in made.items()}


def _sentences(given: str | Iterable[str]) -> list[str]:
    sentences = [given] if isinstance(given, str) else list(given)
    if not sentences:
        raise InputError("there is no sentence: give at least one")
    for place, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise InputError(f"sentence {place} is a {type(sentence).__name__}: give strings")
    return sentences


def _whole(name: str, value: int, least: int, most: int | None = None) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most:,}"
        raise InputError(f"{name} is {value!r}: give a whole number {limits}")
    return number


def _scale(name: str, value: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MOST_SCALE:
        raise InputError(f"{name} is {value!r}: give a number from 0 to {MOST_SCALE}, 1 is what was trained with")
    return number


# -- during training ----------------------------------------------------------------------------------------------


def draw(generator, embeddings: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Pictures for sentences: the generator's `image` (and `stage1_image`), each (N, size, size, 3) uint8.

    `embeddings` is (N, text_dim). Noise and epsilons depend on the seed and the row alone.
    """
    inputs = {"embedding": tf.constant(embeddings), **noise(generator, len(embeddings), seed)}
    made: dict[str, list] = {}
    for start in range(0, len(embeddings), BATCH):
        outputs = generator({k: v[start : start + BATCH] for k, v in inputs.items()}, training=False)
        for name, pixels in _pixels(outputs).items():
            made.setdefault(name, []).append(pixels)
    return {name: np.concatenate(parts) for name, parts in made.items()}


def noise(generator, count, seed) -> dict[str, tf.Tensor]:
    """What a generator wants drawn, (count, …) each, as TensorFlow draws it from a seed; both may be tensors."""
    truncated = models.architecture_of(generator).truncated
    drawn = {}
    for purpose, name in enumerate(DRAWN):
        if name in generator.input:
            within = truncated and name != "noise"
            kind = tf.random.stateless_truncated_normal if within else tf.random.stateless_normal
            drawn[name] = kind((count, generator.input[name].shape[1]), [seed, purpose])
    return drawn


def _pixels(outputs: dict) -> dict[str, np.ndarray]:
    return {name: images.to_uint8(outputs[name]) for name in ("stage1_image", "image") if name in outputs}


class Preview:
    """The same sentences and noise again and again: how a generator gets on.

    The sheet's columns are `count` pictures of `records`, evenly spread over them, each with its first caption on
    top; its rows the real picture and what the generator draws for `rows` different noises (in Stage II below the
    sketch they start from).
    """

    def __init__(self, records: Records, image_size: int, *, count: int = 8, rows: int = 3, seed: int = 0):
        chosen = np.unique(np.linspace(0, len(records) - 1, count).round().astype(int))
        self.embeddings = np.stack([records.embeddings_of(i)[0] for i in chosen])
        self.captions = [(records.captions[i] or ("",))[0] for i in chosen]
        boxes = [None if records.boxes is None else records.boxes[i] for i in chosen]
        pictures = [images.read(records.paths[i], box, image_size) for i, box in zip(chosen, boxes, strict=True)]
        self.real = np.stack(pictures)
        self.seeds = range(seed, seed + rows)

    def sheet(self, generator) -> np.ndarray:
        """The labelled grid (height, width, 3) uint8 for the generator as it is now."""
        rows = [self.real]
        for seed in self.seeds:
            made = draw(generator, self.embeddings, seed)
            if "stage1_image" in made:
                rows.append(images.enlarge(made["stage1_image"], self.real.shape[1]))
            rows.append(made["image"])
        return images.labelled_grid(rows, self.captions)
