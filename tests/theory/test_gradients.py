"""The generator's gradient under perfect, sure and noisy discriminators."""

import numpy as np
import pytest
from scipy.stats import cauchy, kstest

from tests.theory.test_divergences import TABLE
from tfgen.losses import adversarial
from tfgen.theory import divergences, gradients, parallel_lines


@pytest.mark.parametrize("t", TABLE)
def test_gradients_of_the_library_s_losses_at_the_optimum(t):
    def logits(x):
        return divergences.gaussian_logits(t, x)

    z = gradients.even_normal()
    minimax, non_saturating = (
        gradients.of_shift(loss, logits, t, z)
        for loss in (
            adversarial.minimax_generator_loss,
            adversarial.non_saturating_generator_loss,
        )
    )
    # 2^16 quantiles stand for the integral.
    np.testing.assert_allclose((minimax, non_saturating), TABLE[t][2:], atol=1e-4)
    assert abs(minimax + non_saturating - t) < 1e-9


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0, 10.0])
def test_point_masses(slope):
    t, offset = 0.7, 0.3
    found = [
        abs(gradients.of_shift(loss, lambda x: offset - slope * x, t, [0.0]))
        for loss in (
            adversarial.minimax_generator_loss,
            adversarial.non_saturating_generator_loss,
        )
    ]
    wanted = gradients.point_mass_gradients(slope, offset, t)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    if slope:
        ratio = np.exp(offset - slope * t)
        np.testing.assert_allclose(found[0] / found[1], ratio, rtol=1e-12)


def test_neither_a_blind_nor_a_sure_discriminator_teaches():
    t = 2.0
    best = gradients.best_slope(t)

    def minimax(slope):
        return gradients.point_mass_gradients(slope, slope * t / 2, t)[0]

    assert best * t / 2 == pytest.approx(1.278465, abs=1e-6)
    assert minimax(best) > max(minimax(0.99 * best), minimax(1.01 * best))
    assert minimax(0.0) == 0
    assert minimax(40.0) < 1e-15


def test_gradient_while_the_discriminator_trains():
    signal = parallel_lines.signal_over_training(at=(0, 50, 200, 1000))
    # Known-good: from 0.31 at 50 steps to 2e-8; up to 3,000 in the slow claim.
    assert max(signal.minimax) >= 100 * signal.minimax[-1]
    assert np.all(np.diff(signal.minimax[1:]) < 0)
    # It never falls: 0.04, 0.94, 9.7, 31.
    assert np.all(np.diff(signal.non_saturating) > 0)
    assert abs(signal.wasserstein[-1] - 1.05) < 0.1


def test_bound_holds_for_a_good_discriminator():
    # On two points D = sigmoid(a/2 - a x) misses a perfect D by sigmoid(-a/2) and its
    # slope by a D (1 - D), at 0 and at 1 alike.
    for slope in (8.0, 12.0, 20.0):
        d = 1 / (1 + np.exp(slope / 2))
        error = d + slope * d * (1 - d)
        assert error < 1
        found, _ = gradients.point_mass_gradients(slope, slope / 2, 1.0)
        assert found < gradients.bound_of_good_discriminator(error)
    assert error < 1e-3


def test_noisy_discriminator_gives_cauchy_gradients():
    found = gradients.perturbed_non_saturating(2**18, 0.2, 0.6)
    # A Cauchy of scale 3; 1 / sqrt(2^18) = 0.002.
    assert kstest(found, cauchy(scale=3).cdf).statistic < 0.005
    assert kstest(found, cauchy(scale=2).cdf).statistic > 0.05
    # No variance: the sum of squares is a few rows'.
    squares = np.sort(found**2)
    assert squares[-10:].sum() > 0.5 * squares.sum()


def test_blind_discriminator_s_gradient_is_zero():
    for loss in (
        adversarial.minimax_generator_loss,
        adversarial.non_saturating_generator_loss,
    ):
        assert parallel_lines.gradient(loss, lambda x: 0 * x[:, :1], 1.0) == 0
