"""Bounds against a linear-Gaussian model, where log p(x) has a closed form."""

import types

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.losses import divergences
from tfgen.metrics import likelihood

tfd = tfp.distributions
SIZE, LATENT, VARIANCE = 6, 2, 0.3


class Linear:
    """x = W z + noise; the posterior is exact where `widen` is 1.

    p(x) = N(0, W W' + s I). With W'W = diag(d), the posterior is
    N(W'x / (d + s), s / (d + s)), a diagonal Gaussian.
    """

    def __init__(self, widen=1.0, pixels="grey"):
        random = np.random.default_rng(0)
        basis, _ = np.linalg.qr(random.normal(size=[SIZE, LATENT]))
        self.W = basis * np.array([2.0, 0.7])
        self.widen = widen
        self.config = types.SimpleNamespace(
            latent_size=LATENT, likelihood="fixed_gaussian", pixels=pixels
        )
        feature = Feature((SIZE,), "float32", 0.0, 1.0)
        self.spec = DataSpec("linear", 1, {"image": feature})
        self.prior = tfd.MultivariateNormalDiag(tf.zeros(LATENT), tf.ones(LATENT))
        self.xla = False

    def posterior(self, x):
        d = np.sum(self.W**2, axis=0)
        mean = x @ tf.constant(self.W / (d + VARIANCE), tf.float32)
        variance = np.broadcast_to(VARIANCE / (d + VARIANCE), [x.shape[0], LATENT])
        stddev = tf.constant(self.widen * np.sqrt(variance), tf.float32)
        return tfd.MultivariateNormalDiag(mean, stddev)

    def likelihood(self, z):
        mean = z @ tf.constant(self.W.T, tf.float32)
        return tfd.MultivariateNormalDiag(mean, tf.fill([SIZE], VARIANCE**0.5))

    def terms(self, x, epsilon):
        posterior = self.posterior(x)
        z = posterior.bijector.forward(epsilon)
        rates = divergences.kl_by_latent(posterior, self.prior)
        return self.likelihood(z).log_prob(x), rates, posterior.mean()

    def log_weights(self, x, epsilon):
        posterior = self.posterior(x)
        z = posterior.bijector.forward(epsilon)
        joint = self.likelihood(z).log_prob(x) + self.prior.log_prob(z)
        return joint - posterior.log_prob(z)

    def data(self, rows):
        covariance = self.W @ self.W.T + VARIANCE * np.eye(SIZE)
        normal = scipy.stats.multivariate_normal(np.zeros(SIZE), covariance)
        x = normal.rvs(rows, random_state=1).astype("float32")
        return x, normal.logpdf(x)


def test_exact_posterior_gives_log_p_at_every_k():
    model = Linear()
    x, log_p = model.data(50)
    for k in (1, 7):
        (bound,) = likelihood.measure(model, x, ["iwae"], k=k, seed=k).values()
        # Every weight is p(x); float32 sums of a dozen terms near 10.
        assert bound.value == pytest.approx(log_p.mean(), abs=2e-5)
        assert bound.error == pytest.approx(log_p.std(ddof=1) / 50**0.5, rel=1e-4)


def test_elbo_is_rate_and_distortion():
    model = Linear()
    x, log_p = model.data(2000)
    found = likelihood.measure(model, x, ["elbo", "rate", "distortion"])
    assert found["elbo"].value == pytest.approx(
        -found["rate"].value - found["distortion"].value, abs=1e-5
    )
    # KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2, by latent.
    d = np.sum(model.W**2, axis=0)
    mean, v = x @ (model.W / (d + VARIANCE)), VARIANCE / (d + VARIANCE)
    rate = 0.5 * np.sum(mean**2 + v - 1 - np.log(v), axis=1)
    assert found["rate"].value == pytest.approx(rate.mean(), rel=1e-5)
    # With the exact posterior the ELBO's expectation is log p(x); what is left is
    # the draw of epsilon, whose error is less than that over rows.
    assert abs(found["elbo"].value - log_p.mean()) < 4 * found["elbo"].error


def test_rates_and_units_are_given_in_parts():
    model = Linear()
    x, _ = model.data(200)
    found = likelihood.measure(model, x)
    # KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2, of each latent.
    d = np.sum(model.W**2, axis=0)
    mean, v = x @ (model.W / (d + VARIANCE)), VARIANCE / (d + VARIANCE)
    rates = 0.5 * (mean**2 + v - 1 - np.log(v))
    np.testing.assert_allclose(
        found["kl_by_latent"].value, rates.mean(axis=0), rtol=1e-4
    )
    errors = rates.std(axis=0, ddof=1) / 200**0.5
    np.testing.assert_allclose(found["kl_by_latent"].error, errors, rtol=1e-4)
    assert found["active_units_by_layer"].value == [found["active_units"].value]
    model.layer_sizes = (1, 1)
    units = likelihood.measure(model, x, ["active_units_by_layer"])
    assert units["active_units_by_layer"].value == [1, 1]


