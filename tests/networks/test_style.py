"""StyleGAN2's networks: their sizes, what they compute, and what reaches what."""

import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.test_style_layers import by_definition, row_by_row
from tests.synthetic import stream
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.networks import style


def config(preset="tiny", **changes):
    return models.configure("stylegan2", preset, changes)


def size(network):
    return sum(math.prod(v.shape) for v in network.trainable_variables)


@pytest.fixture
def without_values(monkeypatch):
    """Weights start at 0: nobody looks at them."""
    zeros = keras.initializers.Zeros
    monkeypatch.setattr(keras.initializers, "RandomNormal", lambda *_: zeros())


@pytest.mark.parametrize(
    ("preset", "changes", "generator", "discriminator"),
    [
        pytest.param("paper", {}, 30_370_060, 29_012_513, marks=pytest.mark.slow),
        pytest.param("256", {}, 30_034_338, 28_864_129, marks=pytest.mark.slow),
        pytest.param(
            "256",
            {"channel_base": 8192},
            24_767_458,
            24_001_089,
            marks=pytest.mark.slow,
        ),
        ("small", {"pixel_noise": True}, 81_227, 84_609),
        ("small", {}, 81_220, 84_609),
        ("small", {"channel_max": 64, "latent_size": 64}, 322_180, 337_153),
        (
            "small",
            {"channel_max": 128, "latent_size": 128, "mapping_layers": 8},
            1_349_380,
            1_346_049,
        ),
    ],
)
def test_parameters(preset, changes, generator, discriminator, without_values):
    sizes = config(preset, **changes)
    side = sizes.image_size or 32
    shape = (side, side, 1 if preset == "small" else 3)
    made = style.generator(sizes, shape, 0)
    assert size(made) == generator
    if preset != "small":
        assert size(made.mapping) == 2_101_248
        assert made.mapping.count_params() == 8 * (512 * 512 + 512)
    assert made.copies == {1024: 18, 256: 14, 32: 8}[side]
    assert size(style.discriminator(sizes, shape, 0)) == discriminator


def test_copies_and_noise():
    made = style.generator(config(), (16, 16, 3), 0)
    assert (made.copies, made.noise_size) == (6, 16 + 2 * 64 + 2 * 256)


def run(made, w, noise):
    return made.synthesis([w, noise]).numpy()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_noise_matters_once_it_has_a_strength():
    made = style.generator(config(), (8, 8, 1), 0)
    w = normal(2, 4, 8)
    noises = [normal(2, made.noise_size, seed=seed) for seed in (1, 2)]
    one, other = (run(made, w, noise) for noise in noises)
    np.testing.assert_array_equal(one, other)
    strengths = [v for v in made.trainable_variables if v.name == "noise_strength"]
    assert len(strengths) == made.copies - 1
    for strength in strengths:
        before = strength.numpy()
        strength.assign(0.5)
        one, other = (run(made, w, noise) for noise in noises)
        assert np.abs(one - other).max() > 1e-3
        strength.assign(before)


def test_without_noise():
    made = style.generator(config(pixel_noise=False), (8, 8, 1), 0)
    assert not [v for v in made.variables if v.name == "noise_strength"]
    w = normal(2, 4, 8)
    one, other = (run(made, w, normal(2, made.noise_size, seed=s)) for s in (1, 2))
    np.testing.assert_array_equal(one, other)


# What they compute, in float64 from the paper's description ---------------------

# 12, 6 and 3 feature maps at 4, 8 and 16 pixels: no two kernels have one shape.
WIDTHS = {"channel_base": 24, "channel_max": 99}


def by_shape(network, kernels):
    """{shape of its kernel: layer}, with other numbers in place of all that is 0."""
    layers = [layer for layer in network.layers if hasattr(layer, "kernel")]
    found = {tuple(layer.kernel.shape): layer for layer in layers}
    assert len(layers) == len(found) == kernels
    for number, variable in enumerate(network.trainable_variables):
        if not variable.numpy().any():
            variable.assign(0.5 * normal(*variable.shape, seed=number))
    return found


