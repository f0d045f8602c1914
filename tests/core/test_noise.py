"""Noise is a function of (seed, step, global row, purpose), and is what it says."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfgen.core import noise

DRAWS = {
    "normal": noise.normal,
    "uniform": noise.uniform,
}


@pytest.fixture(params=DRAWS)
def draw(request):
    return DRAWS[request.param]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (5, 2), (7, 3, 2)])
def test_any_slice_of_rows_equals_the_whole(draw, shape):
    whole = draw(5, 11, "z", 24, shape).numpy()
    assert whole.shape == (24, *shape)
    for first, rows in [(0, 24), (0, 1), (1, 3), (12, 12), (23, 1)]:
        part = draw(5, 11, "z", rows, shape, first_row=first).numpy()
        np.testing.assert_array_equal(part, whole[first : first + rows])


def test_far_rows_have_noise_of_their_own(draw):
    # Beyond 32 bits of row number.
    first = 2**40
    one = draw(5, 0, "z", 4, (8,), first_row=first)
    np.testing.assert_array_equal(
        one[1:], draw(5, 0, "z", 3, (8,), first_row=first + 1)
    )
    assert not np.array_equal(one, draw(5, 0, "z", 4, (8,)))


def test_every_part_of_the_key_counts(draw):
    keys = [
        (0, 0, "z"),
        (1, 0, "z"),
        (2**31 - 1, 0, "z"),
        (0, 1, "z"),
        (0, 2**33, "z"),
        (0, 0, "mix"),
        (0, 0, "z/1"),
    ]
    drawn = [draw(*key, 64, (16,)).numpy().ravel() for key in keys]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            # 1024 pairs: 5 standard deviations of a correlation of independents.
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)


def test_rows_are_independent(draw):
    x = draw(0, 0, "z", 64, (1024,)).numpy().astype("float64")
    correlation = np.corrcoef(x) - np.eye(64)
    # 2016 pairs; a normal variable exceeds 5 sigma once in 1.7 million.
    assert np.abs(correlation).max() < 5 / np.sqrt(1024)


def test_graph_equals_eager(draw):
    def function(seed, step, first):
        return draw(seed, step, "z", 6, (5,), first_row=first)

    eager = function(3, 9, 2).numpy()
    graph = tf.function(function)
    arguments = [tf.constant(3, tf.int64), tf.constant(9, tf.int64), tf.constant(2)]
    np.testing.assert_array_equal(graph(*arguments), eager)
    np.testing.assert_array_equal(function(*arguments), eager)


def test_rows_may_be_a_tensor(draw):
    graph = tf.function(lambda rows: draw(3, 0, "z", rows, (5,)))
    for rows in (1, 6):
        np.testing.assert_array_equal(
            graph(tf.constant(rows)), draw(3, 0, "z", rows, (5,))
        )


def test_moments_of_the_normal():
    # n = 2^20. Standard errors: mean 1/sqrt(n) = 0.98e-3; variance sqrt(2/n) =
    # 1.38e-3; fourth moment sqrt(96/n) = 9.6e-3. All within 5 of them.
    x = noise.normal(1, 2, "z", 2**14, (64,)).numpy().astype("float64")
    assert abs(x.mean()) < 4.9e-3
    assert abs(x.var() - 1) < 6.9e-3
    assert abs((x**4).mean() - 3) < 48e-3


def test_moments_of_the_uniform():
    # Variance 1/12, standard error of the mean sqrt(1/12 n) = 2.8e-4; of the second
    # moment sqrt((1/5 - 1/9) / n) = 2.9e-4.
    x = noise.uniform(1, 2, "mix", 2**14, (64,)).numpy().astype("float64")
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 1 / 2) < 1.4e-3
    assert abs((x**2).mean() - 1 / 3) < 1.5e-3


# Noise of rows ----------------------------------------------------------------


def of_rows(index, seed=0, purpose="pixels", shape=(16, 16)):
    return noise.uniform_of_rows(seed, purpose, tf.constant(index), shape).numpy()


def test_noise_of_a_row_is_its_own():
    index = np.array([5, 0, 70_000, 2**33, 5])
    drawn = of_rows(index)
    assert drawn.shape == (5, 16, 16)
    np.testing.assert_array_equal(drawn[0], drawn[4])
    np.testing.assert_array_equal(of_rows(index[1:3]), drawn[1:3])
    assert len({row.tobytes() for row in drawn}) == 4
    assert np.any(of_rows(index, seed=1) != drawn)
    assert np.any(of_rows(index, purpose="other") != drawn)


def test_noise_of_rows_is_uniform_and_independent():
    drawn = of_rows(np.arange(2000))
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    flat = drawn.reshape(2000, -1).astype("float64")
    # 512,000 numbers; the 1 % quantile of Kolmogorov's statistic is 1.63 / sqrt n.
    statistic = scipy.stats.kstest(flat.ravel(), "uniform").statistic
    assert statistic < 1.63 / np.sqrt(flat.size)
    # Correlations of neighbours: 5 standard errors of 1 / sqrt n.
    centred = (flat - 0.5) * np.sqrt(12)
    for one, other in (
        (centred[1:], centred[:-1]),
        (centred[:, 1:], centred[:, :-1]),
        (centred[:, 16:], centred[:, :-16]),
        (centred[1:, 1:], centred[:-1, :-1]),
    ):
        assert abs((one * other).mean()) < 5 / np.sqrt(one.size)
