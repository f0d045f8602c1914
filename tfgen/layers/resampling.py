"""Images of twice or half the size through a smooth filter (Karras et al. 2020).

The filter is [1, 3, 3, 1] along both axes, scaled to sum 1. Beyond the border there
are zeros.

Small images are multiplied by a banded matrix along either axis, large ones convolved
channel by channel. The product is the faster up to some 32 pixels on CPUs, and XLA's
depthwise convolution there takes tens of times as long; its work grows with the side.
Both can be differentiated twice.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

_FILTER = np.array([1.0, 3.0, 3.0, 1.0], "float32") / 8.0
_SMALL = 40  # pixels


def upsample(x):
    """Return images of twice the size: zeros between pixels, then the filter times 4.

    `[rows, h, w, c] -> [rows, 2 h, 2 w, c]`. A constant is kept, but at the border; a
    pixel's mass is multiplied by 4.
    """
    if _is_small(x):
        return _along_both(x, _doubling)
    _, height, width, channels = x.shape
    none, one = [0, 0], [0, 1]
    x = tf.pad(x[:, :, None, :, None], [none, none, one, none, one, none])
    x = tf.reshape(x, [-1, 2 * height, 2 * width, channels])
    return _convolved(x, 2, 1, gain=4.0)


def downsample(x):
    """Return images of half the size: the filter, then every other pixel.

    `[rows, h, w, c] -> [rows, h / 2, w / 2, c]`, h and w even.
    """
    if _is_small(x):
        return _along_both(x, _halving)
    return _convolved(x, 1, 1, stride=2)


def blur(x, padding, gain=1.0):
    """Return filtered images, `[rows, h + 2 padding - 3, w + 2 padding - 3, c]`.

    Args:
        x: `[rows, h, w, c]`.
        padding: Zeros around it, pixels.
        gain: Sum of the filter.
    """
    if _is_small(x):
        factor = gain**0.5
        return _along_both(x, lambda side: factor * _smoothing(side, padding))
    return _convolved(x, padding, padding, gain=gain)


class Upsample2D(keras.layers.Layer):
    """`upsample` as a layer."""

    def call(self, x):
        """Return images of twice the size."""
        return upsample(x)


class Downsample2D(keras.layers.Layer):
    """`downsample` as a layer."""

    def call(self, x):
        """Return images of half the size."""
        return downsample(x)


class Blur2D(keras.layers.Layer):
    """`blur` as a layer."""

    def __init__(self, padding, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, x):
        """Return filtered images."""
        return blur(x, self.padding)


def _is_small(x):
    return max(x.shape[1:3]) <= _SMALL


def _convolved(x, before, after, stride=1, gain=1.0):
    """Return x, in zeros `before` and `after` it, through the filter."""
    around, channels = [before, after], x.shape[-1]
    kernel = np.tile(gain * np.outer(_FILTER, _FILTER)[..., None, None], [channels, 1])
    x = tf.pad(x, [[0, 0], around, around, [0, 0]])
    strides = [1, stride, stride, 1]
    return tf.nn.depthwise_conv2d(x, tf.cast(kernel, x.dtype), strides, "VALID")


def _along_both(x, matrix_of):
    _, height, width, channels = x.shape
    down, across = matrix_of(height), matrix_of(width)
    x = _product(down, tf.reshape(x, [-1, height, width * channels]))
    x = _product(across, tf.reshape(x, [-1, width, channels]))
    return tf.reshape(x, [-1, down.shape[0], across.shape[0], channels])


def _product(matrix, x):
    """Return matrix @ x, for each row of x; the gradient is the transposed product.

    TensorFlow's own would sum over axes that it asks for at run time, as if the matrix
    could have a gradient.
    """

    @tf.custom_gradient
    def product(x):
        return tf.cast(matrix, x.dtype) @ x, lambda y: _product(matrix.T, y)

    return product(x)


@functools.cache
def _smoothing(size, padding):
    """Matrix `[size + 2 padding - 3, size]` of the filter along an axis."""
    row = np.arange(size + 2 * padding - 3)[:, None]
    tap = np.arange(size)[None] - row + padding
    return np.where((tap >= 0) & (tap < 4), _FILTER[np.clip(tap, 0, 3)], 0.0)


@functools.cache
def _halving(size):
    return _smoothing(size, 1)[::2]


@functools.cache
def _doubling(size):
    # Zeros between pixels: of a filter over 2 size pixels, two before and one after
    # them, the columns of the even ones.
    return 2.0 * _smoothing(2 * size, 2)[: 2 * size, ::2]
