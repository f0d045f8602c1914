"""Where a pixel is, as features (Liu et al. 2018, CoordConv)."""

import keras
import numpy as np


class Coordinates(keras.layers.Layer):
    """Adds a feature for each axis but rows: `[rows, *sides, c]` -> `[..., c + axes]`.

    They are the coordinates of each pixel's middle, from -1 to 1 between the edges.
    Convolutions know where they are only as far as zeros around the picture tell them;
    drawing one thing at any place is hard for networks that have to learn each place.
    """

    def call(self, x):
        """Return x and its coordinates."""
        sides = x.shape[1:-1]
        middles = [(2 * np.arange(side) + 1) / side - 1 for side in sides]
        places = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
        places = keras.ops.convert_to_tensor(places, x.dtype)
        rows = keras.ops.shape(x)[0]
        places = keras.ops.broadcast_to(places, [rows, *places.shape])
        return keras.ops.concatenate([x, places], axis=-1)
