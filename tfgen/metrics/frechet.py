"""Frechet distance between two sets of features (FID, FCD, FVD and FAD)."""

import numpy as np
import scipy.linalg

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import Moments, as_feature_pair

COVARIANCES = ("full", "diagonal", "none")
ROUTES = ("auto", "moments", "rows")


def frechet_distance(
    real, fake, covariance: str = "full", route: str = "auto"
) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets.

        d^2 = |m_r - m_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^{1/2})

    with unbiased covariances S. For any factors S = L L^T the trace of the root is
    the nuclear norm (sum of singular values) of L_r^T L_f, because
    `S_r S_f = L_r (L_r^T L_f) L_f^T` has the eigenvalues of `M M^T`, M = L_r^T L_f.
    Two choices of factor give the two routes, equal up to rounding:

    - "moments": L = V sqrt(w) from the eigenvectors of S, `[d, d]`; cost d^3.
    - "rows": L = X^T / sqrt(n - 1) from the centred rows X, so M is the matrix of
      cross products `[n, m]`; no `[d, d]` matrix is formed. Cheaper when n, m < d.

    Biased upwards by about c/n: compare only at equal n, beside the value of two
    real sets, and keep d well below n. A memorising generator scores well.

    Args:
      real: features `[n, d]`.
      fake: features `[m, d]`.
      covariance: "full", or "diagonal" (correlations ignored), or "none" (the
        squared distance of the means alone).
      route: "auto" (rows when n and m are below d), "moments" or "rows".

    Returns:
      The distance, in squared feature units.

    Raises:
      BadInput: unknown covariance or route, or unusable features.

    Source: Heusel et al. 2017 (arXiv 1706.08500); Dowson and Landau 1982.
    """
    if route not in ROUTES:
        raise BadInput(f"route {route!r}: choose one of {', '.join(ROUTES)}")
    real, fake = as_feature_pair(real, fake)
    if route == "auto":
        route = "rows" if max(len(real), len(fake)) < real.shape[1] else "moments"
    if route == "moments" or covariance != "full":
        return frechet_from_moments(Moments.of(real), Moments.of(fake), covariance)
    mean_gap = real.mean(axis=0) - fake.mean(axis=0)
    rows_real = (real - real.mean(axis=0)) / np.sqrt(len(real) - 1)
    rows_fake = (fake - fake.mean(axis=0)) / np.sqrt(len(fake) - 1)
    traces = np.sum(rows_real**2) + np.sum(rows_fake**2)
    root = scipy.linalg.svdvals(rows_real @ rows_fake.T).sum()
    return float(mean_gap @ mean_gap + traces - 2 * root)


def frechet_from_moments(
    real: Moments, fake: Moments, covariance: str = "full"
) -> float:
    """`frechet_distance` by its "moments" route, from accumulated moments.

    Raises:
      BadInput: unknown covariance, feature sizes that differ, fewer than 2 rows.
    """
    if covariance not in COVARIANCES:
        raise BadInput(
            f"covariance {covariance!r}: choose one of {', '.join(COVARIANCES)}"
        )
    if real.mean.shape != fake.mean.shape:
        raise BadInput(
            f"real moments have feature size {real.mean.size} and fake ones "
            f"{fake.mean.size}: use one extractor for both"
        )
    mean_gap = real.mean - fake.mean
    distance = mean_gap @ mean_gap
    if covariance == "diagonal":
        deviation_gap = np.sqrt(real.covariance.diagonal()) - np.sqrt(
            fake.covariance.diagonal()
        )
        distance += deviation_gap @ deviation_gap
    elif covariance == "full":
        factors = covariance_factor(real.covariance), covariance_factor(fake.covariance)
        root = scipy.linalg.svdvals(factors[0].T @ factors[1]).sum()
        distance += np.trace(real.covariance) + np.trace(fake.covariance) - 2 * root
    return float(distance)


def covariance_factor(covariance: np.ndarray) -> np.ndarray:
    """Return L `[d, d]` with L L^T = covariance, for singular ones as well.

    Eigenvalues that rounding has made negative count as 0. Multiplying two such
    factors keeps the precision that a root of the product of covariances loses:
    a zero eigenvalue enters as 1e-8 of the largest there, and as 1e-16 here.
    """
    eigenvalues, eigenvectors = scipy.linalg.eigh(covariance)
    return eigenvectors * np.sqrt(np.maximum(eigenvalues, 0.0))
