"""Layers of StyleGAN2 against their formulas, written out in float64."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers.equalised import EqualisedConv2D, EqualisedDense
from tfgen.layers.minibatch_stddev import MinibatchStddev
from tfgen.layers.modulated import ModulatedConv2D
from tfgen.layers.pixel_norm import PixelNorm
from tfgen.layers.resampling import blur, downsample, upsample

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def correlate(x, kernel, before, after, gain=1.0):
    """Filter of `[h, w]` by definition; zeros around: so many before and after."""
    x = np.pad(x.astype("float64"), [[before, after]] * 2)
    height, width = (side - 3 for side in x.shape)
    window = itertools.product(range(height), range(width))
    values = [np.sum(x[i : i + 4, j : j + 4] * kernel) * gain for i, j in window]
    return np.reshape(values, [height, width])


# Equalised learning rate --------------------------------------------------------


def test_equalised_dense():
    layer, x = EqualisedDense(200, rate=0.01, gain=3.0, factor=0.5), normal(4, 300)
    layer(x)
    kernel = layer.kernel.numpy()
    # Deviation of 60,000 draws: 1 +- 0.003.
    assert np.std(kernel) == pytest.approx(100.0, rel=0.02)
    assert not layer.bias.numpy().any()
    layer.bias.assign(normal(200, seed=1))
    used = kernel.astype("float64") * 0.01 * 3.0 / math.sqrt(300)
    wanted = 0.5 * (x @ used + 0.01 * normal(200, seed=1))
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_equalised_convolution():
    layer = EqualisedConv2D(5, 3, strides=2, padding="valid", activation=tf.nn.relu)
    x = normal(2, 7, 7, 4)
    found = layer(x)
    layer.bias.assign(normal(5, seed=1))
    kernel = layer.kernel.numpy() / math.sqrt(9 * 4)  # He's constant without its gain
    wanted = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "VALID") + normal(5, seed=1))
    assert found.shape == (2, 3, 3, 5)
    np.testing.assert_allclose(layer(x), wanted, atol=1e-5)
    assert EqualisedConv2D(5, (1, 3), use_bias=False)(x).shape == (2, 7, 7, 5)


def test_pixel_norm():
    x = normal(2, 3, 3, 5)
    wanted = x / np.sqrt(np.mean(x.astype("float64") ** 2, -1, keepdims=True) + 0.1)
    np.testing.assert_allclose(PixelNorm(0.1)(x), wanted, rtol=1e-5)
    assert PixelNorm(dtype="bfloat16")(tf.cast(x, tf.bfloat16)).dtype == tf.bfloat16


# Minibatch deviation ------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "group", "size"),
    [(8, 4, 4), (2, 4, 2), (6, 4, 3), (5, 2, 1), (8, None, 8)],
)
def test_minibatch_stddev(rows, group, size):
    x = normal(rows, 3, 3, 2)
    found = MinibatchStddev(group, epsilon=0.25)(x).numpy()
    np.testing.assert_array_equal(found[..., :2], x)
    for row in range(rows):
        members = x[row % (rows // size) :: rows // size].astype("float64")
        assert len(members) == size
        wanted = np.mean(np.sqrt(np.var(members, axis=0) + 0.25))
        np.testing.assert_allclose(found[row, ..., 2], wanted, rtol=1e-5)


def test_minibatch_stddev_wants_to_know_its_rows():
    images = keras.Input([3, 3, 2])
    network = keras.Model(images, MinibatchStddev(4)(images))
    assert network(normal(8, 3, 3, 2)).shape == (8, 3, 3, 3)
    unknown = tf.function(network, [tf.TensorSpec([None, 3, 3, 2])], autograph=False)
    with pytest.raises(ValueError, match="groups need a static number of rows"):
        unknown.get_concrete_function()


# Resampling ---------------------------------------------------------------------


def by_definition(x, how):
    """Of `[h, w]`."""
    if how == "down":
        return correlate(x, FILTER, 1, 1)[::2, ::2]
    if how == "up":
        spread = np.zeros([2 * side for side in x.shape])
        spread[::2, ::2] = x
        return correlate(spread, FILTER, 2, 1, gain=4)
    return correlate(x, FILTER, 2, 2, gain=9)


FORMS = {"up": upsample, "down": downsample, "blur": lambda x: blur(x, 2, gain=9)}


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("shape", [(6, 8), (66, 70)])
def test_resampling_is_the_filter(how, shape):
    x = normal(2, *shape, 3)
    found = FORMS[how](x)
    for row, channel in itertools.product(range(2), range(3)):
        wanted = by_definition(x[row, ..., channel], how)
        np.testing.assert_allclose(found[row, ..., channel], wanted, atol=1e-5)


def test_constants_stay_and_borders_do_not():
    ones = np.ones([1, 16, 16, 1], "float32")
    up, down = (form(ones)[0, ..., 0].numpy() for form in (upsample, downsample))
    assert up.shape == (32, 32)
    assert down.shape == (8, 8)
    np.testing.assert_allclose(up[2:-2, 2:-2], 1, rtol=1e-6)
    np.testing.assert_allclose(down[1:-1, 1:-1], 1, rtol=1e-6)
    # 0.75 and 0.875 an axis.
    assert (up[0, 0], up[0, 9]) == (0.5625, 0.75)
    assert down[0, 0] == 0.765625


def test_mass_of_an_impulse():
    for i, j in itertools.product((6, 7), (8, 9)):
        x = np.zeros([1, 16, 16, 1], "float32")
        x[0, i, j] = 1
        assert np.sum(upsample(x)) == pytest.approx(4)
        assert np.sum(downsample(x)) == pytest.approx(0.25)


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("side", [6, 66])
def test_resampling_can_be_differentiated_twice(how, side):
    # f(x) = |A x|^2 / 2 along t d: f''(t) = |A d|^2.
    x, d = normal(1, side, side, 2), normal(1, side, side, 2, seed=1)
    t = tf.constant(0.5)
    with tf.GradientTape() as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            inner.watch(t)
            loss = tf.reduce_sum(tf.square(FORMS[how](x + t * d))) / 2
        slope = inner.gradient(loss, t)
    wanted = np.sum(np.square(FORMS[how](d), dtype="float64"))
    np.testing.assert_allclose(outer.gradient(slope, t), wanted, rtol=1e-4)


# Modulated convolution ----------------------------------------------------------


def row_by_row(layer, x, w):
    """Each row through its own kernel, in float64; no noise, bias or activation."""
    kernel = layer.kernel.numpy().astype("float64") * layer.scale
    affine, size = layer.affine, w.shape[-1]
    styles = w @ affine.kernel.numpy().astype("float64") / math.sqrt(size)
    styles += affine.bias.numpy() + 1
    images = []
    for row, style in zip(x.astype("float64"), styles, strict=True):
        own = kernel * style[:, None]
        if layer.demodulate:
            own /= np.sqrt(np.sum(own**2, axis=(0, 1, 2)) + 1e-8)
        side, k = len(row), layer.kernel_size
        if not layer.up:
            padded = np.pad(row, [[k // 2, k // 2]] * 2 + [[0, 0]])
            image = np.zeros([side, side, own.shape[-1]])
            for i, j in itertools.product(range(k), range(k)):
                image += padded[i : i + side, j : j + side] @ own[i, j]
        else:
            image = np.zeros([2 * side + 1, 2 * side + 1, own.shape[-1]])
            for i, j in itertools.product(range(side), range(side)):
                each = np.einsum("klio,i->klo", own, row[i, j])
                image[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += each
            channels = np.moveaxis(image, -1, 0)
            images.append(
                np.stack([correlate(c, FILTER, 1, 1, gain=4) for c in channels], -1)
            )
            continue
        images.append(image)
    return np.stack(images)


@pytest.mark.parametrize(
    ("kernel", "up", "demodulate"),
    [(3, False, True), (3, True, True), (1, False, False), (3, True, False)],
)
def test_modulated_convolution_is_a_kernel_a_row(kernel, up, demodulate):
    layer = ModulatedConv2D(5, kernel, up=up, demodulate=demodulate, use_bias=False)
    x, w = normal(3, 6, 6, 4), normal(3, 7, seed=1)
    layer([x, w])
    layer.affine.bias.assign(normal(4, seed=2))
    found = layer([x, w])
    assert found.shape == ((3, 12, 12, 5) if up else (3, 6, 6, 5))
    np.testing.assert_allclose(found, row_by_row(layer, x, w), rtol=1e-5, atol=1e-5)


def test_noise_bias_and_activation():
    x, w, noise = normal(3, 6, 6, 4), normal(3, 7), normal(3, 6, 6, 1)
    layer = ModulatedConv2D(5, 3, activation=tf.nn.relu, factor=2.0)
    layer([x, w, noise])
    assert layer.noise_strength.shape == ()
    plain = row_by_row(layer, x, w)
    wanted = np.maximum(2.0 * plain, 0)
    np.testing.assert_allclose(layer([x, w, noise]), wanted, rtol=1e-4, atol=1e-5)
    layer.noise_strength.assign(0.3)
    layer.bias.assign(normal(5, seed=3))
    wanted = np.maximum(2.0 * (plain + 0.3 * noise + normal(5, seed=3)), 0)
    np.testing.assert_allclose(layer([x, w, noise]), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "kernel"), [(0.01, 1.0), (1.0, 1.0), (100.0, 1.0), (1.0, 100.0)]
)
def test_demodulated_outputs_have_unit_variance(scale, kernel):
    layer = ModulatedConv2D(16, 3, use_bias=False)
    x, w = normal(8, 24, 24, 32), scale * normal(8, 32, seed=1)
    layer([x, w])
    layer.kernel.assign(kernel * layer.kernel)
    # Not at the border. 8 x 22 x 22 numbers a map, correlated: within 0.05.
    inner = layer([x, w])[:, 1:-1, 1:-1].numpy()
    np.testing.assert_allclose(inner.std(axis=(0, 1, 2)), 1, atol=0.05)


def test_styles_stay_float32_in_bfloat16():
    # w around 256, where numbers of bfloat16 are 2 apart, and an affine map that takes
    # the 256 away: rounded, nothing of w is left.
    layer = ModulatedConv2D(8, 3, dtype="mixed_bfloat16")
    x, w = normal(2, 6, 6, 4), 256 + normal(2, 7, seed=1)
    found = layer([x, w])
    kernel = layer.affine.kernel
    kernel.assign(kernel - tf.reduce_mean(kernel, axis=0))
    found = layer([x, w])
    assert found.dtype == tf.bfloat16
    wanted = row_by_row(layer, x, w)
    apart = np.linalg.norm(tf.cast(found, tf.float32) - wanted)
    assert apart / np.linalg.norm(wanted) < 2e-2
