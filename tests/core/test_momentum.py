"""Descent with growing momentum and a shrinking rate."""

import math

import keras
import numpy as np
import pytest

from tfgen.core.momentum import GrowingMomentum, Shrinking


def test_rate_shrinks_to_its_floor():
    rate = Shrinking(0.1, 2.0, floor=0.01)
    found = [float(rate(n)) for n in range(6)]
    np.testing.assert_allclose(found, [0.1, 0.05, 0.025, 0.0125, 0.01, 0.01], rtol=1e-6)


def test_published_rate_reaches_its_floor():
    # ln(1e5) / ln(1.000004) = 2.878 million updates.
    rate = Shrinking(0.1, 1.000004)
    before = 0.1 * math.exp(-2_870_000 * math.log(1.000004))
    assert before > 1.03e-6
    assert float(rate(2_870_000)) == pytest.approx(before, rel=1e-5)
    assert float(rate(2_880_000)) == pytest.approx(1e-6)


def test_momentum_grows():
    # v <- m v - 0.1 g, w <- w + v, m = 0.5, 0.5, 0.6, 0.7, 0.7 at updates 0 to 4.
    optimizer = GrowingMomentum(0.1, 0.5, 0.7, start=1, end=3)
    weight = keras.Variable([1.0, 2.0])
    gradient = np.array([1.0, -3.0], "float32")
    velocity, wanted = np.zeros(2), np.array([1.0, 2.0])
    for momentum in (0.5, 0.5, 0.6, 0.7, 0.7):
        optimizer.apply([gradient], [weight])
        velocity = momentum * velocity - 0.1 * gradient
        wanted = wanted + velocity
        np.testing.assert_allclose(weight.numpy(), wanted, rtol=1e-6)
