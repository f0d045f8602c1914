"""The VAE against probabilistic PCA, where everything has a closed form."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.core.spec import DataSpec, Feature
from tfgen.data import Stream
from tfgen.losses import divergences, likelihoods
from tfgen.models import latent
from tfgen.models.vae import IWAE, VAE, IWAEConfig, MonteCarloVAE, VAEConfig

LATENT = 4


@functools.cache
def digits():
    """scikit-learn's 8x8 digits in [0, 1], constant pixels dropped: [1797, d]."""
    from sklearn.datasets import load_digits

    pixels = load_digits().data / 16.0
    return pixels[:, pixels.std(0) > 0].astype("float64")


@functools.cache
def optimum():
    """(W, m, s2, eigenvalues, mean log-likelihood) of probabilistic PCA.

    p(x) = N(m, W W' + s2 I); at the optimum s2 is the mean of the discarded
    eigenvalues l of the covariance and W = U (L - s2 I)^(1/2) (Tipping and Bishop
    1999), so that the mean of log p(x) is
    -1/2 [d log 2 pi + sum_{i <= k} log l_i + (d - k) log s2 + d].
    """
    x = digits()
    mean = x.mean(0)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    d = x.shape[1]
    s2 = values[LATENT:].mean()
    weights = vectors[:, :LATENT] * np.sqrt(values[:LATENT] - s2)
    logs = np.log(values[:LATENT]).sum() + (d - LATENT) * math.log(s2)
    return weights, mean, s2, values, -0.5 * (d * math.log(2 * math.pi) + logs + d)


def spec():
    d = digits().shape[1]
    return DataSpec("digits", 1797, {"image": Feature((d,), "float32", 0.0, 1.0)})


def linear_encoder(**layer):
    d = digits().shape[1]
    x = keras.Input([d])
    mean = keras.layers.Dense(LATENT, **layer)(x)
    log_variance = keras.layers.Dense(LATENT, **layer)(x)
    return keras.Model(x, [mean, log_variance])


def exact_model(cls=VAE, config_class=VAEConfig):
    """A class with the optimal decoder and the exact posterior.

    q(z|x) = N(M^-1 W' (x - m), s2 M^-1) with M = W'W + s2 I = L_k, diagonal.
    """
    weights, mean, s2, values, _ = optimum()
    encoder = linear_encoder()
    decoder = keras.Sequential([keras.Input([LATENT]), keras.layers.Dense(len(mean))])
    inverse = weights / values[:LATENT]
    variance = np.log(s2 / values[:LATENT])
    encoder.set_weights([inverse, -mean @ inverse, np.zeros_like(inverse), variance])
    decoder.set_weights([weights.T, mean])
    config = config_class(
        latent_size=LATENT, likelihood="fixed_gaussian", variance=float(s2)
    )
    model = cls(config, spec(), encoder, decoder)
    model.compile()
    return model


def analytic_elbo(mean, stddev, weights, centre, s2, x):
    """Mean of -KL + E_q log N(x; Wz + m, s2 I), the expectation taken exactly.

    E |x - Wz - m|^2 = |x - W mean - m|^2 + sum_j stddev_j^2 |W_j|^2.
    """
    residual = ((x - mean @ weights.T - centre) ** 2).sum(1)
    spread = (stddev**2 * (weights**2).sum(0)).sum(1)
    likelihood = -0.5 * (
        x.shape[1] * np.log(2 * math.pi * s2) + (residual + spread) / s2
    )
    kl = 0.5 * (mean**2 + stddev**2 - 1 - 2 * np.log(stddev)).sum(1)
    return np.mean(likelihood - kl)


def test_estimator_b_of_the_exact_model():
    weights, centre, s2, _, best = optimum()
    model = exact_model()
    x = digits().astype("float32")
    code = {k: v.numpy().astype("float64") for k, v in model.encode(x).items()}
    elbo = analytic_elbo(code["mean"], code["stddev"], weights, centre, s2, digits())
    assert abs(elbo - best) < 1e-3
    # The same through the model's own loss, 100 draws: three standard errors.
    draws = np.array(
        [
            model.loss_and_parts(x, tf.random.stateless_normal([1797, LATENT], [0, i]))[
                1
            ]["elbo"].numpy()
            for i in range(100)
        ]
    )
    assert abs(draws.mean() - best) < 3 * draws.std() / math.sqrt(100) + 1e-3
    # Its KL is the library's.
    kl = divergences.kl(model.posterior(x), model.prior).numpy()
    np.testing.assert_allclose(
        kl,
        0.5
        * (
            code["mean"] ** 2 + code["stddev"] ** 2 - 1 - 2 * np.log(code["stddev"])
        ).sum(1),
        rtol=1e-5,
    )


