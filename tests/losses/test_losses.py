"""Losses and bounds against closed forms in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.losses import adversarial, divergences, health, likelihoods, penalties

tfd = tfp.distributions


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def float32(x):
    return tf.constant(x, tf.float32)


# Gradient penalty -------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (4, 4, 2)])
def test_penalty_of_a_linear_critic(shape):
    # f(x) = a.x has gradient a everywhere: (|a| - 1)^2.
    a = normal(*shape)
    real, fake = normal(5, *shape, seed=1), normal(5, *shape, seed=2)
    mix = np.random.default_rng(3).uniform(size=[5, *([1] * len(shape))])

    def critic(x):
        return tf.reduce_sum(float32(a) * x, axis=range(1, x.shape.rank))[:, None]

    found = penalties.gradient_penalty(critic, *map(float32, (real, fake, mix)))
    wanted = (np.linalg.norm(a) - 1) ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_penalty_is_taken_between_the_pairs():
    # f(x) = |x|^2 / 2 has gradient x: the penalty is mean (|m r + (1 - m) f| - 1)^2,
    # each row with its own m.
    real, fake = normal(6, 3), normal(6, 3, seed=1)
    mix = np.random.default_rng(2).uniform(size=[6, 1])

    def critic(x):
        return tf.reduce_sum(tf.square(x), axis=1, keepdims=True) / 2

    found = penalties.gradient_penalty(critic, *map(float32, (real, fake, mix)))
    between = mix * real + (1 - mix) * fake
    wanted = np.mean((np.linalg.norm(between, axis=1) - 1) ** 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_penalty_is_two_sided_and_finite_at_zero():
    def critic(x):
        return 0.0 * tf.reduce_sum(x, axis=1, keepdims=True)

    x, mix = tf.ones([4, 3]), tf.ones([4, 1])
    weight = tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        penalty = penalties.gradient_penalty(
            lambda x: weight * tf.reduce_sum(x, axis=1, keepdims=True), x, x, mix
        )
    # d/dw (sqrt(3) |w| - 1)^2 has no limit at 0, but must not be NaN.
    np.testing.assert_allclose(penalty, 1.0, atol=1e-5)
    assert math.isfinite(tape.gradient(penalty, weight))
    np.testing.assert_allclose(
        penalties.gradient_penalty(critic, x, x, mix), 1.0, atol=1e-5
    )


def penalty_in_numpy(w1, w2, x):
    """mean (|grad f| - 1)^2 of f(x) = w2 . tanh(w1 x), by hand, in float64."""
    slope = 1 - np.tanh(x @ w1) ** 2
    gradient = (slope * w2[:, 0]) @ w1.T
    return np.mean((np.linalg.norm(gradient, axis=1) - 1) ** 2)


@pytest.mark.parametrize("xla", [False, True])
def test_gradient_of_the_penalty_against_finite_differences(xla):
    w1, w2 = normal(3, 5), normal(5, 1, seed=1)
    real, fake = normal(8, 3, seed=2), normal(8, 3, seed=3)
    mix = np.random.default_rng(4).uniform(size=[8, 1])

    @tf.function(jit_compile=xla)
    def penalty_and_gradients(w1, w2):
        with tf.GradientTape() as tape:
            tape.watch([w1, w2])
            penalty = penalties.gradient_penalty(
                lambda x: tf.tanh(x @ w1) @ w2, *map(float32, (real, fake, mix))
            )
        return penalty, tape.gradient(penalty, [w1, w2])

    penalty, gradients = penalty_and_gradients(float32(w1), float32(w2))
    x, h = mix * real + (1 - mix) * fake, 1e-6
    np.testing.assert_allclose(penalty, penalty_in_numpy(w1, w2, x), rtol=1e-5)
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(*gradient.shape):
            moved = []
            for sign in (h, -h):
                weights = [w1.copy(), w2.copy()]
                weights[which][place] += sign
                moved.append(penalty_in_numpy(*weights, x))
            # float32 second derivatives; the differences are good to 1e-9.
            wanted = (moved[0] - moved[1]) / (2 * h)
            np.testing.assert_allclose(gradient[place], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [penalties.r1, penalties.r2])
@pytest.mark.parametrize("shape", [(3,), (4, 4, 2)])
def test_squared_gradient_penalty(penalty, shape):
    # f(x) = a.x + |x|^2 / 2 has gradient a + x: the penalty is mean |a + x|^2.
    a, x = normal(*shape), normal(5, *shape, seed=1)

    def network(x):
        terms = float32(a) * x + tf.square(x) / 2
        return tf.reduce_sum(terms, axis=range(1, x.shape.rank))[:, None]

    wanted = np.mean(((a + x) ** 2).reshape(5, -1).sum(1))
    np.testing.assert_allclose(penalty(network, float32(x)), wanted, rtol=1e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_gradient_of_r1(xla):
    # f(x) = w x, so r1 = w^2 and its derivative is 2 w, at w = 0 too.
    @tf.function(jit_compile=xla)
    def derivative(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            penalty = penalties.r1(lambda x: w * x, tf.ones([4, 1]))
        return tape.gradient(penalty, w)

    for w in (1.5, 0.0):
        np.testing.assert_allclose(derivative(tf.constant(w)), 2 * w, rtol=1e-6)


# Minimax ----------------------------------------------------------------------


def log_sigmoid(logits):
    return -np.logaddexp(0, -logits)


@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_minimax_losses(shape):
    real, fake = 3 * normal(*shape), 3 * normal(*shape, seed=1)
    # log(1 - sigmoid(s)) = log sigmoid(-s)
    found = adversarial.minimax_discriminator_loss(float32(real), float32(fake))
    wanted = -log_sigmoid(real).mean() - log_sigmoid(-fake).mean()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    found = adversarial.minimax_generator_loss(float32(fake))
    np.testing.assert_allclose(found, log_sigmoid(-fake).mean(), rtol=1e-5)
    found = adversarial.non_saturating_generator_loss(float32(fake))
    np.testing.assert_allclose(found, -log_sigmoid(fake).mean(), rtol=1e-5)


def test_a_discriminator_that_knows_nothing_loses_2_log_2():
    zero = tf.zeros([5, 1])
    found = adversarial.minimax_discriminator_loss(zero, zero)
    np.testing.assert_allclose(found, 2 * math.log(2), rtol=1e-6)


def test_logit_gradients_of_the_minimax_losses():
    real, fake = 3 * normal(7), 3 * normal(7, seed=1)
    d_real, d_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    cases = [
        (adversarial.minimax_discriminator_loss, (real, fake), (d_real - 1, d_fake)),
        (adversarial.minimax_generator_loss, (fake,), (-d_fake,)),
        (adversarial.non_saturating_generator_loss, (fake,), (d_fake - 1,)),
    ]
    for loss, logits, wanted in cases:
        logits = list(map(float32, logits))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(*logits)
        for gradient, slope in zip(tape.gradient(value, logits), wanted, strict=True):
            np.testing.assert_allclose(gradient, slope / 7, rtol=1e-5, atol=1e-7)


def test_minimax_losses_of_a_sure_discriminator_are_finite():
    # softplus(s) = s + log(1 + e^-s); sigmoid(-200) underflows in float32.
    sure, wrong = float32([200.0]), float32([-200.0])
    assert adversarial.minimax_discriminator_loss(sure, wrong).numpy() == 0
    assert adversarial.minimax_discriminator_loss(wrong, sure).numpy() == 400
    assert adversarial.minimax_generator_loss(sure).numpy() == -200
    assert adversarial.non_saturating_generator_loss(wrong).numpy() == 200


# Wasserstein ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_wasserstein(shape):
    real, fake = normal(*shape), normal(*shape, seed=1)
    found = adversarial.wasserstein_estimate(float32(real), float32(fake))
    np.testing.assert_allclose(found, real.mean() - fake.mean(), rtol=1e-5)
    found = adversarial.wasserstein_generator_loss(float32(fake))
    np.testing.assert_allclose(found, -fake.mean(), rtol=1e-5)


# Likelihoods ------------------------------------------------------------------


def test_bernoulli_from_logits():
    logits, x = normal(4, 3, 2) * 3, np.random.default_rng(1).uniform(size=[4, 3, 2])
    p = 1 / (1 + np.exp(-logits))
    wanted = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2))
    found = likelihoods.bernoulli(float32(logits))
    assert found.log_prob(float32(x)).shape == [4]
    np.testing.assert_allclose(found.log_prob(float32(x)), wanted, rtol=1e-5)
    np.testing.assert_allclose(found.mean(), p, rtol=1e-5)


def test_bernoulli_of_extreme_logits_is_finite():
    # log p(1) = -log(1 + e^-l) = -l for l = -200, where a sigmoid is 0.
    found = likelihoods.bernoulli(float32([[-200.0, 200.0]]))
    np.testing.assert_allclose(found.log_prob(float32([[1.0, 0.0]])), -400, rtol=1e-6)
    np.testing.assert_allclose(found.log_prob(float32([[0.0, 1.0]])), 0, atol=1e-6)


def gaussian_log_prob(x, mean, log_variance):
    terms = (
        math.log(2 * math.pi) + log_variance + (x - mean) ** 2 / np.exp(log_variance)
    )
    return -0.5 * terms.sum(axis=tuple(range(1, x.ndim)))


def test_gaussian_with_learned_variance():
    x, mean, log_variance = (normal(4, 3, 2, seed=seed) for seed in range(3))
    found = likelihoods.gaussian(float32(mean), float32(log_variance))
    np.testing.assert_allclose(
        found.log_prob(float32(x)), gaussian_log_prob(x, mean, log_variance), rtol=1e-5
    )
    np.testing.assert_allclose(found.mean(), mean, rtol=1e-6)


def test_gaussian_variance_has_a_floor():
    x, mean = normal(4, 3), normal(4, 3, seed=1)
    low = np.full([4, 3], -50.0)
    found = likelihoods.gaussian(float32(mean), float32(low)).log_prob(float32(x))
    np.testing.assert_allclose(
        found, gaussian_log_prob(x, mean, np.full([4, 3], -8.0)), rtol=1e-5
    )
    assert likelihoods.LOWEST_LOG_VARIANCE == -8


@pytest.mark.parametrize("variance", [0.01, 1.0, 4.0])
def test_gaussian_with_fixed_variance_is_normalised(variance):
    x, mean = normal(4, 3, 2), normal(4, 3, 2, seed=1)
    found = likelihoods.fixed_gaussian(float32(mean), variance).log_prob(float32(x))
    wanted = gaussian_log_prob(x, mean, np.full(x.shape, math.log(variance)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    # At its mean: -d/2 log(2 pi c), the constant that the squared error lacks.
    top = likelihoods.fixed_gaussian(float32(mean), variance).log_prob(float32(mean))
    np.testing.assert_allclose(
        top, -3 * math.log(2 * math.pi * variance), rtol=1e-5, atol=1e-5
    )


# Divergences ------------------------------------------------------------------


def test_kl_to_the_standard_normal():
    # 1/2 sum (m^2 + s^2 - 1 - log s^2)
    mean, log_variance = normal(5, 3), normal(5, 3, seed=1)
    posterior = tfd.MultivariateNormalDiag(
        float32(mean), float32(np.exp(log_variance / 2))
    )
    prior = tfd.MultivariateNormalDiag(tf.zeros([3]), tf.ones([3]))
    wanted = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1)
    np.testing.assert_allclose(divergences.kl(posterior, prior), wanted, rtol=1e-5)
    assert divergences.kl(prior, prior).numpy() == 0


def test_kl_of_two_gaussians():
    # 1/2 sum (log t^2/s^2 + (s^2 + (m - n)^2) / t^2 - 1), which is not symmetric
    m, s = normal(5, 3), np.exp(normal(5, 3, seed=1))
    n, t = normal(5, 3, seed=2), np.exp(normal(5, 3, seed=3))
    one, other = (
        tfd.MultivariateNormalDiag(*map(float32, p)) for p in ((m, s), (n, t))
    )
    terms = 2 * np.log(t / s) + (s**2 + (m - n) ** 2) / t**2 - 1
    np.testing.assert_allclose(divergences.kl(one, other), terms.sum(1) / 2, rtol=1e-5)


def test_importance_weighted_bound_of_given_weights():
    weights = np.exp(normal(4, 3))
    found = divergences.importance_weighted_bound(float32(np.log(weights)))
    np.testing.assert_allclose(found, np.log(weights.mean(0)), atol=1e-6)


def test_importance_weighted_bound_rises_with_k_to_the_likelihood():
    # z ~ N(0, 1), x | z ~ N(z, 1): p(x) = N(0, 2). With q = N(0, 1), not the
    # posterior N(x/2, 1/2): log w = log N(x; z, 1), ELBO = -log(2 pi)/2 - (x^2+1)/2.
    x, draws = 1.5, 2**18
    z = normal(draws)
    log_weights = -0.5 * (math.log(2 * math.pi) + (x - z) ** 2)
    exact = -0.5 * (math.log(4 * math.pi) + x**2 / 2)
    elbo = -0.5 * (math.log(2 * math.pi) + x**2 + 1)
    bounds = []
    for k in (1, 2, 4, 16, 64, 1024):
        found = divergences.importance_weighted_bound(
            float32(log_weights.reshape(k, -1))
        ).numpy()
        assert found.shape == (draws // k,)
        bounds.append(found.mean())
    # Standard error of the first: std of x z - z^2/2 over sqrt(2^18): 0.0033.
    assert abs(bounds[0] - elbo) < 0.0165
    assert np.all(np.diff(bounds) > 0)
    assert abs(bounds[-1] - exact) < 0.01
    assert exact - elbo > 0.4


def test_importance_weighted_gradient_weighs_the_samples():
    log_weights = normal(4, 3)
    variable = float32(log_weights)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        bound = tf.reduce_sum(divergences.importance_weighted_bound(variable))
    weights = np.exp(log_weights)
    np.testing.assert_allclose(
        tape.gradient(bound, variable), weights / weights.sum(0), rtol=1e-5
    )


# The code's rates -------------------------------------------------------------


def diagonal(mean, stddev):
    return tfd.MultivariateNormalDiag(mean, stddev)


def test_rates_of_latents():
    # KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2.
    mean, stddev = normal(5, 3), np.exp(normal(5, 3, seed=1))
    found = divergences.kl_by_latent(
        diagonal(float32(mean), float32(stddev)), diagonal(tf.zeros(3), tf.ones(3))
    )
    wanted = 0.5 * (mean**2 + stddev**2 - 1 - 2 * np.log(stddev))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_log_ratio_of_latents():
    # log N(z; m, v) - log N(z; 0, 1) = (z^2 - (z - m)^2 / v - log v) / 2.
    mean, stddev, z = (
        normal(5, 3),
        np.exp(normal(5, 3, seed=1)),
        normal(2, 5, 3, seed=2),
    )
    found = divergences.log_ratio_by_latent(
        diagonal(float32(mean), float32(stddev)),
        diagonal(tf.zeros(3), tf.ones(3)),
        float32(z),
    )
    wanted = 0.5 * (z**2 - ((z - mean) / stddev) ** 2 - 2 * np.log(stddev))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_free_bits_are_of_means():
    rates = tf.constant([0.1, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(rates)
        total = divergences.free_bits(rates, 0.5 - 1e-6)
    np.testing.assert_allclose(total, 3.0, rtol=1e-5)
    # What costs the least already is not pushed further.
    np.testing.assert_array_equal(tape.gradient(total, rates), [0, 1, 1])


def test_active_units():
    random = np.random.default_rng(0)
    means = random.normal(size=[5000, 3]) * [1.0, 0.11, 0.09] + [0.0, 0.0, 5.0]
    assert health.active_units(float32(means)) == 2
    # Of draws, their mean counts: noise of 1 in 400 draws leaves a variance of 0.0025.
    noisy = np.zeros([400, 1000, 1]) + random.normal(size=[400, 1000, 1])
    assert health.active_units(float32(noisy)) == 0
    assert health.active_units(float32(noisy[:20])) == 1
