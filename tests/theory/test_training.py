"""The compiled loop and its Adam, and the two GANs that are trained by them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.theory import ring, training
from tfgen.theory.checks import Check


def rows(number):
    # Not random: the same key gives other numbers inside XLA.
    x = tf.cast(tf.range(64), tf.float32) + 64 * tf.cast(number, tf.float32)
    return tf.reshape(tf.sin(x), [32, 2])


def squared_error(network, x):
    return tf.reduce_mean(tf.square(network(x) - x[:, :1] * x[:, 1:]))


def fit(learner):
    def step(number, state):
        return learner.descend(lambda net: squared_error(net, rows(number)), state)

    return training.loop(step)


def test_adam_is_keras_adam():
    network = training.mlp(2, [8], activation="tanh", seed=3)
    learner = training.Learner(network, 1e-2)
    state = fit(learner)(learner.start(), 0, 20)
    optimizer = keras.optimizers.Adam(1e-2, 0.5, 0.9)
    variables = network.trainable_variables
    optimizer.build(variables)
    for number in range(20):
        with tf.GradientTape() as tape:
            loss = squared_error(network, rows(number))
        optimizer.apply(tape.gradient(loss, variables), variables)
    for mine, theirs in zip(state[0], variables, strict=True):
        # XLA sums in another order; the weights moved by 0.1.
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_training_continues_exactly_and_its_rate_falls_to_zero():
    def step(number, state):
        x = training.normal(0, number, 1, [32, 2])
        return learner.descend(lambda net: squared_error(net, x), state)

    learner = training.Learner(training.mlp(2, [8]), decay_over=40)
    run = training.loop(step)
    whole = run(learner.start(), 0, 41)
    halves = run(run(learner.start(), 0, 20), 20, 21)
    longer = run(whole, 41, 20)
    shorter = run(learner.start(), 0, 30)
    for a, b, c, d in zip(whole[0], halves[0], longer[0], shorter[0], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert np.any(a != d)


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


def test_a_check_fails_on_the_wrong_side_and_on_nan():
    for relation, good, bad in (("=", 1.1, 1.3), ("<", 0.9, 1.1), (">", 1.1, 0.9)):
        for computed, passes in ((good, True), (bad, False), (np.nan, False)):
            check = Check("x", 1.0, computed, 0.2, relation)
            assert check.passed is passes
