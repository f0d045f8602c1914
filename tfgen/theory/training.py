"""Training as a pure function: thousands of small steps in one XLA program.

A toy step takes microseconds, so one call a step would time Python. Weights and
optimizer state are tensors that a compiled loop carries; each random draw is a
function of (seed, step).
"""

import math

import keras
import tensorflow as tf


class Learner:
    """A Keras network and Adam (Kingma and Ba 2015); their state is passed around.

    Keras' optimizers have no stateless form on TensorFlow, which a loop needs.

    Args:
        network: A built Keras network without state of its own.
        rate: Learning rate.
        decay_over: Steps over which the rate falls to 0 along a half cosine; None
            keeps it.
    """

    BETA_1, BETA_2, EPSILON = 0.5, 0.9, 1e-7

    def __init__(self, network, rate=1e-3, decay_over=None):
        self.network, self.rate, self.decay_over = network, rate, decay_over

    def start(self):
        """Return the initial state: (weights, moments, squared moments, step)."""
        weights = [tf.identity(v.value) for v in self.network.trainable_variables]
        zeros = [tf.zeros_like(weight) for weight in weights]
        return weights, zeros, list(zeros), tf.constant(0.0)

    def at(self, state):
        """Return the network with the weights of `state`: `[rows, n] -> [rows, m]`."""
        return lambda x: self.network.stateless_call(state[0], [], x)[0]

    def descend(self, loss, state):
        """Return the state one Adam step down `loss(network)`, a scalar."""
        weights, first, second, step = state
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = loss(self.at(state))
        # A critic's loss ignores its last bias.
        slopes = tape.gradient(value, weights, unconnected_gradients="zero")
        rate = tf.constant(self.rate)
        if self.decay_over:
            share = tf.minimum(step / self.decay_over, 1.0)
            rate *= (1.0 + tf.cos(math.pi * share)) / 2.0
        step += 1.0
        rate *= tf.sqrt(1.0 - self.BETA_2**step) / (1.0 - self.BETA_1**step)
        first = _moved(first, slopes, self.BETA_1)
        second = _moved(second, [tf.square(slope) for slope in slopes], self.BETA_2)
        weights = [
            weight - rate * m / (tf.sqrt(v) + self.EPSILON)
            for weight, m, v in zip(weights, first, second, strict=True)
        ]
        return weights, first, second, step


def _moved(averages, values, decay):
    return [
        decay * average + (1 - decay) * value
        for average, value in zip(averages, values, strict=True)
    ]


def mlp(inputs, hidden, outputs=1, activation="relu", seed=0):
    """Return a network `[rows, inputs] -> [rows, outputs]`, linear at its end."""
    layers = [
        keras.layers.Dense(
            units, act, kernel_initializer=keras.initializers.GlorotUniform(seed + n)
        )
        for n, (units, act) in enumerate(
            [*((units, activation) for units in hidden), (outputs, None)]
        )
    ]
    return keras.Sequential([keras.Input([inputs]), *layers])


def loop(step):
    """Compile `state = step(number, state)` into `run(state, first, steps)`.

    `number` counts from `first`; call `run` again with the state it returned, and
    `first` moved, to continue as if it had never stopped.
    """

    @tf.function(jit_compile=True, autograph=False)
    def compiled(state, first, steps):
        def body(number, state):
            return number + 1, step(number, state)

        def more(number, state):
            return number < first + steps

        return tf.while_loop(more, body, (first, state))[1]

    programs = []

    def run(state, first, steps):
        arguments = (state, tf.constant(first), tf.constant(steps))
        if not programs:  # called as a tf.function, each new loop is a "retracing"
            programs.append(compiled.get_concrete_function(*arguments))
        return programs[0](*arguments)

    return run


def uniform(seed, number, purpose, shape):
    """Draw from U[0, 1), a function of (seed, step number, purpose)."""
    return tf.random.stateless_uniform(shape, [seed * 1000 + purpose, number])


def normal(seed, number, purpose, shape):
    """Draw from N(0, 1), a function of (seed, step number, purpose)."""
    return tf.random.stateless_normal(shape, [seed * 1000 + purpose, number])
