"""Fully connected networks between arrays of any shape."""

import math

import keras


def mlp(in_shape, out_shapes, hidden, activation, *, name, **layer):
    """Return a network `[rows, *in_shape] -> [rows, *out_shapes[i]]`, linear last.

    Args:
        in_shape: Shape of one input row; it is flattened.
        out_shapes: List of the shapes of one row of each output; the network
            returns a list when there are several.
        hidden: Widths of the hidden layers.
        activation: Of the hidden layers.
        name: The network's name.
        **layer: Further arguments of every `keras.layers.Dense`.
    """
    inputs = x = keras.Input(in_shape)
    if len(in_shape) > 1:
        x = keras.layers.Flatten()(x)
    for width in hidden:
        x = keras.layers.Dense(width, activation=activation, **layer)(x)
    outputs = []
    for shape in out_shapes:
        head = keras.layers.Dense(math.prod(shape), dtype="float32", **layer)(x)
        outputs.append(keras.layers.Reshape(shape, dtype="float32")(head))
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=name)
