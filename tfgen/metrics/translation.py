"""How near translations come to a known truth, image by image."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import Estimate

LEAST = 1e-10  # of the squared range: 100 dB where nothing differs


def psnr(images, truth, value_range):
    """Return the mean peak signal-to-noise ratio of images against their truth, dB.

    10 log10(range^2 / mean (x - t)^2) of each image, at most 100, then the mean over
    images with its standard error.

    Args:
        images: `[n, h, w, c]`.
        truth: the same shape, row by row.
        value_range: high - low of the pixels.
    """
    images, truth = _alike(images, truth)
    errors = np.mean(np.square(images - truth), axis=1) / value_range**2
    return _mean(-10.0 * np.log10(np.maximum(errors, LEAST)))


def retrieval(images, truth):
    """Return the share of images whose nearest of all truths is their own.

    Nearest by the sum of |x - t| over elements; a tie is no hit. Of n rows chance
    gives 1 / n.

    Args:
        images: `[n, h, w, c]`.
        truth: the same shape, row by row.
    """
    images, truth = _alike(images, truth)
    hits = np.empty(len(images))
    for row, image in enumerate(images):
        distances = np.abs(truth - image).sum(axis=1)
        own, distances[row] = distances[row], np.inf
        hits[row] = own < distances.min()
    return _mean(hits)


def _alike(images, truth):
    if np.shape(images) != np.shape(truth) or len(images) < 2:
        raise BadInput(
            f"images {list(np.shape(images))} and truth {list(np.shape(truth))} must "
            "be alike, of two rows or more"
        )
    flat = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (images, truth)]
    return flat


def _mean(values):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return Estimate(float(values.mean()), float(error))
