"""Two parallel lines: JSD is blind to their distance, W1 is the distance."""

import math

import numpy as np
import pytest

from tfgen.losses import adversarial
from tfgen.theory import divergences, parallel_lines


@pytest.mark.parametrize("t", [-1.0, -0.1, 0.0, 0.5])
def test_closed_forms(t):
    # On a grid of bins narrower than t the lines are two atoms, or one.
    p = np.array([1.0, 0.0])
    q = p if t == 0 else p[::-1]
    wanted = {
        "kl": divergences.kl(p, q),
        "jsd": divergences.jsd(p, q),
        "total_variation": divergences.total_variation(p, q),
        "w1": abs(t),
    }
    found = parallel_lines.closed_forms(t)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("t", [-1.0, -0.25, 0.1, 0.5])
def test_exact_critic(t):
    critic = parallel_lines.exact_critic(t)
    # Means of 512 float32 rows.
    assert abs(parallel_lines.estimate(critic, t) - abs(t)) < 1e-6
    loss = adversarial.wasserstein_generator_loss
    assert parallel_lines.gradient(loss, critic, t) == pytest.approx(np.sign(t))


@pytest.mark.parametrize(
    "t", [0.1, *(pytest.param(t, marks=pytest.mark.slow) for t in (0.5, 1.0))]
)
def test_trained_discriminator_reports_log_2(t):
    value = parallel_lines.value(parallel_lines.discriminator(t, steps=1000), t)
    assert 0.68 < divergences.jsd_of_value(value) <= math.log(2) + 1e-6


@pytest.mark.parametrize(
    "t", [1.0, *(pytest.param(t, marks=pytest.mark.slow) for t in (-1.0, 0.25, 0.5))]
)
def test_trained_critic_reports_the_distance_and_the_penalty_s_bias(t):
    critic = parallel_lines.critic(t)
    wanted = {0.25: 0.253125, 0.5: 0.5125}.get(t, 1.05)
    assert parallel_lines.penalised_estimate(t) == pytest.approx(wanted)
    # Known-good runs are within 0.1%; |t| itself would be 5% off at t = 1.
    found = parallel_lines.estimate(critic, t)
    assert abs(found - wanted) < 0.02 * wanted
    slope = parallel_lines.gradient(adversarial.wasserstein_generator_loss, critic, t)
    # The penalty holds between the lines; at t its slope is the same within 3%.
    assert abs(slope - np.sign(t) * (1 + abs(t) / 20)) < 0.03


def test_a_good_discriminator_teaches_nothing():
    # Known-good: not one float32 step away from 1.
    assert np.abs(parallel_lines.learn_shift("minimax", updates=40) - 1).max() < 0.05


@pytest.mark.slow
def test_a_critic_teaches_the_generator():
    path = parallel_lines.learn_shift("wasserstein", updates=40)
    assert np.abs(path).min() < 0.05
    # A unit slope and rate 0.05: 20 updates to cross the gap.
    assert np.all(np.diff(path[:18]) < -0.04)


def test_instance_noise_makes_jsd_smooth():
    # Noise s gives N(0, s^2) and N(t, s^2) across the lines: the JSD of t / s.
    x = np.linspace(-5, 5.5, 8001)
    p, q = (
        divergences.masses(lambda x, m=m: np.exp(-2 * (x - m) ** 2), x)
        for m in (0.0, 0.5)
    )
    assert abs(divergences.jsd(p / p.sum(), q / q.sum()) - 0.111421) < 1e-6
