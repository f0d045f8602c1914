"""Many rows, some at a time, so that no pass of a network outgrows the memory."""

import math

import numpy as np

ROWS = 500  # of a pass, at most
NUMBERS = 2**23  # in the rows of a pass, at most: 32 MiB


def rows_at_once(shape):
    """Return how many rows of `shape` go through a network at once.

    500 images of 28 x 28, 42 of 256 x 256 in colour.
    """
    return max(1, min(ROWS, NUMBERS // math.prod(shape)))


def made_at_once(spec):
    """Return `rows_at_once` of the clips, or images, that `spec` describes."""
    return rows_at_once((spec.features.get("video") or spec.image).shape)


def graph(function):
    """Return `function` as a graph, traced for each shape of its arguments."""
    import tensorflow as tf

    traced = tf.function(function, autograph=False)
    return lambda *arrays: traced(*map(tf.constant, arrays))


def in_parts(function, *arrays, rows=None, progress=None):
    """Return `function` of arrays, called on some of their rows at a time.

    Args:
        function: Takes as many arrays; returns an array, or a dict or tuple of arrays,
            of as many rows.
        *arrays: Of equal numbers of rows, at least one.
        rows: Of a part; none: `rows_at_once` of the first array.
        progress: Called with (rows done, rows in all).
    """
    import tensorflow as tf

    rows, count = rows or rows_at_once(arrays[0].shape[1:]), len(arrays[0])
    parts = []
    for first in range(0, count, rows):
        part = function(*(array[first : first + rows] for array in arrays))
        parts.append(tf.nest.map_structure(np.asarray, part))
        if progress:
            progress(min(first + rows, count), count)
    return tf.nest.map_structure(lambda *x: np.concatenate(x), *parts)


def sampler(model, num, seed=0, **how):
    """Return a function that draws `model.sample(num, seed)`, in parts; traced once.

    It returns the images or clips in the model's range, and takes a function that is
    called with (drawn, num).

    Args:
        model: Its `sample(num, seed, first)` begins at row `first` of the noise.
        num: Images or clips.
        seed: Of the noise.
        **how: Further arguments of `sample`.
    """
    rows = min(num, made_at_once(model.spec))
    part = graph(lambda first: model.sample(rows, seed, first, **how))

    def draw(progress=None):
        parts = []
        for first in range(0, num, rows):
            parts.append(part(np.int32(first)).numpy())
            if progress:
                progress(min(first + rows, num), num)
        return np.concatenate(parts)[:num]

    return draw
