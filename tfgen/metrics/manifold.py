"""Precision, recall, density and coverage from nearest-neighbour balls."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import as_feature_pair

# MiB that one block of the distance matrix may take.
WORKING_MEMORY = 128


class PrecisionRecall(NamedTuple):
    """Shares of fakes inside the real manifold and of reals inside the fake one."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How many real balls hold a fake, and how many balls are held; see below."""

    density: float
    coverage: float


def neighbour_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row: `[n]`, feature units."""
    search = NearestNeighbors(n_neighbors=k).fit(features)
    # Without an argument the search leaves each row itself out, by its index.
    return search.kneighbors()[0][:, -1]


def _centred_pair(real, fake, k):
    if k < 1:
        raise BadInput(f"k must be at least 1, got {k}")
    real, fake = as_feature_pair(real, fake, rows=k + 1)
    # Distances come from |a|^2 + |b|^2 - 2ab: centring keeps the cancellation small.
    centre = real.mean(axis=0)
    return real - centre, fake - centre


def precision_recall(real, fake, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall.

    The manifold of a set is the union of balls around its rows, each reaching to
    the row's k-th nearest other row. Precision is the share of fakes in the real
    manifold, recall the share of reals in the fake one. Outliers have large balls
    and inflate both; `density_coverage` is the cross-check. Not comparable across
    n, k or features. Memory is blocked; time is n x m distances.

    Args:
      real: features `[n, d]`.
      fake: features `[m, d]`, m about n.
      k: which neighbour sets the radius.

    Raises:
      BadInput: unusable features, or fewer than k + 1 rows in a set.

    Source: Kynkaanniemi et al. 2019 (arXiv 1904.06991).
    """
    real, fake = _centred_pair(real, fake, k)
    real_radii, fake_radii = neighbour_radii(real, k), neighbour_radii(fake, k)
    reached = np.zeros(len(real), bool)

    def scan(distances, first):
        radii = fake_radii[first : first + len(distances), None]
        np.logical_or(reached, (distances <= radii).any(axis=0), out=reached)
        return (distances <= real_radii).any(axis=1)

    blocks = pairwise_distances_chunked(
        fake, real, reduce_func=scan, working_memory=WORKING_MEMORY
    )
    inside = np.concatenate(list(blocks))
    return PrecisionRecall(float(inside.mean()), float(reached.mean()))


def density_coverage(real, fake, k: int = 5) -> DensityCoverage:
    """Density and coverage: precision and recall that outliers do not inflate.

        density  = mean_j #{i : fake j in the ball of real i} / k
        coverage = mean_i [the ball of real i holds a fake]

    Balls are those of the real rows alone. For equal distributions the expected
    density is 1, and the expected coverage is free of the distribution as well:
    `1 - prod_{j<k} (n-1-j)/(n+m-1-j)`, about 1 - 2^-k at n = m.

    Args:
      real: features `[n, d]`.
      fake: features `[m, d]`.
      k: which neighbour sets the radius.

    Raises:
      BadInput: unusable features, or fewer than k + 1 rows in a set.

    Source: Naeem et al. 2020 (arXiv 2002.09797).
    """
    real, fake = _centred_pair(real, fake, k)
    real_radii = neighbour_radii(real, k)
    held = np.zeros(len(real), bool)

    def scan(distances, first):
        del first
        inside = distances <= real_radii
        np.logical_or(held, inside.any(axis=0), out=held)
        return inside.sum(axis=1)

    blocks = pairwise_distances_chunked(
        fake, real, reduce_func=scan, working_memory=WORKING_MEMORY
    )
    counts = np.concatenate(list(blocks))
    return DensityCoverage(float(counts.mean() / k), float(held.mean()))
