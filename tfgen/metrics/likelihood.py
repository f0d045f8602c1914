"""Bounds of log p(x) on held-out images, and what a latent code carries.

For a model with posterior q(z | x), prior p(z) and likelihood p(x | z):

    elbo        E_q log p(x | z) - KL(q(z | x) || p(z)), one draw a row
    rate        KL(q(z | x) || p(z)); a draw of log q - log p where the model has no
                closed form         distortion  -E_q log p(x | z)
    kl_by_latent    the rate of each latent, or of each layer where latents are coupled
    iwae        log 1/k sum_i p(x, z_i) / q(z_i | x), in expectation between the
                ELBO (k = 1) and log p(x), rising with k
    bits_per_dim    -iwae / (number of values of x * log 2), in units of 8-bit levels;
                    of black and white pixels in pixels. Grey ones under a Bernoulli
                    likelihood have none: it gives levels no probabilities
    active_units    latents whose Var_x E_q[z] exceeds 0.01, in all layers
    active_units_by_layer   likewise; the layer next to the data first

All are nats per row, averaged over rows, except bits and units. Noise is a function of
(seed, row, draw), so a number does not depend on how rows are batched.

Sources: Kingma and Welling 2014 (arXiv 1312.6114); Burda, Grosse and Salakhutdinov
2016 (arXiv 1509.00519), sections 3 and 5.2 (active units).
"""

import math

import numpy as np
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.losses import health
from tfgen.metrics.moments import Estimate
from tfgen.metrics.passes import rows_at_once

BOUNDS = ("iwae", "bits_per_dim")
UNITS = ("active_units", "active_units_by_layer")
METRICS = ("elbo", "rate", "distortion", "kl_by_latent", *BOUNDS, *UNITS)
DRAWS = 10  # of z in one pass of the networks
MEAN_DRAWS = 50  # that average a posterior mean which depends on layers below it
_NEEDED = ("terms", "log_weights")


def is_measurable(model):
    """Return whether `model` has what these metrics call.

    That is `terms(images, epsilon)` and `log_weights(images, epsilon)` of `VAE`, with
    epsilon `[draws, rows, config.latent_size]`.
    """
    return all(hasattr(model, name) for name in _NEEDED)


def metrics_of(model):
    """Return those of `METRICS` that mean something for a measurable `model`."""
    if not _is_bernoulli(model) or getattr(model.config, "pixels", "grey") != "grey":
        return METRICS
    return tuple(name for name in METRICS if name != "bits_per_dim")


def _is_bernoulli(model):
    return getattr(model.config, "likelihood", "bernoulli") == "bernoulli"


def observed(model, images, seed, first_row=0, index=None):
    """Return what the model's likelihood sees of grey `images`.

    With binarised `config.pixels`, one draw from Bernoulli(images) that is the
    same for every metric and every draw of z; of `binarised_once`, the draw that the
    model itself sees of these rows, whatever the seed; else the images.

    Args:
        model: A model as `is_measurable` wants.
        images: float32 `[rows, ...]` in the model's range.
        seed: Of the draw.
        first_row: Place of the first row among those measured.
        index: Numbers in the split of all rows measured; none: their places.
    """
    pixels = getattr(model.config, "pixels", "grey")
    if pixels == "grey":
        return images
    rows, *shape = images.shape
    if pixels == "binarised":
        draw = noise.uniform(seed, 0, "evaluated pixels", rows, shape, first_row)
    else:
        places = np.arange(first_row, first_row + rows)
        numbers = places if index is None else index[places]
        draw = noise.uniform_of_rows(0, "pixels", numbers, shape)
    return tf.cast(draw < images, tf.float32)


