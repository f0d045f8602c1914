"""Maximum mean discrepancy against closed forms in float64."""

import numpy as np
import pytest
import scipy.spatial.distance
import tensorflow as tf

from tfgen.losses import mmd
from tfgen.metrics.mmd import gaussian_mmd as measured


def normal(*shape, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, size=shape)


def by_hand(x, y, variances, unbiased):
    """MMD^2 from all distances, one kernel after the other."""

    def kernel(a, b):
        squared = scipy.spatial.distance.cdist(a, b, "sqeuclidean")
        return sum(np.exp(-squared / (2 * s)) for s in variances)

    def mean(a):
        k, n = kernel(a, a), len(a)
        return (k.sum() - np.trace(k)) / (n * (n - 1)) if unbiased else k.mean()

    return mean(x) + mean(y) - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("unbiased", [False, True])
def test_a_sum_by_hand(unbiased):
    x, y = normal(7, 3), normal(5, 3, seed=1, mean=0.5)
    found = mmd.gaussian_mmd(x, y, (0.5, 2.0), unbiased=unbiased)
    assert float(found) == pytest.approx(by_hand(x, y, (0.5, 2.0), unbiased), abs=1e-12)


def test_two_normals():
    """x ~ N(0, I), y ~ N(m, I), one kernel s.

    x - x' ~ N(0, 2 I), and E exp(-(u + c)^2 / (2 s)) of u ~ N(0, 2) is
    sqrt(s / (s + 2)) exp(-c^2 / (2 (s + 2))), so that with d dimensions
    MMD^2 = 2 (s / (s + 2))^(d/2) (1 - exp(-|m|^2 / (2 (s + 2)))).
    """
    d, s, length = 3, 2.0, 0.8
    wanted = 2 * (s / (s + 2)) ** (d / 2) * (1 - np.exp(-(length**2) / (2 * (s + 2))))
    assert wanted == pytest.approx(0.054365, abs=1e-6)
    shift = np.array([length, 0, 0])
    found = [
        float(
            mmd.gaussian_mmd(
                normal(1000, d, seed=seed),
                normal(1000, d, seed=100 + seed) + shift,
                [s],
                unbiased=True,
            )
        )
        for seed in range(10)
    ]
    # One run scatters by about 0.005, the mean of ten by 0.0016.
    assert abs(np.mean(found) - wanted) < 0.006


def test_equal_sets():
    x = tf.constant(normal(50, 6), tf.float32)
    assert abs(float(mmd.gaussian_mmd(x, x, (1.0, 4.0), unbiased=False))) < 1e-6
    # The unbiased estimate of a set against itself: pairs i = j count in the last
    # term only, hence 2 mean_{i != j} k - 2 mean k < 0.
    assert float(mmd.gaussian_mmd(x, x, (1.0, 4.0), unbiased=True)) < -1e-3


def test_far_from_the_origin_distances_stay_positive():
    # |x|^2 + |y|^2 - 2 x.y cancels: without a bound from below it may be negative.
    x = tf.constant(normal(20, 3, mean=1000.0), tf.float32)
    assert float(tf.reduce_min(mmd.squared_distances(x, x))) == 0.0


@pytest.mark.parametrize("same", [False, True])
def test_gradient_of_the_root(same):
    """Against central differences in float64, also where it is at its minimum."""
    y = normal(6, 3, seed=1)
    x = y.copy() if same else normal(4, 3)

    def loss(x):
        return mmd.root(mmd.gaussian_mmd(x, y, (0.5, 2.0), unbiased=False))

    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(given)
    gradient = tape.gradient(value, given).numpy()
    step, wanted = 1e-5, np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        wanted[index] = (float(loss(x + shift)) - float(loss(x - shift))) / (2 * step)
    # At the minimum the root's slope, 5e5, carries rounding of 1e-16 over the step.
    np.testing.assert_allclose(gradient, wanted, atol=2e-5 if same else 1e-7)
    largest = np.abs(gradient).max()
    assert largest < 1e-9 if same else largest > 1e-2


def test_metric_and_loss_are_one_formula():
    x, y = normal(30, 4), normal(20, 4, seed=1, mean=0.3)
    widths = (0.7, 2.0)
    metric = measured(x, y, seed=0, permutations=1, bandwidths=widths).value
    loss = mmd.gaussian_mmd(x, y, [w**2 for w in widths], unbiased=True)
    assert metric == pytest.approx(float(loss), rel=1e-12)
