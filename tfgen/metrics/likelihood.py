"""Bounds of log p(x) on held-out images, and what a latent code carries.

For a model with posterior q(z | x), prior p(z) and likelihood p(x | z):

    elbo        E_q log p(x | z) - KL(q(z | x) || p(z)), one draw a row
    rate        KL(q(z | x) || p(z))        distortion  -E_q log p(x | z)
    iwae        log 1/k sum_i p(x, z_i) / q(z_i | x), in expectation between the
                ELBO (k = 1) and log p(x), rising with k
    bits_per_dim    -iwae / (number of values of x * log 2), in units of 8-bit levels
    active_units    latents whose Var_x E_q[z] exceeds 0.01

All are nats per row, averaged over rows, except the last two. Noise is a function of
(seed, row, draw), so a number does not depend on how rows are batched.

Sources: Kingma and Welling 2014 (arXiv 1312.6114); Burda, Grosse and Salakhutdinov
2016 (arXiv 1509.00519), sections 3 and 5.2 (active units).
"""

import math

import numpy as np
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.losses import divergences
from tfgen.metrics.moments import Estimate

METRICS = ("elbo", "rate", "distortion", "iwae", "bits_per_dim", "active_units")
ACTIVE_VARIANCE = 0.01
_NEEDED = ("posterior", "likelihood", "prior", "log_weights")


def is_measurable(model):
    """Return whether `model` has what these metrics call.

    That is `posterior(images)`, `likelihood(z)`, `prior`, `log_weights(images,
    epsilon)` with epsilon `[rows, config.latent_size]`.
    """
    return all(hasattr(model, name) for name in _NEEDED)


def observed(model, images, seed, first_row=0):
    """Return what the model's likelihood sees of grey `images`.

    With `config.pixels == "binarised"`, one draw from Bernoulli(images) that is the
    same for every metric and every draw of z; else the images.

    Args:
        model: A model as `is_measurable` wants.
        images: float32 `[rows, ...]` in the model's range.
        seed: Of the draw.
        first_row: Number of the first row in the split.
    """
    if getattr(model.config, "pixels", "grey") != "binarised":
        return images
    rows, *shape = images.shape
    draw = noise.uniform(seed, 0, "evaluated pixels", rows, shape, first_row)
    return tf.cast(draw < images, tf.float32)


def measure(model, images, metrics=METRICS, *, k=100, seed=0, rows=500, progress=None):
    """Measure some of `METRICS`.

    Memory does not grow with `k`: draws are added up one by one.

    Args:
        model: A model as `is_measurable` wants.
        images: float32 `[n, ...]` in the model's range.
        metrics: Names in `METRICS`.
        k: Draws a row of `iwae` and of the bound behind `bits_per_dim`.
        seed: Of all noise, in [0, 2**31).
        rows: Rows in one pass of the networks.
        progress: Called with (passes done, passes in all).

    Returns:
        {metric: Estimate}; errors are standard errors of the mean over rows, None
        for active_units.

    Raises:
        BadInput: An unknown metric, no images, or k below 1.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise BadInput(f"metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    if not len(images) or k < 1:
        raise BadInput(f"{len(images)} images and k={k}: both must be at least 1")
    wants_bound = bool({"iwae", "bits_per_dim"} & set(metrics))
    wants_parts = bool(set(metrics) - {"iwae", "bits_per_dim"})
    passes = -(-len(images) // rows) * (wants_parts + k * wants_bound)
    count = _Counter(progress, passes)
    parts, log_weights = _compiled(model)
    found = {}
    for first in range(0, len(images), rows):
        x = tf.convert_to_tensor(images[first : first + rows], tf.float32)
        x = observed(model, x, seed, first)
        latents = [x.shape[0], [model.config.latent_size]]
        if wants_parts:
            epsilon = noise.normal(seed, 0, "evaluated elbo", *latents, first)
            for name, value in parts(x, epsilon).items():
                found.setdefault(name, []).append(value.numpy())
            count.add()
        if wants_bound:
            total = np.full([x.shape[0]], -np.inf)
            for draw in range(k):
                epsilon = noise.normal(seed, draw, "evaluated iwae", *latents, first)
                drawn = log_weights(x, epsilon).numpy().astype(np.float64)
                total = np.logaddexp(total, drawn)
                count.add()
            found.setdefault("iwae", []).append(total - math.log(k))
    return _summary(model, {n: np.concatenate(v) for n, v in found.items()}, metrics)


def _compiled(model):
    """Return graphs of (x, epsilon): the ELBO's parts by row, the log weights."""

    def parts(x, epsilon):
        posterior = model.posterior(x)
        z = posterior.bijector.forward(epsilon)
        return {
            "rate": divergences.kl(posterior, model.prior),
            "distortion": -model.likelihood(z).log_prob(x),
            "means": posterior.mean(),
        }

    return (
        tf.function(
            function, jit_compile=model.xla, autograph=False, reduce_retracing=0
        )
        for function in (parts, model.log_weights)
    )


def _summary(model, found, metrics):
    by_row = {}
    if "rate" in found:
        by_row = {"rate": found["rate"], "distortion": found["distortion"]}
        by_row["elbo"] = -found["distortion"].astype(np.float64) - found["rate"]
    if "iwae" in found:
        by_row["iwae"] = found["iwae"]
        by_row["bits_per_dim"] = bits_per_dim(model, found["iwae"])
    estimates = {}
    for name in metrics:
        if name == "active_units":
            estimates[name] = Estimate(active_units(found["means"]))
        else:
            estimates[name] = mean_and_error(by_row[name])
    return estimates


def bits_per_dim(model, log_likelihood):
    """Return bits per value of x, from nats per row `[rows]`.

    A Bernoulli likelihood gives probabilities, so bits are -log2 p(x) / size. A
    Gaussian one gives densities over values in [low, high]; they become densities
    over the 256 levels of 8 bits, whose width is (high - low) / 255. That is the
    code length of a level up to the curvature of the density within one level: no
    dequantisation noise is added.
    """
    image = model.spec.image
    size = math.prod(image.shape)
    bits = -np.asarray(log_likelihood, np.float64) / (math.log(2) * size)
    if getattr(model.config, "likelihood", "bernoulli") == "bernoulli":
        return bits
    return bits + math.log2(255.0 / (image.high - image.low))


def active_units(means):
    """Return how many latents have Var_x E_q[z | x] above `ACTIVE_VARIANCE`.

    Args:
        means: Posterior means `[rows, latent_size]`.
    """
    return int(np.sum(np.var(means.astype(np.float64), axis=0) > ACTIVE_VARIANCE))


def mean_and_error(values):
    """Return the mean of `values` `[rows]` and its standard error (None for one)."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(float(values.mean()), None if error is None else float(error))


class _Counter:
    def __init__(self, progress, total):
        self.progress, self.total, self.done = progress, total, 0

    def add(self):
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)
