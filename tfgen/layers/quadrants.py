"""Images taken apart into observed and missing quadrants."""

import math

import numpy as np
import tensorflow as tf


class Quadrants:
    """How an image falls into observed pixels x and missing ones y, as vectors.

    Args:
        shape: `[h, w, c]`.
        quadrants: Observed: 1, 2 or 3.
    """

    def __init__(self, shape, quadrants):
        height, width, _ = self.shape = shape
        seen = np.zeros(shape, bool)
        seen[height // 2 :, : width // 2] = True
        if quadrants > 1:
            seen[: height // 2, : width // 2] = True
        if quadrants > 2:
            seen[: height // 2, width // 2 :] = True
        self.observed, self.missing = np.flatnonzero(seen), np.flatnonzero(~seen)

    def split(self, images):
        """Return (x, y), `[rows, observed]` and `[rows, missing]`."""
        flat = tf.reshape(images, [-1, math.prod(self.shape)])
        return tuple(tf.gather(flat, i, axis=1) for i in (self.observed, self.missing))

    def join(self, x, y):
        """Return the images that `split` took apart."""
        order = np.argsort(np.concatenate([self.observed, self.missing]))
        flat = tf.gather(tf.concat([x, y], axis=1), order, axis=1)
        return tf.reshape(flat, [-1, *self.shape])
