"""The compiled loop and its Adam, and the two GANs that are trained by them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.theory import claims, ring, training


def fit(learner, steps, calls=1):
    def step(number, state):
        x = training.normal(0, number, 1, [32, 2])

        def loss(network):
            return tf.reduce_mean(tf.square(network(x) - x[:, :1] * x[:, 1:]))

        return learner.descend(loss, state)

    run, state = training.loop(step), learner.start()
    for call in range(calls):
        state = run(state, call * steps // calls, steps // calls)
    return state


def test_adam_is_keras_adam():
    network = training.mlp(2, [8], seed=3)
    state = fit(training.Learner(network, 1e-2), 20)
    optimizer = keras.optimizers.Adam(1e-2, 0.5, 0.9)
    optimizer.build(network.trainable_variables)
    for number in range(20):
        x = training.normal(0, number, 1, [32, 2])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(x) - x[:, :1] * x[:, 1:]))
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
    for mine, theirs in zip(state[0], network.trainable_variables, strict=True):
        # XLA sums in another order.
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_training_is_repeatable_and_continues_exactly():
    whole = fit(training.Learner(training.mlp(2, [8])), 40)
    halves = fit(training.Learner(training.mlp(2, [8])), 40, calls=2)
    for a, b in zip(whole[0], halves[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_rate_falls_to_zero():
    learner = training.Learner(training.mlp(2, [8]), decay_over=10)
    for a, b in zip(fit(learner, 11)[0], fit(learner, 30)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_counting_modes():
    rng = np.random.default_rng(0)
    samples = np.repeat(ring.CENTRES[:3], [20, 19, 500], axis=0)
    samples = samples + 0.1 * ring.SPREAD * rng.normal(size=samples.shape)
    assert ring.modes_found(samples) == 2
    assert ring.modes_found(np.zeros([2500, 2])) == 0
    data = ring.draw(0, 0, 2500)
    assert ring.modes_found(data) == 8
    distance = np.linalg.norm(data.numpy()[:, None] - ring.CENTRES, axis=2).min(1)
    # Of two coordinates: mean distance^2 = 2 sd^2; 2500 rows, 10% is 5 of its errors.
    assert abs(np.mean(distance**2) / (2 * ring.SPREAD**2) - 1) < 0.1


def test_sure_discriminator_stops_the_minimax_generator():
    minimax, non_saturating = ring.signal_of_sure_discriminator()
    # Known-good: 4e-7 against 6.6.
    assert 0 < minimax < 0.01 * non_saturating


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_ring_is_found(seed):
    last = ring.play(at=(4000,), seed=seed)[-1]
    assert ring.modes_found(last.samples) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", claims.CLAIMS)
def test_every_claim_holds(name):
    claim = claims.CLAIMS[name]()
    assert [check for check in claim.checks if not check.passed] == []
    assert claim.checks


def test_a_check_fails_on_the_wrong_side_and_on_nan():
    for relation, good, bad in (("=", 1.1, 1.3), ("<", 0.9, 1.1), (">", 1.1, 0.9)):
        for computed, passes in ((good, True), (bad, False), (np.nan, False)):
            check = claims.Check("x", 1.0, computed, 0.2, relation)
            assert check.passed is passes
