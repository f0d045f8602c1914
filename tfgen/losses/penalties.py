"""Penalties on a network's input gradient; callers weigh them."""

import tensorflow as tf

# d sqrt(s) / ds is infinite at s = 0, where a ReLU critic can start.
_UNDER_ROOT = 1e-12


def gradient_penalty(critic, real, fake, mix):
    """Return E (||grad_x critic(x)||_2 - 1)^2 at x = mix real + (1 - mix) fake.

    The norm is over all axes of a row. For a linear critic a.x it is (||a|| - 1)^2.
    Gulrajani et al. 2017, eq. 3.

    Args:
        critic: Callable `[rows, ...] -> [rows, 1]`. Its score of one row must not
            depend on other rows: no batch normalisation.
        real: `[rows, ...]`.
        fake: Like `real`.
        mix: Uniform on [0, 1), one number a row: `[rows, 1, ...]`.
    """
    return unit_gradient(critic, fake + mix * (real - fake))


def unit_gradient(network, inputs):
    """Return E (||grad_x network(x)||_2 - 1)^2 at x = inputs, `[rows, ...]`."""
    squared = _squared_norm(_input_gradient(network, inputs))
    return tf.reduce_mean(tf.square(tf.sqrt(squared + _UNDER_ROOT) - 1.0))


def r1(network, real):
    """Return E ||grad_x network(x)||_2^2 at the real rows, no square root.

    The squared norm is over all axes of a row; for a linear network a.x it is
    ||a||^2. The published loss adds gamma / 2 times it. Mescheder, Geiger and
    Nowozin 2018, eq. 9.

    Args:
        network: Callable `[rows, ...] -> [rows, 1]`, a row's output depending on
            that row only.
        real: `[rows, ...]`.
    """
    return mean_squared_norm(_input_gradient(network, real))


def mean_squared_norm(gradient):
    """Return E ||g||_2^2 of rows g, the norm over all axes of a row.

    `r1` where the gradient is at hand: the network's outputs serve a loss besides.
    """
    return tf.reduce_mean(_squared_norm(tf.cast(gradient, tf.float32)))


def r2(network, fake):
    """Return E ||grad_x network(x)||_2^2 at the generated rows; see `r1`.

    Mescheder, Geiger and Nowozin 2018, eq. 10.
    """
    return r1(network, fake)


def _input_gradient(network, inputs):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = network(inputs)
    return tf.cast(tape.gradient(outputs, inputs), tf.float32)


def _squared_norm(gradient):
    return tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank)))
