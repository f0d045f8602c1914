"""Normalisation by the second moment, without a mean (Karras et al. 2018)."""

import keras


class PixelNorm(keras.layers.Layer):
    """x / sqrt(mean of x^2 over the last axis + epsilon), computed in float32.

    Of each pixel's feature vector by itself, or of each row of `[rows, n]`.

    Args:
        epsilon: Added to the second moment.
    """

    def __init__(self, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x):
        """Return x of second moment 1."""
        wide = keras.ops.cast(x, "float32")
        moment = keras.ops.mean(keras.ops.square(wide), axis=-1, keepdims=True)
        return keras.ops.cast(wide * keras.ops.rsqrt(moment + self.epsilon), x.dtype)
