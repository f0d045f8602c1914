"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1).

Stored weights are N(0, 1) and scaled by He's constant each time they are used, so
that an optimizer which divides gradients by their own size, such as Adam, moves all
layers at one relative speed:

    kernel = stored * gain * rate / sqrt(fan_in),   bias = stored * rate

with stored kernels of deviation 1 / rate at first: the multiplier `rate` slows a layer
down and leaves its start alone.
"""

import math

import keras
import tensorflow as tf


class Equalised(keras.layers.Layer):
    """Base: a kernel `[..., inputs, outputs]` and a bias."""

    def __init__(
        self,
        *,
        use_bias=True,
        activation=None,
        gain=1.0,
        factor=1.0,
        rate=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.use_bias, self.activation = use_bias, activation
        self.gain, self.factor, self.rate = gain, factor, rate

    def add_kernel(self, shape):
        """Create the stored kernel and bias."""
        self.scale = self.gain * self.rate / math.sqrt(math.prod(shape[:-1]))
        self.kernel = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(0.0, 1.0 / self.rate),
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=shape[-1:], initializer="zeros", name="bias"
            )

    def scaled_kernel(self, factor):
        """Return the kernel as it is used, times a factor."""
        return self.kernel * (self.scale * factor)

    def finish(self, x):
        """Return x after bias and activation."""
        if self.use_bias:
            bias = tf.cast(self.bias * (self.rate * self.factor), x.dtype)
            x = tf.nn.bias_add(x, bias)
        return self.activation(x) if self.activation else x


class EqualisedDense(Equalised):
    """x kernel + bias, `[rows, inputs] -> [rows, units]`.

    Args:
        units: Outputs.
        use_bias: Whether there is a bias, 0 at first.
        activation: Function of the outputs; none: linear.
        gain: Further factor of the kernel.
        factor: Of the outputs before the activation, on kernel and bias. An activation
            that is linear on either side of 0 may follow it as well as precede it:
            StyleGAN2's sqrt(2) leaky_relu costs nothing here.
        rate: Learning rate multiplier, of kernel and bias.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        """Create the weights."""
        self.add_kernel([shape[-1], self.units])

    def call(self, x):
        """Return the outputs."""
        return self.finish(keras.ops.matmul(x, self.scaled_kernel(self.factor)))


class EqualisedConv2D(Equalised):
    """Convolution, `[rows, h, w, inputs] -> [rows, h', w', filters]`.

    Args:
        filters: Outputs.
        kernel_size: Side or sides, pixels.
        strides: Pixels.
        padding: "same" or "valid".
        **kwargs: as of `EqualisedDense`.
    """

    def __init__(self, filters, kernel_size, strides=1, padding="same", **kwargs):
        super().__init__(**kwargs)
        sides = kernel_size if isinstance(kernel_size, tuple) else (kernel_size,) * 2
        self.filters, self.kernel_size = filters, sides
        self.strides, self.padding = strides, padding

    def build(self, shape):
        """Create the weights."""
        self.add_kernel([*self.kernel_size, shape[-1], self.filters])

    def call(self, x):
        """Return the outputs."""
        kernel = self.scaled_kernel(self.factor)
        return self.finish(keras.ops.conv(x, kernel, self.strides, self.padding))
