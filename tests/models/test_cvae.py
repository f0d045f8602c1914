"""The conditional VAE against a linear-Gaussian model, and what it must not see."""

import functools
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.synthetic import stream
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.layers.quadrants import Quadrants
from tfgen.losses import divergences, likelihoods
from tfgen.metrics import conditional
from tfgen.models.cvae import CVAE, CVAEConfig

tfd = tfp.distributions
SIDE, LATENT, VARIANCE = 4, 2, 0.3
SEEN, MISSING = 4, 12


class LinearCVAE(CVAE):
    """Generation is linear, and p(y | x, z) a Gaussian of one fixed variance."""

    def likelihood(self, z, x):
        mean = self.generation(tf.concat([z, x], axis=1))
        return likelihoods.fixed_gaussian(mean, VARIANCE)


@functools.cache
def truth():
    """z | x ~ N(Ax, diag p) and y | x, z ~ N(Bz + Cx, s I), B'B diagonal.

    Then y | x ~ N((BA + C)x, B diag(p) B' + s I), and the posterior's precision
    diag(1/p + |B_j|^2 / s) is diagonal: a member of the recognition's family.
    """
    random = np.random.default_rng(0)
    a, c = random.normal(size=[LATENT, SEEN]), random.normal(size=[MISSING, SEEN])
    b, _ = np.linalg.qr(random.normal(size=[MISSING, LATENT]))
    return a, b * [1.5, 0.8], c, np.array([0.7, 1.6])


def linear(sizes, kernels, biases):
    """A network of one or two linear outputs with these weights."""
    inputs = keras.Input([sizes])
    outputs = [keras.layers.Dense(k.shape[1])(inputs) for k in kernels]
    network = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    pairs = zip(kernels, biases, strict=True)
    network.set_weights([weight for pair in pairs for weight in pair])
    return network


def exact_model(alpha=1.0):
    """The true prior and generation, and the exact posterior.

    q's mean is V (A x / p + B'(y - C x) / s) with V = 1 / (1/p + |B_j|^2 / s).
    """
    a, b, c, p = truth()
    v = 1 / (1 / p + (b**2).sum(0) / VARIANCE)
    of_x = (a / p[:, None] - b.T @ c / VARIANCE) * v[:, None]
    of_y = b.T / VARIANCE * v[:, None]
    mean = np.concatenate([of_x, of_y], axis=1).T
    zeros = np.zeros(LATENT)
    image = Feature((SIDE, SIDE, 1), "float32", 0.0, 1.0)
    model = LinearCVAE(
        CVAEConfig(latent_size=LATENT, alpha=alpha),
        DataSpec("linear", 1, {"image": image}),
        linear(SEEN + MISSING, [mean, 0 * mean], [zeros, np.log(v)]),
        linear(SEEN, [a.T, 0 * a.T], [zeros, np.log(p)]),
        linear(LATENT + SEEN, [np.concatenate([b, c], axis=1).T], [np.zeros(MISSING)]),
    )
    model.compile()
    return model


@functools.cache
def data():
    """(x, y, log p(y | x)) of 40 rows, float32 and float64."""
    a, b, c, p = truth()
    random = np.random.default_rng(1)
    x = random.normal(size=[40, SEEN])
    z = x @ a.T + random.normal(size=[40, LATENT]) * np.sqrt(p)
    y = z @ b.T + x @ c.T + random.normal(size=[40, MISSING]) * VARIANCE**0.5
    covariance = b * p @ b.T + VARIANCE * np.eye(MISSING)
    centred = y - x @ (b @ a + c).T
    quadratic = (centred * np.linalg.solve(covariance, centred.T).T).sum(1)
    logdet = np.linalg.slogdet(2 * math.pi * covariance)[1]
    x, y = (tf.constant(rows, tf.float32) for rows in (x, y))
    return x, y, -0.5 * (quadratic + logdet)


def epsilon(seed, rows=40):
    return tf.random.stateless_normal([rows, LATENT], [0, seed])


def test_every_importance_weight_of_the_exact_posterior_is_the_likelihood():
    model, (x, y, exact) = exact_model(), data()
    for seed in range(3):
        found = model.importance_log_weight(x, y, epsilon(seed))
        # float32 sums of 16 terms of size up to 30.
        np.testing.assert_allclose(found, exact, atol=1e-4)


