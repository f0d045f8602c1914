"""Likelihoods p(x | z): from a decoder's output to a TFP distribution over x."""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

# A Gaussian with free variance has unbounded likelihood on constant pixels.
LOWEST_LOG_VARIANCE = -8.0


def bernoulli(logits, row_axes=1):
    """Return independent Bernoulli pixels of `logits` `[rows, ...]`.

    `log_prob(x)` `[rows]` is sum_i x_i log p_i + (1 - x_i) log(1 - p_i), computed
    from logits; x may be grey (in [0, 1]), when it is a cross-entropy and no
    longer a log-probability.

    Args:
        logits: l of p = sigmoid(l).
        row_axes: Leading axes that count rows, here and below: 2 for
            `[draws, rows, ...]`, whose `log_prob` is `[draws, rows]`.
    """
    pixels = tfd.Bernoulli(logits=logits, dtype=tf.float32)
    return _Pixels(pixels, reinterpreted_batch_ndims=logits.shape.rank - row_axes)


def gaussian(mean, log_variance, row_axes=1):
    """Return independent Gaussian pixels; both arguments `[rows, ...]`.

    log_variance = log sigma^2 is bounded below by `LOWEST_LOG_VARIANCE`.
    """
    log_variance = tf.maximum(log_variance, LOWEST_LOG_VARIANCE)
    return _by_row(tfd.Normal(mean, tf.exp(0.5 * log_variance)), mean, row_axes)


def fixed_gaussian(mean, variance, row_axes=1):
    """Return N(mean, variance I): one fixed variance for every pixel."""
    stddev = tf.sqrt(tf.cast(variance, mean.dtype))
    return _by_row(tfd.Normal(mean, stddev), mean, row_axes)


class _Pixels(tfd.Independent):
    """Half the work: TFP's own takes softplus(l) and softplus(-l).

    Pixels are laid out in one axis before anything is done to them: XLA on CPUs takes
    twice as long to add them up over the axes of an image.
    """

    def _log_prob(self, value):
        # x log p + (1 - x) log(1 - p) = x l - softplus(l)
        logits, value = self._flat(self.distribution.logits), self._flat(value)
        return tf.reduce_sum(value * logits - tf.nn.softplus(logits), axis=-1)

    def _flat(self, images):
        leading = tf.shape(images)[: images.shape.rank - self.event_shape.rank]
        size = self.event_shape.num_elements()
        return tf.reshape(images, tf.concat([leading, [size]], axis=0))


def _by_row(distribution, parameter, row_axes):
    return tfd.Independent(
        distribution, reinterpreted_batch_ndims=parameter.shape.rank - row_axes
    )
