"""Maps made of a vector and of where each pixel is (Watters et al. 2019)."""

import keras
import numpy as np


class AtCoordinates(keras.layers.Layer):
    """A dense layer of [v; y; x] at each pixel: `[rows, n]` -> `[rows, side, side, m]`.

        out[b, i, j] = [v_b; y_i; x_j] K + bias

    y and x are of the pixels' middles, -1 to 1 between the edges. The first step of the
    spatial broadcast decoder; v's product is made once a row, not at each pixel.

    Args:
        units: m.
        side: Of the maps.
    """

    def __init__(self, units, side, **kwargs):
        super().__init__(**kwargs)
        self.units, self.side = units, side

    def build(self, shape):
        """Create K `[n + 2, m]` and the bias."""
        self.kernel = self.add_weight(
            shape=[shape[-1] + 2, self.units],
            initializer="glorot_uniform",
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=[self.units], initializer="zeros", name="bias"
        )

    def call(self, v):
        """Return the maps."""
        middles = (2 * np.arange(self.side) + 1) / self.side - 1
        places = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)
        places = keras.ops.convert_to_tensor(places, self.compute_dtype)
        of_v, of_places = keras.ops.split(self.kernel, [v.shape[-1]])
        rows = keras.ops.matmul(v, of_v) + self.bias
        return rows[:, None, None] + keras.ops.matmul(places, of_places)
