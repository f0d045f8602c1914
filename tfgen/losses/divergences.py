"""Divergences between distributions, and the bounds built from them."""

import math

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def kl(posterior, prior):
    """Return KL(posterior || prior), `[rows]`, in nats; both TFP distributions."""
    return tfd.kl_divergence(posterior, prior)


def kl_by_latent(posterior, prior):
    """Return KL(posterior_j || prior_j) of each latent, `[rows, latent_size]`, nats.

    Both are Gaussians of independent latents. With m, v of the posterior and a
    standard normal prior it is (m^2 + v - 1 - log v) / 2. Kingma and Welling 2014,
    appendix B.
    """
    return tfd.kl_divergence(_marginals(posterior), _marginals(prior))


def log_ratio_by_latent(posterior, prior, z):
    """Return log posterior_j(z_j) - log prior_j(z_j), `[..., rows, latent_size]`.

    Its expectation over z from the posterior is `kl_by_latent`; a draw may be
    negative.

    Args:
        posterior: Gaussian of independent latents.
        prior: Likewise.
        z: Draws of the posterior, `[..., rows, latent_size]`.
    """
    return _marginals(posterior).log_prob(z) - _marginals(prior).log_prob(z)


def free_bits(rates, least):
    """Return sum_g max(least, rates_g) of mean rates `[groups]`, nats.

    The maximum is taken after the mean over rows: a group that carries less than
    `least` nats on average is not pushed down further. Kingma et al. 2016,
    appendix C.8.
    """
    return tf.reduce_sum(tf.maximum(rates, least))


def importance_weighted_bound(log_weights):
    """Return log 1/k sum_i w_i over the first axis: `[k, rows] -> [rows]`.

    With w_i = p(x, z_i) / q(z_i | x) its expectation is at most log p(x), grows
    with k, and is the ELBO at k = 1. Its gradient weighs each sample's by the
    normalised w_i. Burda, Grosse and Salakhutdinov 2016, eq. 8.
    """
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def _marginals(distribution):
    return tfd.Normal(distribution.mean(), distribution.stddev())
