"""Checked feature arrays, and their count, mean and scatter in mergeable form."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from tfgen.core.errors import BadInput


class Estimate(NamedTuple):
    """A number and its error in the same unit; None where no error is known."""

    value: float
    error: float | None = None


def as_features(features, name: str = "features", rows: int = 1) -> np.ndarray:
    """Return `features` as a float64 array `[n, d]` that metrics can rely on.

    Args:
      features: array-like `[n, d]` of numbers.
      name: what to call it in an error.
      rows: the least number of rows that the caller can work with.

    Raises:
      BadInput: not two-dimensional, too few rows, or a NaN or infinity in it.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or features.shape[1] == 0:
        raise BadInput(f"{name}: shape must be [rows, size], got {features.shape}")
    if features.shape[0] < rows:
        raise BadInput(f"{name}: need at least {rows} rows, got {features.shape[0]}")
    broken = int(np.sum(~np.isfinite(features).all(axis=1)))
    if broken:
        raise BadInput(f"{name}: {broken} of {len(features)} rows hold NaN or infinity")
    return features


def as_feature_pair(real, fake, rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets as float64 `[n, d]` and `[m, d]` with the same `d`.

    Raises:
      BadInput: as `as_features`, or when the feature sizes differ.
    """
    real = as_features(real, "real features", rows)
    fake = as_features(fake, "fake features", rows)
    if real.shape[1] != fake.shape[1]:
        raise BadInput(
            f"real features have size {real.shape[1]} and fake ones {fake.shape[1]}: "
            "use one extractor for both"
        )
    return real, fake


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean and scatter matrix of feature rows, in float64.

    `scatter = sum_i (x_i - mean)(x_i - mean)^T`, so the unbiased covariance is
    `scatter / (count - 1)`. Two disjoint parts merge exactly, in any grouping
    (Chan, Golub and LeVeque 1979):

        mean    = (n_a mean_a + n_b mean_b) / (n_a + n_b)
        scatter = scatter_a + scatter_b + n_a n_b / (n_a + n_b) D D^T,
        D = mean_b - mean_a

    Attributes:
      count: number of rows seen.
      mean: `[d]`, in feature units.
      scatter: `[d, d]`, in squared feature units.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def empty(cls, size: int) -> Moments:
        """Moments of no rows: the neutral element of `merge`."""
        return cls(0, np.zeros(size), np.zeros((size, size)))

    @classmethod
    def of(cls, features) -> Moments:
        """Moments of the rows of `features`, `[n, d]` with n >= 1."""
        features = as_features(features)
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Moments of the union of two disjoint sets of rows."""
        if self.mean.shape != other.mean.shape:
            raise BadInput(
                f"cannot merge moments of feature size {self.mean.size} "
                f"with those of size {other.mean.size}"
            )
        count = self.count + other.count
        if count == 0:
            return self
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count)
        weight = self.count * other.count / count
        scatter = self.scatter + other.scatter + weight * np.outer(gap, gap)
        return Moments(count, mean, scatter)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance `[d, d]`.

        Raises:
          BadInput: fewer than two rows were seen.
        """
        if self.count < 2:
            raise BadInput(f"a covariance needs at least 2 rows, got {self.count}")
        return self.scatter / (self.count - 1)
