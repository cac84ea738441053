"""The losses, by hand."""

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


def test_r1_and_pixel_loss_by_hand():
    slopes = losses.r1_penalty(np.array([1.0, -2.0]), np.array([1.2, -2.1]), 0.1)
    np.testing.assert_allclose(slopes, [0.5 * 2**2, 0.5 * 1**2], rtol=1e-5)
    images = np.zeros((2, 2, 2, 3), np.float32)
    targets = np.stack([images[0] + 0.5, images[0]])
    np.testing.assert_allclose(losses.pixel_loss(images, targets), [0.25, 0])
