"""What users of Keras try first: it works, or one line says what to give instead."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.core.test_model import build, fit

IMAGES = np.zeros([32, 8, 8, 1], "uint8")


def dataset(element):
    return tf.data.Dataset.from_tensor_slices(element).batch(16, drop_remainder=True)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    "x", [IMAGES, (IMAGES, IMAGES), {"images": IMAGES}], ids=["array", "pair", "dict"]
)
def test_a_batch_that_is_no_dict_of_the_features_is_refused(x, replicas, two_replicas):
    model = build(strategy=two_replicas if replicas == 2 else None)
    calls = [
        lambda: model.fit(dataset(x), shuffle=False, verbose=0),
        lambda: model.evaluate(dataset(x), verbose=0),
        lambda: fit(model, 1, validation_data=dataset(x)),
    ]
    if not isinstance(x, tuple):
        calls.append(lambda: model.fit(x, verbose=0))
    for call in calls:
        wanted = r"a batch of Stock is a dict {'image': uint8 \[rows, 8, 8, 1\]}: give"
        with pytest.raises(TypeError, match=wanted) as error:
            call()
        assert "\n" not in str(error.value)


def test_dicts_of_the_features_train():
    model = build()
    model.fit(dataset({"image": IMAGES}), shuffle=False, verbose=0)
    assert model.steps_done == 2
    model.fit({"image": IMAGES}, batch_size=16, verbose=0)
    assert model.steps_done == 4


@pytest.mark.parametrize("replicas", [1, 2])
def test_optimizers_by_name(replicas, two_replicas):
    model = build(strategy=two_replicas if replicas == 2 else None)
    rate = {"class_name": "SGD", "config": {"learning_rate": 0.5}}
    model.compile(generator_optimizer="rmsprop", critic_optimizer=rate)
    assert isinstance(model.generator_optimizer, keras.optimizers.RMSprop)
    assert model.critic_optimizer.learning_rate.numpy() == 0.5
    fit(model, 2)
    assert model.generator_optimizer.iterations.numpy() == 2


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adamm", "Could not interpret optimizer identifier: adamm"),
        (keras.optimizers.SGD, "Could not interpret optimizer identifier"),
        (None, "generator_optimizer is None; leave it out for the model's own"),
    ],
)
def test_what_is_no_optimizer(optimizer, message):
    with pytest.raises(ValueError, match=message):
        build(generator_optimizer=optimizer)


def test_a_seed_is_checked_when_compiling():
    with pytest.raises(ValueError, match="seed is -3; it must be an integer in"):
        build().compile(seed=-3)
