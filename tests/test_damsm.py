"""DAMSM: the words' and the sentence's losses are those of the release, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras.training import damsm
from stackgan_keras.training.damsm import Smoothing


@pytest.fixture(scope="module")
def golden(shared):
    with np.load(shared / "golden/attngan_small.npz") as arrays:
        return dict(arrays)


def words_of(golden):
    """(sentences, T, D) words, their mask, and (images, R, D) regions, in float64."""
    words, regions = (tf.constant(golden[name], tf.float64) for name in ("loss_words", "loss_regions"))
    mask = np.arange(words.shape[1]) < golden["lengths"][:, None]
    return words, tf.constant(mask), tf.reshape(regions, (len(regions), -1, regions.shape[-1]))


def of_other_classes(golden, masked):
    """The pairs that compete; the release was given the class numbers in their order before sorting."""
    ids = golden["unsorted_class_ids"]
    return tf.constant((ids[:, None] != ids) if masked else np.ones((len(ids),) * 2, bool))


@pytest.mark.parametrize("masked", [False, True])
def test_words_losses_of_the_release(golden, masked):
    words, mask, regions = words_of(golden)
    suffix = "_masked" * masked
    with tf.GradientTape() as tape:
        tape.watch([words, regions])
        similarities = damsm.word_similarities(words, mask, regions, Smoothing())
        losses = [
            tf.reduce_mean(loss) for loss in damsm.matching_losses(similarities, of_other_classes(golden, masked))
        ]
        total = sum(losses)
    np.testing.assert_allclose(losses, golden[f"words_loss{suffix}"], rtol=1e-9)
    of_words, of_regions = tape.gradient(total, [words, regions])
    expected = golden[f"words_gradient_of_regions{suffix}"]
    np.testing.assert_allclose(np.reshape(of_regions, expected.shape), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(of_words, golden[f"words_gradient_of_words{suffix}"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("masked", [False, True])
def test_sentence_losses_of_the_release(golden, masked):
    sentences, codes = (tf.constant(golden[name], tf.float64) for name in ("loss_sentences", "loss_codes"))
    suffix = "_masked" * masked
    with tf.GradientTape() as tape:
        tape.watch([sentences, codes])
        similarities = damsm.sentence_similarities(sentences, codes, Smoothing())
        losses = [
            tf.reduce_mean(loss) for loss in damsm.matching_losses(similarities, of_other_classes(golden, masked))
        ]
        total = sum(losses)
    np.testing.assert_allclose(losses, golden[f"sent_loss{suffix}"], rtol=1e-9)
    of_sentences, of_codes = tape.gradient(total, [sentences, codes])
    np.testing.assert_allclose(of_codes, golden[f"sent_gradient_of_codes{suffix}"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(of_sentences, golden[f"sent_gradient_of_sentences{suffix}"], rtol=1e-4, atol=1e-7)


def test_attention_of_the_release(golden):
    query, regions = (tf.constant(golden[f"func_{name}"]) for name in ("query", "context"))
    flat = tf.reshape(regions, (len(regions), -1, regions.shape[-1]))
    context, attention = damsm.attend(query, tf.ones(query.shape[:2], bool), flat, 4.0)
    np.testing.assert_allclose(context, golden["func_weighted_context"], atol=1e-5)
    np.testing.assert_allclose(
        np.reshape(attention, golden["func_attention"].shape), golden["func_attention"], atol=1e-6
    )


def test_words_that_are_none_change_nothing():
    rng = np.random.default_rng(0)
    words, regions = (tf.constant(rng.normal(size=(3, n, 4))) for n in (6, 5))
    mask = tf.constant(np.arange(6) < np.array([[3], [6], [1]]))
    before = damsm.word_similarities(words, mask, regions, Smoothing())
    other = tf.where(mask[..., None], words, 100 * words)
    np.testing.assert_allclose(damsm.word_similarities(other, mask, regions, Smoothing()), before)
    longer = tf.concat([words, tf.ones((3, 2, 4), words.dtype)], axis=1)
    padded = tf.concat([mask, tf.zeros((3, 2), bool)], axis=1)
    np.testing.assert_allclose(damsm.word_similarities(longer, padded, regions, Smoothing()), before)
    alone = damsm.word_similarities(words[:1, :3], mask[:1, :3], regions, Smoothing())
    np.testing.assert_allclose(alone[:, 0], before[:, 0])


def test_pairs_of_one_class_do_not_compete():
    similarities = tf.constant([[1.0, 5.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    classes = np.array([0, 0, 1])
    of_images, of_sentences = damsm.matching_losses(similarities, tf.constant(classes[:, None] != classes))
    np.testing.assert_allclose(of_images[0], np.log(np.exp(1) + 1) - 1, rtol=1e-6)
    np.testing.assert_allclose(of_sentences[2], np.log(np.exp(1) + 2) - 1, rtol=1e-6)


def test_words_of_nothing_have_a_gradient():
    """Past the end of a sentence the text encoder gives zeros, whose norm has none by itself."""
    rng = np.random.default_rng(0)
    words, regions = (tf.constant(rng.normal(size=(3, n, 4))) for n in (6, 5))
    mask = tf.constant(np.arange(6) < np.array([[3], [6], [1]]))
    words = tf.where(mask[..., None], words, tf.zeros_like(words))
    read = {"words": words, "mask": mask, "embedding": tf.zeros((3, 4), words.dtype)}
    with tf.GradientTape() as tape:
        tape.watch([words, regions])
        losses = damsm.pair_losses(read, {"regions": regions, "code": regions[:, 0]}, tf.ones((3, 3), bool))
        total = sum(map(tf.reduce_sum, losses.values()))
    for gradient in tape.gradient(total, [words, regions]):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
