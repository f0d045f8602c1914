"""Number of statistically different bins (NDB) and the divergence of histograms."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats
from sklearn.cluster import KMeans

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import as_features

# From this size on only every sixth dimension is clustered, as the authors do.
LARGE_SIZE = 1000


@dataclasses.dataclass(frozen=True)
class Bins:
    """A partition of feature space, fitted to real rows.

    Attributes:
      clusters: the fitted k-means.
      order: `[bins]`, cluster indices from the fullest to the emptiest.
      counts: `[bins]`, real rows in each bin, in that order.
      dimensions: indices of the feature dimensions that are looked at.
      scale: `[d]`, features are divided by it first (ones without whitening).
      seed: of the clustering; part of the result.
    """

    clusters: KMeans
    order: np.ndarray
    counts: np.ndarray
    dimensions: np.ndarray
    scale: np.ndarray
    seed: int

    def histogram(self, features) -> np.ndarray:
        """Rows of `features` in each bin: `[bins]` integers, which add over parts."""
        features = as_features(features)
        if features.shape[1] != self.scale.size:
            raise BadInput(
                f"features have size {features.shape[1]}, the bins were fitted to "
                f"size {self.scale.size}: use one extractor for both"
            )
        rows = np.ascontiguousarray((features / self.scale)[:, self.dimensions])
        labels = self.clusters.predict(rows)
        return np.bincount(labels, minlength=len(self.order))[self.order]


def fit_bins(real, bins: int = 100, seed: int = 0, whiten: bool = False) -> Bins:
    """Cluster real features into `bins` cells by k-means.

    Args:
      real: features `[n, d]` of real training rows; 10 or more a bin is sensible.
      bins: number of clusters.
      seed: of k-means++ and of the choice of dimensions when d > 1000.
      whiten: divide each dimension by its standard deviation first.

    Raises:
      BadInput: unusable features, or fewer rows than two a bin.
    """
    if bins < 2:
        raise BadInput(f"bins must be at least 2, got {bins}")
    real = as_features(real, "real features", rows=2 * bins)
    size = real.shape[1]
    scale = np.ones(size)
    if whiten:
        scale = real.std(axis=0)
        # A dimension that never varies says nothing: leave it as it is.
        scale[scale == 0] = 1.0
    dimensions = np.arange(size)
    if size > LARGE_SIZE:
        random = np.random.default_rng(seed)
        dimensions = np.sort(random.choice(size, size // 6, replace=False))
    rows = np.ascontiguousarray((real / scale)[:, dimensions])
    clusters = KMeans(n_clusters=bins, n_init=1, random_state=seed).fit(rows)
    counts = np.bincount(clusters.labels_, minlength=bins)
    order = np.argsort(-counts, kind="stable")
    return Bins(clusters, order, counts[order], dimensions, scale, seed)


class DifferentBins(NamedTuple):
    """Result of `different_bins`."""

    share: float
    count: int
    divergence: float
    p_values: np.ndarray


def different_bins(
    real_counts, fake_counts, significance: float = 0.05
) -> DifferentBins:
    """Count the bins whose shares differ significantly, and the JS divergence.

    Per bin a two-proportion z-test with the pooled share p:

        z = (p_real - p_fake) / sqrt(p (1 - p) (1/n + 1/m)),   two-sided.

    Equal distributions give a share of about `significance`. More rows give more
    power: compare only at equal counts. A bin empty in both sets never differs.

    Args:
      real_counts: `[bins]` rows of the real set in each bin.
      fake_counts: `[bins]` rows of the fake set in each bin.
      significance: level of each test.

    Returns:
      share: NDB / bins, in [0, 1].   count: NDB.
      divergence: Jensen-Shannon divergence of the two histograms, in nats,
        0 to log 2; about (bins-1)/8 (1/n + 1/m) for equal distributions.
      p_values: `[bins]`.

    Raises:
      BadInput: histograms of different shapes, or an empty one.

    Source: Richardson and Weiss 2018 (arXiv 1805.12462).
    """
    real_counts = np.asarray(real_counts, np.float64)
    fake_counts = np.asarray(fake_counts, np.float64)
    if real_counts.shape != fake_counts.shape or real_counts.ndim != 1:
        raise BadInput(
            f"histograms must be [bins] twice, got {real_counts.shape} "
            f"and {fake_counts.shape}"
        )
    n, m = real_counts.sum(), fake_counts.sum()
    if n == 0 or m == 0:
        raise BadInput("a histogram without rows cannot be compared")
    real_share, fake_share = real_counts / n, fake_counts / m
    pooled = (real_counts + fake_counts) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    # error = 0 only where both shares are 0 or both are 1: no difference.
    z = np.divide(
        real_share - fake_share, error, out=np.zeros_like(error), where=error > 0
    )
    p_values = 2 * scipy.stats.norm.sf(np.abs(z))
    middle = (real_share + fake_share) / 2
    divergence = 0.5 * (
        scipy.special.rel_entr(real_share, middle).sum()
        + scipy.special.rel_entr(fake_share, middle).sum()
    )
    different = p_values < significance
    return DifferentBins(
        float(different.mean()),
        int(different.sum()),
        float(max(divergence, 0.0)),
        p_values,
    )
