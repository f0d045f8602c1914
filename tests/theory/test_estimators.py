"""The two gradient estimators against closed forms by quadrature and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.losses import estimators as library
from tfgen.theory import claims, estimators


@pytest.mark.parametrize("baseline", [0.0, 1.3])
def test_closed_form_in_one_dimension(baseline):
    """Against Gauss-Hermite quadrature, exact for these polynomials."""
    x, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    c, s = 0.7, 0.4
    gradient = (((c + s * x) ** 2) / 2 - baseline) * x / s
    mean = np.sum(weights * gradient)
    assert mean == pytest.approx(c, rel=1e-12)
    wanted = np.sum(weights * gradient**2) - mean**2
    found = estimators.score_function_variance([c], s, baseline)
    assert found == pytest.approx(wanted, rel=1e-12)


def test_one_draw_by_hand():
    # z = 1 + 0.5 * 2 = 2, f = z^2 / 2 = 2. Through z: z = 2. By the score:
    # (f - b) epsilon / s = (2 - b) * 2 / 0.5.
    one = [tf.constant([[x]], tf.float64) for x in (1.0, 0.5, 2.0)]
    for estimator, options, wanted in (
        (library.reparameterised, {}, 2.0),
        (library.score_function, {}, 8.0),
        (library.score_function, {"baseline": 0.5}, 6.0),
    ):
        mean, stddev, epsilon = one
        with tf.GradientTape() as tape:
            tape.watch(mean)
            value = estimator(estimators.half_square, mean, stddev, epsilon, **options)
        assert tape.gradient(value, mean).numpy() == pytest.approx(wanted, rel=1e-12)


def test_claim():
    claim = claims.gradient_estimators()
    assert [c.quantity for c in claim.checks if not c.passed] == []
    curves = claim.results["curves"]
    ratio = np.divide(curves["score function"], curves["reparameterised"])
    assert ratio[0] > 2 and np.all(np.diff(ratio) > 0)
    # d^3 against d: a factor 4 for every doubling.
    assert ratio[63] / ratio[31] == pytest.approx(4, rel=0.15)
