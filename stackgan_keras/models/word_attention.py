"""Which words each pixel of a map looks at, and what it sees there (AttnGAN, section 3.1 of the paper)."""

from typing import Any

import keras
from keras import layers, ops

from stackgan_keras.errors import InputError
from stackgan_keras.models.tensors import Tensor

MASK_ORDERS = ("aligned", "as_released")
MASKED = -1e9  # the score of what is no word: its weight is 0 beside any word's


@keras.saving.register_keras_serializable("stackgan_keras")
class WordAttention(layers.Layer):
    """The softmax over a sentence's words of their inner products with each pixel, and the words' weighted sum.

    In: a map (B, h, w, C), words (B, T, C) in its space, and (B, T) that is true for words. Out: the sums
    (B, h, w, C) and the weights (B, T, h, w).

    With `aligned` masks each sentence has its own. As released, in a batch of B sentences pixel q of sentence b has
    that of sentence (b h w + q) mod B: the release repeats the masks as a block where the scores of each sentence
    stand together (github.com/taoxugit/AttnGAN, issue 93). Both are the same for sentences of equal length.
    """

    def __init__(self, mask_order: str = "aligned", **kwargs: Any):
        super().__init__(**kwargs)
        if mask_order not in MASK_ORDERS:
            raise InputError(f'there is no mask_order "{mask_order}": choose one of {", ".join(MASK_ORDERS)}')
        self.mask_order = mask_order

    def call(self, features: Tensor, words: Tensor, is_word: Tensor) -> tuple[Tensor, Tensor]:
        height, width, channels = features.shape[1:]
        pixels = ops.reshape(features, (-1, height * width, channels))
        scores = ops.matmul(pixels, ops.swapaxes(words, 1, 2))  # (B, h w, T)
        visible = is_word[:, None] if self.mask_order == "aligned" else self._misplaced(is_word, height * width)
        attention = ops.softmax(ops.where(visible, scores, MASKED), axis=-1)
        context = ops.reshape(ops.matmul(attention, words), (-1, height, width, channels))
        return context, ops.reshape(ops.swapaxes(attention, 1, 2), (-1, ops.shape(words)[1], height, width))

    def _misplaced(self, is_word, pixels: int):
        batch = ops.shape(is_word)[0]
        rows = ops.arange(batch * pixels, dtype="int32") % batch
        return ops.take(is_word, ops.reshape(rows, (-1, pixels)), axis=0)  # (B, h w, T)

    def compute_output_shape(self, features_shape: tuple, words_shape: tuple, is_word_shape: tuple) -> tuple:
        batch, height, width, channels = features_shape
        return (batch, height, width, channels), (batch, words_shape[1], height, width)

    def get_config(self) -> dict:
        return {**super().get_config(), "mask_order": self.mask_order}
