"""Blocks with a formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers.coordinates import AtCoordinates
from tfgen.layers.dropout import Drops, GivenDropout
from tfgen.layers.maxout import Maxout
from tfgen.layers.spectral import SpectralConv2D, SpectralDense


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_maxout():
    layer, x = Maxout(3, 4), normal(5, 7)
    found = layer(x)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (7, 12)
    wanted = (x @ kernel + bias).reshape(5, 3, 4).max(axis=-1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_given_dropout():
    x, u = normal(2000, 30), np.random.default_rng(1).uniform(size=[2000, 30])
    layer = GivenDropout(0.8)
    found = layer([x, u.astype("float32")], training=True)
    np.testing.assert_allclose(found, np.where(u < 0.8, x / 0.8, 0), rtol=1e-6)
    np.testing.assert_array_equal(layer([x, u.astype("float32")]), x)


def test_each_dropout_has_its_own_input():
    drop, x = Drops(), keras.Input([5])
    assert drop(x, 1.0) is x
    twice = drop(drop(x, 0.5), 0.5)
    assert [u.name for u in drop.uniforms] == ["uniform_0", "uniform_1"]
    network = keras.Model([x, *drop.uniforms], twice)
    ones, low, high = tf.ones([1, 5]), tf.zeros([1, 5]), tf.fill([1, 5], 0.9)
    np.testing.assert_array_equal(network([ones, low, low], training=True), 4 * ones)
    np.testing.assert_array_equal(network([ones, high, low], training=True), 0 * ones)
    np.testing.assert_array_equal(network([ones, low, high], training=True), 0 * ones)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SpectralDense(6), (4, 5)),
        (SpectralConv2D(6, 3, strides=2, padding="same"), (4, 8, 8, 2)),
    ],
)
def test_spectral_norm_is_one(layer, shape):
    x = normal(*shape)
    for _ in range(100):
        layer(x, training=True)
    matrix = layer.kernel.numpy().reshape(-1, 6)
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    # Power iteration, 100 times.
    divided = layer.divided_kernel(training=False).numpy()
    np.testing.assert_allclose(divided, layer.kernel.numpy() / largest, rtol=1e-3)
    before = layer.u.numpy()
    layer(x)
    np.testing.assert_array_equal(layer.u.numpy(), before)


def test_gradient_goes_through_the_spectral_norm():
    # W / sigma(W) does not change with the scale of W: the gradient is orthogonal to W.
    layer, x = SpectralDense(6), normal(4, 5)
    for _ in range(100):
        layer(x, training=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 3)
    (gradient,) = tape.gradient(loss, [layer.kernel.value])
    along = np.sum(gradient.numpy() * layer.kernel.numpy())
    size = np.linalg.norm(gradient) * np.linalg.norm(layer.kernel)
    assert abs(along) < 1e-3 * size
    assert size > 0.1


def test_at_coordinates():
    layer, v = AtCoordinates(5, 4), normal(3, 7)
    found = layer(v)
    kernel, _ = layer.get_weights()
    layer.bias.assign(normal(5))
    middles = [-0.75, -0.25, 0.25, 0.75]
    places = [[[y, x] for x in middles] for y in middles]
    beside = np.broadcast_to(v[:, None, None], [3, 4, 4, 7])
    beside = np.concatenate([beside, np.broadcast_to(places, [3, 4, 4, 2])], axis=-1)
    np.testing.assert_allclose(found, beside @ kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layer(v), beside @ kernel + normal(5), rtol=1e-5, atol=1e-6
    )