def test_the_bound_of_the_exact_posterior_is_the_likelihood():
    """Its reconstruction term by the closed form of E |y - Bz - Cx|^2."""
    _, b, c, _ = truth()
    model, (x, y, exact) = exact_model(), data()
    posterior = model.posterior(x, y)
    kl = divergences.kl(posterior, model.conditional_prior(x)).numpy().astype(float)
    mean, variance = posterior.mean().numpy(), posterior.variance().numpy()
    residual = ((y.numpy() - mean @ b.T - x.numpy() @ c.T) ** 2).sum(1)
    spread = (variance * (b**2).sum(0)).sum(1)
    constant = MISSING * np.log(2 * math.pi * VARIANCE)
    bound = -0.5 * (constant + (residual + spread) / VARIANCE) - kl
    np.testing.assert_allclose(bound, exact, atol=1e-4)
    # The model's own estimate of it, 200 draws: four standard errors.
    parts = tf.function(lambda *draws: model.loss_and_parts(x, y, *draws)[1])
    draws = [float(parts(epsilon(i), epsilon(-i - 1))["elbo"]) for i in range(200)]
    error = np.std(draws) / 200**0.5
    assert abs(np.mean(draws) - exact.mean()) < 4 * error + 1e-4


def test_monte_carlo_approaches_from_below_and_the_network_stays_away():
    model, (x, y, exact) = exact_model(), data()
    draw = tf.function(lambda noise: model.prior_log_likelihood(x, y, noise))
    weights = np.stack([draw(epsilon(i)).numpy() for i in range(2000)]).astype(float)

    def estimate(draws):
        blocks = weights.reshape([-1, draws, 40])
        largest = blocks.max(axis=1)
        inside = np.exp(blocks - largest[:, None]).mean(axis=1)
        return (largest + np.log(inside)).mean()

    one, ten, many = (estimate(draws) for draws in (1, 10, 2000))
    assert one < ten < many < exact.mean() + 0.02
    assert many > exact.mean() - 0.1
    # The GSNN objective is the estimate of one draw: strictly below the bound's
    # optimum, by E log p - log E p, since B p B' is not 0.
    parts = tf.function(lambda noise: model.loss_and_parts(x, y, noise, noise)[1])
    gsnn = np.mean([float(parts(epsilon(i))["gsnn"]) for i in range(50)])
    assert gsnn < exact.mean() - 2
    assert gsnn == pytest.approx(one, abs=1.0)


def test_the_best_is_what_is_trained():
    assert exact_model(0.3).monitor == ("elbo", "max")
    assert exact_model(0.0).monitor == ("gsnn", "max")


def test_alpha_mixes_bound_and_network():
    x, y, _ = data()
    draws = epsilon(0), epsilon(1)
    for alpha in (0.0, 0.3, 1.0):
        loss, parts = exact_model(alpha).loss_and_parts(x, y, *draws)
        wanted = alpha * parts["elbo"] + (1 - alpha) * parts["gsnn"]
        np.testing.assert_allclose(-loss, wanted, rtol=1e-6)
        np.testing.assert_allclose(
            parts["elbo"], parts["log_likelihood"] - parts["kl"], rtol=1e-6
        )


def test_the_kl_moves_both_networks():
    model, (x, y, _) = exact_model(), data()
    networks = model.recognition, model.prior
    variables = [v.value for n in networks for v in n.trainable_variables]
    with tf.GradientTape() as tape:
        kl = divergences.kl(model.posterior(x, y), model.conditional_prior(x))
    for gradient in tape.gradient(kl, variables):
        assert np.abs(gradient).max() > 1e-3


def test_kl_of_diagonal_gaussians():
    """sum_j log(s_p/s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2, 1000 pairs."""
    random = np.random.default_rng(0)
    m_q, m_p = random.normal(size=[2, 1000, 3])
    s_q, s_p = np.exp(0.5 * random.normal(size=[2, 1000, 3]))
    pair = (
        tfd.MultivariateNormalDiag(*(tf.constant(x, tf.float32) for x in given))
        for given in ((m_q, s_q), (m_p, s_p))
    )
    ratio = (s_q**2 + (m_q - m_p) ** 2) / (2 * s_p**2)
    wanted = (np.log(s_p / s_q) + ratio - 0.5).sum(1)
    found = divergences.kl(*pair).numpy()
    # Absolute where it is of size 1, relative where it is large: float32.
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


class Recorded(types.SimpleNamespace):
    """The exact model as the metrics see it, its data already split."""

    def split(self, batch):
        x, y, _ = data()
        rows = np.asarray(batch["image"], int)[:, 0]
        return tf.gather(x, rows), tf.gather(y, rows)


