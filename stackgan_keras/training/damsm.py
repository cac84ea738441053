"""DAMSM: how well each word fits a region of an image, and a sentence the whole of it (AttnGAN).

Source: Xu et al., "AttnGAN: Fine-Grained Text to Image Generation with Attentional Generative Adversarial Networks",
CVPR 2018, section 3.2, as its release computes it: without the root of equation 10, and an image's other pairs of its
class do not count.
"""

from typing import NamedTuple

from keras import ops

from stackgan_keras.models.tensors import Tensor

LEAST_NORM = 1e-8  # of a product of two norms, by which a cosine is divided
NEVER = -1e9  # the score of a pair that does not count


class Smoothing(NamedTuple):
    """The factors gamma 1 to 3: on a word's scores of regions, on words' cosines, and on the similarities."""

    regions: float = 4.0
    words: float = 5.0
    similarity: float = 10.0


def attend(words: Tensor, mask: Tensor, regions: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """The context (..., T, D) of each word, the mean of the regions that it attends to, and the attention (..., T, R).

    `words` is (..., T, D), `mask` (..., T), true for a word, and `regions` (..., R, D). Every region chooses among the
    words, then every word among the regions, `smoothing` times as strictly.
    """
    scores = ops.matmul(words, ops.swapaxes(regions, -1, -2))  # (..., T, R)
    scores = ops.where(mask[..., None], scores, ops.cast(NEVER, scores.dtype))
    attention = ops.softmax(smoothing * ops.softmax(scores, axis=-2), axis=-1)
    return ops.matmul(attention, regions), attention


def word_similarities(words: Tensor, mask: Tensor, regions: Tensor, smoothing: Smoothing) -> Tensor:
    """How well the words of each sentence fit each image, (images, sentences).

    `words` is (sentences, T, D), `mask` (sentences, T) and `regions` (images, R, D).
    """
    context, _ = attend(words[None], mask[None], regions[:, None], smoothing.regions)
    fits = _cosine(words[None], context) * smoothing.words
    fits = ops.where(mask[None], fits, ops.cast(NEVER, fits.dtype))
    return smoothing.similarity * ops.logsumexp(fits, axis=-1)


def sentence_similarities(sentences: Tensor, codes: Tensor, smoothing: Smoothing) -> Tensor:
    """How well each of the `sentences` (S, D) fits each image's code, `codes` (N, D): (N, S)."""
    return smoothing.similarity * _cosine(codes[:, None], sentences[None])


def matching_losses(similarities: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies (B,) of finding each image's own sentence, and each sentence's own image.

    `similarities` is (B, B), row: image, column: sentence. Of the wrong pairs those `counted` (B, B) compete.
    """
    own = ops.diagonal(similarities)
    competing = ops.logical_or(counted, ops.eye(similarities.shape[-1], dtype="bool"))
    scores = ops.where(competing, similarities, ops.cast(NEVER, similarities.dtype))
    return ops.logsumexp(scores, axis=1) - own, ops.logsumexp(scores, axis=0) - own


def pair_losses(read: dict, seen: dict, counted: Tensor, smoothing: Smoothing | None = None) -> dict[str, Tensor]:
    """The four losses (B,) of images and their sentences, by name: of finding one given the other.

    `read` holds `words` (B, T, D), `mask` (B, T) and `embedding` (B, D) of the sentences, `seen` the images' `regions`
    (B, R, D) and `code` (B, D). Of the wrong pairs those `counted` (B, B) compete; row: image, column: sentence.
    """
    smoothing = smoothing or Smoothing()
    by_words = word_similarities(read["words"], read["mask"], seen["regions"], smoothing)
    by_whole = sentence_similarities(read["embedding"], seen["code"], smoothing)
    words_of_image, image_of_words = matching_losses(by_words, counted)
    sentence_of_image, image_of_sentence = matching_losses(by_whole, counted)
    return {
        "words_of_image": words_of_image,
        "image_of_words": image_of_words,
        "sentence_of_image": sentence_of_image,
        "image_of_sentence": image_of_sentence,
    }


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of the vectors along the last axis."""
    return ops.sum(a * b, axis=-1) / ops.maximum(_norm(a) * _norm(b), LEAST_NORM)


def _norm(x: Tensor) -> Tensor:
    """Of the vectors along the last axis, with a gradient where they are zero, as past the end of a sentence."""
    return ops.sqrt(ops.maximum(ops.sum(x * x, axis=-1), LEAST_NORM**2))
