"""The Dirac-GAN against the eigenvalues of its linearisation."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.theory import dirac


@pytest.mark.parametrize("generator", ["minimax", "non_saturating"])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0, 4.0])
def test_eigenvalues(gamma, generator):
    # theta' = psi / 2, psi' = -theta / 2 - gamma psi near 0, for either loss.
    found = dirac.jacobian(gamma, generator)
    np.testing.assert_allclose(found, [[0, 0.5], [-0.5, -gamma]], atol=1e-6)
    wanted = {
        0.0: [0.5j, -0.5j],
        0.1: [-0.05 + 0.497494j, -0.05 - 0.497494j],
        1.0: [-0.5, -0.5],
        4.0: [-0.063508, -3.936492],
    }[gamma]
    np.testing.assert_allclose(dirac.eigenvalues(gamma), wanted, atol=1e-6)


def test_velocity_is_that_of_the_formula():
    theta, psi, gamma = 0.7, -0.4, 0.3
    accepted = 1 / (1 + np.exp(-psi * theta))
    found = dirac.velocity(tf.constant(theta), tf.constant(psi), gamma)
    wanted = accepted * psi, -accepted * theta - gamma * psi
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def radius(*arguments, **options):
    return np.linalg.norm(dirac.trajectory(*arguments, **options), axis=1)


def test_euler_steps_diverge_without_a_penalty():
    found = radius(0.0)
    assert np.all(np.diff(found[-200:]) > 0)
    # Near (0, 0) a step of h turns by h / 2: it multiplies the radius by
    # sqrt(1 + h^2 / 4).
    start = 1e-3 * tf.ones([2])
    step = start + 0.1 * tf.stack(dirac.velocity(start[0], start[1], 0.0))
    ratio = np.linalg.norm(step) / np.linalg.norm(start)
    assert abs(ratio - np.sqrt(1 + 0.1**2 / 4)) < 1e-5
    assert found[-1] > 2 * found[0]


def test_r1_converges():
    assert radius(1.0)[-1] < 1e-3
    # The slower eigenvalue is -0.05: e^(-0.05 * 200) = 5e-5.
    assert radius(0.1)[-1] < 1e-3
    assert radius(0.1)[500] > 1e-2


def test_alternating_steps_neither_converge_nor_diverge():
    found = radius(0.0, "alternating")
    assert 1.0 < found.min() and found.max() < 2.0


def test_gradient_flow_keeps_its_distance():
    # theta theta' + psi psi' = 0 for the minimax loss.
    np.testing.assert_allclose(radius(0.0, "flow"), np.sqrt(2), atol=1e-4)
