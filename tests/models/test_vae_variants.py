"""What weighs the KL, the number of draws, the classes and networks of the VAE."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.losses import divergences
from tfgen.models import latent
from tfgen.models.latent import PixelConfig


def build(name="vae", **hparams):
    return models.build(name, "tiny", spec=stream(8).spec, hparams=hparams, xla="off")


def images(rows=8):
    return tf.constant(stream(8).arrays["image"][:rows] / 255.0, tf.float32)


def normal(*shape):
    return tf.random.stateless_normal(shape, [0, 0])


def trained(**hparams):
    model = build(**hparams)
    model.fit(stream(8), steps_per_epoch=200, verbose=0)
    return model


def test_beta_weighs_the_kl_and_not_the_report():
    plain, heavy = build(), build(beta=4.0)
    epsilon = normal(8, 4)
    loss, parts = heavy.loss_and_parts(images(), epsilon, 4.0)
    np.testing.assert_allclose(loss, 4.0 * parts["kl"] - parts["log_likelihood"])
    np.testing.assert_array_equal(
        parts["elbo"], plain.loss_and_parts(images(), epsilon)[1]["elbo"]
    )
    model = build(beta=4.0)
    model._begin(lambda: 0)
    batch = {"image": images(), "index": tf.range(8, dtype=tf.int64)}
    np.testing.assert_array_equal(model.loss_inputs(batch)[2], [4.0] * 8)


def test_more_beta_fewer_active_units():
    x = images(64)
    count = {
        beta: len(
            np.flatnonzero(
                np.var(trained(beta=beta, learning_rate=0.01).encode(x)["mean"], axis=0)
                > 0.01
            )
        )
        for beta in (0.3, 20.0)
    }
    assert count[20.0] < count[0.3]


def test_warm_up_is_linear_and_then_full():
    model = build(warmup_steps=4, beta=2.0)
    batch = {"image": images(), "index": tf.range(8, dtype=tf.int64)}
    weights = []
    for step in (0, 1, 3, 4, 9):
        model.step.assign(step)
        model._begin(lambda step=step: step)
        weights.append(model.loss_inputs(batch)[2].numpy())
    np.testing.assert_allclose(weights, np.repeat([[0], [0.5], [1.5], [2], [2]], 8, 1))


def test_free_bits_leave_latents_alone_that_cost_less():
    free = build(free_bits=0.3)
    epsilon = normal(8, 4)
    rates = tf.reduce_mean(
        divergences.kl_by_latent(free.posterior(images()), free.prior), axis=0
    ).numpy()
    assert rates.min() < 0.3  # untrained
    loss, parts = free.loss_and_parts(images(), epsilon)
    charged = np.maximum(rates, 0.3).sum()
    np.testing.assert_allclose(loss, charged - parts["log_likelihood"], rtol=1e-6)
    np.testing.assert_allclose(parts["kl"], rates.sum(), rtol=1e-5)
    # Under a heavy KL, free bits keep every latent from what costs nothing.
    heavy = {"beta": 100.0, "learning_rate": 0.01}
    kl = {}
    for least in (0.0, 0.3):
        model = trained(free_bits=least, **heavy)
        posterior = model.posterior(images(64))
        kl[least] = tf.reduce_mean(divergences.kl_by_latent(posterior, model.prior), 0)
    # Seen: 0.0001 against 0.05 to 0.07, below 0.3 by the optimizer's momentum.
    assert np.min(kl[0.3]) > 10 * np.max(kl[0.0])


@pytest.mark.parametrize("name", ["vae", "vae_monte_carlo"])
def test_several_draws_are_the_mean_of_single_ones(name):
    model, epsilon = build(name, samples=3), normal(8, 3, 4)
    several = model.loss_and_parts(images(), epsilon)[1]
    single = [model.loss_and_parts(images(), epsilon[:, n])[1] for n in range(3)]
    for part in ("elbo", "log_likelihood", "kl"):
        mean = np.mean([float(parts[part]) for parts in single])
        np.testing.assert_allclose(several[part], mean, rtol=1e-5)


def test_estimator_a_is_the_mean_of_log_weights():
    model, epsilon = build("vae_monte_carlo"), normal(8, 4)
    weights = model.log_weights(images(), epsilon)
    loss, parts = model.loss_and_parts(images(), epsilon)
    np.testing.assert_allclose(parts["elbo"], tf.reduce_mean(weights), rtol=1e-5)
    np.testing.assert_allclose(loss, -tf.reduce_mean(weights), rtol=1e-5)


def test_iwae_descends_the_log_of_the_mean_weight():
    model, epsilon = build("iwae", pixels="grey"), normal(8, 3, 4)
    log_w = model.log_weights(images(), tf.transpose(epsilon, [1, 0, 2])).numpy()
    assert log_w.shape == (3, 8)
    # By hand in float64, less the largest: log 1/k sum exp.
    log_w = log_w.astype("float64")
    top = log_w.max(0)
    bound = np.mean(top + np.log(np.exp(log_w - top).mean(0)))
    loss, parts = model.loss_and_parts(images(), epsilon)
    np.testing.assert_allclose(loss, -bound, rtol=1e-5)
    np.testing.assert_allclose(parts["elbo"], log_w.mean(), rtol=1e-5)
    assert bound > log_w.mean()


def test_gradient_of_iwae_weighs_draws_by_their_weight():
    # sum_i w~_i grad log w_i with the normalised weights w~ held constant.
    model, epsilon = build("iwae", pixels="grey"), normal(8, 3, 4)
    variables = [v.value for v in model.decoder.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        loss, _ = model.loss_and_parts(images(), epsilon)
        log_w = model.log_weights(images(), tf.transpose(epsilon, [1, 0, 2]))
        weights = tf.stop_gradient(tf.nn.softmax(log_w, axis=0))
        by_hand = -tf.reduce_mean(tf.reduce_sum(weights * log_w, axis=0))
    for one, other in zip(
        tape.gradient(loss, variables), tape.gradient(by_hand, variables), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_one_draw_of_iwae_is_estimator_a():
    one = build("iwae", samples=1, pixels="grey")
    other = build("vae_monte_carlo")
    epsilon = normal(8, 1, 4)
    found = [float(m.loss_and_parts(images(), epsilon)[0]) for m in (one, other)]
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "fixed_gaussian"])
def test_convolutional_networks_train(likelihood):
    model = build(networks="convolutional", likelihood=likelihood, learning_rate=0.01)
    assert {type(layer).__name__ for layer in model.encoder.layers} > {"Conv2D"}
    before = model.evaluate(stream(8), verbose=0, return_dict=True)["elbo"]
    model.fit(stream(8), steps_per_epoch=30, verbose=0)
    assert model.evaluate(stream(8), verbose=0, return_dict=True)["elbo"] > before + 1
    draws = model.log_weights(images(), normal(2, 8, 4)).numpy()
    np.testing.assert_allclose(
        draws[1], model.log_weights(images(), normal(2, 8, 4)[1]), rtol=1e-4
    )


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "fixed_gaussian"])
@pytest.mark.parametrize("networks", ["dense", "convolutional"])
def test_the_output_bias_starts_at_the_data_s_mean(networks, likelihood):
    model = build(
        bias_at_mean=True, networks=networks, likelihood=likelihood, learning_rate=1e-12
    )
    model.fit(stream(8), steps_per_epoch=1, verbose=0)
    for variable in model.decoder.trainable_variables:
        if variable.name == "kernel":  # what is left is the bias of the outputs
            variable.assign(0.0 * variable.value)
    mean = (stream(8).arrays["image"] / 255.0).mean(axis=0)
    if networks == "convolutional":  # a bias a channel
        mean = np.full_like(mean, mean.mean())
    if likelihood != "fixed_gaussian":
        mean = mean.clip(1e-3, 1 - 1e-3)
    assert mean.std() > 0.1 or networks == "convolutional"
    np.testing.assert_allclose(model.decode(normal(2, 4))[1], mean, atol=1e-6)


@pytest.mark.parametrize("at_mean", [True, False])
def test_a_trained_output_bias_stays(at_mean):
    model = build(bias_at_mean=at_mean, learning_rate=1e-12)
    *_, bias = model.decoder.trainable_variables
    start = np.full(64, 0.25, "float32") if at_mean else np.zeros(64, "float32")
    bias.assign(start)
    model.fit(stream(8), steps_per_epoch=1, verbose=0)
    np.testing.assert_allclose(bias, start, atol=1e-9)


def test_which_classes_start_at_the_mean():
    at_mean = {
        name: models.configure(name, "paper").bias_at_mean
        for name in ("ae", "vae", "iwae", "hierarchical_vae", "ladder_vae", "dlgm")
    }
    assert [name for name, yes in at_mean.items() if yes] == [
        "iwae",
        "hierarchical_vae",
    ]


def test_kernels_start_at_the_published_deviation():
    model = build(start_stddev=0.01, hidden=(16, 16))
    networks = (model.encoder, model.decoder)
    kernels = [w.numpy() for n in networks for w in n.weights if len(w.shape) == 2]
    assert len(kernels) == 7
    for kernel in kernels:
        error = 0.01 * math.sqrt(1 / (2 * kernel.size))
        assert abs(np.sqrt(np.mean(kernel**2)) - 0.01) < 4 * error
    same = [k for k in kernels if k.shape == (16, 16)]
    assert len(same) == 2 and np.abs(same[0] - same[1]).max() > 0


def test_parameters_of_the_published_one_layer_network():
    model = models.build("iwae", "paper", spec=stream(28).spec, xla="off")
    weights = [v for n in model.networks.values() for v in n.weights]
    assert sum(math.prod(v.shape) for v in weights) == 425_284


def test_stages_of_the_learning_rate():
    # The published schedule: stage i of 8 lasts 3^i, its rate 1e-3 10^(-i/7).
    rate = latent.adam(PixelConfig(stages=8, stage_steps=10))._learning_rate
    ends = np.cumsum([10 * 3**stage for stage in range(8)])
    for stage, end in enumerate(ends):
        begin = end - 10 * 3**stage
        wanted = 1e-3 * 10 ** (-stage / 7)
        for step in (begin, end - 1):  # the first and the last update
            np.testing.assert_allclose(float(rate(step)), wanted, rtol=1e-5)
    np.testing.assert_allclose(float(rate(10**9)), 1e-4, rtol=1e-5)
    constant = float(latent.adam(PixelConfig()).learning_rate.numpy())
    assert constant == pytest.approx(1e-3)


def test_the_auto_encoder_has_the_vae_s_networks_less_a_head():
    ae, vae = build("ae"), build("vae")
    count = {m: sum(math.prod(v.shape) for v in m.encoder.weights) for m in (ae, vae)}
    assert count[vae] - count[ae] == 16 * 4 + 4
    shapes = [[v.shape for v in m.decoder.weights] for m in (ae, vae)]
    assert shapes[0] == shapes[1]
    z = ae.encode(images())
    loss = ae.reconstruction_loss(images())
    likelihood = latent.pixel_distribution(ae.config, ae.decoder(z))
    np.testing.assert_allclose(loss, -tf.reduce_mean(likelihood.log_prob(images())))
    # No density: nothing that a bound could be made of.
    assert not any(hasattr(ae, name) for name in ("terms", "log_weights", "log_prob"))
