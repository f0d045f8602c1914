"""The GRU against Keras' own."""

import keras
import numpy as np
import pytest

from tfgen.layers.recurrence import GRU


@pytest.mark.parametrize("backwards", [False, True])
def test_states_are_those_of_keras(backwards):
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 5, 4)).astype("float32")
    start = random.normal(size=(3, 2)).astype("float32")
    theirs = keras.layers.GRU(2, return_sequences=True, go_backwards=backwards)
    ours = GRU(2, backwards)
    ours([x, start])
    theirs(x)
    # Keras has the gates in the order z, r, n.
    for mine, other in zip(ours.weights, theirs.weights, strict=False):
        value = random.normal(size=mine.shape).astype("float32")
        mine.assign(value)
        reset, update, new = np.split(value, 3, axis=-1)
        other.assign(np.concatenate([update, reset, new], axis=-1))
    wanted = theirs(x, initial_state=start)
    wanted = wanted[:, ::-1] if backwards else wanted
    np.testing.assert_allclose(ours([x, start]), wanted, atol=1e-6)
    zero = theirs(x)[:, ::-1] if backwards else theirs(x)
    np.testing.assert_allclose(ours(x), zero, atol=1e-6)
