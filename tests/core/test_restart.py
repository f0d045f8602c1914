"""An optimizer set back is one that has just been made."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.restart import restart


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.1, beta_2=0.9),
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    ],
)
def test_after_a_restart_the_next_update_is_a_first_one(make):
    def update(gradient, now=False):
        @tf.function(autograph=False)
        def step():
            restart(optimizer, tf.constant(now))
            optimizer.apply([tf.constant(gradient)], [weight])

        before = weight.numpy()
        step()
        return weight.numpy() - before

    weight, optimizer = keras.Variable([0.5, 0.5]), make()
    optimizer.build([weight])
    first = update([1.0, -2.0])
    update([0.3, 0.1])
    assert int(optimizer.iterations) == 2
    assert np.abs(update([1.0, -2.0]) - first).max() > 0.001
    # 0.5 - weight is of other digits by now.
    np.testing.assert_allclose(update([1.0, -2.0], now=True), first, atol=1e-6)
    assert int(optimizer.iterations) == 1
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
