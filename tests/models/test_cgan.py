"""Conditional GAN: published sizes, the label's way through both networks."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from scipy.stats import norm

from tests.models.test_gan import recorded
from tests.models.test_wgan import count
from tests.synthetic import CLASSES, digits, stream
from tfgen import models
from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.losses import adversarial
from tfgen.models.cgan import CGAN, ConvolutionalCGAN

NAMES = ("cgan", "cgan_convolutional")


def build(name, **hparams):
    return models.build(
        name, "tiny", spec=stream(8).spec, hparams=hparams, run_eagerly=True, xla="off"
    )


def spec(size):
    features = {
        "image": Feature((size, size, 1), "uint8", 0, 255),
        "label": Feature((), "int64", classes=CLASSES),
    }
    return DataSpec("grey", 1, features)


def test_published_numbers_of_parameters():
    model = CGAN.create(models.configure("cgan", "paper"), spec(28))
    assert count(model.generator.trainable_variables) == 2_413_984
    assert count(model.discriminator.trainable_variables) == 1_224_351


def test_the_label_joins_every_layer():
    model = ConvolutionalCGAN.create(
        models.configure("cgan_convolutional", "paper"), spec(28)
    )
    kernels = {
        name: [v.shape for v in network.trainable_variables if v.name == "kernel"]
        for name, network in model.networks.items()
    }
    assert kernels["generator"] == [
        (110, 1024),
        (1034, 128 * 7 * 7),
        (5, 5, 64, 138),
        (5, 5, 1, 74),
    ]
    assert kernels["discriminator"] == [
        (5, 5, 11, 64),
        (5, 5, 74, 128),
        (128 * 7 * 7 + 10, 1024),
        (1034, 1),
    ]
    trained = [v.name for n in model.networks.values() for v in n.trainable_variables]
    assert set(trained) == {"kernel"}


@pytest.mark.parametrize("name", NAMES)
def test_fakes_carry_the_labels_of_the_real_rows(name):
    model = build(name, discriminator_steps=2)
    updates, data = recorded(model), stream(8)
    model.fit(data, steps_per_epoch=1, verbose=0)
    assert [loss for loss, _ in updates] == ["discriminator_loss"] * 2 + [
        "generator_loss"
    ]
    element = next(data.dataset(updates=2).as_numpy_iterator())
    pixels = element["image"] / 255 if name == "cgan" else element["image"] / 127.5 - 1
    for number, (_, (real, y, *_)) in enumerate(updates[:2]):
        rows = slice(16 * number, 16 * number + 16)
        np.testing.assert_allclose(real, pixels[rows], atol=1e-6)
        np.testing.assert_array_equal(y, np.eye(10)[element["label"][rows]])
    np.testing.assert_array_equal(updates[2][1][0], updates[1][1][1])


@pytest.mark.parametrize("name", NAMES)
def test_the_label_reaches_both_networks(name):
    model = build(name)
    z, x = tf.random.stateless_normal([10, 8], [0, 0]), digits(8)["image"][:10] / 255
    y, other = tf.eye(10), tf.roll(tf.eye(10), 1, axis=0)
    x = tf.constant(x, tf.float32)
    assert np.abs(model.make(z, y) - model.make(z, other)).max() > 1e-3
    assert np.abs(model.judge_pair(x, y) - model.judge_pair(x, other)).max() > 1e-3
    with tf.GradientTape() as tape:
        tape.watch([y, z])
        logits = model.judge_pair(model.make(z, y), y)
    by_label, by_z = tape.gradient(logits, [y, z])
    assert np.abs(by_label).max() > 1e-4
    assert np.abs(by_z).max() > 0  # tiny: kernels of spread 0.02, no norm at sampling


def test_rows_in_another_order_give_outputs_in_that_order():
    model = build("cgan")
    z, label = tf.random.stateless_normal([10, 8], [0, 0]), tf.range(10)
    order = np.random.default_rng(0).permutation(10)
    images = model.decode(z, label)
    shuffled = model.decode(tf.gather(z, order), tf.gather(label, order))
    np.testing.assert_allclose(shuffled, images.numpy()[order], atol=1e-6)
    logits = model.score(images, label)
    again = model.score(shuffled, tf.gather(label, order))
    np.testing.assert_allclose(again, logits.numpy()[order], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_samples_go_through_the_classes(name):
    model = build(name)
    assert model.config.latent == "uniform"
    drawn = noise.uniform(5, 0, "sample", 23, [8], 4)
    label = np.arange(4, 27) % 10
    found = model.sample(23, seed=5, first=4)
    np.testing.assert_allclose(
        found, model.decode(model.stretch(drawn), label), atol=1e-6
    )
    assert np.abs(found - model.decode(model.stretch(drawn), label * 0)).max() > 1e-3


def test_unlabelled_data_are_refused():
    bare = DataSpec("bare", 1, {"image": Feature((28, 28, 1), "uint8", 0, 255)})
    with pytest.raises(BadInput, match="cgan needs labelled data; bare has no label"):
        CGAN.create(models.configure("cgan", "tiny"), bare)
    with pytest.raises(BadInput, match="a multiple of 4"):
        config = models.configure("cgan_convolutional", "tiny", {"image_size": 10})
        ConvolutionalCGAN.create(config, spec(10))


# x | y ~ N(2 y - 1, 0.3^2) ----------------------------------------------------


def test_a_conditional_discriminator_finds_the_log_ratio_of_each_class():
    # Of a generator N(2 y - 1 + 0.3, 0.3^2) the best logit is log p(x|y) - log q(x|y)
    # = (0.3^2 / 2 - 0.3 (x - 2 y + 1)) / 0.3^2 = 1/2 - (x - 2 y + 1) / 0.3: linear in
    # (x, y), so logistic regression holds it.
    # Evenly spaced in probability: no sampling error but at the far ends.
    spread = 0.3 * norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    y = np.repeat([0.0, 1.0], 20_000)
    real = 2 * y - 1 + np.tile(spread, 2)
    fake = real + 0.3
    weights = tf.Variable(tf.zeros([5], tf.float64))

    def logits(x, y):
        features = tf.stack([tf.ones_like(x), x, y, x * y, x * x], axis=1)
        return tf.linalg.matvec(features, weights)

    @tf.function(autograph=False)
    def loss_and_gradient(w):
        weights.assign(w)
        with tf.GradientTape() as tape:
            loss = adversarial.minimax_discriminator_loss(
                logits(real, y), logits(fake, y)
            )
        return loss, tape.gradient(loss, weights)

    def objective(w):
        loss, gradient = loss_and_gradient(tf.constant(w))
        return float(loss), gradient.numpy()

    found = scipy.optimize.minimize(objective, np.zeros(5), jac=True, method="BFGS")
    weights.assign(found.x)
    for label in (0.0, 1.0):
        x = np.linspace(-0.6, 0.6, 25) + 2 * label - 1
        wanted = 0.5 - (x - 2 * label + 1) / 0.3
        np.testing.assert_allclose(logits(x, np.full(25, label)), wanted, atol=0.05)
