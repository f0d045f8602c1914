"""Normalisation of each image by itself (Ulyanov, Vedaldi and Lempitsky 2016)."""

import keras


class InstanceNorm(keras.layers.Layer):
    """(x - mean) / sqrt(variance + epsilon), of each image and channel by itself.

    `whole`, of each image over all its channels: layer normalisation (Ba, Kiros and
    Hinton 2016), which keeps what channels are to each other.

    `[rows, h, w, c]` in and out, of any h and w; statistics are float32 and those of
    the image at hand, in training as after it.

    Args:
        scale: Whether a learned factor, N(1, 0.02) at first, and offset follow.
        epsilon: Added to the variance.
        whole: Whether statistics are of all channels together.
    """

    def __init__(self, scale=False, epsilon=1e-5, whole=False, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.epsilon, self.whole = scale, epsilon, whole

    def build(self, shape):
        """Create factor and offset."""
        if self.scale:
            start = keras.initializers.RandomNormal(1.0, 0.02)
            self.gamma = self.add_weight(
                shape=[shape[-1]], initializer=start, name="gamma"
            )
            self.beta = self.add_weight(
                shape=[shape[-1]], initializer="zeros", name="beta"
            )

    def call(self, x):
        """Return the normalised images."""
        wide = keras.ops.cast(x, "float32")
        axes = [1, 2, 3] if self.whole else [1, 2]
        centred = wide - keras.ops.mean(wide, axis=axes, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centred), axis=axes, keepdims=True)
        y = centred * keras.ops.rsqrt(variance + self.epsilon)
        if self.scale:
            y = y * keras.ops.cast(self.gamma, "float32")
            y = y + keras.ops.cast(self.beta, "float32")
        return keras.ops.cast(y, x.dtype)
