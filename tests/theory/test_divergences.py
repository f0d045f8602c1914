"""The optimal discriminator against tables and identities in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfgen.theory import claims, critics, divergences

# t -> JSD, V(D*), minimax and non-saturating gradient of N(0, 1) and N(t, 1), by
# quadrature with other software, nats.
TABLE = {
    0.5: (0.030311, -1.325672, 0.235264, 0.264736),
    1.0: (0.111421, -1.163451, 0.397973, 0.602027),
    2.0: (0.336831, -0.712633, 0.449600, 1.550400),
    3.0: (0.526777, -0.332740, 0.295864, 2.704136),
    4.0: (0.632720, -0.120854, 0.137195, 3.862805),
}


@pytest.mark.parametrize("t", TABLE)
def test_table_of_shifted_gaussians(t):
    x, p, q = divergences.shifted_gaussians(t)
    logits = divergences.optimal_logits(p, q)
    np.testing.assert_allclose(logits, divergences.gaussian_logits(t, x), atol=1e-9)
    value = divergences.value(p, q, logits)
    assert abs(value - divergences.optimal_value(p, q)) < 1e-12
    found = (divergences.jsd(p, q), value, *divergences.shift_gradients(t))
    np.testing.assert_allclose(found, TABLE[t], atol=1e-6)
    # KL(q || p) = t^2 / 2, either way round.
    for one, other in ((p, q), (q, p)):
        assert abs(divergences.kl(one, other) - t**2 / 2) < 1e-10


def test_divergences_of_known_distributions():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    assert abs(divergences.kl(p, q) - math.log(2)) < 1e-12
    assert divergences.kl(q, p) == math.inf
    # m = (3/8, 3/8, 1/4): half of log 4/3, and half of (log 2/3 + log 2) / 2.
    wanted = (math.log(4 / 3) + (math.log(2 / 3) + math.log(2)) / 2) / 2
    assert abs(divergences.jsd(p, q) - wanted) < 1e-12
    assert divergences.total_variation(p, q) == 0.5
    # Disjoint: log 2 in nats (1 would be bits).
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert abs(divergences.jsd(a, b) - math.log(2)) < 1e-12
    assert divergences.total_variation(a, b) == 1
    assert divergences.jsd(p, p) == divergences.kl(p, p) == 0


def test_no_discriminator_beats_the_optimal_one():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(20)), rng.dirichlet(np.ones(20))
    best = divergences.value(p, q, divergences.optimal_logits(p, q))
    for scale in (1e-3, 0.1, 1.0, 10.0):
        logits = divergences.optimal_logits(p, q) + scale * rng.normal(size=20)
        assert divergences.value(p, q, logits) < best
    assert abs(divergences.value(p, p, np.zeros(20)) + math.log(4)) < 1e-12


def test_value_of_a_sure_discriminator_is_finite():
    x, p, q = divergences.shifted_gaussians(20.0)
    value = divergences.value(p, q, divergences.gaussian_logits(20.0, x))
    assert abs(value) < 1e-6  # JSD = log 2


@pytest.mark.parametrize("seed", range(3))
def test_tabular_discriminator_becomes_optimal(seed):
    rng = np.random.default_rng(seed)
    p, q = (rng.multinomial(980, rng.dirichlet(np.full(20, 5.0))) + 1 for _ in "pq")
    logits, value = divergences.tabular_discriminator(p, q)
    np.testing.assert_allclose(logits, np.log(p / q), atol=1e-3)
    assert abs(value - divergences.optimal_value(p / 1000, q / 1000)) < 1e-5


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_logistic_regression_becomes_optimal(t):
    check_trained(claims.logistic(t, steps=600), t)


@pytest.mark.slow
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_network_becomes_optimal(t):
    network = claims.logistic(t, hidden=[64, 64], rate=1e-3)
    check_trained(network, t)


def check_trained(network, t):
    x = np.linspace(-2, 3, 101, dtype="float32")
    found = network(x[:, None]).numpy()[:, 0]
    np.testing.assert_allclose(found, divergences.gaussian_logits(t, x), atol=0.1)
    x, p, q = divergences.shifted_gaussians(t)
    logits = network(np.float32(x[:, None])).numpy()[:, 0].astype(float)
    jsd = divergences.jsd_of_value(divergences.value(p, q, logits))
    exact = divergences.jsd(p, q)
    assert exact - 0.005 < jsd <= exact  # never above: V(D) <= V(D*)


def test_value_on_samples_is_that_of_the_masses():
    # 2^16 rows: V scatters by 1 / sqrt(rows) = 0.004.
    t = 1.0
    real, fake = critics.gaussian_pairs(t, 2**16)(tf.constant(0))
    found = critics.value(lambda x: divergences.gaussian_logits(t, x), real, fake)
    assert abs(found - TABLE[t][1]) < 0.015
