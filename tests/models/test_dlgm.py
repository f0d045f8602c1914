"""The DLGM against linear algebra in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.synthetic import stream
from tfgen import models
from tfgen.core.spec import DataSpec, Feature
from tfgen.models.dlgm import DLGM, DLGMConfig, RankOne
from tfgen.networks import dense

tfd = tfp.distributions


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def rank_one(scale=1.0):
    mean, log_precision, u = random(3, 5, 4)
    parts = mean, log_precision, scale * u
    precision = np.stack(
        [np.diag(np.exp(d)) + np.outer(v, v) for d, v in zip(*parts[1:], strict=True)]
    )
    found = RankOne(*(tf.constant(part) for part in parts))
    return found, mean, np.linalg.inv(precision)


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_rank_one_precision(scale):
    found, mean, covariance = rank_one(scale)
    # The columns of R, by drawing with unit vectors: R R' = C.
    units = tf.constant(np.repeat(np.eye(4)[:, None], 5, axis=1))
    columns = (found.draw(units) - mean).numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(
        columns @ columns.transpose(0, 2, 1), covariance, atol=1e-10
    )
    np.testing.assert_allclose(
        found.log_determinant(), np.linalg.slogdet(covariance)[1], rtol=1e-10
    )
    np.testing.assert_allclose(
        found.variance(), np.diagonal(covariance, axis1=1, axis2=2), rtol=1e-9
    )
    exact = tfd.MultivariateNormalTriL(mean, np.linalg.cholesky(covariance))
    epsilon = random(5, 4, seed=1)
    np.testing.assert_allclose(
        found.log_prob_of_draw(tf.constant(epsilon)),
        exact.log_prob(found.draw(tf.constant(epsilon))),
        rtol=1e-8,
    )
    standard = tfd.MultivariateNormalTriL(np.zeros(4), np.eye(4))
    np.testing.assert_allclose(
        found.rate(), tfd.kl_divergence(exact, standard), rtol=1e-8
    )


def test_every_draw_of_the_exact_model_weighs_log_p():
    # x = a b' xi + noise of s I: the posterior of xi has precision I + (|a|^2 / s) b b'
    # and mean C b a'x / s, so D = I and u = b |a| / sqrt s. p(x) is the normal of
    # covariance |b|^2 a a' + s I.
    a, b, s = random(6), random(4, seed=1), 0.3
    x = random(5, 6, seed=2)
    covariance = np.linalg.inv(np.eye(4) + a @ a / s * np.outer(b, b))
    mean = x @ np.outer(a, b) @ covariance / s

    spec = DataSpec("linear", 5, {"image": Feature((6,), "float32", 0.0, 1.0)})
    config = DLGMConfig(latents=(4,), likelihood="fixed_gaussian", variance=s)

    class Exact(DLGM):
        def posterior(self, images):
            u = np.tile(b * math.sqrt(a @ a / s), [5, 1])
            parts = mean, np.zeros([5, 4]), u
            return [RankOne(*(tf.constant(part, tf.float32) for part in parts))]

    gain = dense.mlp([4], [[4]], [], "relu", name="gain")
    decoder = dense.mlp([4], [[6]], [], "relu", name="decoder")
    gain.set_weights([np.eye(4), np.zeros(4)])
    decoder.set_weights([np.outer(b, a), np.zeros(6)])
    model = Exact(config, spec, decoder, decoder, [gain], [])

    marginal = b @ b * np.outer(a, a) + s * np.eye(6)
    exact = -0.5 * (
        np.linalg.slogdet(2 * math.pi * marginal)[1]
        + np.sum(x * np.linalg.solve(marginal, x.T).T, axis=1)
    )
    epsilon = tf.constant(random(7, 5, 4, seed=3), tf.float32)
    found = model.log_weights(tf.constant(x, tf.float32), epsilon).numpy()
    # float32 squares of up to 100, divided by s.
    np.testing.assert_allclose(found, np.broadcast_to(exact, [7, 5]), atol=1e-3)


def test_terms_agree_with_the_weights_on_average():
    # E (log-likelihood - rate) = E log w; the same draws in both.
    model = models.build("dlgm", "tiny", spec=stream(8).spec, xla="off")
    x = tf.constant(stream(8).arrays["image"][:8] / 255.0, tf.float32)
    epsilon = tf.constant(random(2000, 8, 7), tf.float32)
    log_likelihood, rates, means = model.terms(x, epsilon)
    assert rates.shape == (8, 2)
    assert means.shape == (8, 7)
    apart = (log_likelihood - tf.reduce_sum(rates, -1)).numpy()
    apart = (apart - model.log_weights(x, epsilon).numpy()).mean(axis=1)
    assert apart.std() > 1e-3
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(len(apart))


def test_layers_join_in_order():
    # h1 = T(h2) + G1 xi1, h2 = G2 xi2.
    model = models.build("dlgm", "tiny", spec=stream(8).spec, xla="off")
    z = tf.constant(random(3, 7), tf.float32)
    h = model.transforms[0](model.gains[1](z[:, 4:])) + model.gains[0](z[:, :4])
    np.testing.assert_allclose(
        model.decode(z), tf.sigmoid(model.decoder(h)), rtol=1e-5, atol=1e-6
    )
