"""Divergences between distributions, and the bounds built from them."""

import math

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def kl(posterior, prior):
    """Return KL(posterior || prior), `[rows]`, in nats; both TFP distributions."""
    return tfd.kl_divergence(posterior, prior)


def importance_weighted_bound(log_weights):
    """Return log 1/k sum_i w_i over the first axis: `[k, rows] -> [rows]`.

    With w_i = p(x, z_i) / q(z_i | x) its expectation is at most log p(x), grows
    with k, and is the ELBO at k = 1. Its gradient weighs each sample's by the
    normalised w_i. Burda, Grosse and Salakhutdinov 2016, eq. 8.
    """
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])
