"""Pictures halved by means and doubled by repetition; the one undoes the other.

Written so that XLA takes the gradients of gradients: those of `resize` it does not.
"""

import keras


def shrink(x, factor=2):
    """Return the means of boxes of `factor` x `factor` pixels, `[rows, h, w, c]`."""
    if factor == 1:
        return x
    return keras.ops.average_pool(x, factor, factor)


def enlarge(x, factor=2):
    """Return x with each pixel repeated `factor` times in both directions."""
    if factor == 1:
        return x
    rows, height, width, channels = x.shape
    rows = -1 if rows is None else rows
    wide = keras.ops.tile(x[:, :, None, :, None], [1, 1, factor, 1, factor, 1])
    return keras.ops.reshape(wide, [rows, height * factor, width * factor, channels])
