"""What MNIST shows of approximate posteriors and of conditional likelihoods."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from launch import held_out
from tfgen import models
from tfgen.losses import local
from tfgen.metrics import conditional, gaps

pytestmark = pytest.mark.slow
DATA = pathlib.Path(os.environ.get("TFGEN_TEST_DATA", "../shared")) / "tfds"


@pytest.fixture(scope="module")
def mnist():
    if not (DATA / "mnist").is_dir():
        pytest.skip(f"no prepared MNIST in {DATA}: set TFGEN_TEST_DATA")
    return tfgen.data.load("mnist", batch=100, seed=0, data_dir=str(DATA))


def train(mnist, name, epochs, **hparams):
    model = models.build(
        name,
        "paper",
        spec=mnist.spec,
        hparams=hparams,
        xla="on",
        steps_per_execution=100,
        log_every=600,
    )
    model.fit(mnist.train, steps_per_epoch=600 * epochs, verbose=0)
    return model


def test_gaps_and_what_refinement_recovers(mnist):
    """20 latents, 5 epochs, 100 test images. Seen: 100 of 100, 3.24 nats, 38 %."""
    model = train(mnist, "vae", 5)
    x = held_out.arrays(mnist.test, model.spec, 100)["image"]
    found = gaps.measure(model, x, k=1000, steps=500, draws=10)
    gained = found.elbo_optimal - found.elbo_amortised
    assert np.sum(gained > 0) >= 95
    assert gained.mean() > 0.5
    assert np.mean(found.log_p - found.elbo_optimal) > 0

    # Of the steps of vae_semi_amortised, at the same fresh noise for every number.
    x = tf.constant(x)
    start = local.parameters_of(model.posterior(x))
    noise = tf.random.stateless_normal([500, 100, 20], [0, 0])

    @tf.function
    def bound(at, epsilon):
        return local.bound(model.likelihood, model.prior, x, at, epsilon)

    epsilons = tf.random.stateless_normal([5, 1, 100, 20], [1, 0])
    curve = []
    for steps in range(6):
        at = local.refine(bound, start, epsilons[:steps], 0.03, through=tf.identity)
        draws = [float(tf.reduce_mean(bound(at, part))) for part in tf.split(noise, 10)]
        curve.append(np.mean(draws))
    recovered = (curve[-1] - curve[0]) / gained.mean()
    assert np.all(np.diff(curve) > 0), curve
    assert recovered >= 0.2, (curve, gained.mean())
    print(found.estimates(), curve)


def completion(mnist, quadrants):
    """(baseline's CLL, {metric: CLL of a CVAE}), mean spread of its completions."""
    baseline = train(mnist, "cvae_baseline", 6, quadrants=quadrants)
    model = train(mnist, "cvae", 6, quadrants=quadrants)
    rows = held_out.arrays(mnist.test, model.spec, 1000)
    rows = {"image": rows["image"]}
    cll = conditional.measure(baseline, rows, ["cll"])["cll"].value
    found = conditional.measure(model, rows, conditional.LATENT, k=50)
    one = np.repeat(rows["image"][:1], 50, axis=0)
    z = tf.random.stateless_normal([50, model.config.latent_size], [0, 0])
    _, made = model.quadrants.split(model.decode(z, one))
    spread = float(tf.reduce_mean(tf.math.reduce_std(made, axis=0)))
    return cll, {name: e.value for name, e in found.items()}, spread


def test_completion_of_quadrants(mnist):
    """6 epochs each, 1,000 test images, 50 draws."""
    found = {quadrants: completion(mnist, quadrants) for quadrants in (1, 3)}
    print(found)
    assert -106 < found[1][0] < -97
    better = {q: cll["cll_importance"] - base for q, (base, cll, _) in found.items()}
    assert better[1] > 15
    assert better[1] > better[3]
    spreads = [spread for *_, spread in found.values()]
    assert spreads[0] > 0.05 and spreads[0] > spreads[1]
    for _, cll, _ in found.values():
        assert cll["cll_importance"] >= cll["cll_mc"]
        assert cll["cll_importance"] > cll["conditional_elbo"]
