"""Losses of a critic or discriminator and of its generator.

Each function takes the network's outputs for this replica's rows, `[rows]` or
`[rows, 1]`, and returns the scalar to minimise.
"""

import tensorflow as tf


def wasserstein_estimate(real_scores, fake_scores):
    """Return mean f(real) - mean f(fake), which the critic maximises.

    For a K-Lipschitz f its supremum is K * W1(real, fake), so it is >= 0 near the
    optimum; a negative value says the critic is not there. Arjovsky, Chintala and
    Bottou 2017, eq. 2.
    """
    return tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)


def wasserstein_generator_loss(fake_scores):
    """Return -mean f(fake): the generator's side of `wasserstein_estimate`."""
    return -tf.reduce_mean(fake_scores)


def minimax_discriminator_loss(real_logits, fake_logits):
    """Return -(E log D(real) + E log(1 - D(fake))), with D = sigmoid(logits).

    From logits it is mean softplus(-real) + mean softplus(fake), finite however
    sure D is. At D* = p / (p + q) it is 2 log 2 - 2 JSD(p, q), in nats; a constant
    D = 1/2 gives 2 log 2. Goodfellow et al. 2014, eq. 1.
    """
    real = tf.reduce_mean(tf.nn.softplus(-real_logits))
    return real + tf.reduce_mean(tf.nn.softplus(fake_logits))


def minimax_generator_loss(fake_logits):
    """Return E log(1 - D(fake)) = -mean softplus(fake): the zero-sum game's other side.

    Its derivative by a logit is -D(fake) / rows, which vanishes where D is sure that
    the row is fake. Goodfellow et al. 2014, Algorithm 1.
    """
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


def non_saturating_generator_loss(fake_logits):
    """Return -E log D(fake) = mean softplus(-fake).

    Its derivative by a logit is -(1 - D(fake)) / rows, largest where
    `minimax_generator_loss` has none. Goodfellow et al. 2014, section 3.
    """
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))
