"""DCGAN: the published network, its separate passes, its features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_wgan import count
from tests.synthetic import stream
from tfgen import models
from tfgen.core.spec import DataSpec, Feature
from tfgen.models.dcgan import DCGAN


@pytest.fixture(scope="module")
def paper():
    spec = DataSpec("rgb", 1, {"image": Feature((64, 64, 3), "uint8", 0, 255)})
    keras.utils.set_random_seed(0)
    return DCGAN.create(models.configure("dcgan", "paper"), spec)


def test_published_numbers_of_parameters(paper):
    assert count(paper.generator.trainable_variables) == 18_885_760
    assert count(paper.discriminator.trainable_variables) == 17_232_768


def test_published_layers(paper):
    up = [
        x.output.shape[1:]
        for x in paper.generator.layers
        if isinstance(x, keras.layers.Conv2DTranspose)
    ]
    assert up == [(8, 8, 512), (16, 16, 256), (32, 32, 128), (64, 64, 3)]
    down = [
        x.output.shape[1:]
        for x in paper.discriminator.layers
        if isinstance(x, keras.layers.Conv2D)
    ]
    assert down == [(32, 32, 128), (16, 16, 256), (8, 8, 512), (4, 4, 1024)]
    names = [type(x).__name__ for x in paper.discriminator.layers]
    assert names[1:4] == ["Conv2D", "LeakyReLU", "Conv2D"]  # no norm at the input
    assert names[-3:] == ["LeakyReLU", "Flatten", "Dense"]
    assert paper.generator.layers[-2].__class__.__name__ == "Conv2DTranspose"
    for network in (paper.generator, paper.discriminator):
        assert not [v for v in network.trainable_variables if v.name == "bias"]


def test_published_start(paper):
    for network in (paper.generator, paper.discriminator):
        for variable in network.trainable_variables:
            value = variable.numpy()
            if variable.name == "kernel" and value.size > 20_000:
                assert value.std() == pytest.approx(0.02, rel=0.02)
            if variable.name == "gamma":
                # 128 numbers of spread 0.02: an error of 0.0018 at one sigma.
                assert value.mean() == pytest.approx(1, abs=0.005)
                assert value.std() == pytest.approx(0.02, rel=0.25)
            if variable.name == "beta":
                assert not value.any()
    z = paper.stretch(tf.random.stateless_uniform([1000, 100], [0, 0]))
    assert float(tf.reduce_min(z)) < -0.99 < 0.99 < float(tf.reduce_max(z)) <= 1
    images = paper.decode(z[:4])
    assert images.shape == (4, 64, 64, 3)
    assert float(tf.reduce_max(tf.abs(images))) < 1


def build(**hparams):
    return models.build(
        "dcgan",
        "tiny",
        spec=stream(16).spec,
        hparams=hparams,
        run_eagerly=True,
        xla="off",
    )


def images(rows):
    return tf.constant(stream(16).arrays["image"][:rows] / 127.5 - 1, tf.float32)


def test_real_and_fake_rows_do_not_share_statistics():
    model = build()
    x, z = images(16), tf.random.stateless_normal([16, 8], [0, 0])
    reports = model.discriminator_loss(x, z, [], [])[1]
    logits = [model.judge(rows, []) for rows in (x, model.generator(z, training=True))]
    apart = model.separation(*logits)
    np.testing.assert_allclose(reports["discriminator_loss"], apart, rtol=1e-6)
    both = model.judge(tf.concat([x, model.generator(z, training=True)], axis=0), [])
    together = model.separation(*tf.split(both, 2))
    assert abs(float(apart) - float(together)) > 1e-3


def test_features_are_pooled_activations():
    model, x = build(), images(3)
    found = model.features(x).numpy()
    first = model.discriminator.layers[2].output  # after the first convolution
    maps = keras.Model(model.discriminator.inputs, first)(x).numpy()
    assert maps.shape == (3, 8, 8, 4)
    pooled = maps.reshape(3, 4, 2, 4, 2, 4).max(axis=(2, 4)).reshape(3, -1)
    np.testing.assert_allclose(found[:, : pooled.shape[1]], pooled, rtol=1e-6)
    assert found.shape == (3, 4 * 4 * (4 + 8))


@pytest.mark.parametrize("norm", ["batch", "layer", "spectral", "none"])
def test_every_normalisation_trains(norm):
    model = build(discriminator_norm=norm)
    logs = model.fit(stream(16), steps_per_epoch=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
