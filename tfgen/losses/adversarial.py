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
