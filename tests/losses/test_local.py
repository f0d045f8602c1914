"""Bounds and ascents of single rows against closed forms and stock Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.losses import local

tfd = tfp.distributions
W = np.array([[1.0, 0.4], [-0.3, 0.8], [0.5, 0.2]], "float32")
VARIANCE = 0.5
PRIOR = tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2))


def likelihood(z):
    """p(x | z) = N(Wz, s I)."""
    return tfd.MultivariateNormalDiag(z @ W.T, tf.fill([3], VARIANCE**0.5))


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def noise(draws, rows):
    return tf.random.stateless_normal([draws, rows, 2], [0, draws])


def test_bound_of_a_linear_model():
    """E |x - Wz|^2 = |x - W mean|^2 + sum_j v_j |W_j|^2; the KL is analytic."""
    x, parameters = rows(5, 3), rows(5, 4, seed=1)
    mean, log_variance = np.split(parameters.astype(float), 2, axis=1)
    variance = np.exp(log_variance)
    squared = ((x - mean @ W.T) ** 2).sum(1) + variance @ (W**2).sum(0)
    wanted = -0.5 * (3 * np.log(2 * np.pi * VARIANCE) + squared / VARIANCE)
    wanted -= 0.5 * (mean**2 + variance - 1 - log_variance).sum(1)
    found = local.bound(likelihood, PRIOR, x, parameters, noise(100_000, 5)).numpy()
    # The largest of a row's standard deviations is below 25: 25 / sqrt(100,000).
    np.testing.assert_allclose(found, wanted, atol=0.3)
    assert np.abs(found - wanted).mean() < 0.1


def test_parameters_there_and_back():
    parameters = rows(4, 6)
    again = local.parameters_of(local.gaussian(parameters))
    np.testing.assert_allclose(again, parameters, atol=1e-6)


def test_adam_of_one_row_is_stock_adam():
    slopes = rows(6, 1, 3)
    variable = keras.Variable(np.zeros([1, 3], "float32"))
    stock = keras.optimizers.Adam(0.1, epsilon=1e-8)
    stock.build([variable])
    found = tf.zeros([1, 3])
    state = local.adam_start(found)
    for slope in slopes:
        stock.apply([-slope], [variable])
        move, state = local.adam_step(slope, state, 0.1)
        found += move
    np.testing.assert_allclose(found, variable.numpy(), rtol=1e-4, atol=1e-6)
    assert state[2] == 6.0


def test_rows_of_adam_know_nothing_of_each_other():
    slopes = rows(2, 4)
    state = local.adam_start(slopes)
    together, _ = local.adam_step(slopes, state, 0.1)
    alone, _ = local.adam_step(slopes[1:], [s[1:] for s in state], 0.1)
    np.testing.assert_array_equal(together[1:], alone)


def refined(parameters, through, x, epsilons):
    return local.refine(
        lambda at, epsilon: local.bound(likelihood, PRIOR, x, at, epsilon[None]),
        parameters,
        epsilons,
        0.05,
        through=through,
        clip=2.0,  # of one row, not of the other
    )


def test_gradient_through_the_steps():
    """Exact: the Jacobian of three steps against central differences."""
    x = rows(2, 3)
    x[1] *= 0.1
    epsilons = list(noise(3, 2))
    start = 0.5 * rows(2, 4, seed=1)
    given = tf.constant(start)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        exact = tf.reduce_sum(refined(given, tf.identity, x, epsilons) ** 2)
        stopped = tf.reduce_sum(refined(given, tf.stop_gradient, x, epsilons) ** 2)
    assert float(exact) == float(stopped)
    wanted, step = np.zeros_like(start), 1e-2
    for index in np.ndindex(*start.shape):
        shift = np.zeros_like(start)
        shift[index] = step
        both = [
            tf.reduce_sum(refined(start + s, tf.identity, x, epsilons) ** 2)
            for s in (shift, -shift)
        ]
        wanted[index] = float(both[0] - both[1]) / (2 * step)
    # float32 differences over 0.02: 1e-3.
    np.testing.assert_allclose(tape.gradient(exact, given), wanted, atol=5e-3)
    # Stopped: as if the result were the start plus a constant.
    result = refined(given, tf.identity, x, epsilons)
    gradient = tape.gradient(stopped, given)
    np.testing.assert_allclose(gradient, 2 * result, rtol=1e-5)
    assert np.abs(gradient - wanted).max() > 0.05


@pytest.mark.parametrize("steps", [1, 4])
def test_steps_raise_the_bound_and_are_clipped(steps):
    x, start = rows(50, 3), tf.zeros([50, 4])
    draws = noise(2000, 50)
    result = refined(start, tf.identity, x, list(noise(steps, 50)))
    before, after = (
        local.bound(likelihood, PRIOR, x, at, draws).numpy().mean()
        for at in (start, result)
    )
    assert after > before + 0.05
    # Momentum 0.5 makes a step at most twice as long: 2 * 0.05 * 2 each.
    assert np.linalg.norm(result.numpy(), axis=1).max() <= 0.2 * steps
