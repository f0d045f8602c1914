"""Frechet distance against closed forms, and its laws (specs A)."""

import numpy as np
import pytest
import scipy.linalg

from tfgen.core.errors import BadInput
from tfgen.metrics.frechet import frechet_distance, frechet_from_moments
from tfgen.metrics.moments import Moments


def exact_set(n, mean, covariance, seed):
    """Rows whose SAMPLE mean and unbiased covariance are exactly those given."""
    rows = np.random.default_rng(seed).normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T)), rows.T).T
    return white @ np.linalg.cholesky(covariance).T + mean


@pytest.mark.parametrize("route", ["moments", "rows"])
def test_closed_form_of_two_by_two(route):
    # With S_r = [[2,1],[1,2]] and S_f = diag(1,4): M = S_r S_f = [[2,4],[1,8]] has
    # eigenvalues a, b with a+b = 10 and ab = 12, so
    # tr M^(1/2) = sqrt(a) + sqrt(b) = sqrt(a + b + 2 sqrt(ab)).
    # Means (0,0) and (3,4) are 25 apart squared; traces are 4 and 5.
    real = exact_set(50, [0, 0], np.array([[2.0, 1], [1, 2]]), 0)
    fake = exact_set(80, [3, 4], np.diag([1.0, 4]), 1)
    expected = 25 + 4 + 5 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert frechet_distance(real, fake, route=route) == pytest.approx(
        expected, abs=1e-10
    )


def test_diagonal_and_mean_only():
    # Diagonal: 25 + (sqrt 2 - 1)^2 + (sqrt 2 - 2)^2; correlations play no part.
    real = exact_set(50, [0, 0], np.array([[2.0, 1], [1, 2]]), 0)
    fake = exact_set(80, [3, 4], np.diag([1.0, 4]), 1)
    expected = 25 + (np.sqrt(2) - 1) ** 2 + (np.sqrt(2) - 2) ** 2
    assert frechet_distance(real, fake, "diagonal") == pytest.approx(expected)
    assert frechet_distance(real, fake, "none") == pytest.approx(25)


def test_gaussians_with_known_moments():
    random = np.random.default_rng(0)
    size = 16
    real_root = random.normal(size=(size, size)) / 4
    fake_root = random.normal(size=(size, size)) / 4
    mean = random.normal(size=size) / 2
    real = random.normal(size=(200_000, size)) @ real_root.T
    fake = random.normal(size=(200_000, size)) @ fake_root.T + mean
    # The trace of the root by scipy's Schur method: another algorithm than ours.
    covariances = real_root @ real_root.T, fake_root @ fake_root.T
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    exact = mean @ mean + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert frechet_distance(real, fake) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("shape", [(500, 16), (40, 100)])
def test_identical_sets_are_at_distance_zero(shape):
    # (40, 100): singular covariances, where a root of a product would lose 1e-8.
    rows = np.random.default_rng(0).normal(size=shape) * 3 + 5
    for route in ("auto", "moments", "rows"):
        assert abs(frechet_distance(rows, rows, route=route)) < 1e-8


@pytest.mark.parametrize("shape", [(300, 20), (30, 64)])
def test_routes_agree(shape):
    random = np.random.default_rng(1)
    real, fake = random.normal(size=shape), random.gamma(2, size=shape)
    moments = frechet_distance(real, fake, route="moments")
    rows = frechet_distance(real, fake, route="rows")
    assert moments == pytest.approx(rows, abs=1e-6)
    assert frechet_distance(real, fake) in (moments, rows)


def test_invariant_to_rotation_and_shift():
    random = np.random.default_rng(2)
    real, fake = random.normal(size=(400, 12)), random.gamma(2, size=(300, 12))
    rotation = np.linalg.qr(random.normal(size=(12, 12)))[0]
    moved = frechet_distance(real @ rotation + 7, fake @ rotation + 7)
    assert moved == pytest.approx(frechet_distance(real, fake), abs=1e-9)


def test_bias_falls_like_one_over_n():
    random = np.random.default_rng(3)
    counts = [500, 1000, 2000, 4000]
    means = [
        np.mean(
            [
                frechet_distance(
                    random.normal(size=(n, 16)), random.normal(size=(n, 16))
                )
                for _ in range(10)
            ]
        )
        for n in counts
    ]
    slope = np.polyfit(np.log(counts), np.log(means), 1)[0]
    assert slope == pytest.approx(-1, abs=0.15)


def test_moments_merge_to_the_whole():
    rows = np.random.default_rng(4).normal(size=(1000, 8)) + 100
    whole = Moments.of(rows)
    merged = Moments.empty(8)
    for part in np.split(rows, [1, 10, 400]):
        merged = merged.merge(Moments.of(part))
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.covariance, whole.covariance, atol=1e-12)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.T), atol=1e-12)
    other = Moments.of(rows[:500] * 2)
    assert frechet_from_moments(merged, other) == pytest.approx(
        frechet_distance(rows, rows[:500] * 2), rel=1e-12
    )


def test_bad_input_is_one_clear_line():
    rows = np.zeros((4, 3))
    broken = rows.copy()
    broken[1, 2] = np.nan
    with pytest.raises(BadInput, match="1 of 4 rows hold NaN"):
        frechet_distance(rows, broken)
    with pytest.raises(BadInput, match="size 3 and fake ones 2"):
        frechet_distance(rows, rows[:, :2])
    with pytest.raises(BadInput, match="full, diagonal, none"):
        frechet_distance(rows, rows, "half")
    with pytest.raises(BadInput, match="auto, moments, rows"):
        frechet_distance(rows, rows, route="fast")
    with pytest.raises(BadInput, match="at least 2 rows"):
        frechet_distance(rows, rows[:1])
    with pytest.raises(BadInput, match="cannot merge"):
        Moments.of(rows).merge(Moments.empty(2))
