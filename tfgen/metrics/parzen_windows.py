"""Parzen-window estimate of the log-likelihood of samples' density.

    log p(x) = log 1/m sum_i exp(-|x - s_i|^2 / (2 w^2)) - d log(w sqrt(2 pi))

for samples s_1 ... s_m of a model and one width w for all dimensions, chosen where
the mean over validation rows is largest. It needs samples alone, so older papers
score adversarial and moment-matching models by it (digits: 10,000 samples, pixels in
[0, 1]), but what it ranks is not what one wants to know: see `WARNING`.

Sources: Goodfellow et al. 2014, table 1; Li, Swersky and Zemel 2015, table 1; against
it Theis, van den Oord and Bethge 2016, section 3.3.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.special

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import as_features

# The fine grid of the moment-matching papers, then the adversarial ones' upper half.
WIDTHS = (
    *(round(0.01 * step, 2) for step in range(5, 30)),
    *(float(width) for width in np.geomspace(0.1, 1.0, 10)[5:]),
)
WARNING = (
    "Parzen estimates rank models wrongly: on MNIST centroids of k-means score some "
    "70 nats above the training images themselves, which score 230 to 248. Compare "
    "only numbers of one protocol, and distrust those near or above the training "
    "images' (Theis et al. 2016)."
)
_BLOCK = 500  # rows of points and of samples in one matrix of distances


class Parzen(NamedTuple):
    """A Parzen-window estimate.

    Attributes:
      value: mean log-likelihood of the test rows, nats.
      error: its standard error over test rows.
      width: of the kernel, in units of the rows' values.
      validation: mean log-likelihood of the rows the width was chosen on, nats.
      at_edge: whether the width is an end of the grid, so that the grid, not the
        data, has chosen it.
    """

    value: float
    error: float
    width: float
    validation: float
    at_edge: bool


def parzen_log_likelihood(points, samples, widths) -> np.ndarray:
    """Log-density of points under Gaussian windows on samples, for several widths.

    Time is n m d products; memory is one block of distances.

    Args:
      points: rows to score, `[n, d]`.
      samples: centres of the windows, `[m, d]`.
      widths: standard deviations of the windows, in the rows' units, `[k]`.

    Returns:
      float64 `[k, n]`, nats.

    Raises:
      BadInput: unusable rows, other sizes of points and samples, or a width <= 0.
    """
    points, samples = as_features(points, "points"), as_features(samples, "samples")
    if points.shape[1] != samples.shape[1]:
        raise BadInput(f"points of size {points.shape[1]}, samples {samples.shape[1]}")
    widths = np.asarray(widths, np.float64)
    if not len(widths) or not np.all(widths > 0):
        raise BadInput(f"widths {widths.tolist()}: at least one, all above 0")
    # Distances do not change, and cancel less, around the samples' mean.
    centre = samples.mean(axis=0)
    blocks = [
        (part, np.sum(part**2, axis=1))
        for part in np.split(samples - centre, range(_BLOCK, len(samples), _BLOCK))
    ]
    total = np.full([len(widths), len(points)], -np.inf)
    for first in range(0, len(points), _BLOCK):
        x = points[first : first + _BLOCK] - centre
        own = total[:, first : first + _BLOCK]
        lengths = np.sum(x**2, axis=1, keepdims=True)
        for part, squares in blocks:
            squared = np.maximum(lengths + squares - 2 * x @ part.T, 0.0)
            for row, width in zip(own, widths, strict=True):
                inside = scipy.special.logsumexp(-squared / (2 * width**2), axis=1)
                row[:] = np.logaddexp(row, inside)
    normaliser = points.shape[1] * np.log(widths * math.sqrt(2 * math.pi))
    return total - math.log(len(samples)) - normaliser[:, None]


def parzen(samples, validation, test, widths=WIDTHS) -> Parzen:
    """Score held-out rows under windows on samples, the width chosen on others.

    Args:
      samples: of the model, `[m, d]`; published numbers take 10,000.
      validation: rows that choose the width, `[n, d]`, none of them in `test`.
      test: rows that are scored, `[l, d]` with l >= 2.
      widths: the grid.

    Raises:
      BadInput: as `parzen_log_likelihood`, or fewer than two test rows.
    """
    test = as_features(test, "test rows", rows=2)
    means = parzen_log_likelihood(validation, samples, widths).mean(axis=1)
    best = int(np.argmax(means))
    scores = parzen_log_likelihood(test, samples, widths[best : best + 1])[0]
    return Parzen(
        float(scores.mean()),
        float(scores.std(ddof=1) / math.sqrt(len(scores))),
        float(widths[best]),
        float(means[best]),
        best in (0, len(widths) - 1),
    )
