"""Three-dimensional convolutions, made of two-dimensional ones where that is faster.

TensorFlow's own gradients of a 3-D convolution are scalar code on CPUs, and XLA's too:
16 clips of 8 x 16 x 16 x 16 through 32 kernels of 4 x 4 x 4 and stride 2 take 11 ms
forwards and 1,050 ms for either gradient, on one core. oneDNN's are not, nor those of
accelerators. Elsewhere a kernel of d frames is d kernels of one frame, whose inputs can
lie side by side as channels:

    y_t = sum_d K_d * x_(s t + d - p) = [K_0 ... K_(d-1)] * [x_(s t - p) ...]

which is one 2-D convolution, with the same products, of all frames as a batch; 11 ms
for all three, with AVX-512. Weights, padding and results are those of Keras' layers.
"""

import os
import platform

import keras
import tensorflow as tf

from tfgen.core import graphs


class Conv3D(keras.layers.Conv3D):
    """`keras.layers.Conv3D`, channels last, without dilation or groups."""

    def convolution_op(self, inputs, kernel):
        """Convolve `[rows, t, h, w, c]` with `[kt, kh, kw, c, filters]`."""
        if has_kernels():
            return super().convolution_op(inputs, kernel)
        return conv3d(inputs, kernel, self.strides, self.padding)


class Conv3DTranspose(keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose`, likewise."""

    def call(self, inputs):
        """Return `[rows, t', h', w', filters]`."""
        if has_kernels():
            return super().call(inputs)
        outputs = conv3d_transpose(inputs, self.kernel, self.strides, self.padding)
        if self.use_bias:
            outputs += keras.ops.cast(self.bias, outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)


def has_kernels():
    """Whether what is being traced gets fast 3-D kernels: a GPU's, a TPU's or oneDNN's.

    oneDNN is on if the environment has TF_ENABLE_ONEDNN_OPTS=1, on x86-64. What is
    exported may be run where there is none of them.
    """
    if graphs.is_portable():
        return False
    if any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")):
        return True
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return onednn and x86 and not graphs.is_compiling()


def conv3d(x, kernel, strides, padding):
    """Return what `tf.nn.conv3d` does, for channels last.

    Args:
        x: `[rows, t, h, w, c]`; t static.
        kernel: `[kt, kh, kw, c, filters]`.
        strides: Of each axis, three numbers.
        padding: "same" or "valid".
    """
    depth, (stride, *plane) = kernel.shape[0], strides
    length, before = x.shape[1], 0
    if padding == "same":
        count = -(-length // stride)
        before = max((count - 1) * stride + depth - length, 0) // 2
    else:
        count = (length - depth) // stride + 1
    firsts = [stride * t - before for t in range(count)]
    seen = [range(first, first + depth) for first in firsts]
    kernels = tf.concat(tf.unstack(kernel), axis=-2)
    flat = _side_by_side(tf.unstack(x, axis=1), seen)
    return _unflat(keras.ops.conv(flat, kernels, plane, padding), count)


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
    before = max(depth - stride, 0) // 2 if padding == "same" else 0
    length = x.shape[1] * stride
    if padding == "valid":
        length += max(depth - stride, 0)
    if length % stride:
        raise ValueError(f"{length} frames are no multiple of the stride {stride}")
    frames, planes, phases = tf.unstack(x, axis=1), tf.unstack(kernel), []
    for phase in range(stride):
        taps = [tap for tap in range(depth) if (phase + before - tap) % stride == 0]
        # Frame stride j + phase is made of frames j + (phase + before - tap) / stride.
        steps = [(phase + before - tap) // stride for tap in taps]
        seen = [[j + step for step in steps] for j in range(length // stride)]
        # Channels are the last axis of this kernel.
        kernels = tf.concat([planes[tap] for tap in taps], axis=-1)
        flat = _side_by_side(frames, seen)
        made = keras.ops.conv_transpose(flat, kernels, plane, padding)
        phases.append(_unflat(made, length // stride))
    if stride == 1:
        return phases[0]
    y = tf.stack(phases, axis=2)  # [rows, j, phase, h, w, c]
    return tf.reshape(y, [-1, length, *y.shape[3:]])


def _side_by_side(frames, seen):
    """Return `[rows * t, h, w, taps * c]`: frames `seen[t]` as channels of frame t.

    Frames are taken apart and put together: the gradient of `x[:, a:b]` costs as much
    as a convolution on CPUs, and that of `tf.slice` has none itself under XLA.

    Args:
        frames: Of `[rows, h, w, c]`; those before the first and after the last are 0.
        seen: Their numbers.
    """
    zero = tf.zeros_like(frames[0])
    inside = range(len(frames))
    whole = [
        tf.concat([frames[t] if t in inside else zero for t in taps], axis=-1)
        for taps in seen
    ]
    x = tf.stack(whole, axis=1)
    return tf.reshape(x, [-1, *x.shape[2:]])


def _unflat(x, frames):
    return tf.reshape(x, [-1, frames, *x.shape[1:]])
