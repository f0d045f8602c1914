"""Losses after the first adversarial nets, and health reports, in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.losses import adversarial, health, penalties

REAL = np.random.default_rng(0).normal(0, 3, [7, 1])
FAKE = np.random.default_rng(1).normal(0, 3, [7, 1])


def float32(x):
    return tf.constant(x, tf.float32)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def with_gradients(loss, *logits):
    """The loss and its gradients by each logit times the number of rows."""
    logits = [float32(s) for s in logits]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(*logits)
    return float(value), [
        len(s) * g.numpy()
        for s, g in zip(logits, tape.gradient(value, logits), strict=True)
    ]


def test_hinge():
    loss, (real, fake) = with_gradients(
        adversarial.hinge_discriminator_loss, REAL, FAKE
    )
    wanted = np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean()
    assert loss == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_array_equal(real, -1.0 * (REAL < 1))
    np.testing.assert_array_equal(fake, 1.0 * (FAKE > -1))


def test_least_squares():
    loss, _ = with_gradients(adversarial.least_squares_discriminator_loss, REAL, FAKE)
    wanted = np.mean((REAL - 1) ** 2) / 2 + np.mean(FAKE**2) / 2
    assert loss == pytest.approx(wanted, rel=1e-6)
    loss, (fake,) = with_gradients(adversarial.least_squares_generator_loss, FAKE)
    assert loss == pytest.approx(np.mean((FAKE - 1) ** 2) / 2, rel=1e-6)
    np.testing.assert_allclose(fake, FAKE - 1, rtol=1e-5)  # FAKE near 1


def test_relativistic():
    # -E log sigmoid(winning - losing), in pairs.
    loss, (winning, losing) = with_gradients(adversarial.relativistic_loss, REAL, FAKE)
    wanted = -np.mean(np.log(sigmoid(REAL - FAKE)))
    assert loss == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_allclose(winning, -sigmoid(FAKE - REAL), atol=1e-6)
    np.testing.assert_allclose(losing, sigmoid(FAKE - REAL), atol=1e-6)


# Penalties --------------------------------------------------------------------


def test_unit_gradient():
    x = np.random.default_rng(0).normal(size=[6, 3])

    def half_square(x):
        return tf.reduce_sum(tf.square(x), axis=1)[:, None] / 2

    found = penalties.unit_gradient(half_square, float32(x))
    wanted = np.mean((np.linalg.norm(x, axis=1) - 1) ** 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


# Health -----------------------------------------------------------------------


def test_reports_of_judgement():
    real, fake = (
        float32([[1.0], [2.0], [-1.0], [3.0]]),
        float32([[0.5], [-2.0], [-3.0], [4.0]]),
    )
    assert health.of_judgement(real, fake) == {
        "health/real_sign": 0.5,
        "health/real_accuracy": 0.75,
        "health/fake_accuracy": 0.5,
        "health/ranking": 0.75,
    }


def test_diversity():
    random = np.random.default_rng(0)
    real = random.normal(size=[2000, 3, 3, 1])
    half = 0.5 * random.normal(size=[2000, 3, 3, 1]) + 7
    (found,) = health.of_samples(float32(real), float32(half)).values()
    assert float(found) == pytest.approx(0.5, abs=0.01)  # 18,000 differences
    one = np.repeat(real[:1], 2000, axis=0)
    (found,) = health.of_samples(float32(real), float32(one)).values()
    assert float(found) == 0.0


def test_one_row_says_nothing_of_diversity():
    row = float32(np.ones([1, 4]))
    assert health.of_samples(row, row) == {}
    assert np.isnan(health.active_units(row))
