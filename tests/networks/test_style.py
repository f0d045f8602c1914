"""StyleGAN2's networks: their sizes, and what reaches what."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

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
        ("small", {}, 81_227, 84_609),
        ("small", {"channel_max": 64, "latent_size": 64}, 322_187, 337_153),
        (
            "small",
            {"channel_max": 128, "latent_size": 128, "mapping_layers": 8},
            1_349_387,
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
    assert made.copies == 2 * math.log2(side) - 2
    assert size(style.discriminator(sizes, shape, 0)) == discriminator


def test_copies_and_noise():
    made = style.generator(config(), (16, 16, 3), 0)
    assert (made.copies, made.noise_size) == (6, 16 + 2 * 64 + 2 * 256)
    # At 1024 pixels: 18 copies, of which the presets' test sees the formula.
    assert 2 * int(math.log2(1024)) - 2 == 18


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


def test_each_copy_reaches_its_layers():
    # Copy 1 is that of the first image and of the first layer at 8 x 8; the last one
    # only that of the last image: linear in its style, without demodulation.
    made = style.generator(config(), (8, 8, 1), 0)
    w, noise = normal(1, 4, 8), normal(1, made.noise_size, seed=1)
    plain = run(made, w, noise)
    for copy in range(4):
        changed = w.copy()
        changed[:, copy] += 1.0
        assert np.abs(run(made, changed, noise) - plain).max() > 1e-3, copy
    images = []
    for step in (0.0, 1.0, 2.0):
        changed = w.copy()
        changed[:, 3] += step
        images.append(run(made, changed, noise))
    np.testing.assert_allclose(images[2] - images[1], images[1] - images[0], atol=1e-4)


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
    half = made.truncate(w, 0.5, cutoff=3)
    np.testing.assert_allclose(half[:, :3], (w[:, :3] + mean) / 2, atol=1e-6)
    np.testing.assert_array_equal(half[:, 3:], w[:, 3:])


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
