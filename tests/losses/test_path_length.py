"""How far images move along w, of a linear synthesis."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfgen.losses import penalties

SHAPE, SIZE = (4, 4, 2), 5


def linear(matrix):
    """w `[rows, copies, SIZE]` -> images: each copy adds matrix w."""

    def synthesize(w):
        flat = tf.einsum("rcn,cpn->rp", w, matrix)
        return tf.reshape(flat, [-1, *SHAPE])

    return synthesize


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("copies", [1, 3])
def test_lengths_of_a_linear_synthesis(copies):
    # J_c = A_c, so the length is the root of mean over c of |A_c^T y|^2, y = n / 4.
    matrix, w = normal(copies, 32, SIZE), normal(6, copies, SIZE, seed=1)
    pixels = normal(6, *SHAPE, seed=2)
    y = pixels.reshape(6, 32).astype("float64") / 4
    squares = np.einsum("rp,cpn->rcn", y, matrix) ** 2
    wanted = np.sqrt(squares.sum(axis=2).mean(axis=1))
    found = penalties.path_lengths(linear(matrix), tf.constant(w), pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_mean_square_is_the_frobenius_norm():
    # E |A^T n|^2 / (h w) = ||A||_F^2 / (h w); 20,000 rows of spread below 1: 0.02.
    matrix = normal(1, 32, SIZE)
    w, pixels = tf.zeros([20_000, 1, SIZE]), normal(20_000, *SHAPE, seed=3)
    lengths = penalties.path_lengths(linear(matrix), w, pixels).numpy()
    wanted = np.sum(matrix.astype("float64") ** 2) / 16
    assert np.mean(lengths**2) == pytest.approx(wanted, rel=0.02)


def test_gradient_by_the_synthesis_is_that_of_differences():
    # P(s) = mean (length - 2)^2 of the synthesis s A: lengths are proportional to s.
    matrix, w, pixels = normal(1, 32, SIZE), normal(6, 1, SIZE), normal(6, *SHAPE)
    unit = penalties.path_lengths(linear(matrix), tf.constant(w), pixels).numpy()
    s = tf.constant(1.5)
    with tf.GradientTape() as tape:
        tape.watch(s)
        lengths = penalties.path_lengths(
            lambda w: s * linear(matrix)(w), tf.constant(w), pixels
        )
        penalty = tf.reduce_mean(tf.square(lengths - 2.0))
    wanted = np.mean(2 * (1.5 * unit.astype("float64") - 2) * unit)
    assert float(tape.gradient(penalty, s)) == pytest.approx(wanted, rel=1e-4)
    assert math.isfinite(wanted)
