"""Projection into w: its schedule, its start, and that it finds what can be made."""

import types

import numpy as np
import pytest
import tensorflow as tf

from launch import projection
from tfgen.core.spec import DataSpec, Feature
from tfgen.metrics import extractor

SIDE, LATENT = 8, 5


class Linear:
    """Images A w + B noise in [-1, 1] units; w = 2 z + 1, of two copies."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.a = random.normal(size=[LATENT, SIDE**2]).astype("float32") / 8
        self.b = 0.001 * random.normal(size=[80, SIDE**2]).astype("float32")
        self.spec = DataSpec(
            "linear", 1, {"image": Feature((SIDE, SIDE, 1), "float32", -1.0, 1.0)}
        )
        self.generator_ema = types.SimpleNamespace(
            latent_size=LATENT, copies=2, noise_size=80, noise_sides=[4, 8]
        )

    def map(self, z):
        return tf.tile(2.0 * z[:, None] + 1.0, [1, 2, 1])

    def synthesize(self, w, noise):
        flat = tf.reduce_mean(w, axis=1) @ self.a + noise @ self.b
        return tf.reshape(flat, [-1, SIDE, SIDE, 1])


def test_rate():
    rate = projection.Rate(1000)
    found = [float(rate(step)) for step in (0, 25, 50, 700, 875, 1000)]
    # Linear to 0.1 at 5 %; half of it half way down the last quarter.
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0.1, 0.05, 0], atol=1e-6)


def test_start_and_spread():
    # w = 2 z + 1: mean 1, and E |w - mean|^2 = 4 LATENT. 10,000 draws.
    mean, spread = projection.statistics(Linear(), 0, 3)
    np.testing.assert_allclose(mean, np.ones([3, LATENT]), atol=0.1)
    assert spread == pytest.approx(2 * LATENT**0.5, rel=0.02)


@pytest.mark.parametrize(
    "name", ["pixels", pytest.param("pca:8", marks=pytest.mark.slow)]
)
def test_it_finds_w_of_images_it_can_make(name):
    model = Linear()
    random = np.random.default_rng(1)
    wanted = 1.0 + random.normal(size=[2, LATENT]).astype("float32")
    images = (wanted @ model.a).reshape([-1, SIDE, SIDE, 1])
    real = random.integers(0, 256, [50, SIDE, SIDE, 1], dtype=np.uint8)
    told = []
    found = projection.project(
        model,
        images,
        extractor(name, real),
        steps=200,
        progress=lambda *counts: told.append(counts),
    )
    np.testing.assert_allclose(found["w"], wanted, atol=0.1)
    start = np.mean(
        (images - (np.ones_like(wanted) @ model.a).reshape(images.shape)) ** 2
    )
    assert found["distance"].max() < 0.02 * start
    assert found["images"].shape == images.shape and told[-1] == (200, 200)
    # Each noise image: zero mean, unit variance, closer to white than at the start.
    for part in (found["noise"][:, :16], found["noise"][:, 16:]):
        np.testing.assert_allclose(part.mean(axis=1), 0.0, atol=1e-5)
        np.testing.assert_allclose(part.std(axis=1), 1.0, rtol=1e-4)
