"""Does each player pay what the equations say?"""

import numpy as np
import pytest

from stackgan_keras.training import losses


def test_cross_entropy_by_hand_and_far_out():
    logits = np.array([-1.0, 0.0, 2.0], np.float32)
    probability = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, 1.0), -np.log(probability), rtol=1e-5)
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, 0.0), -np.log(1 - probability), rtol=1e-5)
    far = losses.binary_cross_entropy(np.array([-1e4, 1e4], np.float32), 1.0)
    np.testing.assert_allclose(far, [1e4, 0], atol=1e-5)


def test_divergence_from_the_standard_normal():
    mean, log_variance = np.array([[0.5, -1.0]], np.float32), np.array([[0.0, np.log(4.0)]], np.float32)
    # per dimension: (variance + mean^2 - 1 - log variance) / 2
    by_hand = np.mean([(1 + 0.25 - 1 - 0) / 2, (4 + 1 - 1 - np.log(4)) / 2])
    np.testing.assert_allclose(losses.kl_divergence(mean, log_variance), [by_hand], rtol=1e-6)
    np.testing.assert_allclose(losses.kl_divergence(0 * mean, 0 * mean), [0], atol=1e-7)


def test_flow_divergence_is_by_many_draws_the_divergence_from_where_the_flow_leads():
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    drawn = mean + np.exp(log_variance / 2) * random.normal(size=(200_000, 2, 3))
    paid = [losses.flow_divergence(drawn[:, i], np.zeros(len(drawn)), log_variance[i]) for i in range(2)]
    np.testing.assert_allclose(np.mean(paid, axis=1), losses.kl_divergence(mean, log_variance), rtol=0.02)
    # a flow that doubles every number leads to N(0, 4): the same as half the mean and a quarter of the variance
    halved = [
        losses.flow_divergence(drawn[:, i] / 2, np.full(len(drawn), -3 * np.log(2)), log_variance[i]) for i in range(2)
    ]
    expected = losses.kl_divergence(mean / 2, log_variance - np.log(4))
    np.testing.assert_allclose(np.mean(halved, axis=1), expected, rtol=0.02)


def test_discriminator_loss_of_both_stages():
    assert losses.discriminator_loss([1.0], [3.0, 4.0]) == pytest.approx(1 + (3 + 4) / 2)
    assert losses.discriminator_loss([1.0, 2.0], [3.0, 4.0, 5.0]) == pytest.approx((1 + 2) / 2 + (3 + 4 + 5) / 3)


def test_contrastive_loss_by_hand():
    scores = np.array([[2.0, 1.0, 5.0], [0.0, 3.0, 1.0], [1.0, 2.0, 0.5]], np.float32)
    counted = np.array([[False, True, False], [True, False, True], [False, True, False]])  # 0 and 2 are of one class
    total = 0.0
    for table in (scores, scores.T):
        for i, row in enumerate(table):
            choices = [np.exp(score) for j, score in enumerate(row) if counted[i, j] or i == j]
            total += (np.log(sum(choices)) - row[i]) / 3
    np.testing.assert_allclose(losses.contrastive(scores, counted), total, rtol=1e-5)
    several = np.stack([scores, scores + 1, scores])  # a constant changes nothing
    np.testing.assert_allclose(losses.contrastive(several, counted), total, rtol=1e-5)


def test_likeness_and_penalty_by_hand():
    features, of_real = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 4.0], [0.0, 3.0]])
    np.testing.assert_allclose(losses.likeness(features, of_real), [5, 9])
    nudged = losses.gradient_penalty(np.array([1.0, -2.0]), np.array([1.2, -2.1]), 0.1)
    np.testing.assert_allclose(nudged, [0.5 * 2**2, 0.5 * 1**2], rtol=1e-5)


def test_pictures_are_made_small_by_the_means_of_blocks():
    pictures = np.zeros((1, 4, 4, 3), np.float32)
    pictures[0, :2, :2] = np.array([[1, -1], [1, 0]], np.float32)[..., None]
    pictures[0, 2:, 2:] = 0.5
    by_hand = np.array([[0.25, 0], [0, 0.5]], np.float32)[None, ..., None].repeat(3, axis=-1)
    np.testing.assert_allclose(losses.shrink(pictures, 2), by_hand, rtol=1e-6)
    np.testing.assert_array_equal(losses.shrink(pictures, 4), pictures)


def test_edges_by_hand():
    random = np.random.default_rng(0)
    pictures, truth = random.uniform(-1, 1, (2, 2, 8, 8, 3)).astype(np.float32)
    by_hand = np.zeros(2)
    for size in (8, 4, 2):
        block = 8 // size
        off = (pictures - truth).reshape(2, size, block, size, block, 3).mean(axis=(2, 4))
        for axis in (1, 2):
            by_hand += np.square(np.diff(off, axis=axis)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(losses.edges(pictures, truth), by_hand, rtol=1e-5)
    np.testing.assert_allclose(losses.edges(truth + 0.3, truth), [0, 0], atol=1e-6)  # all brighter: no edge is off
