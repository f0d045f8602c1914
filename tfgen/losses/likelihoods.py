"""Likelihoods p(x | z): from a decoder's output to a TFP distribution over x."""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

# A Gaussian with free variance has unbounded likelihood on constant pixels.
LOWEST_LOG_VARIANCE = -8.0


def bernoulli(logits):
    """Return independent Bernoulli pixels of `logits` `[rows, ...]`.

    `log_prob(x)` `[rows]` is sum_i x_i log p_i + (1 - x_i) log(1 - p_i), computed
    from logits; x may be grey (in [0, 1]), when it is a cross-entropy and no
    longer a log-probability.
    """
    return _by_row(tfd.Bernoulli(logits=logits, dtype=tf.float32), logits)


def gaussian(mean, log_variance):
    """Return independent Gaussian pixels; both arguments `[rows, ...]`.

    log_variance = log sigma^2 is bounded below by `LOWEST_LOG_VARIANCE`.
    """
    log_variance = tf.maximum(log_variance, LOWEST_LOG_VARIANCE)
    return _by_row(tfd.Normal(mean, tf.exp(0.5 * log_variance)), mean)


def fixed_gaussian(mean, variance):
    """Return N(mean, variance I): one fixed variance for every pixel."""
    return _by_row(tfd.Normal(mean, tf.sqrt(tf.cast(variance, mean.dtype))), mean)


def _by_row(distribution, parameter):
    return tfd.Independent(
        distribution, reinterpreted_batch_ndims=parameter.shape.rank - 1
    )
