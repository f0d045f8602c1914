"""Maxout: the largest of several affine maps (Goodfellow et al. 2013)."""

import keras


class Maxout(keras.layers.Layer):
    """h_u = max over pieces p of (x W + b)_{u, p}; `[rows, n] -> [rows, units]`.

    Args:
        units: Outputs.
        pieces: Affine maps an output is the largest of.
        kernel_initializer: Of W.
    """

    def __init__(self, units, pieces, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units, self.pieces = units, pieces
        self.affine = keras.layers.Dense(
            units * pieces,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
        )

    def build(self, shape):
        """Create the affine map."""
        self.affine.build(shape)

    def call(self, x):
        """Return the maxima."""
        pieces = keras.ops.reshape(self.affine(x), [-1, self.units, self.pieces])
        return keras.ops.max(pieces, axis=-1)