def test_estimator_a_of_the_exact_model_has_no_variance():
    # Every draw returns log p(x): log p(x, z) - log p(z | x).
    weights, centre, s2, _, best = optimum()
    model = exact_model()
    covariance = weights @ weights.T + s2 * np.eye(len(centre))
    centred = digits() - centre
    quadratic = (centred * np.linalg.solve(covariance, centred.T).T).sum(1)
    logdet = np.linalg.slogdet(2 * math.pi * covariance)[1]
    exact = -0.5 * (logdet + quadratic)
    assert abs(exact.mean() - best) < 1e-9
    for seed in range(3):
        epsilon = tf.random.stateless_normal([1797, LATENT], [1, seed])
        found = model.log_weights(digits().astype("float32"), epsilon).numpy()
        # float32 sums of 60 terms of size up to 100.
        np.testing.assert_allclose(found, exact, atol=5e-4)
        assert abs(found.astype("float64").mean() - best) < 1e-4


@pytest.mark.parametrize("k", [1, 10, 100])
def test_importance_weighted_bounds_of_the_exact_model_are_equal(k):
    best = optimum()[-1]
    x = digits().astype("float32")
    model = exact_model()
    weights_of = tf.function(model.log_weights)
    draws = [tf.random.stateless_normal([1797, LATENT], [2, i]) for i in range(k)]
    log_weights = tf.stack([weights_of(x, epsilon) for epsilon in draws])
    bound = divergences.importance_weighted_bound(log_weights).numpy()
    assert abs(bound.astype("float64").mean() - best) < 1e-3
    assert abs(log_prob(model, x, k).mean() - best) < 1e-3


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize(
    ("cls", "config_class"), [(MonteCarloVAE, VAEConfig), (IWAE, IWAEConfig)]
)
def test_losses_of_estimator_a_and_iwae_of_the_exact_model(cls, config_class, draws):
    # As above, through what the classes descend; a single draw is enough.
    x = digits().astype("float32")
    epsilon = tf.random.stateless_normal([1797, draws, LATENT], [3, draws])
    loss, parts = exact_model(cls, config_class).loss_and_parts(x, epsilon)
    best = optimum()[-1]
    # Means of 1,797 float32 numbers of size up to 100.
    assert abs(float(loss) + best) < 1e-3
    assert abs(float(parts["elbo"]) - best) < 1e-3


def log_prob(model, x, samples):
    """`model.log_prob` as a graph: eagerly its loop runs op by op."""
    bound = tf.function(lambda x: model.log_prob(x, samples), autograph=False)
    return bound(x).numpy().astype("float64")


class LinearVAE(VAE):
    """One learned variance for all pixels, and a mean without sigmoid."""

    def likelihood(self, z):
        mean, log_variance = self.decoder(z)
        return likelihoods.gaussian(mean, log_variance)


class OneNumber(keras.layers.Layer):
    """A learned constant, of the shape of its input."""

    def build(self, shape):
        self.number = self.add_weight(shape=(), initializer="zeros")

    def call(self, x):
        return tf.zeros_like(x) + self.number


def test_training_the_linear_model_approaches_the_optimum():
    *_, best = optimum()
    x = digits().astype("float32")
    z = keras.Input([LATENT])
    mean = keras.layers.Dense(x.shape[1])(z)
    decoder = keras.Model(z, [mean, OneNumber()(mean)])
    model = LinearVAE(VAEConfig(latent_size=LATENT), spec(), linear_encoder(), decoder)
    model.compile(
        xla=True,
        steps_per_execution=200,
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-2, 3000)
        ),
    )
    data = Stream({"image": x}, spec(), batch=256)
    found = []
    for steps in (200, 200, 600, 2000):
        model.fit(data, steps_per_epoch=steps, verbose=0)
        code = {k: v.numpy().astype("float64") for k, v in model.encode(x).items()}
        kernel, bias, log_variance = model.decoder.get_weights()
        s2 = math.exp(log_variance)
        found.append(
            analytic_elbo(code["mean"], code["stddev"], kernel.T, bias, s2, digits())
        )
    # Exact expectations: no standard error, only float32 weights.
    assert max(found) < best + 1e-3
    assert found[-1] > best - 0.5
    assert found[0] < best - 0.5