def test_metrics():
    model = exact_model()
    names = ("importance_log_weight", "prior_log_likelihood", "posterior")
    names += ("conditional_prior", "likelihood", "xla")
    seen = Recorded(**{name: getattr(model, name) for name in names})
    seen.config = types.SimpleNamespace(latent_size=LATENT, pixels="grey")
    batch, exact = {"image": np.arange(40.0)[:, None]}, data()[2]
    whole, parts = (
        conditional.measure(seen, batch, conditional.LATENT, k=3, rows=rows)
        for rows in (40, 13)
    )
    assert whole["cll_importance"].value == pytest.approx(exact.mean(), abs=1e-4)
    assert whole["cll_importance"].error == pytest.approx(
        exact.std(ddof=1) / 40**0.5, rel=1e-4
    )
    assert whole["cll_mc"].value < exact.mean()
    for name, estimate in whole.items():
        assert parts[name].value == pytest.approx(estimate.value, rel=1e-5), name
    with pytest.raises(BadInput, match="choose from cll_importance"):
        conditional.measure(seen, batch, ["elbo"])


# Images -----------------------------------------------------------------------


def build(name="cvae", **hparams):
    return models.build(name, "tiny", spec=stream(8).spec, hparams=hparams, xla="off")


def images(rows=8):
    return tf.constant(stream(8).arrays["image"][:rows] / 255.0, tf.float32)


@pytest.mark.parametrize(("quadrants", "missing"), [(1, 588), (2, 392), (3, 196)])
def test_quadrants(quadrants, missing):
    halves = Quadrants((28, 28, 1), quadrants)
    pictures = tf.reshape(tf.range(2 * 784), [2, 28, 28, 1])
    x, y = halves.split(pictures)
    assert (x.shape, y.shape) == ((2, 784 - missing), (2, missing))
    np.testing.assert_array_equal(halves.join(x, y), pictures)
    mask = halves.join(0 * x, 0 * y + 1).numpy()[0, :, :, 0]
    corners = {
        "ul": mask[0, 0],
        "ur": mask[0, -1],
        "ll": mask[-1, 0],
        "lr": mask[-1, -1],
    }
    seen = {1: {"ll"}, 2: {"ll", "ul"}, 3: {"ll", "ul", "ur"}}[quadrants]
    assert {name for name, value in corners.items() if value == 0} == seen


@pytest.mark.parametrize("name", ["cvae", "cvae_guided"])
def test_a_completion_does_not_look_at_what_is_missing(name):
    model, one = build(name), images()
    x, y = model.quadrants.split(one)
    other = model.quadrants.join(x, 1 - y)
    z = tf.random.stateless_normal([8, 4], [0, 0])
    np.testing.assert_array_equal(model.decode(z, one), model.decode(z, other))
    np.testing.assert_array_equal(model.reconstruct(one), model.reconstruct(other))
    # What was observed is left as it is, and recognition does look at y.
    np.testing.assert_array_equal(model.quadrants.split(model.decode(z, one))[0], x)
    difference = model.encode(one)["mean"] - model.encode(other)["mean"]
    assert np.abs(difference).max() > 1e-3


def test_the_generator_may_be_blind_to_the_condition():
    assert build().generation.input_shape[1] == 4 + 16
    assert build(condition_generator=False).generation.input_shape[1] == 4


def test_the_guided_prior_sees_the_prediction():
    model = build("cvae_guided")
    x, _ = model.quadrants.split(images())
    before = model.conditional_prior(x).mean()
    *_, bias = model.baseline.trainable_variables
    bias.assign_add(tf.ones_like(bias.value))
    assert np.abs(model.conditional_prior(x).mean() - before).max() > 1e-4


def test_endpoints_are_in_units_of_the_prior():
    model = build("cvae_label")
    labels = tf.range(8, dtype=tf.int64)
    code = model.encode(images(), labels)
    x, y = model.split({"image": images(), "label": labels})
    kl = divergences.kl(model.posterior(x, y), model.conditional_prior(x))
    by_code = 0.5 * (
        code["mean"] ** 2 + code["stddev"] ** 2 - 1 - 2 * tf.math.log(code["stddev"])
    )
    np.testing.assert_allclose(tf.reduce_sum(by_code, axis=1), kl, rtol=1e-4, atol=1e-6)
    again = model.likelihood(model.posterior(x, y).mean(), x).mean()
    decoded = tf.reshape(model.decode(code["mean"], labels), [8, -1])
    np.testing.assert_allclose(decoded, again, atol=1e-6)
