"""The text encoder of AttnGAN: a sentence's words, by their numbers, to features of each word and of the sentence.

Layer names are public, as in `generators`. Source: the release and section 3.2 of the paper (Xu et al., CVPR 2018).
"""

from typing import Any

import keras
from keras import initializers, layers, ops

from stackgan_keras.models.tensors import Tensor

TEXT = {"embedding": "sentence", "words": "words", "mask": "mask"}  # inputs of AttnGAN's generator, by its outputs
DIRECTIONS = ("lstm_forward", "lstm_backward")  # layers
KEPT = 0.5  # of the numbers of an embedded word, with dropout


def word_encoder(*, vocabulary: int = 5450, word_dim: int = 300, text_dim: int = 256) -> keras.Model:
    """Words to their features by a bidirectional LSTM.

    In: `captions` (B, T), numbers of words below `vocabulary`, 0 past the end of each sentence. Out: `words`
    (B, T, text_dim), 0 past the end, forward half first; `sentence` (B, text_dim), the forward state at the last word
    and the backward state at the first; `mask` (B, T), true for a word.
    """
    dtype = keras.config.floatx()
    first = initializers.RandomUniform(-0.1, 0.1)
    built = {"embed": layers.Embedding(vocabulary, word_dim, first, dtype=dtype, name="embed")}
    for name in DIRECTIONS:
        cell = LSTMCell(text_dim // 2, dtype=dtype)
        backward = name == "lstm_backward"
        built[name] = layers.RNN(cell, True, True, go_backwards=backward, dtype=dtype, name=name)
    captions = keras.Input((None,), dtype="int32", name="captions")
    return keras.Model({"captions": captions}, _read(built, captions), name="word_encoder")


def with_dropout(encoder: keras.Model) -> keras.Model:
    """The layers of a `word_encoder` with dropout on the embedded words, as in its training.

    Another input is `keep` (B, T, word_dim), true for the numbers that are kept, and doubled.
    """
    built = {name: encoder.get_layer(name) for name in ("embed", *DIRECTIONS)}
    captions = keras.Input((None,), dtype="int32", name="captions")
    keep = keras.Input((None, built["embed"].output_dim), dtype="bool", name="keep")
    return keras.Model({"captions": captions, "keep": keep}, _read(built, captions, keep), name="word_encoder")


def _read(built: dict[str, layers.Layer], captions: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
    dtype = keras.config.floatx()
    mask = ops.not_equal(captions, 0)
    x = built["embed"](captions)  # (B, T, word_dim)
    if keep is not None:
        x = x * ops.cast(keep, dtype) / KEPT
    words, states = [], []
    for name in DIRECTIONS:
        outputs, state, _ = built[name](x, mask=mask)
        words.append(ops.flip(outputs, axis=1) if built[name].go_backwards else outputs)
        states.append(state)
    joined = layers.Concatenate(dtype=dtype, name="words")(words)  # (B, T, text_dim)
    return {
        "words": joined * ops.cast(mask, dtype)[..., None],
        "sentence": layers.Concatenate(dtype=dtype, name="sentence")(states),
        "mask": mask,
    }


@keras.saving.register_keras_serializable("stackgan_keras")
class LSTMCell(layers.Layer):
    """A step of an LSTM as PyTorch has it: Keras's, but for a second bias, and its first weights.

    The two biases act as their sum, but Adam moves each of them as far as a single one.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, input_shape: tuple) -> None:
        gates = 4 * self.units
        shapes: dict[str, tuple] = {"kernel": (input_shape[-1], gates), "recurrent_kernel": (self.units, gates)}
        shapes |= {"bias": (gates,), "recurrent_bias": (gates,)}
        bound = self.units**-0.5
        for name, shape in shapes.items():
            first = initializers.RandomUniform(-bound, bound)
            setattr(self, name, self.add_weight(shape=shape, initializer=first, name=name))

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        output, memory = states
        given = ops.matmul(inputs, self.kernel) + self.bias
        gates = given + ops.matmul(output, self.recurrent_kernel) + self.recurrent_bias
        let_in, keep, new, let_out = ops.split(gates, 4, axis=-1)
        memory = ops.sigmoid(keep) * memory + ops.sigmoid(let_in) * ops.tanh(new)
        output = ops.sigmoid(let_out) * ops.tanh(memory)
        return output, [output, memory]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