# Beyond the linear model ------------------------------------------------------


def build(**hparams):
    return models.build("vae", "tiny", spec=stream(8).spec, hparams=hparams, xla="off")


def images(rows=8):
    return tf.constant(stream(8).arrays["image"][:rows] / 255.0, tf.float32)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "fixed_gaussian"])
def test_both_estimators_have_one_expectation(likelihood):
    model = build(likelihood=likelihood)
    x, draws = images(), 500
    a, b = [], []

    @tf.function
    def both(epsilon):
        _, parts = model.loss_and_parts(x, epsilon)
        return tf.reduce_mean(model.log_weights(x, epsilon)), parts["elbo"]

    for i in range(draws):
        one, other = both(tf.random.stateless_normal([8, 4], [0, i]))
        a.append(float(one))
        b.append(float(other))
    a, b = np.array(a), np.array(b)
    # The same draws in both: the standard error is that of the difference.
    assert abs((a - b).mean()) < 4 * (a - b).std() / math.sqrt(draws)
    assert (a - b).std() > 1e-3


def test_log_prob_is_a_bound_that_rises():
    model = build()
    x = images()
    model.fit(stream(8), steps_per_epoch=20, verbose=0)
    bounds = [log_prob(model, x, k).mean() for k in (1, 10, 200)]
    epsilon = tf.random.stateless_normal([8, 4], [0, 0])
    assert bounds[0] < bounds[1] < bounds[2]
    _, parts = model.loss_and_parts(x, epsilon)
    assert bounds[2] > parts["elbo"]
    np.testing.assert_array_equal(log_prob(model, x, 10), log_prob(model, x, 10))


def test_parts_add_up_to_the_loss():
    model = build()
    loss, parts = model.loss_and_parts(images(), tf.zeros([8, 4]))
    assert set(parts) == {"elbo", "log_likelihood", "kl", "health/active_units"}
    np.testing.assert_allclose(parts["elbo"], parts["log_likelihood"] - parts["kl"])
    np.testing.assert_allclose(loss, -parts["elbo"])
    # Sums over 64 pixels: log 2 each at the start, not a mean over them.
    assert parts["log_likelihood"] < -30


def observed(model, step, index):
    """What the likelihood sees of rows `index` at a step."""
    model._begin(lambda: step)
    batch = {"image": tf.gather(images(64), index), "index": tf.constant(index)}
    return latent.observe(model, batch).numpy()


def test_binarised_pixels_are_drawn_anew():
    model, index = build(pixels="binarised"), list(range(8))
    drawn = [observed(model, step, index) for step in range(2)]
    for binary in drawn:
        assert set(np.unique(binary)) == {0.0, 1.0}
    assert np.any(drawn[0] != drawn[1])
    # 8 * 64 pixels: 5 standard errors of at most 1/2 / sqrt(512).
    assert abs(drawn[0].mean() - images().numpy().mean()) < 0.11
    grey = observed(build(), 0, index)
    assert grey.tobytes() == images().numpy().tobytes()


def test_pixels_binarised_once_belong_to_the_image():
    model = build(pixels="binarised_once")
    first = observed(model, 0, list(range(64)))
    assert set(np.unique(first)) == {0.0, 1.0}
    # 64 * 64 pixels, as above.
    assert abs(first.mean() - images(64).numpy().mean()) < 0.04
    some = [40, 3, 17]
    np.testing.assert_array_equal(observed(model, 9, some), first[some])


def test_training_raises_the_elbo():
    model = build(learning_rate=1e-2)
    before = model.evaluate(stream(8), verbose=0, return_dict=True)["elbo"]
    model.fit(stream(8), steps_per_epoch=100, verbose=0)
    after = model.evaluate(stream(8), verbose=0, return_dict=True)["elbo"]
    assert after > before + 10
