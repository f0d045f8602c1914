"""Wasserstein distances: program = dual = sorting = closed form."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from tfgen.theory import claims, divergences, transport


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimensions", [1, 2])
def test_cheapest_coupling_equals_best_critic(seed, dimensions):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=[10, dimensions])
    p, q = rng.dirichlet(np.ones(10)), rng.dirichlet(np.ones(10))
    distance = np.linalg.norm(x[:, None] - x, axis=2)
    cost, coupling = transport.cheapest_coupling(p, q, distance)
    np.testing.assert_allclose(coupling.sum(1), p, atol=1e-9)
    np.testing.assert_allclose(coupling.sum(0), q, atol=1e-9)
    assert coupling.min() >= -1e-12
    value, critic = transport.best_critic(p, q, distance)
    assert abs(value - cost) < 1e-8 and cost > 0.1
    # 1-Lipschitz, and it attains the value.
    assert np.all(np.abs(critic[:, None] - critic) <= distance + 1e-9)
    assert abs(critic @ (p - q) - cost) < 1e-8


def test_coupling_of_different_sizes():
    # 1 at 0 against halves at -1 and 3: (1 + 3) / 2.
    cost = np.abs(np.array([[0.0]]) - np.array([-1.0, 3.0]))
    assert abs(transport.cheapest_coupling([1.0], [0.5, 0.5], cost)[0] - 2) < 1e-12


def test_one_dimension():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), 2 * rng.normal(size=30) + 1
    even = np.full(30, 1 / 30)
    cost, _ = transport.cheapest_coupling(even, even, np.abs(a[:, None] - b))
    assert abs(transport.w1_of_samples(a, b) - cost) < 1e-8
    assert abs(transport.w1_of_samples(a, b) - wasserstein_distance(a, b)) < 1e-12
    x = np.sort(rng.normal(size=12))
    p, q = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(12))
    wanted = wasserstein_distance(x, x, p, q)
    assert abs(transport.w1_of_masses(x, p, q) - wanted) < 1e-12


@pytest.mark.parametrize("t", [-1.0, 0.5, 2.0])
def test_gaussians(t):
    assert (
        abs(transport.w1_of_masses(*divergences.shifted_gaussians(t)) - abs(t)) < 1e-9
    )
    # Diagonal: |a - b|^2 + sum (s - t)^2 of the standard deviations.
    s, u = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5])
    found = transport.w2_squared_of_gaussians(
        np.zeros(3), np.diag(s**2), np.full(3, t), np.diag(u**2)
    )
    assert abs(found - (3 * t**2 + np.sum((s - u) ** 2))) < 1e-9
    equal = transport.w2_squared_of_gaussians(s, np.diag(s), s, np.diag(s))
    assert abs(equal) < 1e-9


@pytest.mark.parametrize(("weight", "wanted"), [(10, 2.2103), (100, 2.0210)])
def test_penalised_estimate(weight, wanted):
    # Quadrature with other software, 4 decimals.
    assert abs(transport.penalised_estimate(2.0, weight) - wanted) < 5e-5


def test_claims_hold():
    for claim in (claims.optimal_transport, claims.generator_gradients):
        assert [check for check in claim().checks if not check.passed] == []
