"""Exponential moving average of a network, held as a second network.

A twin is a whole network rather than a list of averages: it samples, exports and
is restored like any other. It is never trained.
"""

import tensorflow as tf


def decay(images, half_life, ramp, step):
    """Return 0.5^(images / half-life), for an average that forgets by images seen.

    Args:
        images: Images of a step.
        half_life: Images after which the weight of the past is one half.
        ramp: The half-life is at most this share of the images seen before, so that
            a start is soon forgotten; 0: no such limit.
        step: Steps done before, a tensor.
    """
    if ramp:
        half_life = tf.minimum(half_life, ramp * images * tf.cast(step, tf.float32))
    return 0.5 ** (images / tf.maximum(half_life, 1e-8))


def copy(network, twin):
    """Set every variable of `twin` to that of `network`."""
    for source, target in zip(network.variables, twin.variables, strict=True):
        target.assign(source.value)


def move(network, twin, decay, among=None):
    """Move `twin` one step: average <- decay * average + (1 - decay) * weight.

    Statistics that are not trained (batch normalisation) are copied: they are
    averages already.

    Args:
        network: The trained network.
        twin: A network of the same structure.
        decay: Weight of the past in [0, 1); the half-life is
            log(1/2) / log(decay) updates.
        among: Variables that an update moved, none: all. The averages of others stay,
            and if it moved none of the network, so do its statistics.
    """
    among = network.trainable_variables if among is None else among
    moved = {id(variable) for variable in among}
    pairs = zip(network.trainable_variables, twin.trainable_variables, strict=True)
    pairs = [pair for pair in pairs if id(pair[0]) in moved]
    for weight, average in pairs:
        average.assign_add((1.0 - decay) * (weight.value - average.value))
    if network.trainable_variables and not pairs:
        return
    for source, target in zip(
        network.non_trainable_variables, twin.non_trainable_variables, strict=True
    ):
        target.assign(source.value)
