"""What keeps noise images noise while they are optimised."""

import tensorflow as tf


def autocorrelation(maps):
    """Return how far from white images `[rows, s, s]` are, `[rows]`.

        sum over levels and both axes  (mean over pixels  n * n shifted by 1)^2

    with shifts around the edges, and levels of half the side down to 8 pixels, each
    pixel twice the mean of four, which keeps the variance of white noise. Karras et
    al. 2020 (StyleGAN2), appendix D.

    Args:
        maps: Zero mean and unit variance; s a power of 2.
    """
    total = 0.0
    while True:
        for axis in (1, 2):
            product = maps * tf.roll(maps, 1, axis)
            total += tf.square(tf.reduce_mean(product, axis=[1, 2]))
        rows, side, _ = maps.shape
        if side <= 8:
            return total
        blocks = tf.reshape(maps, [rows, side // 2, 2, side // 2, 2])
        maps = 2.0 * tf.reduce_mean(blocks, axis=[2, 4])


def standardised(maps):
    """Return images `[rows, s, s]`, each of zero mean and unit variance."""
    mean, variance = tf.nn.moments(maps, axes=[1, 2], keepdims=True)
    return (maps - mean) * tf.math.rsqrt(variance + 1e-12)
