"""Kernel distance: unbiased MMD with the cubic polynomial kernel (KID)."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.losses import mmd
from tfgen.metrics.moments import Estimate, Moments, as_feature_pair


def polynomial_kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`k(x, y) = (x.y / d + 1)^3` for rows of `[n, d]` and `[m, d]`: `[n, m]`."""
    return (left @ right.T / left.shape[1] + 1.0) ** 3


def unbiased_squared_mmd(
    real_real: np.ndarray, fake_fake: np.ndarray, real_fake: np.ndarray
) -> float:
    """Unbiased squared MMD from three kernel matrices.

        mean_{i != j} k(r_i, r_j) + mean_{i != j} k(f_i, f_j) - 2 mean k(r_i, f_j)

    The expectation is 0 for equal distributions, so half of the values are
    negative there; clipping them would bring back the bias.

    Source: Gretton et al. 2012, lemma 6.
    """
    return float(mmd.squared_mmd(real_real, fake_fake, real_fake, unbiased=True))


def kernel_blocks(
    real, fake, block_rows: int = 1024, least_blocks: int = 10
) -> Moments:
    """Moments `[1]` of the squared MMDs of disjoint blocks of rows; mergeable.

    Rows must be in random order. Parts that were evaluated apart (on replicas or
    one after another) merge with `Moments.merge`; `kernel_estimate` reads them.
    See `kernel_distance` for the arguments.
    """
    real, fake = as_feature_pair(real, fake)
    fewest, most = sorted((len(real), len(fake)))
    blocks = max(-(-most // block_rows), least_blocks)
    # A block needs two rows of each set; small sets get fewer blocks, not smaller.
    blocks = max(1, min(blocks, fewest // 2))
    if -(-most // blocks) > block_rows:
        raise BadInput(
            f"{len(real)} real and {len(fake)} fake rows are too uneven for blocks of "
            f"at most {block_rows} rows: bring the sets closer in size"
        )
    values = [
        unbiased_squared_mmd(
            polynomial_kernel(r, r), polynomial_kernel(f, f), polynomial_kernel(r, f)
        )
        for r, f in zip(
            np.array_split(real, blocks), np.array_split(fake, blocks), strict=True
        )
    ]
    return Moments.of(np.asarray(values)[:, None])


def kernel_estimate(blocks: Moments) -> Estimate:
    """Mean over blocks and its standard error, std(ddof=1) / sqrt(blocks)."""
    error = None
    if blocks.count > 1:
        error = float(np.sqrt(blocks.covariance[0, 0] / blocks.count))
    return Estimate(float(blocks.mean[0]), error)


def kernel_distance(
    real, fake, block_rows: int = 1024, least_blocks: int = 10
) -> Estimate:
    """Kernel distance with the kernel `(x.y/d + 1)^3`, and its standard error.

    Mean of the unbiased squared MMD over disjoint blocks. Unbiased at every n and
    therefore negative now and then: never clipped. Preferred to the Frechet
    distance below some 5,000 rows.

    Args:
      real: features `[n, d]`, rows in random order.
      fake: features `[m, d]`, rows in random order.
      block_rows: the most rows of a set in a block.
      least_blocks: the fewest blocks, where the rows allow (2 a block); a standard
        error of fewer than 10 is itself too uncertain to print.

    Returns:
      The estimate, in kernel units; the error is None with a single block.

    Raises:
      BadInput: unusable features, or counts too uneven to split into such blocks.

    Source: Binkowski et al. 2018 (arXiv 1801.01401); disjoint blocks as in TF-GAN.
    """
    return kernel_estimate(kernel_blocks(real, fake, block_rows, least_blocks))
