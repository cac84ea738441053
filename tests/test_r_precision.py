"""R-precision: answers that are known."""

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.evaluation.r_precision import CHANCE, OTHERS, r_precision, sentences_of_other_classes


def embeddings(count: int, size: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def scored(images: np.ndarray, sentences: np.ndarray, classes: int = 10, seed: int = 0) -> float:
    """With the sentences themselves as the candidates, their classes in turn."""
    class_ids = np.arange(len(sentences)) % classes
    return r_precision(images, sentences, sentences, sentences_of_other_classes(class_ids, class_ids, seed=seed))


def test_images_that_show_their_sentence_find_it():
    sentences = embeddings(200)
    sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
    assert scored(3 * sentences, sentences) == 1
    assert scored(-sentences, sentences) == 0


def test_images_of_nothing_find_it_by_chance():
    assert OTHERS == 99 and CHANCE == 0.01
    found = scored(embeddings(20_000, 4, seed=1), embeddings(20_000, 4))
    assert found == pytest.approx(CHANCE, abs=4 * np.sqrt(CHANCE / 20_000))


@pytest.mark.parametrize("size", [1, 3, 24, 1000])
def test_ties_are_misses(size):
    sentences, images = embeddings(200, size), embeddings(200, size, seed=1)
    assert scored(images, sentences[:1].repeat(200, axis=0)) == 0
    assert scored(np.zeros_like(images), sentences) == 0


def test_two_images_by_hand():
    """The inner product, not the cosine: a longer sentence fits better."""
    images, sentences = np.array([[1, 0], [0, 1]]), np.array([[1, 0], [1, 1]])
    assert r_precision(images, sentences, np.array([[2, 1], [3, 0]]), np.array([[0], [1]])) == 0.5


def test_the_order_of_images_does_not_matter():
    sentences = embeddings(150)
    images, class_ids = sentences + embeddings(150, seed=1), np.arange(150) % 10
    chosen, order = sentences_of_other_classes(class_ids, class_ids), np.random.default_rng(2).permutation(150)
    found = r_precision(images, sentences, sentences, chosen)
    assert 0.2 < found < 1
    assert r_precision(images[order], sentences[order], sentences, chosen[order]) == found


def test_others_are_of_other_classes_and_follow_from_the_seed():
    class_ids = np.repeat([3, 5, 8], [60, 80, 70])
    chosen = sentences_of_other_classes([5, 3], class_ids, seed=1)
    assert chosen.shape == (2, OTHERS)
    assert all(len(set(row)) == OTHERS for row in chosen)
    assert set(class_ids[chosen[0]]) == {3, 8}
    assert set(class_ids[chosen[1]]) == {5, 8}
    np.testing.assert_array_equal(chosen, sentences_of_other_classes([5, 3], class_ids, seed=1))
    assert (chosen != sentences_of_other_classes([5, 3], class_ids, seed=2)).any()


def test_what_cannot_be_ranked_is_refused():
    sentences, chosen = embeddings(3), np.array([[1], [2], [0]])
    assert "needs 99 sentences of other classes, but beside class 1 there are 60" in refusal(
        sentences_of_other_classes, [1, 2], np.repeat([1, 2], [200, 60])
    )
    assert "embeddings of images of 3 of 3 images hold NaN" in refusal(
        r_precision, sentences * np.nan, sentences, sentences, chosen
    )
    assert "features of 23 numbers" in refusal(r_precision, sentences[:, 1:], sentences, sentences, chosen)
    assert "3 images, 2 sentences and others for 3" in refusal(r_precision, sentences, sentences[:2], sentences, chosen)
    assert "0 images" in refusal(r_precision, sentences[:0], sentences, sentences, chosen)
