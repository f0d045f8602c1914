"""Dropout whose randomness is an argument."""

import keras


class Drops:
    """Adds `GivenDropout` to layers of a functional network, each with its own input.

    Attributes:
        uniforms: Inputs made so far: further inputs of the network.
    """

    def __init__(self):
        self.uniforms = []

    def __call__(self, x, keep):
        """Return x after dropout; x itself when all is kept."""
        if keep == 1:
            return x
        name = f"uniform_{len(self.uniforms)}"
        self.uniforms.append(keras.Input(x.shape[1:], name=name))
        return GivenDropout(keep)([x, self.uniforms[-1]])


class GivenDropout(keras.layers.Layer):
    """x_i / keep where u_i < keep, else 0, for given uniforms u; x when not training.

    Stock dropout draws inside the layer: other masks under XLA than without, and the
    same ones on every replica. Srivastava et al. 2014, scaled as is usual now.

    Args:
        keep: Probability that a unit is kept, in (0, 1].
    """

    def __init__(self, keep, **kwargs):
        super().__init__(**kwargs)
        self.keep = keep

    def call(self, inputs, training=False):
        """Return the units kept of inputs (x, u), two tensors of one shape."""
        x, uniform = inputs
        if not training:
            return x
        return x * keras.ops.cast(uniform < self.keep, x.dtype) / self.keep
