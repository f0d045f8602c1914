"""Three-dimensional convolutions made of two-dimensional ones.

TensorFlow's gradients of a 3-D convolution are not vectorised on CPUs: 16 clips of
8 x 16 x 16 x 16 through 32 kernels of 4 x 4 x 4 and stride 2 take 11 ms forwards and
1,050 ms for either gradient, on one core. A kernel of d frames is d kernels of one
frame, whose inputs can lie side by side as channels:

    y_t = sum_d K_d * x_(s t + d - p) = [K_0 ... K_(d-1)] * [x_(s t - p) ...]

which is one 2-D convolution, with the same products, of all frames as a batch; 28 ms
for all three, with XLA. Weights, padding and results are those of Keras' layers.
"""

import keras
import tensorflow as tf


class Conv3D(keras.layers.Conv3D):
    """`keras.layers.Conv3D`, channels last, without dilation or groups."""

    def convolution_op(self, inputs, kernel):
        """Convolve `[rows, t, h, w, c]` with `[kt, kh, kw, c, filters]`."""
        return conv3d(inputs, kernel, self.strides, self.padding)


class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose`, likewise."""

    def call(self, inputs):
        """Return `[rows, t', h', w', filters]`."""
        outputs = conv3d_transpose(inputs, self.kernel, self.strides, self.padding)
        if self.use_bias:
            outputs += keras.ops.cast(self.bias, outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)


def conv3d(x, kernel, strides, padding):
    """Return what `tf.nn.conv3d` does, for channels last.

    Args:
        x: `[rows, t, h, w, c]`; t static.
        kernel: `[kt, kh, kw, c, filters]`.
        strides: Of each axis, three numbers.
        padding: "same" or "valid".
    """
    depth, (stride, *plane) = kernel.shape[0], strides
    length = x.shape[1]
    if padding == "same":
        frames = -(-length // stride)
        missing = max((frames - 1) * stride + depth - length, 0)
        before = missing // 2
        x = _pad(x, before, missing - before)
    else:
        frames = (length - depth) // stride + 1
    last = stride * (frames - 1) + 1
    taps = [x[:, tap : tap + last : stride] for tap in range(depth)]
    flat = _flat(tf.concat(taps, axis=-1))
    return _unflat(
        keras.ops.conv(flat, _side_by_side(kernel, range(depth)), plane, padding),
        frames,
    )


def conv3d_transpose(x, kernel, strides, padding):
    """Return what `keras.ops.conv_transpose` does for volumes, channels last.

    With stride s, output frames t = r (mod s) see the same taps of the kernel: they
    are one 2-D transposed convolution.

    Args:
        x: `[rows, t, h, w, c]`; t static.
        kernel: `[kt, kh, kw, filters, c]`.
        strides: Of each axis, three numbers.
        padding: "same" or "valid".

    Raises:
        ValueError: The number of output frames is no multiple of the stride.
    """
    depth, (stride, *plane) = kernel.shape[0], strides
    frames = x.shape[1]
    before = max(depth - stride, 0) // 2 if padding == "same" else 0
    length = frames * stride
    if padding == "valid":
        length += max(depth - stride, 0)
    if length % stride:
        raise ValueError(f"{length} frames are no multiple of the stride {stride}")
    around = -(-depth // stride)
    x = _pad(x, around, around)
    phases = []
    for phase in range(stride):
        taps = [tap for tap in range(depth) if (phase + before - tap) % stride == 0]
        # Frame stride j + phase is made of frames j + (phase + before - tap) / stride.
        firsts = [around + (phase + before - tap) // stride for tap in taps]
        seen = [x[:, first : first + length // stride] for first in firsts]
        flat = _flat(tf.concat(seen, axis=-1))
        # Channels are the last axis of this kernel.
        planes = tf.concat([kernel[tap] for tap in taps], axis=-1)
        made = keras.ops.conv_transpose(flat, planes, plane, padding)
        phases.append(_unflat(made, length // stride))
    if stride == 1:
        return phases[0]
    y = tf.stack(phases, axis=2)  # [rows, j, phase, h, w, c]
    return tf.reshape(y, [-1, length, *y.shape[3:]])


def _side_by_side(kernel, taps):
    """Return `[kh, kw, taps * c, filters]`."""
    return tf.concat([kernel[tap] for tap in taps], axis=-2)


def _pad(x, before, after):
    return tf.pad(x, [[0, 0], [before, after], [0, 0], [0, 0], [0, 0]])


def _flat(x):
    """Return `[rows * t, h, w, c]`."""
    return tf.reshape(x, [-1, *x.shape[2:]])


def _unflat(x, frames):
    return tf.reshape(x, [-1, frames, *x.shape[1:]])
