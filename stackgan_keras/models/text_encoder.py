"""The text encoder, char-CNN-RNN: the characters of a sentence to its embedding.

Source: Reed et al., "Learning Deep Representations of Fine-grained Visual Descriptions", CVPR 2016, in the two variants
of Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016. Layer names are public, as in `generators`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from stackgan_keras.errors import InputError
from stackgan_keras.models.tensors import Tensor

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "  # its code is the place, from 1
LENGTH = 201  # characters that are read
THRESHOLD = 1e-6  # activations below it are 0
CODES = {character: place for place, character in enumerate(ALPHABET, start=1)}  # the later of the two minus signs
BATCH = 256  # sentences at a time


def text_encoder(
    *,
    variant: str = "birds",
    filters: int = 384,
    recurrent_dim: int = 512,
    text_dim: int = 1024,
) -> keras.Model:
    """Characters to an embedding.

    In: codes (B, 201) from `encode`. Out: (B, text_dim). Three convolutions of `filters`, 4/3 `filters` and
    `recurrent_dim` channels, a recurrence over what is left of the sentence, the mean of its states, a projection.
    `variant` is `birds` (gated recurrence, 18 steps) or `flowers` (a third pool, plain recurrence, 8 steps).
    """
    if variant not in ("birds", "flowers"):
        raise InputError(f'there is no variant "{variant}" of the text encoder: choose "birds" or "flowers"')
    codes = keras.Input((LENGTH,), dtype="int32", name="characters")
    x = ops.one_hot(codes, len(ALPHABET) + 1)[:, :, 1:]  # code 0 is no character: all zeros
    x = _convolve(x, filters, "conv1")  # (B, 198, filters)
    x = layers.MaxPooling1D(3, name="pool1")(x)  # (B, 66, filters)
    x = _convolve(x, filters * 4 // 3, "conv2")
    x = layers.MaxPooling1D(3, name="pool2")(x)  # (B, 21, 4/3 filters)
    x = _convolve(x, recurrent_dim, "conv3")  # (B, 18, recurrent_dim)
    if variant == "flowers":
        x = layers.MaxPooling1D(3, strides=2, name="pool3")(x)  # (B, 8, recurrent_dim)
    x = Recurrence(recurrent_dim, gated=variant == "birds", name="recurrence")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Dense(text_dim, name="project", dtype=keras.config.floatx())(x)
    return keras.Model(codes, x, name="text_encoder")


def encode(sentences: Sequence[str]) -> np.ndarray:
    """Codes (N, 201) int32 of the first 201 characters of each sentence, in lower case; 0 where none is left.

    A character that is not in `ALPHABET` counts as a space, as in the PyTorch port of the encoder.
    """
    codes = np.zeros((len(sentences), LENGTH), np.int32)
    for row, sentence in zip(codes, sentences, strict=True):
        known = [CODES.get(character, CODES[" "]) for character in sentence.lower()[:LENGTH]]
        row[: len(known)] = known
    return codes


def reads(sentence: str) -> bool:
    """Whether `encode` reads anything of a sentence."""
    return any(character in ALPHABET and not character.isspace() for character in sentence.lower()[:LENGTH])


def unread(sentence: str) -> str:
    """What `encode` does not read of a sentence, in words; empty where it reads all."""
    text = sentence.lower()
    read = text[:LENGTH]
    foreign = sum(character not in ALPHABET and not character.isspace() for character in read)
    if not reads(sentence):
        found = "the text encoder knows none of its characters" if foreign else "it is empty"
        return f"{found}, so its images show what is drawn when nothing is asked for"
    notes = []
    if len(text) > LENGTH:
        notes.append(f"only its first {LENGTH} of {len(text):,} characters are read")
    if foreign:
        notes.append(
            f"{foreign} of {len(read)} characters read as spaces: the text encoder knows a to z, digits and punctuation"
        )
    return "; ".join(notes)


def embed(model: keras.Model, sentences: Sequence[str], *, progress: bool = False) -> np.ndarray:
    """The embeddings (N, text_dim) float32 of sentences, any strings; `progress` shows a bar."""
    from tqdm import tqdm  # only here: networks are also built where there is none

    embeddings = np.empty((len(sentences), model.output_shape[1]), np.float32)
    with tqdm(total=len(sentences), desc="embedding", unit=" sentences", disable=not progress, leave=False) as bar:
        for start in range(0, len(sentences), BATCH):
            codes = encode(sentences[start : start + BATCH])
            embeddings[start : start + len(codes)] = ops.convert_to_numpy(model(codes, training=False))
            bar.update(len(codes))
    return embeddings


def _convolve(x, filters: int, name: str):
    """Four characters wide, only where all four are there; what is below the threshold becomes 0."""
    x = layers.Conv1D(filters, 4, name=name)(x)
    return layers.ReLU(threshold=THRESHOLD, name=f"{name}_threshold")(x)


@keras.saving.register_keras_serializable("stackgan_keras")
class Recurrence(layers.Layer):
    """The recurrence of the release over (B, steps, units), all its states (B, steps, units) out.

    Plain: h = relu(W x + b + U h' + c). Gated: a GRU whose update gate says how much is new. Unlike Keras's own
    layers, both know no state before the first step: it takes relu(W x + b) and tanh(W x + b) alone.
    """

    def __init__(self, units: int, *, gated: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.gated = units, gated

    def build(self, input_shape: tuple) -> None:
        self.names = ("update", "reset", "state") if self.gated else ("state",)
        self.kernels, self.biases = {}, {}
        for name in self.names:
            for source, width in (("input", input_shape[-1]), ("recurrent", self.units)):
                key = f"{name}_{source}"
                initializer = "glorot_uniform" if source == "input" else "orthogonal"
                self.kernels[key] = self.add_weight(
                    shape=(width, self.units), initializer=initializer, name=f"{key}_kernel"
                )
                self.biases[key] = self.add_weight(shape=(self.units,), initializer="zeros", name=f"{key}_bias")

    def call(self, inputs: Tensor) -> Tensor:
        given = {name: self._linear(inputs, f"{name}_input") for name in self.names}
        activation = ops.tanh if self.gated else ops.relu
        states = [activation(given["state"][:, 0])]
        for step in range(1, inputs.shape[1]):
            now = {name: value[:, step] for name, value in given.items()}
            states.append(self._gated_step(now, states[-1]) if self.gated else self._plain_step(now, states[-1]))
        return ops.stack(states, axis=1)

    def _plain_step(self, given, state):
        return ops.relu(given["state"] + self._linear(state, "state_recurrent"))

    def _gated_step(self, given, state):
        update = ops.sigmoid(given["update"] + self._linear(state, "update_recurrent"))
        reset = ops.sigmoid(given["reset"] + self._linear(state, "reset_recurrent"))
        candidate = ops.tanh(given["state"] + self._linear(reset * state, "state_recurrent"))
        return update * candidate + (1 - update) * state

    def _linear(self, x, key: str):
        return ops.matmul(x, self.kernels[key]) + self.biases[key]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "gated": self.gated}
