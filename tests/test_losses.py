"""Does each player pay what the equations say?"""

import numpy as np
import pytest

from stackgan_keras import losses


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
