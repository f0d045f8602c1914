"""Wasserstein distances: as a linear program, by its dual, and in one dimension.

Everything is in float64. The unit of W1 is that of x.
"""

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import linprog
from scipy.special import ndtr
from scipy.stats import norm


def cheapest_coupling(p, q, cost):
    """Return W = min over couplings c of sum c_ij cost_ij, and the coupling.

    A coupling is a plan c >= 0 `[n, m]` with row sums p and column sums q: how much
    mass moves from i to j. Villani 2009, definition 6.1.

    Args:
        p: Masses `[n]`.
        q: Masses `[m]`.
        cost: `[n, m]`; with distances between points, W is W1.
    """
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    # The last column's sum follows from the others.
    equal, sums = np.vstack([rows, columns[:-1]]), np.concatenate([p, q[:-1]])
    found = _solved(linprog(cost.ravel(), A_eq=equal, b_eq=sums, method="highs"))
    return found.fun, found.x.reshape(n, m)


def best_critic(p, q, distance):
    """Return W1 = max E_p f - E_q f over f with |f_i - f_j| <= distance_ij, and f.

    The Kantorovich-Rubinstein dual of `cheapest_coupling`, which a critic
    approximates. Arjovsky, Chintala and Bottou 2017, eq. 2.

    Args:
        p: Masses `[n]`.
        q: Masses `[n]` on the same points.
        distance: `[n, n]`, a metric.
    """
    n = len(p)
    first, second = np.nonzero(~np.eye(n, dtype=bool))
    slopes = np.zeros([len(first), n])
    slopes[np.arange(len(first)), first] = 1
    slopes[np.arange(len(first)), second] = -1
    limits = distance[first, second]
    # Only differences of f matter: f_0 = 0.
    bounds = [(0, 0)] + [(None, None)] * (n - 1)
    found = linprog(q - p, A_ub=slopes, b_ub=limits, bounds=bounds, method="highs")
    return -_solved(found).fun, found.x


def _solved(found):
    if not found.success:
        raise ArithmeticError(f"linear program: {found.message}")
    return found


def w1_of_samples(a, b):
    """Return W1 of two samples `[n]` of numbers: mean |sorted a - sorted b|."""
    return float(np.mean(np.abs(np.sort(a) - np.sort(b))))


def w1_of_masses(x, p, q):
    """Return W1 = integral |F_p - F_q| dx of masses on the rising points x."""
    return float(np.sum(np.abs(np.cumsum(p - q))[:-1] * np.diff(x)))


def w2_squared_of_gaussians(mean_a, covariance_a, mean_b, covariance_b):
    """Return W2^2 = |a - b|^2 + tr(S + T - 2 (S^1/2 T S^1/2)^1/2).

    The Frechet distance. Dowson and Landau 1982, eq. 4.
    """
    root = sqrtm(covariance_a)
    cross = sqrtm(root @ covariance_b @ root).real
    spread = np.trace(covariance_a + covariance_b - 2 * cross)
    return float(np.sum((np.asarray(mean_a) - mean_b) ** 2) + spread)


def penalised_estimate(shift, weight, points=4001):
    """Return what the best WGAN-GP critic reports for N(0, 1) and N(shift, 1).

    It is more than W1 = |shift|, because the penalty lets slopes exceed 1:

        |shift| + 1 / (2 weight) integral F(x)^2 / r(x) dx

    with F the difference of the distribution functions and r the density of the
    interpolates m a + (1 - m) b. Follows from maximising integral F f' -
    weight r (f' - 1)^2 pointwise in f'.
    """
    x = np.linspace(-8, abs(shift) + 8, points)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    mix, weights = (nodes[:, None] + 1) / 2, weights / 2
    spread = np.sqrt(mix**2 + (1 - mix) ** 2)
    between = weights @ norm.pdf(x, (1 - mix) * abs(shift), spread)
    difference = ndtr(x) - ndtr(x - abs(shift))
    excess = np.sum(difference**2 / between) * (x[1] - x[0])
    return float(abs(shift) + excess / (2 * weight))
