"""Images of twice or half the size through a smooth filter (Karras et al. 2020).

The filter is [1, 3, 3, 1] along both axes, scaled to sum 1. Beyond the border there
are zeros. All of it is linear along an axis, and is done as a product with a banded
matrix: fast on CPUs, compiled by XLA, and its gradient is the transposed product, which
can be differentiated again.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

_FILTER = np.array([1.0, 3.0, 3.0, 1.0], "float32") / 8.0


def upsample(x):
    """Return images of twice the size: zeros between pixels, then the filter times 4.

    `[rows, h, w, c] -> [rows, 2 h, 2 w, c]`. A constant is kept, but at the border; a
    pixel's mass is multiplied by 4.
    """
    return _along_both(x, _doubling)


def downsample(x):
    """Return images of half the size: the filter, then every other pixel.

    `[rows, h, w, c] -> [rows, h / 2, w / 2, c]`, h and w even.
    """
    return _along_both(x, _halving)


def blur(x, padding, gain=1):
    """Return filtered images, `[rows, h + 2 padding - 3, w + 2 padding - 3, c]`.

    Args:
        x: `[rows, h, w, c]`.
        padding: Zeros around it, pixels.
        gain: Sum of the filter.
    """
    factor = float(gain) ** 0.5
    return _along_both(x, lambda size: factor * _smoothing(size, padding))


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


def _along_both(x, matrix_of):
    _, height, width, channels = x.shape
    down, across = (tf.cast(matrix_of(side), x.dtype) for side in (height, width))
    x = down @ tf.reshape(x, [-1, height, width * channels])
    x = across @ tf.reshape(x, [-1, width, channels])
    return tf.reshape(x, [-1, down.shape[0], across.shape[0], channels])


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
