"""The moving average against its closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.core import ema


def networks(*layers):
    made = []
    for _ in range(2):
        made.append(keras.Sequential([keras.Input([2]), *(make() for make in layers)]))
    return made


def test_the_distance_halves_in_the_half_life():
    # Constant weight w: average_n = w + decay^n (average_0 - w); at decay =
    # 2^(-1/10) ten steps halve the distance.
    network, twin = networks(lambda: keras.layers.Dense(3))
    before = [weight.copy() for weight in twin.get_weights()]
    for _ in range(10):
        ema.move(network, twin, decay=2 ** (-1 / 10))
    for weight, old, new in zip(
        network.get_weights(), before, twin.get_weights(), strict=True
    ):
        # Ten float32 roundings of numbers of size 1.
        np.testing.assert_allclose(new - weight, (old - weight) / 2, atol=1e-6)


def test_one_step_of_each_decay():
    network, twin = networks(lambda: keras.layers.Dense(3))
    for decay in (0.0, 0.25):
        old, new = twin.get_weights(), network.get_weights()
        ema.move(network, twin, decay)
        for a, b, got in zip(old, new, twin.get_weights(), strict=True):
            np.testing.assert_allclose(got, decay * a + (1 - decay) * b, atol=1e-7)


def test_batch_statistics_are_copied():
    network, twin = networks(keras.layers.BatchNormalization)
    network(np.random.default_rng(0).normal(3, 2, [64, 2]), training=True)
    statistics = network.non_trainable_variables
    assert np.abs(statistics[0].numpy()).min() > 0
    ema.move(network, twin, decay=0.999)
    for wanted, got in zip(statistics, twin.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_copy_sets_every_variable():
    network, twin = networks(
        lambda: keras.layers.Dense(3), keras.layers.BatchNormalization
    )
    network(np.random.default_rng(0).normal(3, 2, [64, 2]), training=True)
    ema.copy(network, twin)
    assert len(twin.variables) == 6
    for wanted, got in zip(network.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_a_twin_of_another_structure_is_refused():
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    twin = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, use_bias=False)])
    with pytest.raises(ValueError, match="shorter"):
        ema.move(network, twin, 0.9)


def ids(variables):
    return {id(variable) for variable in variables}


def test_averages_are_not_counted_as_trainable(two_replicas):
    from tests.core.test_model import build

    for model in (build(), build(strategy=two_replicas)):
        assert model.generator_ema.name == "generator_ema"
        trained = [*model.generator.trainable_variables]
        trained += model.critic.trainable_variables
        assert ids(model.trainable_variables) == ids(trained)
        assert ids(model.trainable_weights) == ids(trained)
        assert ids(model.non_trainable_variables) == ids(model.variables) - ids(trained)
        assert ids(model.non_trainable_weights) == ids(model.weights) - ids(trained)
        # Their flags stay: all replicas have the same weights, not statistics.
        assert model.replica_local() == {
            "critic/002.seed_generator_state",
            "generator/004.moving_mean",
            "generator/005.moving_variance",
            "generator_ema/004.moving_mean",
            "generator_ema/005.moving_variance",
        }
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    # Generator 3 -> 6 -> 64 with scale and shift of 6, critic 64 -> 6 -> 1.
    count = (3 + 1) * 6 + 2 * 6 + (6 + 1) * 64 + (64 + 1) * 6 + (6 + 1)
    assert f" Trainable params: {count} " in "\n".join(lines)


@pytest.mark.parametrize("images", [32, 50])
def test_decay_by_images(images):
    # The published weight of the past at 32 images a step: 0.997784; after 10,000
    # images one half of the old value is left.
    each = ema.decay(images, 10_000.0, 0.0, 7)
    assert float(each) ** (10_000 / images) == pytest.approx(0.5, rel=1e-4)
    assert float(ema.decay(32, 10_000.0, 0.0, 0)) == pytest.approx(0.997784, abs=5e-7)


def test_a_ramp_forgets_the_start():
    # After 1,000 steps of 32 images the half-life is a twentieth of 32,000.
    ramped = [float(ema.decay(32, 10_000.0, 0.05, step)) for step in (0, 1000, 10**6)]
    assert ramped[0] == 0.0
    assert ramped[1] == pytest.approx(0.5 ** (32 / 1600), rel=1e-6)
    assert ramped[2] == pytest.approx(0.5 ** (32 / 10_000), rel=1e-6)


def test_the_weight_of_the_past_may_be_a_function():
    from tests.core.test_model import build, fit

    model = build()
    network, twin, _ = model._averages[0]
    model._averages[0] = (
        network,
        twin,
        lambda: 0.25 * tf.cast(model.step.value, "float32"),
    )
    model.compile(run_eagerly=True)
    start = twin.trainable_variables[0].numpy()
    fit(model, 1)
    first = network.trainable_variables[0].numpy()
    np.testing.assert_allclose(twin.trainable_variables[0].numpy(), first, atol=1e-6)
    assert np.abs(first - start).max() > 1e-3
    fit(model, 1)
    wanted = 0.25 * first + 0.75 * network.trainable_variables[0].numpy()
    np.testing.assert_allclose(twin.trainable_variables[0].numpy(), wanted, atol=1e-6)
