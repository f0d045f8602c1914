"""Conditional log-likelihood log p(y | x) of held-out targets, and its bounds.

    cll_importance  log 1/k sum_i p(y, z_i | x) / q(z_i | x, y),   z_i ~ q(z | x, y)
    cll_mc          log 1/k sum_i p(y | x, z_i),                   z_i ~ p(z | x)
    conditional_elbo, conditional_kl    the bound of one draw, and KL(q || p)
    cll             log p(y | x) itself, of a deterministic prediction

Both estimates are below log p(y | x) in expectation and rise with k; importance
sampling gets there sooner, since it looks where y lies. Sums over the target's pixels,
nats per row, averaged over rows. Sohn, Lee and Yan 2015, section 4.
"""

import math

import numpy as np
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.metrics.likelihood import mean_and_error, observed
from tfgen.metrics.passes import rows_at_once

SAMPLED = ("cll_importance", "cll_mc")  # of k draws a row
LATENT = (*SAMPLED, "conditional_elbo", "conditional_kl")
DETERMINISTIC = ("cll",)


def metrics_of(model):
    """Return the metrics that `model` can be measured by, () if none.

    With latents a model has `split(batch)` -> (x, y), `loss_and_parts`,
    `importance_log_weight` and `prior_log_likelihood`; without, `split` and
    `conditional_log_prob`.
    """
    if hasattr(model, "importance_log_weight"):
        return LATENT
    return DETERMINISTIC if hasattr(model, "conditional_log_prob") else ()


def measure(
    model, batch, metrics, *, k=100, seed=0, index=None, rows=None, progress=None
):
    """Measure some of `metrics_of(model)`.

    Memory does not grow with `k`. A number does not depend on `rows`.

    Args:
        model: A conditional model.
        batch: {feature: array `[n, ...]`} as the model wants them.
        metrics: Names.
        k: Draws a row of the two estimates.
        seed: Of all noise, in [0, 2**31).
        index: See `likelihood.observed`.
        rows: Rows in one pass of the networks; none: `passes.rows_at_once`.
        progress: Called with (passes done, passes in all).

    Returns:
        {metric: Estimate}, errors over rows.

    Raises:
        BadInput: An unknown metric, no rows, or k below 1.
    """
    valid = metrics_of(model)
    if unknown := [name for name in metrics if name not in valid]:
        raise BadInput(f"metric {unknown[0]!r}: choose from {', '.join(valid)}")
    count = len(batch["image"])
    if not count or k < 1:
        raise BadInput(f"{count} images and k={k}: both must be at least 1")
    rows = rows or rows_at_once(batch["image"].shape[1:])
    graphs = {name: _graph(model, name) for name in metrics}
    draws = {name: k if name in SAMPLED else 1 for name in metrics}
    found = {name: [] for name in metrics}
    done, total = 0, -(-count // rows) * sum(draws.values())
    for first in range(0, count, rows):
        part = {name: x[first : first + rows] for name, x in batch.items()}
        images = tf.convert_to_tensor(part["image"], tf.float32)
        part["image"] = observed(model, images, seed, first, index)
        x, y = model.split(part)
        for name in metrics:
            values = np.full([x.shape[0]], -np.inf)
            for draw in range(draws[name]):
                drawn = graphs[name](x, y, *_noise(model, seed, draw, x, first))
                values = np.logaddexp(values, drawn.numpy().astype(np.float64))
                done += 1
                if progress:
                    progress(done, total)
            found[name].append(values - math.log(draws[name]))
    return {name: mean_and_error(np.concatenate(found[name])) for name in metrics}


def _noise(model, seed, draw, x, first):
    if not hasattr(model, "importance_log_weight"):
        return ()
    size = [model.config.latent_size]
    return (noise.normal(seed, draw, "evaluated cll", x.shape[0], size, first),)


def _graph(model, name):
    """Return a graph of (x, y, noise): one draw of a metric's values, `[rows]`."""

    def kl(x, y, epsilon):
        posterior, prior = model.posterior(x, y), model.conditional_prior(x)
        return posterior.kl_divergence(prior)

    def elbo(x, y, epsilon):
        z = model.posterior(x, y).bijector.forward(epsilon)
        return model.likelihood(z, x).log_prob(y) - kl(x, y, epsilon)

    function = {
        "cll": getattr(model, "conditional_log_prob", None),
        "cll_importance": getattr(model, "importance_log_weight", None),
        "cll_mc": getattr(model, "prior_log_likelihood", None),
        "conditional_elbo": elbo,
        "conditional_kl": kl,
    }[name]
    return tf.function(function, jit_compile=model.xla, autograph=False)
