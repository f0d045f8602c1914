"""Convolution whose kernel is modulated by a style (Karras et al. 2020, StyleGAN2).

Row n sees the kernel W'_{k,i,o} = W_{k,i,o} s_{n,i}, demodulated to unit norm for each
output: W'' = W' / sqrt(sum over k and i of W'^2 + 1e-8). A kernel a row would need
grouped convolutions; scaling the input by s, then the output by that factor, is the
same map with an ordinary one, also where a filter lies between.
"""

import tensorflow as tf

from tfgen.layers.equalised import Equalised, EqualisedDense
from tfgen.layers.resampling import blur


class ModulatedConv2D(Equalised):
    """Convolution of x by styles s = affine(w) + 1.

    Takes (x `[rows, h, w, inputs]`, w `[rows, size]`), or with them noise `[rows, h',
    w', 1]`, which is added to all maps alike, times a learned factor that is 0 at
    first. Returns `[rows, h', w', filters]`, h' = h, or 2 h with `up`. Styles and what
    undoes them are float32 whatever the layer computes in.

    Args:
        filters: Outputs.
        kernel_size: Side in pixels.
        up: Double the image: each pixel adds kernel * x, 2 pixels from its
            neighbour, then `blur`.
        demodulate: Whether the kernel is scaled back to unit norm.
        add_noise: Whether noise has a factor; else it is ignored.
        **kwargs: `use_bias`, `activation`, `factor` as of `EqualisedDense`.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        up=False,
        demodulate=True,
        add_noise=True,
        **kwargs,
    ):
        # Keras would round w before anything here could see it.
        super().__init__(autocast=False, **kwargs)
        self.filters, self.kernel_size = filters, kernel_size
        self.up, self.demodulate = up, demodulate
        self.add_noise = add_noise

    def build(self, shapes):
        """Create kernel, bias, the style's affine map and the noise's factor."""
        inputs = shapes[0][-1]
        self.add_kernel([self.kernel_size, self.kernel_size, inputs, self.filters])
        # Styles are few numbers: not worth rounding.
        self.affine = EqualisedDense(inputs, dtype="float32")
        self.affine.build(shapes[1])
        if len(shapes) == 3 and self.add_noise:
            self.noise_strength = self.add_weight(
                shape=[], initializer="zeros", name="noise_strength"
            )

    def call(self, inputs):
        """Return the outputs."""
        x, w, *noise = inputs
        x, style = tf.cast(x, self.compute_dtype), self.affine(w) + 1.0
        kernel = self.scaled_kernel(1.0 if self.demodulate else self.factor)
        kernel = tf.cast(kernel, x.dtype)
        y = self.convolve(x * _of_maps(style, x), kernel)
        if self.demodulate:
            norms = tf.reduce_sum(tf.square(tf.cast(kernel, tf.float32)), axis=[0, 1])
            back = tf.math.rsqrt(tf.square(style) @ norms + 1e-8)
            y *= _of_maps(self.factor * back, y)
        if noise and self.add_noise:
            strength = tf.cast(self.noise_strength * self.factor, y.dtype)
            y += strength * tf.cast(noise[0], y.dtype)
        return self.finish(y)

    def convolve(self, x, kernel):
        """Return x through a kernel `[k, k, inputs, filters]` of all rows."""
        if not self.up:
            return tf.nn.conv2d(x, kernel, 1, "SAME")
        rows = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        sides = [2 * side + self.kernel_size - 2 for side in x.shape[1:3]]
        y = tf.nn.conv2d_transpose(
            x,
            tf.transpose(kernel, [0, 1, 3, 2]),
            [rows, *sides, self.filters],
            strides=2,
            padding="VALID",
        )
        return blur(y, padding=1, gain=4)


def _of_maps(factors, x):
    return tf.cast(factors, x.dtype)[:, tf.newaxis, tf.newaxis]
