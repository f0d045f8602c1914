"""A gated recurrent unit over a few steps, unrolled."""

import keras


class GRU(keras.layers.Layer):
    """Returns the states of a GRU (Cho et al. 2014), in the form of cuDNN.

        r, z = sigmoid(W x + b + U h + c)    of each gate's own weights
        n = tanh(W x + b + r (U h + c))
        h <- (1 - z) n + z h

    Inputs (x, start): x `[rows, steps, size]` and the first state `[rows, units]`, or x
    alone, which starts from zeros. Output `[rows, steps, units]`. Keras' own layer
    computes the same and holds a random state for dropout besides, which all copies
    would have to carry.

    Args:
        units: Length of the state.
        backwards: From the last step to the first; outputs stay in the order of x.
    """

    def __init__(self, units, backwards=False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.backwards = units, backwards

    def build(self, shapes):
        """Create the weights of the three gates, side by side."""
        size = (shapes[0] if isinstance(shapes[0], (tuple, list)) else shapes)[-1]
        gates = 3 * self.units
        self.kernel = self.add_weight(shape=[size, gates], name="kernel")
        self.recurrent = self.add_weight(
            shape=[self.units, gates], initializer="orthogonal", name="recurrent"
        )
        self.bias = self.add_weight(shape=[2, gates], initializer="zeros", name="bias")

    def call(self, inputs):
        """Return the states."""
        x, state = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
        given = keras.ops.matmul(x, self.kernel) + self.bias[0]
        if state is None:
            state = keras.ops.zeros_like(given[:, 0, : self.units])
        steps = list(range(x.shape[1]))
        states = [None] * len(steps)
        for step in reversed(steps) if self.backwards else steps:
            fresh = keras.ops.split(given[:, step], 3, axis=-1)
            past = keras.ops.matmul(state, self.recurrent) + self.bias[1]
            past = keras.ops.split(past, 3, axis=-1)
            reset, update = (
                keras.ops.sigmoid(a + b)
                for a, b in zip(fresh[:2], past[:2], strict=True)
            )
            new = keras.ops.tanh(fresh[2] + reset * past[2])
            state = (1.0 - update) * new + update * state
            states[step] = state
        return keras.ops.stack(states, axis=1)