def test_bounds_rise_with_k_to_log_p():
    model = Linear(widen=2.5)
    x, log_p = model.data(400)
    bounds = [
        likelihood.measure(model, x, ["iwae"], k=k)["iwae"].value for k in (1, 5, 50)
    ]
    assert bounds[0] < bounds[1] < bounds[2] < log_p.mean()
    assert log_p.mean() - bounds[2] < 0.2 * (log_p.mean() - bounds[0])


def test_batches_do_not_matter():
    model = Linear(widen=2.0)
    x, _ = model.data(30)
    whole, parts = (
        likelihood.measure(model, x, k=3, seed=5, rows=rows) for rows in (30, 7)
    )
    for name, estimate in whole.items():
        assert parts[name].value == pytest.approx(estimate.value, rel=1e-6), name
    other = likelihood.measure(model, x, ["elbo"], seed=6)["elbo"].value
    assert other != pytest.approx(whole["elbo"].value, rel=1e-6)


def test_bits_of_densities_and_of_probabilities():
    model = Linear()
    # A density of 1 on [0, 1] is one level in 255: log2(255) bits each.
    bits = likelihood.bits_per_dim(model, [0.0])
    np.testing.assert_allclose(bits, [np.log2(255.0)])
    model.config.likelihood = "bernoulli"
    # p(x) = 2^-SIZE is one bit each.
    np.testing.assert_allclose(likelihood.bits_per_dim(model, [-SIZE * np.log(2)]), [1])


def test_grey_pixels_under_a_bernoulli_likelihood_have_no_bits():
    model = Linear()
    assert "bits_per_dim" in likelihood.metrics_of(model)
    model.config.likelihood = "bernoulli"
    assert "bits_per_dim" not in likelihood.metrics_of(model)
    with pytest.raises(BadInput, match="'bits_per_dim': choose from elbo"):
        likelihood.measure(model, model.data(3)[0], ["bits_per_dim"])
    model.config.pixels = "binarised"
    assert "bits_per_dim" in likelihood.metrics_of(model)


def test_active_units_are_those_whose_means_move():
    random = np.random.default_rng(0)
    means = random.normal(size=[5000, 3]) * [1.0, 0.11, 0.09] + [0.0, 0.0, 5.0]
    assert likelihood.active_units(means) == 2


def test_what_is_binarised_once_is_what_the_model_sees():
    model = Linear(pixels="binarised_once")
    grey, numbers = tf.fill([3, SIZE], 0.3), np.array([40, 3, 17])
    seen = noise.uniform_of_rows(0, "pixels", numbers, [SIZE]) < 0.3
    for seed in (0, 1):
        found = likelihood.observed(model, grey, seed, index=numbers)
        np.testing.assert_array_equal(found, tf.cast(seen, tf.float32))
    whole = likelihood.measure(model, grey, ["elbo"], index=numbers)["elbo"].value
    parts = likelihood.measure(model, grey, ["elbo"], index=numbers, rows=2)["elbo"]
    assert parts.value == pytest.approx(whole, rel=1e-6)
    other = likelihood.measure(model, grey, ["elbo"])["elbo"].value
    assert other != pytest.approx(whole, rel=1e-6)


def test_binarisation_is_one_draw_by_row():
    model = Linear(pixels="binarised")
    grey = tf.fill([6, SIZE], 0.3)
    whole = likelihood.observed(model, grey, seed=1)
    parts = [likelihood.observed(model, grey[i : i + 2], 1, i) for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, tf.concat(parts, 0))
    many = likelihood.observed(model, tf.fill([4000, SIZE], 0.3), seed=1)
    assert set(np.unique(many)) == {0.0, 1.0}
    # Standard error 0.003.
    assert float(tf.reduce_mean(many)) == pytest.approx(0.3, abs=0.01)


def test_progress_counts_every_pass():
    model, seen = Linear(), []
    x, _ = model.data(10)
    likelihood.measure(
        model, x, ["elbo", "iwae"], k=3, rows=4, progress=lambda *at: seen.append(at)
    )
    # One for the parts of each of three batches, three for its draws, drawn at once.
    assert seen == [(n, 12) for n in (1, 4, 5, 8, 9, 12)]


def test_bad_requests():
    model = Linear()
    x, _ = model.data(2)
    with pytest.raises(BadInput, match="choose from elbo"):
        likelihood.measure(model, x, ["elbow"])
    with pytest.raises(BadInput, match="k=0"):
        likelihood.measure(model, x, k=0)
    with pytest.raises(BadInput, match="0 images"):
        likelihood.measure(model, x[:0])
