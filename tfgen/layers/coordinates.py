"""Where a pixel is, as features (Liu et al. 2018, CoordConv)."""

import keras
import numpy as np


class Coordinates(keras.layers.Layer):
    """Adds two features to `[rows, h, w, channels]`: x and y of each pixel's middle.

    Both go from -1 to 1 between the picture's edges. Convolutions know where they are
    only as far as zeros around the picture tell them; drawing one thing at any place
    is hard for networks that have to learn each place.
    """

    def call(self, x):
        """Return `[rows, h, w, channels + 2]`."""
        height, width = x.shape[1:3]
        rows = keras.ops.shape(x)[0]
        places = np.stack(np.meshgrid(_middles(width), _middles(height)), axis=-1)
        places = keras.ops.convert_to_tensor(places, x.dtype)
        places = keras.ops.broadcast_to(places, [rows, height, width, 2])
        return keras.ops.concatenate([x, places], axis=-1)


def _middles(count):
    return (2 * np.arange(count) + 1) / count - 1
