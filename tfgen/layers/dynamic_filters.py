"""Convolution whose kernel is an input: every row has filters of its own."""

import itertools
import math

import keras
import tensorflow as tf


class DynamicFilters(keras.layers.Layer):
    """Cross-correlates each row with its own bank of filters, stride 1, zeros around.

        out[b, p, o] = sum over offsets k and channels i of
                       x[b, p + k - padding, i] filters[b, k, i, o]

    Inputs (x, filters): x `[rows, ...sides, channels]` of one to three sides, filters
    `[rows, ...kernel sides, channels, out channels]`. Side s becomes
    s + 2 padding - kernel + 1. Li et al. 2018 (Text2Filter), Balaji et al. 2019.

    Written as matrix products, one batch of them: a grouped convolution would put rows
    into groups, which TensorFlow has on no CPU. All of it may be differentiated twice.

    Args:
        padding: Zeros before and after each side, one number a side; none: what keeps
            the sides, for kernels of odd sides.
    """

    def __init__(self, padding=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs):
        """Return the filtered rows."""
        x, filters = inputs
        return convolve(x, keras.ops.cast(filters, x.dtype), self.padding)


def convolve(x, filters, padding=None):
    """Return `DynamicFilters` of two tensors; sides and channels are static."""
    kernel, (channels, outputs) = filters.shape[1:-2], filters.shape[-2:]
    padding = padding or [side // 2 for side in kernel]
    around = [[0, 0], *([p, p] for p in padding), [0, 0]]
    sides = [
        side + 2 * p - k + 1
        for side, p, k in zip(x.shape[1:-1], padding, kernel, strict=True)
    ]
    size = math.prod(kernel) * channels
    x = tf.pad(x, around)
    shifted = [
        x[(slice(None), *(slice(k, k + s) for k, s in zip(at, sides, strict=True)))]
        for at in itertools.product(*map(range, kernel))
    ]
    patches = tf.reshape(tf.concat(shifted, axis=-1), [-1, math.prod(sides), size])
    kernel = tf.reshape(filters, [-1, size, outputs])
    return tf.reshape(tf.matmul(patches, kernel), [-1, *sides, outputs])
