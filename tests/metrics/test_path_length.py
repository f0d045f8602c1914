"""Path length: closed form of a linear generator, what is dropped, both extractors."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import digits
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.metrics import extractor, path_length

SIDE, LATENT = 4, 6


class Linear:
    """w = z, images A w in [-1, 1] units: no clipping, two copies of w averaged."""

    compute_dtype = "float32"

    def __init__(self, scale=1.0):
        self.matrix = scale * np.random.default_rng(0).normal(size=[LATENT, SIDE**2])
        image = Feature((SIDE, SIDE, 1), "float32", -1.0, 1.0)
        self.spec = DataSpec("linear", 1, {"image": image})
        self.config = types.SimpleNamespace(latent_size=LATENT)

    def map(self, z):
        return tf.tile(z[:, None], [1, 2, 1])

    def synthesize(self, w):
        flat = tf.reduce_mean(w, axis=1) @ self.matrix.astype("float32")
        return tf.reshape(flat, [-1, SIDE, SIDE, 1])


def pixels():
    return extractor("pixels", digits(SIDE)["image"])


def test_of_a_linear_generator():
    # |A (w_1 - w_0)|^2 of normal w: its mean is 2 ||A||_F^2.
    model = Linear()
    found = path_length.measure(model, pixels(), 4000)
    wanted = 2 * np.sum(model.matrix**2)
    # Without the tails, a percent each, the mean of this skewed law is 2.5 % lower.
    assert found.value == pytest.approx(0.975 * wanted, rel=0.03)
    assert found.error < 0.02 * wanted
    # Half as large a step: the same, up to the rounding of images in float32.
    again = path_length.measure(model, pixels(), 500, epsilon=EPSILON / 2)
    same = path_length.measure(model, pixels(), 500)
    assert again.value == pytest.approx(same.value, rel=1e-3)
    assert path_length.measure(Linear(0.0), pixels(), 10).value == 0.0


EPSILON = path_length.EPSILON


def test_both_tails_are_dropped():
    squared = np.arange(1000.0) * EPSILON**2
    squared[-5:] = 1e9  # half a percent
    found = path_length.of_distances(squared)
    # Ranks 9.99 and 989.01, outwards: 9 to 990 stay.
    assert found.value == pytest.approx(np.mean(np.arange(9, 991)))


def test_principal_components_see_a_part():
    model, real = Linear(), digits(SIDE)["image"]
    whole, part = (extractor(name, real) for name in ("pca:16", "pca:3"))
    lengths = [path_length.measure(model, e, 200).value for e in (pixels(), whole)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
    assert 0 < path_length.measure(model, part, 200).value < lengths[1]


def test_features_of_tensors_are_those_of_bytes():
    real = digits(SIDE)["image"]
    for name in ("pixels", "pca:5"):
        network = extractor(name, real)
        found = network.features_of(tf.constant(real, tf.float32))
        np.testing.assert_allclose(found, network(real), atol=1e-5)


def test_one_pair_is_refused():
    with pytest.raises(BadInput, match="two pairs"):
        path_length.measure(Linear(), pixels(), 1)


def test_bfloat16_is_refused():
    model = Linear()
    model.compute_dtype = "bfloat16"
    with pytest.raises(BadInput, match="bfloat16 cannot tell apart"):
        path_length.measure(model, pixels(), 10)
