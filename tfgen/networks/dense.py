"""Fully connected networks between arrays of any shape."""

import math

import keras

from tfgen.layers.dropout import Drops
from tfgen.layers.maxout import Maxout


def mlp(
    in_shape,
    out_shapes,
    hidden,
    activation,
    *,
    name,
    output=None,
    initializer="glorot_uniform",
    norm="none",
):
    """Return a network `[rows, *in_shape] -> [rows, *out_shapes[i]]`.

    Args:
        in_shape: Shape of one input row; it is flattened.
        out_shapes: List of the shapes of one row of each output; the network
            returns a list when there are several.
        hidden: Widths of the hidden layers.
        activation: Of the hidden layers.
        name: The network's name.
        output: Activation of the last layer; none: linear.
        initializer: Of every kernel.
        norm: "layer": layer normalisation before each hidden activation; or "none".
    """
    inputs = x = keras.Input(in_shape)
    if len(in_shape) > 1:
        x = keras.layers.Flatten()(x)
    for width in hidden:
        if norm == "layer":
            x = keras.layers.Dense(width, **_kernel(initializer))(x)
            x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
            x = keras.layers.Activation(activation)(x)
        else:
            x = keras.layers.Dense(width, activation, **_kernel(initializer))(x)
    outputs = []
    for shape in out_shapes:
        head = keras.layers.Dense(
            math.prod(shape), output, dtype="float32", **_kernel(initializer)
        )(x)
        outputs.append(keras.layers.Reshape(shape, dtype="float32")(head))
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=name)


def judge(shape, hidden, *, keep_input, keep_hidden, initializer, name):
    """Return a dense discriminator with dropout: images, uniforms -> logits.

    The first input is the images; the others, one for each dropout, are uniforms on
    [0, 1) that decide what is dropped (`GivenDropout`).

    Args:
        shape: Shape of one image; it is flattened.
        hidden: Layers: (units, pieces) of a maxout, or the width of a leaky ReLU.
        keep_input: Probability that dropout keeps a pixel; 1: no dropout.
        keep_hidden: Probability that it keeps a hidden unit.
        initializer: Of every kernel.
        name: The network's name.
    """
    images = keras.Input(shape, name="images")
    drop = Drops()
    x = drop(keras.layers.Flatten()(images), keep_input)
    for width in hidden:
        if isinstance(width, tuple):
            x = Maxout(*width, **_kernel(initializer))(x)
        else:
            x = keras.layers.Dense(width, **_kernel(initializer))(x)
            x = keras.layers.LeakyReLU(0.2)(x)
        x = drop(x, keep_hidden)
    logits = keras.layers.Dense(1, dtype="float32", **_kernel(initializer))(x)
    return keras.Model([images, *drop.uniforms], logits, name=name)


def _kernel(initializer):
    """Return one layer's argument; an object used for two gives both one kernel."""
    own = initializer if isinstance(initializer, str) else initializer.clone()
    return {"kernel_initializer": own}
