"""Layers whose kernel is divided by its largest singular value.

W / sigma(W), with sigma by one step of power iteration a call in training (Miyato et
al. 2018, Algorithm 1). The gradient flows through sigma = v W u with u and v held;
Keras' own wrapper writes the divided kernel back into the weight, which loses it.
"""

import keras


def _unit(x):
    return x / (keras.ops.sqrt(keras.ops.sum(keras.ops.square(x))) + 1e-12)


class _Spectral:
    """Of a layer whose kernel's last axis is its outputs."""

    def build(self, shape):
        """Create the layer's weights and the iterate u `[1, outputs]`."""
        super().build(shape)
        self.u = self.add_weight(
            shape=[1, self.kernel.shape[-1]],
            initializer="random_normal",
            trainable=False,
            name="u",
        )

    def divided_kernel(self, training):
        """Return W / sigma(W) in the layer's compute dtype."""
        kernel = keras.ops.convert_to_tensor(self.kernel)
        matrix = keras.ops.cast(
            keras.ops.reshape(kernel, [-1, self.u.shape[-1]]), "float32"
        )
        held = keras.ops.stop_gradient(matrix)
        v = _unit(keras.ops.matmul(self.u, keras.ops.transpose(held)))
        u = _unit(keras.ops.matmul(v, held))
        if training:
            self.u.assign(u)
        sigma = keras.ops.sum(keras.ops.matmul(v, matrix) * u)
        return kernel / keras.ops.cast(sigma, kernel.dtype)


class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """Convolution with a kernel of spectral norm 1, as a matrix `[h w in, out]`."""

    def call(self, inputs, training=False):
        """Return the convolution."""
        outputs = self.convolution_op(inputs, self.divided_kernel(training))
        return self.activation(outputs + self.bias if self.use_bias else outputs)


class SpectralDense(_Spectral, keras.layers.Dense):
    """Affine map with a kernel of spectral norm 1."""

    def call(self, inputs, training=False):
        """Return the map."""
        outputs = keras.ops.matmul(inputs, self.divided_kernel(training))
        return self.activation(outputs + self.bias if self.use_bias else outputs)
