"""Sliced Wasserstein distance, of features and of image patches by scale."""

import numpy as np
import scipy.ndimage
import scipy.stats
from numpy.lib.stride_tricks import sliding_window_view

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import Estimate, as_feature_pair

PATCH = 7
# The published protocol stops at 16 px, starting from powers of two; 12 stops at
# the same levels there, and gives images of 28 px a second level, of 14 px.
SMALLEST_LEVEL = 12
BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0], np.float32) / 16
# Directions projected at a time, which bounds memory.
DIRECTIONS_AT_ONCE = 64


def _projected_distances(left, right, projections: int, random) -> np.ndarray:
    """1-Wasserstein distances of two sets along random directions."""
    distances = []
    for first in range(0, projections, DIRECTIONS_AT_ONCE):
        count = min(DIRECTIONS_AT_ONCE, projections - first)
        directions = random.standard_normal((count, left.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions = directions.astype(left.dtype)
        along_left = np.sort(directions @ left.T, axis=1)
        along_right = np.sort(directions @ right.T, axis=1)
        if len(left) == len(right):
            gaps = np.abs(along_left - along_right)
            distances.append(gaps.mean(axis=1, dtype=np.float64))
        else:
            pairs = zip(along_left, along_right, strict=True)
            distances.append([scipy.stats.wasserstein_distance(*p) for p in pairs])
    return np.concatenate(distances)


def sliced_wasserstein(real, fake, seed: int, projections: int = 512) -> Estimate:
    """Sliced 1-Wasserstein distance of two sets of features.

        mean over unit directions u of W1(u.real, u.fake)

    For n = m each W1 is the mean |difference| of the sorted projections.

    Args:
      real: features `[n, d]`.
      fake: features `[m, d]`.
      seed: of the directions.
      projections: number of directions.

    Returns:
      The distance in feature units; its error is the standard error over
      directions only, not that of drawing other rows.

    Raises:
      BadInput: unusable features, or fewer than 2 projections.

    Source: Rabin et al. 2011; Bonneel et al. 2015.
    """
    if projections < 2:
        raise BadInput(f"projections must be at least 2, got {projections}")
    real, fake = as_feature_pair(real, fake, rows=1)
    distances = _projected_distances(
        real, fake, projections, np.random.default_rng(seed)
    )
    error = distances.std(ddof=1) / np.sqrt(projections)
    return Estimate(float(distances.mean()), float(error))


def _smooth(images: np.ndarray) -> np.ndarray:
    """5x5 binomial filter / 256, mirrored at the edges without repeating them."""
    for axis in (1, 2):
        images = scipy.ndimage.convolve1d(images, BINOMIAL, axis=axis, mode="mirror")
    return images


def laplacian_pyramid(images: np.ndarray, smallest: int = SMALLEST_LEVEL) -> list:
    """Split images into bands, finest first; the last is the smoothed remainder.

    Args:
      images: float32 `[n, h, w, c]`.
      smallest: no level has a side below this many pixels.

    Returns:
      Arrays `[n, h, w, c]`, `[n, h/2, w/2, c]`, ... (odd sides are rounded up).
      Adding back the enlarged next level restores each level exactly.
    """
    levels = []
    while min(-(-images.shape[1] // 2), -(-images.shape[2] // 2)) >= smallest:
        halved = _smooth(images)[:, ::2, ::2]
        levels.append(images - enlarge(halved, images.shape))
        images = halved
    return [*levels, images]


def enlarge(images: np.ndarray, shape: tuple) -> np.ndarray:
    """Double the sides to `shape` by zeros in between and the same filter times 4."""
    spread = np.zeros(shape, images.dtype)
    spread[:, ::2, ::2] = images
    return _smooth(spread) * 4


def _patches(images: np.ndarray, patches: int, random) -> list[np.ndarray]:
    """Descriptors `[n * patches, c * 49]` of each level, normalised per channel."""
    found: list[list[np.ndarray]] = []
    for first in range(0, len(images), 256):
        block = images[first : first + 256].astype(np.float32)
        for level, band in enumerate(laplacian_pyramid(block)):
            windows = sliding_window_view(band, (PATCH, PATCH), axis=(1, 2))
            size = len(block), patches
            y = random.integers(windows.shape[1], size=size)
            x = random.integers(windows.shape[2], size=size)
            if first == 0:
                found.append([])
            found[level].append(windows[np.arange(len(block))[:, None], y, x])
    descriptors = []
    for parts in found:
        level = np.concatenate(parts)  # [n, patches, c, 7, 7]
        axes = (0, 1, 3, 4)
        level -= level.mean(axis=axes, keepdims=True, dtype=np.float64)
        spread = level.std(axis=axes, keepdims=True, dtype=np.float64)
        # A channel without any variation stays at 0 instead of becoming NaN.
        level /= np.where(spread > 0, spread, 1.0)
        descriptors.append(level.reshape(-1, level.shape[2] * PATCH**2))
    return descriptors


def image_sliced_wasserstein(
    real, fake, seed: int, projections: int = 512, patches: int = 64
) -> dict[int, float]:
    """Sliced Wasserstein distance of image patches, one value per scale.

    Laplacian pyramid (5x5 binomial filter, mirrored edges) down to about 16 px; per
    level random patches of 7x7xc, each set normalised per channel over all its
    patches (so brightness and contrast of the whole set do not count), projected on
    random unit directions, sorted, mean |difference|. Any number of channels; no
    network. Each set has its own seeded stream of patch places, so a set compared
    with itself scores the small value of another draw of patches and not 0.

    Patches are kept in float32: 8,192 images of 3 channels take 0.3 GB a level,
    and its rounding is 1e-5 of the value.

    Args:
      real: images uint8 or float `[n, h, w, c]`.
      fake: images `[m, h, w, c]` on the same scale; the larger set is cut to the
        first rows of the smaller.
      seed: of the patches and of the directions.
      projections: number of directions.
      patches: patches per image and level.

    Returns:
      {height of the level in pixels: 1000 x distance}, finest first; the distance
      is in standard deviations of the patches' values.

    Raises:
      BadInput: not images, of two shapes, or smaller than 7 px.

    Source: Karras et al. 2018 (arXiv 1710.10196), section 5.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if (
        real.ndim != 4
        or real.shape[1:] != fake.shape[1:]
        or not min(map(len, (real, fake)))
    ):
        raise BadInput(
            f"need two sets of images [n, h, w, c] of one size, got {real.shape} "
            f"and {fake.shape}"
        )
    if min(real.shape[1:3]) < PATCH:
        raise BadInput(f"images of {real.shape[1:3]} px are smaller than a 7 px patch")
    rows = min(len(real), len(fake))
    streams = np.random.default_rng(seed).spawn(3)
    real_levels = _patches(real[:rows], patches, streams[0])
    fake_levels = _patches(fake[:rows], patches, streams[1])
    result, height = {}, real.shape[1]
    for left, right in zip(real_levels, fake_levels, strict=True):
        distances = _projected_distances(left, right, projections, streams[2])
        result[height] = float(1000 * distances.mean())
        height = -(-height // 2)
    return result
