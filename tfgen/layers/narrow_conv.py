"""A convolution to few channels, computed by the columns of its kernel."""

import keras
import tensorflow as tf


class NarrowConv2D(keras.layers.Conv2D):
    """`Conv2D` of stride 1, undilated and without padding, for 3 channels out, say.

    Its d-th column alone, k x 1, gives z_d, and y[i, j] = sum_d z_d[i, j + d]. The
    columns are one convolution to k times as many channels, which fill the vector
    registers that 3 channels leave empty; its products are 1 + (k - 1) / w times as
    many, w being the width of y.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if {self.strides, self.dilation_rate} != {(1, 1)} or self.padding != "valid":
            raise ValueError("NarrowConv2D has stride 1, no dilation, padding 'valid'")
        if self.groups != 1 or self.data_format != "channels_last":
            raise ValueError("NarrowConv2D has one group, and channels come last")

    def call(self, x):
        """Return `[rows, h - k + 1, w - k + 1, filters]`."""
        height, columns, channels, filters = self.kernel.shape
        kernel = keras.ops.reshape(
            keras.ops.transpose(self.kernel, [0, 2, 1, 3]),
            [height, 1, channels, columns * filters],
        )
        z = keras.ops.conv(x, kernel, padding="valid", data_format="channels_last")
        # Split, since the gradient of z[:, :, a:b] is a slow one on CPUs.
        y = tf.add_n(
            [
                tf.split(column, [d, -1, columns - 1 - d], axis=2)[1]
                for d, column in enumerate(tf.split(z, columns, axis=3))
            ]
        )
        return self.activation(y + self.bias if self.use_bias else y)
