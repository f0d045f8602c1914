"""Penalties on a network's input gradient; callers weigh them."""

import math

import tensorflow as tf

# d sqrt(s) / ds is infinite at s = 0, where a ReLU critic can start.
_UNDER_ROOT = 1e-12


def gradient_penalty(critic, real, fake, mix):
    """Return E (||grad_x critic(x)||_2 - 1)^2 at x = mix real + (1 - mix) fake.

    The norm is over all axes of a row. For a linear critic a.x it is (||a|| - 1)^2.
    Gulrajani et al. 2017, eq. 3.

    Args:
        critic: Callable `[rows, ...] -> [rows, 1]`. The gradient is that of the sum of
            all scores by a row. A score of that row alone makes it the gradient of the
            score; a minibatch deviation adds what the row does to the other scores,
            as in the published networks that have one. The paper advises against
            batch normalisation, which lets every score depend on every row.
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
        network: Callable `[rows, ...] -> [rows, 1]`. The gradient is that of the sum
            of all outputs: see `gradient_penalty` for outputs that depend on several
            rows.
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


def path_lengths(synthesize, w, pixels):
    """Return |J^T y| of each row, `[rows]`: how far images move along w.

    J is the derivative of the images by w, y = pixels / sqrt(height width); of the
    copies of w the root of the mean square is taken. For images A w of one copy the
    mean square over pixels is ||A||_F^2 / (height width). Karras et al. 2020, eq. 4.

    Args:
        synthesize: Callable, w -> images `[rows, h, w, c]`, a row's images depending
            on that row only.
        w: `[rows, copies, n]`.
        pixels: Standard normal, like the images.
    """
    _, height, width, _ = pixels.shape

    def projected(w):
        return tf.reduce_sum(synthesize(w) * pixels) / math.sqrt(height * width)

    squares = tf.reduce_sum(tf.square(_input_gradient(projected, w)), axis=2)
    return tf.sqrt(tf.reduce_mean(squares, axis=1) + _UNDER_ROOT)


def _input_gradient(network, inputs):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = network(inputs)
    return tf.cast(tape.gradient(outputs, inputs), tf.float32)


def _squared_norm(gradient):
    return tf.reduce_sum(tf.square(gradient), axis=list(range(1, gradient.shape.rank)))
