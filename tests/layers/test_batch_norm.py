"""The fused batch normalisation is Keras' layer, with exact second derivatives."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers.batch_norm import BatchNormalization

SHAPES = [(6, 3), (4, 5, 6, 3), (2, 3, 4, 4, 3)]
HOW = {"momentum": 0.9, "epsilon": 1e-3}


def drawn(shape, seed, scale=1.0):
    return scale * tf.random.stateless_normal(shape, [seed, 1])


def built(kind, shape, **how):
    """A layer with factors and offsets that differ by channel."""
    layer = kind(**HOW, **how)
    layer.build(shape)
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(1.0 - number + drawn(variable.shape, number, 0.1))
    return layer


def in_training(layer, x, weights):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(weights * y)
    sources = [x, *(v.value for v in layer.trainable_variables)]
    moving = [tf.identity(v.value) for v in layer.non_trainable_variables]
    return [y, *tape.gradient(loss, sources), *moving]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("xla", [False, True])
def test_training_is_that_of_keras(shape, learned, xla):
    x, weights = 2.0 + 3.0 * drawn(shape, 5), drawn(shape, 6)
    how = {"center": learned, "scale": learned}
    found = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        run = functools.partial(in_training, built(kind, shape, **how))
        found.append((tf.function(run, jit_compile=True) if xla else run)(x, weights))
    ours, theirs = found
    assert len(ours) == 4 + 2 * learned
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=2e-5)


def test_moving_averages_serve_outside_of_training():
    layer = built(BatchNormalization, SHAPES[1])
    x = drawn(SHAPES[1], 7)
    layer.moving_mean.assign([1.0, 2.0, 3.0])
    layer.moving_variance.assign([4.0, 5.0, 6.0])
    spread = np.sqrt(layer.moving_variance.numpy() + HOW["epsilon"])
    expected = (x - layer.moving_mean) / spread * layer.gamma + layer.beta
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), layer(x), rtol=1e-6)


def by_formula(layer):
    def call(x):
        axes = list(range(len(x.shape) - 1))
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean((x - mean) ** 2, axes, keepdims=True)
        normal = (x - mean) / tf.sqrt(variance + HOW["epsilon"])
        return normal * layer.gamma + layer.beta

    return call


def penalty_gradient(call, x, kernel, weights):
    """d/d kernel of ||d f / d x||^2, f a smooth function of what is normalised."""
    with tf.GradientTape() as outer:
        outer.watch(kernel)
        with tf.GradientTape() as inner:
            inner.watch(x)
            f = tf.reduce_sum(weights * tf.tanh(call(x * kernel)))
        penalty = tf.reduce_sum(inner.gradient(f, x) ** 2)
    return outer.gradient(penalty, kernel).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_gradient_is_exact(shape):
    """Against derivatives of the formula; Keras' own are off, or this shows nothing."""
    x, kernel, weights = 2.0 + drawn(shape, 8), 1.0 + drawn(shape, 9), drawn(shape, 10)
    layer = built(BatchNormalization, shape)
    exact = penalty_gradient(by_formula(layer), x, kernel, weights)
    ours = penalty_gradient(lambda x: layer(x, training=True), x, kernel, weights)
    keras_layer = built(keras.layers.BatchNormalization, shape)
    theirs = penalty_gradient(
        lambda x: keras_layer(x, training=True), x, kernel, weights
    )
    scale = np.abs(exact).max()
    np.testing.assert_allclose(ours / scale, exact / scale, atol=1e-5)
    assert np.abs(theirs - exact).max() / scale > 1e-4


def test_half_precision_is_normalised_in_single():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    x = 1000.0 + drawn([64, 2], 11)
    y = layer(x, training=True)
    assert y.dtype == tf.bfloat16 and layer.moving_mean.dtype == "float32"
    spread = np.std(tf.cast(y, tf.float32), axis=0)
    assert np.all(np.abs(spread - 1.0) < 0.4)
