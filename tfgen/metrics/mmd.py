"""Maximum mean discrepancy with a mixture of Gaussian kernels, and its test."""

from typing import NamedTuple

import numpy as np
import scipy.spatial.distance

from tfgen.losses import mmd
from tfgen.metrics.kernel import unbiased_squared_mmd
from tfgen.metrics.moments import Estimate, as_feature_pair

BANDWIDTH_FACTORS = (0.5, 1.0, 2.0, 4.0)


class MMDTest(NamedTuple):
    """Squared MMD, the p-value of equality, and the bandwidths it was taken at."""

    value: float
    p_value: float
    bandwidths: tuple[float, ...]


def median_bandwidths(real, fake) -> tuple[float, ...]:
    """{0.5, 1, 2, 4} times the median distance of all pairs of the pooled rows.

    Pooling before taking the median matters: a median of the real rows alone would
    change its meaning under the permutations of the test. Feature units.
    """
    real, fake = as_feature_pair(real, fake)
    median = np.median(scipy.spatial.distance.pdist(np.concatenate([real, fake])))
    # Half of all pairs at distance 0 (a collapsed set): any positive width will do.
    median = float(median) or 1.0
    return tuple(factor * median for factor in BANDWIDTH_FACTORS)


def gaussian_mixture_kernel(left, right, bandwidths) -> np.ndarray:
    """`k(x, y) = sum_s exp(-|x - y|^2 / (2 s^2))` over bandwidths s: `[n, m]`."""
    variances = [width**2 for width in bandwidths]
    left, right = (np.asarray(rows, np.float64) for rows in (left, right))
    return mmd.gaussian_kernel(left, right, variances).numpy()


def gaussian_mmd(
    real, fake, seed: int, permutations: int = 500, bandwidths=None
) -> MMDTest:
    """Unbiased squared MMD under Gaussian kernels, with a permutation test.

    The p-value is `(1 + #{permuted >= observed}) / (1 + permutations)`, exact at
    any sample size under the hypothesis of equal distributions. Memory is one
    `[n + m, n + m]` matrix: keep the sets at a few thousand rows.

    Args:
      real: features `[n, d]`.
      fake: features `[m, d]`.
      seed: of the permutations.
      permutations: how many relabellings of the pooled rows to compare with.
      bandwidths: kernel widths in feature units; None: `median_bandwidths`.

    Returns:
      value (kernel units, may be negative), p_value and the bandwidths.

    Raises:
      BadInput: unusable features.

    Source: Gretton et al. 2012 (JMLR 13).
    """
    real, fake = as_feature_pair(real, fake)
    widths = tuple(bandwidths or median_bandwidths(real, fake))
    pooled = np.concatenate([real, fake])
    kernel = gaussian_mixture_kernel(pooled, pooled, widths)
    n, m = len(real), len(fake)
    value = unbiased_squared_mmd(kernel[:n, :n], kernel[n:, n:], kernel[:n, n:])

    # For an indicator u of the rows labelled real the three sums are u'Ku,
    # (1-u)'K(1-u) and u'K(1-u); with the diagonal at 0 the first two skip i = j.
    diagonal_free = kernel - np.diag(kernel.diagonal())
    crossing = kernel.sum(axis=0)
    random = np.random.default_rng(seed)
    reached = 0
    for first in range(0, permutations, 100):
        count = min(100, permutations - first)
        labels = np.zeros((n + m, count))
        labels[:n] = 1.0
        labels = random.permuted(labels, axis=0)
        within_real = np.sum(labels * (diagonal_free @ labels), axis=0)
        others = 1.0 - labels
        within_fake = np.sum(others * (diagonal_free @ others), axis=0)
        # u'K(1-u) = u'K1 - u'Ku, where u'Ku needs its diagonal back.
        between = labels.T @ crossing - within_real - labels.T @ kernel.diagonal()
        permuted = (
            within_real / (n * (n - 1))
            + within_fake / (m * (m - 1))
            - 2 * between / (n * m)
        )
        reached += int(np.sum(permuted >= value))
    return MMDTest(value, (1 + reached) / (1 + permutations), widths)


def linear_time_mmd(real, fake, bandwidths) -> Estimate:
    """Squared MMD in time and memory linear in the rows, for streams.

        mean over pairs of h = k(r1, r2) + k(f1, f2) - k(r1, f2) - k(r2, f1)

    over consecutive disjoint pairs. Unbiased, with a larger variance than
    `gaussian_mmd`. The h are independent, so the standard error is plain.

    Args:
      real: features `[n, d]`, rows in random order.
      fake: features `[m, d]`, rows in random order; the longer set is cut.
      bandwidths: kernel widths in feature units, fixed before looking at the data.

    Returns:
      The estimate in kernel units and its standard error.

    Source: Gretton et al. 2012, lemma 14.
    """
    real, fake = as_feature_pair(real, fake, rows=4)
    pairs = min(len(real), len(fake)) // 2
    r1, r2 = real[: 2 * pairs : 2], real[1 : 2 * pairs : 2]
    f1, f2 = fake[: 2 * pairs : 2], fake[1 : 2 * pairs : 2]

    def kernel(left, right):
        squared = np.sum((left - right) ** 2, axis=1)
        return sum(np.exp(-squared / (2 * width**2)) for width in bandwidths)

    h = kernel(r1, r2) + kernel(f1, f2) - kernel(r1, f2) - kernel(r2, f1)
    return Estimate(float(h.mean()), float(h.std(ddof=1) / np.sqrt(pairs)))
