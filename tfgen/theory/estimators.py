"""Variance of the two gradient estimators of variational inference, in closed form.

    f(z) = |z|^2 / 2,    q = N(c, s^2 I) in d dimensions,    d/dc E_q f = c

The reparameterised gradient is c + s epsilon, of total variance d s^2. The score
function's is (f(z) - b) epsilon / s, which needs to know f alone and pays for it with
a variance that grows as d^3.
"""

import numpy as np
import tensorflow as tf

from tfgen.losses import estimators


def reparameterised_variance(c, s):
    """Return d s^2: the variance of c + s epsilon, summed over coordinates."""
    return len(c) * s**2


def score_function_variance(c, s, baseline=0.0):
    """Return the variance of (f - b) epsilon / s, summed over coordinates.

    f = (|c|^2 + 2 s c.epsilon + s^2 |epsilon|^2) / 2. Summed over coordinates j, with
    E |e|^2 e_j^2 = d + 2, E |e|^4 e_j^2 = (d + 2)(d + 4), E (c.e)^2 e_j^2 = |c|^2 +
    2 c_j^2 and odd moments 0,

        4 sum E f^2 e_j^2 = d (|c|^4 + s^4 (d+2)(d+4) + 2 s^2 |c|^2 (d+2))
                            + 4 s^2 (d+2) |c|^2
        2 sum E f e_j^2   = d (|c|^2 + s^2 (d+2))
    """
    d, length = len(c), np.sum(np.square(c))
    squares = (
        d * (length**2 + s**4 * (d + 2) * (d + 4) + 2 * s**2 * length * (d + 2))
        + 4 * s**2 * (d + 2) * length
    )
    products = d * (length + s**2 * (d + 2))
    second = squares / 4 - baseline * products + d * baseline**2
    return second / s**2 - length


def expectation(c, s):
    """Return E f = (|c|^2 + d s^2) / 2: the usual baseline."""
    return (np.sum(np.square(c)) + len(c) * s**2) / 2


def gradients(estimator, c, s, draws, seed=0, **options):
    """Return the estimator's gradient by c of each draw, float64 `[draws, d]`."""
    epsilon = np.random.default_rng(seed).normal(size=[draws, len(c)])
    mean = tf.constant(np.tile(c, [draws, 1]))
    with tf.GradientTape() as tape:
        tape.watch(mean)
        value = estimator(half_square, mean, s * tf.ones_like(mean), epsilon, **options)
    return tape.gradient(value, mean).numpy()


def half_square(z):
    """Return |z|^2 / 2 of rows."""
    return tf.reduce_sum(z**2, axis=1) / 2


ESTIMATORS = {
    "reparameterised": (
        estimators.reparameterised,
        lambda c, s: {},
        reparameterised_variance,
    ),
    "score function": (
        estimators.score_function,
        lambda c, s: {},
        score_function_variance,
    ),
    "score function, baseline E f": (
        estimators.score_function,
        lambda c, s: {"baseline": expectation(c, s)},
        lambda c, s: score_function_variance(c, s, expectation(c, s)),
    ),
}
"""Name -> (estimator, its options of c and s, closed form of its total variance)."""
