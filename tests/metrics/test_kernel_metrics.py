"""Kernel distance and Gaussian-mixture MMD against closed forms."""

import numpy as np
import pytest

from tfgen.core.errors import BadInput
from tfgen.metrics.kernel import (
    kernel_blocks,
    kernel_distance,
    kernel_estimate,
    polynomial_kernel,
    unbiased_squared_mmd,
)
from tfgen.metrics.mmd import (
    gaussian_mixture_kernel,
    gaussian_mmd,
    linear_time_mmd,
    median_bandwidths,
)


def test_kernel_distance_by_hand():
    # d = 1, k(x, y) = (xy + 1)^3. Real {0, 1}: k(0,1) = 1. Fake {1, 2}: k(1,2) = 27.
    # Between: k(0,1) + k(0,2) + k(1,1) + k(1,2) = 1 + 1 + 8 + 27 = 37, mean 37/4.
    estimate = kernel_distance([[0.0], [1]], [[1.0], [2]])
    assert estimate.value == pytest.approx(1 + 27 - 2 * 37 / 4, abs=1e-12)
    assert estimate.error is None


def test_kernels_by_hand():
    # (1,2).(3,4) = 11, over d = 2, plus 1, cubed.
    product = polynomial_kernel(np.array([[1.0, 2]]), np.array([[3.0, 4]]))
    assert product[0, 0] == pytest.approx(6.5**3)
    # |(0,0) - (3,4)|^2 = 25: exp(-25/2) + exp(-25/8) at widths 1 and 2.
    gaussian = gaussian_mixture_kernel([[0.0, 0]], [[3.0, 4]], (1, 2))
    assert gaussian[0, 0] == pytest.approx(np.exp(-12.5) + np.exp(-3.125))


def test_kernel_distance_of_shifted_normals():
    # E k = E[x^3]E[y^3] + 3 E[x^2]E[y^2] + 3 E[x]E[y] + 1, so the squared MMD is
    # (a3-b3)^2 + 3 (a2-b2)^2 + 3 (a1-b1)^2 in the raw moments of both sides.
    # N(0,1) has (0, 1, 0) and N(1,1) has (1, 2, 4): 16 + 3 + 3 = 22.
    random = np.random.default_rng(0)
    estimate = kernel_distance(
        random.normal(size=(8000, 1)), random.normal(1, size=(8000, 1))
    )
    assert abs(estimate.value - 22) < 3 * estimate.error
    assert 0 < estimate.error < 2


@pytest.mark.parametrize("n", [500, 1000, 2000, 4000])
def test_kernel_distance_is_unbiased_at_every_n(n):
    random = np.random.default_rng(0)
    estimate = kernel_distance(random.normal(size=(n, 16)), random.normal(size=(n, 16)))
    assert abs(estimate.value) < 2 * estimate.error


def test_kernel_distance_is_not_clipped():
    random = np.random.default_rng(1)
    values = [
        kernel_distance(random.normal(size=(100, 4)), random.normal(size=(100, 4)))
        for _ in range(40)
    ]
    assert 8 < sum(v.value < 0 for v in values) < 32


def test_kernel_blocks_merge_to_the_whole():
    random = np.random.default_rng(2)
    real, fake = random.normal(size=(800, 3)), random.normal(size=(800, 3)) + 0.1
    whole = kernel_distance(real, fake, block_rows=100, least_blocks=1)
    first = kernel_blocks(real[:300], fake[:300], block_rows=100, least_blocks=1)
    second = kernel_blocks(real[300:], fake[300:], block_rows=100, least_blocks=1)
    merged = kernel_estimate(first.merge(second))
    assert merged == pytest.approx(whole, rel=1e-12)


def test_uneven_sets_are_refused():
    with pytest.raises(BadInput, match="too uneven"):
        kernel_distance(np.ones((4, 2)), np.ones((5000, 2)))


def test_gaussian_kernel_of_normals():
    # For x ~ N(0,1), y ~ N(m,1): x - y ~ N(-m, 2), and
    # E exp(-(x-y)^2 / (2 s^2)) = s / sqrt(s^2+2) exp(-m^2 / (2 (s^2+2))), so
    # MMD^2 = sum_s 2 s / sqrt(s^2+2) (1 - exp(-m^2 / (2 (s^2+2)))).
    widths, m = (0.5, 2.0), 1.0
    exact = sum(
        2 * s / np.sqrt(s**2 + 2) * (1 - np.exp(-(m**2) / (2 * (s**2 + 2))))
        for s in widths
    )
    random = np.random.default_rng(3)
    real = random.normal(size=(100_000, 1))
    fake = random.normal(m, size=(100_000, 1))
    estimate = linear_time_mmd(real, fake, widths)
    assert abs(estimate.value - exact) < 3 * estimate.error
    assert estimate.error < 0.02
    quadratic = gaussian_mmd(real[:1000], fake[:1000], 0, 10, widths)
    # Its standard deviation at n = 1000 was measured at 0.02.
    assert quadratic.value == pytest.approx(exact, abs=0.08)


def test_permutation_test_decides():
    random = np.random.default_rng(4)
    real = random.normal(size=(150, 4))
    same = gaussian_mmd(real, random.normal(size=(150, 4)), seed=0)
    other = gaussian_mmd(real, random.normal(0.5, size=(150, 4)), seed=0)
    assert same.p_value > 0.05
    assert other.p_value == 1 / 501  # the smallest that 500 permutations can give
    assert other.value > 0
    assert same == gaussian_mmd(
        real, np.random.default_rng(4).normal(size=(300, 4))[150:], seed=0
    )


def test_permutations_equal_a_plain_relabelling():
    random = np.random.default_rng(5)
    real, fake = random.normal(size=(7, 2)), random.normal(0.3, size=(5, 2))
    result = gaussian_mmd(real, fake, seed=9, permutations=60)
    pooled = np.concatenate([real, fake])
    kernel = gaussian_mixture_kernel(pooled, pooled, result.bandwidths)
    labels = np.zeros((12, 60))
    labels[:7] = 1
    labels = np.random.default_rng(9).permuted(labels, axis=0)
    reached = 0
    for column in labels.T:
        r, f = np.flatnonzero(column == 1), np.flatnonzero(column == 0)
        parts = kernel[np.ix_(r, r)], kernel[np.ix_(f, f)], kernel[np.ix_(r, f)]
        reached += unbiased_squared_mmd(*parts) >= result.value
    assert 0 < reached < 60
    assert result.p_value == (1 + reached) / 61


def test_median_is_of_the_pooled_rows():
    # Pooled 0, 0, 3, 3 has distances 0, 0, 3, 3, 3, 3: median 3.
    assert median_bandwidths([[0.0], [0]], [[3.0], [3]]) == (1.5, 3, 6, 12)
    assert median_bandwidths([[1.0], [1]], [[1.0], [1]]) == (0.5, 1, 2, 4)
