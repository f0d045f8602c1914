"""Hierarchies against a linear chain and enumeration, where log p(x) is known."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.synthetic import stream
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.losses import divergences
from tfgen.models.hierarchical_vae import HierarchicalVAE, HierarchicalVAEConfig, merge
from tfgen.models.latent import diagonal

tfd = tfp.distributions


def build(name="hierarchical_vae", **hparams):
    return models.build(name, "tiny", spec=stream(8).spec, hparams=hparams, xla="off")


def images(rows=8):
    return tf.constant(stream(8).arrays["image"][:rows] / 255.0, tf.float32)


# The linear chain -------------------------------------------------------------

SIZES, PIXELS, NOISE = (3, 2), 6, 0.3


class LinearChain(HierarchicalVAE):
    """h2 ~ N(0, I), h1 = A h2 + noise of S1, x = B h1 + noise of S0 = s I; q exact.

    q(h1 | x) has precision (A A' + S1)^-1 + B'B / s and mean its inverse B'x / s;
    q(h2 | h1) has precision I + A' S1^-1 A and mean its inverse A' S1^-1 h1. Both are
    full covariances.
    """

    def __init__(self, A, B, S1):
        model = build(latents=SIZES)
        encoders, decoders = model.encoders, model.decoders
        super().__init__(model.config, model.spec, encoders, decoders)
        self.prior = full(np.zeros(SIZES[1]), np.eye(SIZES[1]))
        self.A, self.B, self.S1 = A, B, S1

    def inference(self, number, below):
        if number == 1:
            precision = np.linalg.inv(self.A @ self.A.T + self.S1)
            covariance = np.linalg.inv(precision + self.B.T @ self.B / NOISE)
            return full(below @ (covariance @ self.B.T / NOISE).T, covariance)
        to_h1 = self.A.T @ np.linalg.inv(self.S1)
        covariance = np.linalg.inv(np.eye(SIZES[1]) + to_h1 @ self.A)
        return full(below @ (covariance @ to_h1).T, covariance)

    def generative(self, number, above):
        return full(above @ self.A.T, self.S1)

    def likelihood(self, h):
        return full(h @ self.B.T, NOISE * np.eye(PIXELS))


def full(mean, covariance):
    return tfd.MultivariateNormalTriL(mean, np.linalg.cholesky(covariance))


@pytest.mark.parametrize("draws", [(), (4,)])
def test_every_path_of_the_linear_chain_weighs_log_p(draws):
    random = np.random.default_rng(0)
    A, B = random.normal(size=[3, 2]), random.normal(size=[PIXELS, 3])
    S1 = np.diag([0.5, 1.0, 2.0]) + 0.1
    x = random.normal(size=[5, PIXELS])
    covariance = B @ (A @ A.T + S1) @ B.T + NOISE * np.eye(PIXELS)
    exact = -0.5 * (
        np.linalg.slogdet(2 * math.pi * covariance)[1]
        + np.sum(x * np.linalg.solve(covariance, x.T).T, axis=1)
    )
    model = LinearChain(A, B, S1)
    for seed in range(3):
        epsilon = np.random.default_rng(seed).normal(size=[*draws, 5, sum(SIZES)])
        found = model.log_weights(tf.constant(x), tf.constant(epsilon)).numpy()
        assert found.dtype == np.float64
        np.testing.assert_allclose(
            found, np.broadcast_to(exact, found.shape), atol=1e-5
        )


# Enumeration ------------------------------------------------------------------


class Discrete(HierarchicalVAE):
    """Layers are one-hot: 3 values of h1, 2 of h2; x is 2 binary pixels."""

    @classmethod
    def make(cls):
        config = HierarchicalVAEConfig(latents=(3, 2), hidden=(5, 5), depth=1)
        spec = stream(8).spec
        spec = spec.with_feature("image", shape=(1, 2, 1))
        model = cls.create(config, spec)
        model.prior = tfd.OneHotCategorical(probs=[0.3, 0.7], dtype=tf.float32)
        return model

    def inference(self, number, below):
        logits, _ = self.encoders[number - 1](below)
        return tfd.OneHotCategorical(logits=3.0 * logits, dtype=tf.float32)

    def generative(self, number, above):
        logits, _ = self.decoders[number](above)
        return tfd.OneHotCategorical(logits=3.0 * logits, dtype=tf.float32)


def softmax(x):
    x = np.exp(3.0 * np.asarray(x, np.float64))
    return x / x.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def enumerated():
    """All x, all paths; log joint and log q of the model; the joint by tables."""
    model = Discrete.make()
    eye1, eye2 = np.eye(3, dtype="float32"), np.eye(2, dtype="float32")
    x = np.float32(list(itertools.product([0, 1], repeat=2))).reshape(4, 1, 2, 1)
    paths = list(itertools.product(range(3), range(2)))
    log_joint, log_q = [], []
    for a, b in paths:
        path = [np.tile(eye1[a], [4, 1]), np.tile(eye2[b], [4, 1])]
        path = [tf.constant(h) for h in path]
        log_joint.append(model.log_joint(x, path).numpy())
        q = [model.inference(1, x), model.inference(2, path[0])]
        log_q.append(sum(d.log_prob(h).numpy() for d, h in zip(q, path, strict=True)))
    # By hand, in float64: P(h2) P(h1 | h2) P(x | h1), each from its table.
    h2 = np.array([0.3, 0.7])
    h1 = softmax(model.decoders[1](eye2)[0])
    pixel = 1 / (1 + np.exp(-np.asarray(model.decoders[0](eye1), np.float64)))
    pixel = pixel.reshape(3, 1, 2)
    x_given = np.prod(np.where(x.reshape(1, 4, 2) == 1, pixel, 1 - pixel), axis=-1)
    joint = np.stack([h2[b] * h1[b, a] * x_given[a] for a, b in paths])
    return np.array(log_joint, np.float64), np.array(log_q, np.float64), joint


def test_evidence_is_the_bound_and_the_divergence(enumerated):
    log_joint, log_q, joint = enumerated
    np.testing.assert_allclose(np.exp(log_joint).sum(), 1.0, rtol=1e-5)
    q = np.exp(log_q)
    np.testing.assert_allclose(q.sum(0), 1.0, rtol=1e-5)
    evidence = joint.sum(0)
    posterior = joint / evidence
    bound = np.sum(q * (log_joint - log_q), axis=0)
    divergence = divergences.kl(
        tfd.Categorical(probs=q.T), tfd.Categorical(probs=posterior.T)
    ).numpy()
    assert divergence.min() > 0.01
    np.testing.assert_allclose(np.log(evidence), bound + divergence, atol=1e-5)


def test_importance_weighted_bounds_rise_to_the_evidence(enumerated):
    log_joint, log_q, joint = enumerated
    log_w, q, bounds = log_joint - log_q, np.exp(log_q), []
    for k in (1, 2, 3):
        expectation = 0.0
        for draws in itertools.product(range(len(q)), repeat=k):
            draws = list(draws)
            bound = divergences.importance_weighted_bound(tf.constant(log_w[draws]))
            expectation += np.prod(q[draws], axis=0) * bound.numpy()
        bounds.append(expectation)
    evidence = np.log(joint.sum(0))
    assert np.all(bounds[0] < bounds[1])
    assert np.all(bounds[1] < bounds[2])
    assert np.all(bounds[2] < evidence)


# One layer --------------------------------------------------------------------


def test_one_layer_is_the_vae_bit_for_bit():
    # The class of one stochastic layer and `vae` make the same networks of one seed.
    sizes = {"pixels": "grey", "activation": "tanh", "adam_epsilon": 1e-7}
    one = build(latents=(4,), hidden=(16,), depth=2, **sizes)
    vae = build("vae", latent_size=4, hidden=(16, 16), **sizes)
    assert one.state().keys() == vae.state().keys()
    for name, value in vae.state().items():
        np.testing.assert_array_equal(one.state()[name].numpy(), value.numpy())
    epsilon = tf.random.stateless_normal([8, 4], [0, 0])
    x = images()
    expected = vae.log_weights(x, epsilon).numpy()
    assert one.log_weights(x, epsilon).numpy().tobytes() == expected.tobytes()
    several = tf.random.stateless_normal([5, 8, 4], [0, 1])
    expected = vae.log_weights(x, several).numpy()
    assert one.log_weights(x, several).numpy().tobytes() == expected.tobytes()
    np.testing.assert_array_equal(one.sample(4, seed=2), vae.sample(4, seed=2))


@pytest.mark.parametrize(
    ("layered", "plain"),
    [("hierarchical_vae", "vae_monte_carlo"), ("hierarchical_iwae", "iwae")],
)
def test_one_layer_trains_like_its_plain_class(layered, plain):
    own = {"pixels": "binarised", "adam_epsilon": 1e-4, "samples": 2}
    own["bias_at_mean"] = True
    pair = [
        build(layered, latents=(4,), hidden=(16,), depth=2, activation="tanh", **own),
        build(plain, latent_size=4, hidden=(16, 16), activation="tanh", **own),
    ]
    for model in pair:
        model.fit(stream(8), steps_per_epoch=3, verbose=0)
    one, other = (model.state() for model in pair)
    for name, value in other.items():
        np.testing.assert_array_equal(one[name].numpy(), value.numpy(), err_msg=name)


# Layers -----------------------------------------------------------------------


def test_draws_are_whole_paths():
    # A draw of three paths is each path by itself: nothing is shared above h1.
    model = build()
    epsilon = tf.random.stateless_normal([3, 8, 7], [0, 0])
    together = model.log_weights(images(), epsilon).numpy()
    for number in range(3):
        alone = model.log_weights(images(), epsilon[number]).numpy()
        np.testing.assert_allclose(together[number], alone, rtol=1e-5)
    noise_above = tf.concat([epsilon[0, :, :4], epsilon[1, :, 4:]], axis=-1)
    other = model.log_weights(images(), noise_above).numpy()
    assert np.abs(other - together[0]).min() > 1e-6


@pytest.mark.parametrize("name", ["hierarchical_vae", "ladder_vae"])
def test_terms_add_up_to_the_weights(name):
    model = build(name)
    epsilon = tf.random.stateless_normal([3, 8, 7], [0, 0])
    log_likelihood, rates, means = model.terms(images(), epsilon)
    weights = model.log_weights(images(), epsilon)
    np.testing.assert_allclose(
        log_likelihood - tf.reduce_sum(rates, -1), weights, rtol=1e-5, atol=1e-5
    )
    assert means.shape == (3, 8, 7)
    parts = model.loss_and_parts(images(), tf.transpose(epsilon, [1, 0, 2]))[1]
    np.testing.assert_allclose(parts["kl"], parts["kl_1"] + parts["kl_2"], rtol=1e-5)
    np.testing.assert_allclose(parts["elbo"], tf.reduce_mean(weights), rtol=1e-5)


def test_a_layer_s_width_is_its_own():
    model = build(latents=(5, 4, 2), hidden=(16, 12, 8), depth=2)
    shapes = [
        [tuple(v.shape) for v in network.weights if len(v.shape) == 2]
        for network in (model.encoder_2, model.decoder_2, model.encoder_3)
    ]
    assert shapes[0] == [(5, 12), (12, 12), (12, 4), (12, 4)]
    assert shapes[1] == [(4, 12), (12, 12), (12, 5), (12, 5)]
    assert shapes[2] == [(4, 8), (8, 8), (8, 2), (8, 2)]
    # The published two-layer network, parameters of specs and paper.
    spec = stream(28).spec
    paper = models.build("hierarchical_vae", "paper", spec=spec, xla="off")
    count = sum(np.prod(v.shape) for n in paper.networks.values() for v in n.weights)
    assert count == 521_084


def test_bad_layers():
    for latents, hidden in (((4, 3), (16,)), ((), ()), ((4, 0), (8, 8))):
        with pytest.raises(BadInput, match="hparams latents"):
            HierarchicalVAEConfig(latents=latents, hidden=hidden)


# The ladder -------------------------------------------------------------------


def gaussian(mean, variance):
    return diagonal([tf.constant(mean), tf.math.log(tf.constant(variance))])


def test_merge_of_equal_precisions_is_the_mean_of_means():
    merged = merge(
        gaussian([[1.0, 4.0]], [[2.0, 0.5]]), gaussian([[3.0, 0.0]], [[2.0, 0.5]])
    )
    np.testing.assert_allclose(merged.mean(), [[2.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(merged.variance(), [[1.0, 0.25]], rtol=1e-6)


def test_merge_with_a_flat_proposal_is_the_prior():
    prior = gaussian([[3.0, -1.0]], [[2.0, 0.5]])
    merged = merge(gaussian([[9.0, 9.0]], [[1e12, 1e12]]), prior)
    np.testing.assert_allclose(merged.mean(), prior.mean(), rtol=1e-6)
    np.testing.assert_allclose(merged.variance(), prior.variance(), rtol=1e-6)
    # Precisions add: 1 / (1/1 + 1/4) = 0.8, mean 0.8 (2/1 + 7/4) = 3.
    merged = merge(gaussian([[2.0]], [[1.0]]), gaussian([[7.0]], [[4.0]]))
    np.testing.assert_allclose(merged.mean(), [[3.0]], rtol=1e-6)
    np.testing.assert_allclose(merged.variance(), [[0.8]], rtol=1e-6)


@pytest.mark.parametrize(("longest", "moves"), [(0.5, 0.5), (1e6, None)])
def test_the_ladder_clips_its_gradients(longest, moves):
    model = models.build(
        "ladder_vae",
        "tiny",
        spec=stream(8).spec,
        hparams={"gradient_norm": longest},
        optimizer=keras.optimizers.SGD(1.0),
        xla="off",
    )
    variables = [v for n in model.networks.values() for v in n.trainable_variables]
    before = [v.numpy() for v in variables]
    model.fit(stream(8), steps_per_epoch=1, verbose=0)
    pairs = zip(variables, before, strict=True)
    moved = math.sqrt(sum(np.sum((v.numpy() - old) ** 2) for v, old in pairs))
    assert moved == pytest.approx(moves, rel=1e-4) if moves else moved > 1.0


def test_the_ladder_comes_down():
    # The layer below is drawn from a posterior that the draw above moves.
    model = build("ladder_vae")
    still = tf.zeros([8, 7])
    moved = tf.concat([tf.zeros([8, 4]), tf.ones([8, 3])], axis=-1)
    (_, below, _), (_, top, _) = model.infer(images(), still)
    (_, below_moved, _), (_, top_moved, _) = model.infer(images(), moved)
    np.testing.assert_array_equal(top.mean(), top_moved.mean())
    assert np.abs(below.mean() - below_moved.mean()).max() > 1e-4
    # And of the climb, where the layer above depends on the one below.
    climbing = build()
    (_, below, _), _ = climbing.infer(images(), still)
    (_, below_moved, _), _ = climbing.infer(images(), moved)
    np.testing.assert_array_equal(below.mean(), below_moved.mean())
