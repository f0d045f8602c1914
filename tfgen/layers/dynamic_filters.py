"""Convolution whose kernel is an input: every row has filters of its own."""

import itertools
import math

import keras
import tensorflow as tf

from tfgen.layers import volumes

FOLD = 64  # channels, in or out, of the convolutions that rows are folded into


class DynamicFilters(keras.layers.Layer):
    """Cross-correlates each clip with its own bank of filters, stride 1, zeros around.

        out[b, p, o] = sum over offsets k and channels i of
                       x[b, p + k - padding, i] filters[b, k, i, o]

    Inputs (x, filters): x `[rows, frames, h, w, channels]`, filters
    `[rows, *kernel, channels, out channels]` with a kernel (time, height, width); a
    kernel of one frame filters each frame alike. Side s becomes
    s + 2 padding - kernel + 1. Li et al. 2018 (Text2Filter), Balaji et al. 2019.

    Written as ordinary convolutions of rows laid side by side as channels, with kernels
    that are zero between rows: TensorFlow has no grouped convolution on CPUs, and the
    sum over offsets of matrix products, without the idle multiplications, takes three
    times as long there. All of it may be differentiated twice.

    Args:
        padding: Zeros before and after each side, one number a side; none: what keeps
            the sides, for kernels of odd sides.
    """

    def __init__(self, padding=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs):
        """Return the filtered clips."""
        x, filters = inputs
        return convolve(x, keras.ops.cast(filters, x.dtype), self.padding)

    def compute_output_shape(self, shapes):
        """Return the shape of what `call` returns."""
        (rows, *sides, _), (_, *kernel, _, outputs) = shapes
        padding = _padding(kernel, self.padding)
        sides = [
            s + 2 * p - k + 1 for s, p, k in zip(sides, padding, kernel, strict=True)
        ]
        return (rows, *sides, outputs)


def convolve(x, filters, padding=None):
    """Return `DynamicFilters` of two tensors; all but the rows is static."""
    padding = _padding(filters.shape[1:4], padding)
    x = tf.pad(x, [[0, 0], *([p, p] for p in padding), [0, 0]])
    if x.shape[0] is None:
        return _by_offset(x, filters)
    rows, many = x.shape[0], max(1, FOLD // max(filters.shape[-2:]))
    # Not x[a:b], whose gradient is slow on CPUs.
    sizes = [min(many, rows - first) for first in range(0, rows, many)]
    parts = zip(tf.split(x, sizes), tf.split(filters, sizes), strict=True)
    return tf.concat([_side_by_side(*part) for part in parts], axis=0)


def _by_offset(x, filters):
    """Sum products over offsets: what an export of any number of rows does."""
    *kernel, channels, outputs = filters.shape[1:]
    sides = [s - k + 1 for s, k in zip(x.shape[1:4], kernel, strict=True)]
    total = 0.0
    for t, i, j in itertools.product(*map(range, kernel)):
        part = x[:, t : t + sides[0], i : i + sides[1], j : j + sides[2]]
        part = tf.reshape(part, [-1, math.prod(sides), channels])
        total += tf.matmul(part, filters[:, t, i, j])
    return tf.reshape(total, [-1, *sides, outputs])


def _side_by_side(x, filters):
    """Filter some rows at once: b rows of i channels as one of b i channels."""
    rows, frames, height, width, channels = x.shape
    _, *kernel, _, outputs = filters.shape
    x = tf.transpose(x, [1, 2, 3, 0, 4])
    x = tf.reshape(x, [1, frames, height, width, rows * channels])
    apart = tf.eye(rows, dtype=x.dtype)
    folded = tf.einsum("bthwio,bc->thwbico", filters, apart)
    folded = tf.reshape(folded, [*kernel, rows * channels, rows * outputs])
    y = volumes.conv3d(x, folded, [1, 1, 1], "valid")
    y = tf.reshape(y, [*y.shape[1:4], rows, outputs])
    return tf.transpose(y, [3, 0, 1, 2, 4])


def _padding(kernel, padding):
    return padding or [side // 2 for side in kernel]
