"""3-D convolutions of 2-D ones: results and gradients are those of Keras' layers."""

import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.core import graphs
from tfgen.layers import volumes

CASES = [
    # kernel, strides, padding, frames and side of the input
    ((4, 4, 4), (2, 2, 2), "same", (4, 6)),
    ((3, 3, 3), (1, 1, 1), "same", (3, 5)),
    ((3, 5, 5), (1, 2, 2), "same", (4, 6)),
    ((2, 4, 4), (1, 1, 1), "valid", (3, 5)),
    ((1, 2, 2), (1, 1, 1), "valid", (2, 3)),
    ((2, 1, 1), (1, 1, 1), "valid", (2, 4)),
    ((3, 3, 3), (2, 2, 2), "same", (5, 5)),
]


@pytest.fixture
def made_of_planes(monkeypatch):
    monkeypatch.setattr(volumes, "has_kernels", lambda: False)


def compared(ours, theirs, shape):
    x = tf.random.stateless_normal(shape, [0, 1])
    for layer in (ours, theirs):
        layer.build(shape)
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        value = 0.1 * tf.random.stateless_normal(mine.shape, [2, len(mine.shape)])
        mine.assign(value)
        other.assign(value)
    found = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            weighed = y * tf.cast(tf.random.stateless_normal(y.shape, [3, 4]), y.dtype)
        sources = [x, *(v.value for v in layer.variables)]
        found.append([y, *tape.gradient(weighed, sources)])
    assert tuple(ours.compute_output_shape(shape)) == tuple(found[0][0].shape)
    for mine, other in zip(*found, strict=True):
        assert mine.shape == other.shape
        # Sums of some hundred products in another order.
        scale = np.abs(other).max()
        np.testing.assert_allclose(mine / scale, other / scale, atol=2e-6)


@pytest.mark.parametrize(("kernel", "strides", "padding", "size"), CASES)
def test_convolution(made_of_planes, kernel, strides, padding, size):
    how = {"strides": strides, "padding": padding, "activation": "tanh"}
    shape = (2, size[0], size[1], size[1], 3)
    compared(
        volumes.Conv3D(5, kernel, **how), keras.layers.Conv3D(5, kernel, **how), shape
    )


@pytest.mark.parametrize(("kernel", "strides", "padding", "size"), CASES)
def test_transposed_convolution(made_of_planes, kernel, strides, padding, size):
    how = {"strides": strides, "padding": padding}
    shape = (2, size[0], size[1], size[1], 3)
    compared(
        volumes.Conv3DTranspose(5, kernel, **how),
        keras.layers.Conv3DTranspose(5, kernel, **how),
        shape,
    )


def test_second_derivatives():
    """||d y / d x||^2 by the kernel, for a linear layer: 2 K^T K v, both ways alike."""
    x = tf.random.stateless_normal([1, 4, 4, 4, 1], [0, 1])
    kernel = tf.Variable(tf.random.stateless_normal([4, 4, 4, 1, 2], [2, 3]))
    found = []
    for convolve in (
        lambda x: volumes.conv3d(x, kernel, (2, 2, 2), "same"),
        lambda x: tf.nn.conv3d(x, kernel, [1, 2, 2, 2, 1], "SAME"),
    ):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(convolve(x) ** 2)
            penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
        found.append(outer.gradient(penalty, kernel))
    scale = np.abs(found[1]).max()
    np.testing.assert_allclose(found[0] / scale, found[1] / scale, atol=2e-6)


@pytest.mark.parametrize(
    ("onednn", "machine", "compiled", "expected"),
    [
        ("1", "x86_64", False, True),
        ("1", "AMD64", False, True),
        ("1", "x86_64", True, False),
        ("1", "arm64", False, False),
        ("0", "x86_64", False, False),
        (None, "x86_64", False, False),
    ],
)
def test_where_kernels_are_fast(monkeypatch, onednn, machine, compiled, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    if onednn is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    else:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    found = []

    def traced(x):
        found.append(volumes.has_kernels())
        return x

    graphs.function(traced, compiled)(tf.zeros([]))
    assert found == [expected]
    inner = graphs.function(traced, False)
    graphs.function(lambda x: inner(x), compiled)(tf.zeros([]))
    assert found == [expected, expected], "a function that a compiled one calls"


def test_an_accelerator_has_kernels(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: ["gpu"] * (kind == "GPU")
    )
    assert volumes.has_kernels()
    with graphs.portable():
        assert not volumes.has_kernels()


def test_frames_that_do_not_divide_are_refused():
    kernel = tf.zeros([3, 2, 2, 1, 1])
    with pytest.raises(ValueError, match="7 frames are no multiple of the stride 2"):
        volumes.conv3d_transpose(tf.zeros([1, 3, 4, 4, 1]), kernel, (2, 2, 2), "valid")