def measure(
    model,
    images,
    metrics=None,
    *,
    k=100,
    seed=0,
    index=None,
    rows=None,
    progress=None,
):
    """Measure some of `METRICS`.

    Memory does not grow with `k`: draws are added up, `DRAWS` at a time.

    Args:
        model: A model as `is_measurable` wants.
        images: float32 `[n, ...]` in the model's range.
        metrics: Names of `metrics_of(model)`; none: all of them.
        k: Draws a row of `iwae` and of the bound behind `bits_per_dim`.
        seed: Of all noise, in [0, 2**31).
        index: See `observed`.
        rows: Rows in one pass of the networks; none: `passes.rows_at_once`.
        progress: Called with (passes done, passes in all).

    Returns:
        {metric: Estimate}; errors are standard errors of the mean over rows, None
        for active units. A metric by latent or layer has lists.

    Raises:
        BadInput: A metric that is unknown or not of this model, no images, k below 1.
    """
    valid = metrics_of(model)
    metrics = metrics or valid
    if unknown := [name for name in metrics if name not in valid]:
        raise BadInput(f"metric {unknown[0]!r}: choose from {', '.join(valid)}")
    if not len(images) or k < 1:
        raise BadInput(f"{len(images)} images and k={k}: both must be at least 1")
    wanted, rows = set(metrics), rows or rows_at_once(images.shape[1:])
    wants_parts = bool(wanted - {*BOUNDS, *UNITS})
    wants_bound, wants_units = bool(wanted & {*BOUNDS}), bool(wanted & {*UNITS})
    passes = -(-len(images) // rows) * (wants_parts + wants_units + k * wants_bound)
    count = _Counter(progress, passes)
    parts, means, bound = _compiled(model, seed)
    found = {}
    for first in range(0, len(images), rows):
        x = tf.convert_to_tensor(images[first : first + rows], tf.float32)
        x = observed(model, x, seed, first, index)
        if wants_parts:
            for name, value in parts(x, first).items():
                found.setdefault(name, []).append(value.numpy())
            count.add(1)
        if wants_units:
            found.setdefault("means", []).append(means(x, first).numpy())
            count.add(1)
        if wants_bound:
            total = np.full([x.shape[0]], -np.inf)
            for draw in range(0, k, DRAWS):
                draws = min(DRAWS, k - draw)
                drawn = bound(x, tf.constant(first), tf.constant(draw), draws)
                total = np.logaddexp(total, drawn.numpy().astype(np.float64))
                count.add(draws)
            found.setdefault("iwae", []).append(total - math.log(k))
    return _summary(model, {n: np.concatenate(v) for n, v in found.items()}, metrics)


def _compiled(model, seed):
    """Return graphs: the ELBO's parts by row, posterior means, sums of weights.

    Noise is drawn outside what XLA compiles: inside, the same key gives other numbers.
    """

    def compiled(function):
        return tf.function(function, jit_compile=model.xla, autograph=False)

    def draw(x, purpose, first_draw, draws, first_row):
        latents = [x.shape[0], [model.config.latent_size]]
        drawn = [
            noise.normal(seed, first_draw + number, purpose, *latents, first_row)
            for number in range(draws)
        ]
        return tf.stack(drawn)

    def parts_of(x, epsilon):
        log_likelihood, rates, _ = model.terms(x, epsilon[0])
        by_latent = {"rate": tf.reduce_sum(rates, axis=-1), "kl_by_latent": rates}
        return {"distortion": -log_likelihood, **by_latent}

    def means_of(x, epsilon):
        means = model.terms(x, epsilon)[2]
        return means if means.shape.rank == 2 else tf.reduce_mean(means, axis=0)

    def bound_of(x, epsilon):
        return tf.reduce_logsumexp(model.log_weights(x, epsilon), axis=0)

    parts_of, means_of, bound_of = map(compiled, (parts_of, means_of, bound_of))

    def parts(x, first):
        return parts_of(x, draw(x, "evaluated elbo", 0, 1, first))

    def means(x, first):
        return means_of(x, draw(x, "evaluated means", 0, MEAN_DRAWS, first))

    @tf.function(autograph=False)
    def bound(x, first, first_draw, draws):
        return bound_of(x, draw(x, "evaluated iwae", first_draw, draws, first))

    return parts, means, bound


def _summary(model, found, metrics):
    by_row = dict(found)
    if "rate" in found:
        by_row["elbo"] = -found["distortion"].astype(np.float64) - found["rate"]
    if "iwae" in found:
        by_row["bits_per_dim"] = bits_per_dim(model, found["iwae"])
    estimates = {}
    for name in metrics:
        if name == "active_units":
            estimates[name] = Estimate(active_units(found["means"]))
        elif name == "active_units_by_layer":
            sizes = getattr(model, "layer_sizes", (found["means"].shape[1],))
            layers = np.split(found["means"], np.cumsum(sizes)[:-1], axis=1)
            estimates[name] = Estimate([active_units(means) for means in layers])
        elif name == "kl_by_latent":
            each = [mean_and_error(column) for column in by_row[name].T]
            estimates[name] = Estimate([e.value for e in each], [e.error for e in each])
        else:
            estimates[name] = mean_and_error(by_row[name])
    return estimates


def bits_per_dim(model, log_likelihood):
    """Return bits per value of x, from nats per row `[rows]`.

    A Bernoulli likelihood gives probabilities of black and white pixels, so bits are
    -log2 p(x) / size; of grey ones it gives none, and there are no bits. A Gaussian
    one gives densities over values in [low, high]; they become densities over the 256
    levels of 8 bits, whose width is (high - low) / 255. That is the code length of a
    level up to the curvature of the density within one level: no dequantisation noise
    is added.
    """
    image = model.spec.image
    size = math.prod(image.shape)
    bits = -np.asarray(log_likelihood, np.float64) / (math.log(2) * size)
    if _is_bernoulli(model):
        return bits
    return bits + math.log2(255.0 / (image.high - image.low))


def active_units(means):
    """Return how many latents have Var_x E_q[z | x] above `health.ACTIVE_VARIANCE`.

    Args:
        means: Posterior means `[rows, latent_size]`.
    """
    variances = np.var(means.astype(np.float64), axis=0)
    return int(np.sum(variances > health.ACTIVE_VARIANCE))


def mean_and_error(values):
    """Return the mean of `values` `[rows]` and its standard error (None for one)."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(float(values.mean()), None if error is None else float(error))


class _Counter:
    def __init__(self, progress, total):
        self.progress, self.total, self.done = progress, total, 0

    def add(self, passes):
        self.done += passes
        if self.progress:
            self.progress(self.done, self.total)