def he(kernel):
    """Scaled by sqrt(1 / fan_in), the rest of He's constant being the activation's."""
    kernel = kernel.numpy().astype("float64")
    return kernel / np.sqrt(np.prod(kernel.shape[:-1]))


def active(x):
    return np.sqrt(2.0) * np.where(x < 0, 0.2 * x, x)


def resampled(x, how):
    """Of `[n, h, w, c]`: "up" or "down" by 2, or "blur" that adds a pixel."""
    maps = np.moveaxis(x, -1, 1)
    gain = 9.0 if how == "blur" else 1.0  # what this definition multiplies by
    found = [[by_definition(m, how) / gain for m in row] for row in maps]
    return np.moveaxis(np.array(found), 1, -1)


def convolved(x, kernel, stride=1, pad=0):
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    side = kernel.shape[0]
    ends = [(x.shape[n] - side) // stride * stride + 1 for n in (1, 2)]
    return sum(
        x[:, i : i + ends[0] : stride, j : j + ends[1] : stride] @ kernel[i, j]
        for i in range(side)
        for j in range(side)
    )


def test_the_synthesis_is_the_papers():
    made = style.generator(config(**WIDTHS), (16, 16, 3), 0)
    layers = by_shape(made.synthesis, 8)
    w, noise = normal(2, 6, 8), normal(2, made.noise_size, seed=1)
    maps = np.split(noise.astype("float64"), np.cumsum([16, 64, 64, 256]), axis=1)
    (constant,) = (v for v in made.trainable_variables if v.name == "constant")

    def modulated(layer, x, w, up, demodulate):
        kernel = layer.kernel
        plain = types.SimpleNamespace(
            kernel=kernel,
            scale=1 / np.sqrt(np.prod(kernel.shape[:-1])),
            kernel_size=kernel.shape[0],
            affine=layer.affine,
            up=up,
            demodulate=demodulate,
        )
        return row_by_row(plain, x, w)

    def convolution(x, copy, number, inputs, outputs, up=False):
        layer = layers[3, 3, inputs, outputs]
        x = modulated(layer, x, w[:, copy], up, demodulate=True)
        noise = maps[number].reshape([2, *x.shape[1:3], 1])
        x += layer.noise_strength.numpy() * noise + layer.bias.numpy()
        return active(x)

    def picture(x, copy):
        layer = layers[1, 1, x.shape[-1], 3]
        x = modulated(layer, x, w[:, copy], up=False, demodulate=False)
        return x + layer.bias.numpy()

    x = np.tile(constant.numpy(), [2, 1, 1, 1])
    x = convolution(x, 0, 0, 12, 12)
    image = picture(x, 1)
    x = convolution(x, 1, 1, 12, 6, up=True)
    x = convolution(x, 2, 2, 6, 6)
    image = resampled(image, "up") + picture(x, 3)
    x = convolution(x, 3, 3, 6, 3, up=True)
    x = convolution(x, 4, 4, 3, 3)
    image = resampled(image, "up") + picture(x, 5)
    np.testing.assert_allclose(run(made, w, noise), image, rtol=1e-5, atol=1e-5)


def test_the_discriminator_is_the_papers():
    judge = style.discriminator(config(**WIDTHS), (16, 16, 3), 0)
    layers = by_shape(judge, 10)
    images = normal(8, 16, 16, 3)

    def of(*shape):
        layer = layers[shape]
        return he(layer.kernel), layer.bias.numpy() if layer.use_bias else None

    kernel, bias = of(1, 1, 3, 3)
    x = active(images @ kernel[0, 0] + bias)
    for wide, narrow in ((3, 6), (6, 12)):
        kernel, bias = of(3, 3, wide, wide)
        y = active(convolved(x, kernel, pad=1) + bias)
        kernel, bias = of(3, 3, wide, narrow)
        y = active(convolved(resampled(y, "blur"), kernel, stride=2) + bias)
        kernel, bias = of(1, 1, wide, narrow)
        assert bias is None
        x = (y + resampled(x, "down") @ kernel[0, 0]) / np.sqrt(2.0)
    # Rows 0, 2, 4, 6 make one group of four, the others the other.
    deviation = np.sqrt(np.var(x.reshape([4, 2, 4, 4, 12]), axis=0) + 1e-8)
    deviation = np.tile(deviation.mean(axis=(1, 2, 3)), 4)[:, None, None, None]
    x = np.concatenate([x, np.broadcast_to(deviation, [8, 4, 4, 1])], axis=-1)
    kernel, bias = of(3, 3, 13, 12)
    x = active(convolved(x, kernel, pad=1) + bias).reshape([8, -1])
    kernel, bias = of(4 * 4 * 12, 12)
    x = active(x @ kernel + bias)
    kernel, bias = of(12, 1)
    np.testing.assert_allclose(judge(images), x @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_the_mapping_does_not_see_the_length_of_z():
    made = style.generator(config(), (8, 8, 1), 0)
    z = normal(3, 8)
    np.testing.assert_allclose(made.mapping(z), made.mapping(7.0 * z), rtol=1e-4)
    assert np.abs(made.mapping(z) - made.mapping(-z)).max() > 1e-3


def test_labels_reach_both_networks():
    sizes, y = config(), np.eye(3, dtype="float32")
    made = style.generator(sizes, (8, 8, 1), 3)
    z = np.repeat(normal(1, 8), 3, axis=0)
    w = made.to_w(z, [y]).numpy()
    assert min(np.abs(w[i] - w[j]).max() for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-3
    judge = style.discriminator(sizes, (8, 8, 1), 3)
    images = np.repeat(normal(1, 8, 8, 1), 3, axis=0)
    logits = judge([images, y]).numpy()
    assert logits.shape == (3, 1)
    assert len(np.unique(logits)) == 3


def test_mixing():
    made = style.generator(config(), (16, 16, 1), 0)
    first, second = tf.zeros([1000, 8]), tf.ones([1000, 8])
    uniforms = np.random.default_rng(0).uniform(size=[1000, 2]).astype("float32")
    w = made.mix(first, second, uniforms, 0.9).numpy()[..., 0]
    assert w.shape == (1000, 6)
    places = 6 - w.sum(axis=1)
    np.testing.assert_array_equal(w, np.arange(6) >= places[:, None])
    # 0.9 of the rows have a second w, from copy 1, ... 5 on alike; at 6 none.
    counts = np.bincount(places.astype(int), minlength=7)
    assert counts[0] == 0
    # Six standard deviations of a binomial.
    np.testing.assert_allclose(counts[1:6], 180, atol=75)
    np.testing.assert_allclose(counts[6], 100, atol=57)
    np.testing.assert_array_equal(made.mix(first, second, uniforms, 0.0), 0)


def test_truncation():
    made, w = style.generator(config(), (8, 8, 1), 0), normal(3, 4, 8)
    mean = normal(8, seed=1)
    made.w_average.assign(mean)
    np.testing.assert_allclose(made.truncate(w, 1.0), w, atol=1e-6)
    np.testing.assert_allclose(
        made.truncate(w, 0.0), np.tile(mean, [3, 4, 1]), atol=1e-6
    )
    np.testing.assert_allclose(made.truncate(w, 0.5), (w + mean) / 2, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 32, 1), (4, 4, 1)])
def test_sides_that_do_not_fit_are_refused(shape):
    with pytest.raises(BadInput, match="square images whose side is a power of 2"):
        style.generator(config(), shape, 0)


def test_labels_need_labelled_data():
    spec = stream(8).spec
    features = {"image": spec.features["image"]}
    with pytest.raises(BadInput, match="synthetic has no label"):
        models.build(
            "stylegan2",
            "tiny",
            spec=spec.replace(features=features),
            hparams={"labels": True},
        )
