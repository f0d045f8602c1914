"""How much of log p(x) an approximate posterior loses, and to what.

For a fixed model and one x, with q* the best diagonal Gaussian for that x and q_phi
what the model infers:

    approximation gap   log p(x) - ELBO(x; q*)          the family is too narrow
    amortisation gap    ELBO(x; q*) - ELBO(x; q_phi)    the encoder misses q*
    inference gap       their sum, KL(q_phi || p(z | x))

q* starts at N(0, I), not at the encoder's output, which would make the gap look small,
and is found by Adam with fresh noise in every step; its rate falls to 0 over the
steps. All bounds are of the same fresh noise, so that differences are far surer than
the bounds. log p(x) is the importance-weighted bound of k draws, from q* or from q_phi,
whichever has the larger mean: a bound from below, so the approximation gap is one too.

Source: Cremer, Li and Duvenaud 2018 (arXiv 1801.03558). They keep the rate at 1e-3 and
stop when ten blocks of 100 steps bring nothing.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.errors import BadInput
from tfgen.losses import local
from tfgen.metrics.likelihood import mean_and_error, observed
from tfgen.metrics.moments import Estimate

METRICS = ("gaps",)


class Gaps(NamedTuple):
    """Nats, each `[rows]`.

    Attributes:
      log_p: log p(x), from below.
      elbo_optimal: ELBO(x; q*).
      elbo_amortised: ELBO(x; q_phi).
      proposal: where log_p was drawn from, "optimal" or "amortised".
    """

    log_p: np.ndarray
    elbo_optimal: np.ndarray
    elbo_amortised: np.ndarray
    proposal: str

    def by_row(self):
        """Return {name: values `[rows]`}, gaps included."""
        return {
            "log_p": self.log_p,
            "elbo_optimal": self.elbo_optimal,
            "elbo_amortised": self.elbo_amortised,
            "approximation_gap": self.log_p - self.elbo_optimal,
            "amortisation_gap": self.elbo_optimal - self.elbo_amortised,
            "inference_gap": self.log_p - self.elbo_amortised,
        }

    def estimates(self):
        """Return {name: Estimate}; errors of gaps are those of paired differences."""
        by_row = self.by_row()
        found = {name: mean_and_error(values) for name, values in by_row.items()}
        share = np.mean(by_row["amortisation_gap"] > 0)
        return found | {"amortisation_gap_positive": Estimate(float(share))}


def is_measurable(model):
    """Return whether `model` has one code with a posterior of its own.

    It says so by `one_code`, and has `posterior(images)` with a bijector of standard
    normal noise, `likelihood(z)` and `prior`.
    """
    return getattr(model, "one_code", False)


def measure(
    model,
    images,
    *,
    k=1000,
    steps=1000,
    draws=50,
    rate=0.1,
    seed=0,
    index=None,
    rows=100,
    progress=None,
):
    """Measure the gaps of each image.

    Args:
        model: A model as `is_measurable` wants.
        images: float32 `[n, ...]` in the model's range.
        k: Fresh draws of the final bounds; 1,000 or more.
        steps: Of each q*.
        draws: Of z in each step, averaged.
        rate: Adam's, at the start.
        seed: Of all noise, in [0, 2**31).
        index: See `likelihood.observed`.
        rows: Images at a time.
        progress: Called with (passes done, passes in all).

    Returns:
        `Gaps`.

    Raises:
        BadInput: No images, or k below 1.
    """
    if not len(images) or k < 1:
        raise BadInput(f"{len(images)} images and k={k}: both must be at least 1")
    ascend = _ascent(model, steps, rate)
    size, parts = model.config.latent_size, []
    done, total = 0, -(-len(images) // rows) * (steps + k)

    def count():
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    for first in range(0, len(images), rows):
        x = tf.convert_to_tensor(images[first : first + rows], tf.float32)
        x = observed(model, x, seed, first, index)
        amortised = model.posterior(x)
        optimal = tf.zeros([x.shape[0], 2 * size])
        state = local.adam_start(optimal)
        for number in range(steps):
            shape = [draws, size]
            epsilon = noise.normal(seed, number, "local", x.shape[0], shape, first)
            optimal, state = ascend(
                x,
                optimal,
                state,
                tf.transpose(epsilon, [1, 0, 2]),
                tf.constant(number, tf.float32),
            )
            count()
        pair = local.gaussian(optimal), amortised
        drawn = [_log_weights(model, x, posterior) for posterior in pair]
        sums = [_Sums(x.shape[0]) for _ in pair]
        for number in range(k):
            epsilon = noise.normal(seed, number, "gaps", x.shape[0], [size], first)
            for found, log_weights in zip(sums, drawn, strict=True):
                found.add(log_weights(epsilon).numpy())
            count()
        bounds = [found.total / k for found in sums]
        parts.append(bounds + [found.log_total - math.log(k) for found in sums])
    by_row = [np.concatenate(column) for column in zip(*parts, strict=True)]
    elbo_optimal, elbo_amortised, from_optimal, from_amortised = by_row
    if from_optimal.mean() >= from_amortised.mean():
        return Gaps(from_optimal, elbo_optimal, elbo_amortised, "optimal")
    return Gaps(from_amortised, elbo_optimal, elbo_amortised, "amortised")


class _Sums:
    """Running sum of log weights `[rows]`, and logarithm of the sum of weights."""

    def __init__(self, rows):
        self.total, self.log_total = np.zeros(rows), np.full(rows, -np.inf)

    def add(self, log_weights):
        log_weights = log_weights.astype(np.float64)
        self.total += log_weights
        self.log_total = np.logaddexp(self.log_total, log_weights)


def _ascent(model, steps, rate):
    """Return a graph: one step of rows' Gaussians towards q*."""

    def ascend(x, parameters, state, epsilon, number):
        def bound(at):
            return local.bound(model.likelihood, model.prior, x, at, epsilon)

        falling = rate * 0.5 * (1.0 + tf.cos(math.pi * number / steps))
        slope = local.slope(bound, parameters)
        move, state = local.adam_step(slope, state, falling)
        return parameters + move, state

    return tf.function(ascend, jit_compile=model.xla, autograph=False)


def _log_weights(model, x, posterior):
    """Return a graph of epsilon: log p(x, z) - log q(z) of each row at one draw."""

    def log_weights(epsilon):
        z = posterior.bijector.forward(epsilon)
        joint = model.likelihood(z).log_prob(x) + model.prior.log_prob(z)
        return joint - posterior.log_prob(z)

    return tf.function(log_weights, jit_compile=model.xla, autograph=False)
