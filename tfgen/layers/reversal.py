"""Gradient reversal (Ganin and Lempitsky 2015)."""

import tensorflow as tf


def reverse_gradient(x, weight):
    """Return x; the gradient that comes back is multiplied by -weight.

    Minimising L(reverse_gradient(f, w)) moves what is above down L, and what made f
    up w L.

    Args:
        x: `[rows, n]`.
        weight: `[rows]`, not negative.
    """

    @tf.custom_gradient
    def reversal(x):
        return tf.identity(x), lambda upstream: -weight[:, None] * upstream

    return reversal(x)
