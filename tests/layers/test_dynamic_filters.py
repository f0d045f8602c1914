"""Filters of each row: against a convolution of each row, and their derivatives."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers import dynamic_filters
from tfgen.layers.dynamic_filters import DynamicFilters, convolve

# (clip, kernel, padding): of frames; of time too, which grows by 2 as in the paper.
CASES = [
    ((3, 6, 5, 2), (1, 5, 5), None),
    ((4, 6, 6, 2), (3, 5, 5), None),
    ((2, 4, 4, 2), (3, 5, 5), (2, 2, 2)),
]


def draw(clip, kernel, rows=5, outputs=3):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, *clip)).astype("float32")
    filters = random.normal(size=(rows, *kernel, clip[-1], outputs)).astype("float32")
    return tf.constant(x), tf.constant(filters)


def one_by_one(x, filters, padding=None):
    """The definition: each row by TensorFlow's convolution with its own kernel."""
    padding = padding or [side // 2 for side in filters.shape[1:4]]
    x = tf.pad(x, [[0, 0], *([p, p] for p in padding), [0, 0]])
    rows = [
        tf.nn.conv3d(x[b : b + 1], filters[b], [1] * 5, "VALID")
        for b in range(x.shape[0])
    ]
    return tf.concat(rows, axis=0)


def penalised(function, x, filters, padding):
    """A loss as a discriminator's: outputs, and the gradient by the clip, squared."""
    with tf.GradientTape() as outer:
        outer.watch([x, filters])
        with tf.GradientTape() as inner:
            inner.watch(x)
            score = tf.reduce_sum(tf.tanh(function(x, filters, padding)))
        gradient = inner.gradient(score, x)
        loss = score + tf.reduce_sum(tf.square(gradient))
    return [gradient, *outer.gradient(loss, [x, filters])]


@pytest.mark.parametrize(("clip", "kernel", "padding"), CASES)
@pytest.mark.parametrize("fold", [6, 64])  # rows in parts, the last of one; all
def test_each_row_has_its_own_filters(clip, kernel, padding, fold, monkeypatch):
    monkeypatch.setattr(dynamic_filters, "FOLD", fold)
    x, filters = draw(clip, kernel)
    wanted = one_by_one(x, filters, padding)
    np.testing.assert_allclose(convolve(x, filters, padding), wanted, atol=1e-5)
    of_any_rows = tf.function(
        lambda x, filters: convolve(x, filters, padding),
        [tf.TensorSpec([None, *tensor.shape[1:]]) for tensor in (x, filters)],
        autograph=False,
    )
    np.testing.assert_allclose(of_any_rows(x, filters), wanted, atol=1e-5)
    layer = DynamicFilters(padding)
    assert layer.compute_output_shape([x.shape, filters.shape]) == wanted.shape
    np.testing.assert_allclose(layer([x, filters]), wanted, atol=1e-5)


@pytest.mark.parametrize(("channels", "outputs", "rows"), [(3, 16, 4), (16, 8, 4)])
def test_convolutions_are_as_wide_as_their_wider_side(
    channels, outputs, rows, monkeypatch
):
    """At most 64 channels come in or go out."""
    folded, real = [], dynamic_filters._side_by_side

    def recorded(x, filters):
        folded.append(len(x))
        return real(x, filters)

    monkeypatch.setattr(dynamic_filters, "_side_by_side", recorded)
    convolve(*draw((1, 4, 4, channels), (1, 5, 5), rows=9, outputs=outputs))
    assert folded == [rows, rows, 1]


@pytest.mark.parametrize(("clip", "kernel", "padding"), CASES[1:])
def test_first_and_second_derivatives(clip, kernel, padding):
    x, filters = draw(clip, kernel)
    wanted = penalised(one_by_one, x, filters, padding)
    for ours, theirs in zip(
        penalised(convolve, x, filters, padding), wanted, strict=True
    ):
        # Sums of some hundred terms: relative to the largest.
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)


def test_under_xla():
    x, filters = draw(*CASES[1][:2])
    compiled = tf.function(penalised, jit_compile=True, autograph=False)
    wanted = penalised(convolve, x, filters, None)
    for ours, theirs in zip(compiled(convolve, x, filters, None), wanted, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)
