"""Maximum mean discrepancy: how far apart two sets of rows are under a kernel.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

It is 0 only for equal distributions when the kernel is Gaussian. Gretton et al. 2012.
"""

import tensorflow as tf


def squared_distances(x, y):
    """Return |x_i - y_j|^2 of `[n, d]` and `[m, d]`: `[n, m]`, never negative.

    By |x|^2 + |y|^2 - 2 x.y: differences of all pairs would take n m d numbers.
    """
    lengths = tf.reduce_sum(x**2, axis=1)[:, None] + tf.reduce_sum(y**2, axis=1)
    return tf.maximum(lengths - 2.0 * tf.matmul(x, y, transpose_b=True), 0.0)


def gaussian_kernel(x, y, variances):
    """Return sum_s exp(-|x_i - y_j|^2 / (2 s)) over variances s: `[n, m]`.

    Args:
        x: `[n, d]`.
        y: `[m, d]`.
        variances: Squared widths, in squared units of x and y.
    """
    squared = squared_distances(x, y)
    return tf.add_n([tf.exp(-squared / (2.0 * variance)) for variance in variances])


def squared_mmd(within_x, within_y, between, *, unbiased):
    """Return MMD^2 from three kernel matrices, a scalar.

    Args:
        within_x: k(x_i, x_j), `[n, n]`.
        within_y: k(y_i, y_j), `[m, m]`.
        between: k(x_i, y_j), `[n, m]`.
        unbiased: Leave out the pairs i = j. The expectation is then right, and 0
            for equal distributions, so that half of the values there are negative;
            with them (biased) it is at least 0, and 0 for equal sets.
    """
    means = _mean_off_diagonal if unbiased else tf.reduce_mean
    return means(within_x) + means(within_y) - 2.0 * tf.reduce_mean(between)


def gaussian_mmd(x, y, variances, *, unbiased):
    """Return MMD^2 of the rows of `x` and `y` under `gaussian_kernel`, a scalar."""
    return squared_mmd(
        gaussian_kernel(x, x, variances),
        gaussian_kernel(y, y, variances),
        gaussian_kernel(x, y, variances),
        unbiased=unbiased,
    )


def root(squared):
    """Return sqrt(squared + 1e-12), whose gradient is finite at 0.

    Near the optimum the gradient of MMD^2 fades; that of its root does not.
    """
    return tf.sqrt(squared + 1e-12)


def _mean_off_diagonal(kernel):
    kernel = tf.convert_to_tensor(kernel)
    rows = kernel.shape[0]
    total = tf.reduce_sum(kernel) - tf.linalg.trace(kernel)
    return total / (rows * (rows - 1))
