"""Losses of translators between two domains."""

import tensorflow as tf


def cycle_loss(images, cycled):
    """Return mean |F(G(x)) - x| over all elements; 0 where F undoes G.

    Of images that should pass unchanged it is the identity loss. Zhu et al. 2017,
    eq. 2.
    """
    return tf.reduce_mean(tf.abs(cycled - images))
