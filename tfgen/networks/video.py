"""Networks of clips `[frames, side, side, c]`: Vondrick et al. 2016.

A clip of side 4 * 2^n is halved n times, in time too, so frames are a multiple of 2^n:
32 x 64 x 64 -> 16 x 32 x 32 -> 8 x 16 x 16 -> 4 x 8 x 8 -> 2 x 4 x 4. Channels double
with each halving. All convolutions have biases.
"""

import keras

from tfgen.core.errors import BadInput
from tfgen.layers import volumes
from tfgen.layers.batch_norm import BatchNormalization

# Kernels N(0, 0.01), factors of batch normalisation N(1, 0.02).
START = keras.initializers.RandomNormal(0.0, 0.01)
SCALE = keras.initializers.RandomNormal(1.0, 0.02)
# Of batch normalisation, in generators and in networks that look at clips.
GENERATING, LOOKING = 1e-5, 1e-3


def halvings(clip_shape):
    """Return (n, frames that are left); BadInput for clips that do not fit."""
    frames, height, width = clip_shape[:3]
    halved = 0
    while 4 * 2**halved < height:
        halved += 1
    if height != width or 4 * 2**halved != height or halved < 1:
        raise BadInput(
            f"clips of {height}x{width} pixels do not fit: the side must be 8, 16, 32, "
            "64, ... (set --hparam image_size=32, say)"
        )
    if frames % 2**halved:
        near = frames // 2**halved * 2**halved or 2**halved
        raise BadInput(
            f"clips of {frames} frames do not fit {height} pixels: the number of "
            f"frames must be a multiple of {2**halved} (set --hparam frames={near})"
        )
    return halved, frames // 2**halved


def generator(latent_size, clip_shape, channels, *, streams=2, mask_logit=0.0):
    """Return z `[rows, latent_size]` -> clips in [-1, 1], and their parts.

    Args:
        latent_size: Length of z.
        clip_shape: (frames, side, side, c).
        channels: Feature maps at half resolution, 64 as published.
        streams: 2: outputs are a list of the clips, the foreground, the mask in (0, 1)
            `[rows, frames, side, side, 1]` and the background `[rows, side, side, c]`,

                clip = mask * foreground + (1 - mask) * background

            1: the clips alone, of the foreground's network.
        mask_logit: What the mask's logits start near: its bias.
    """
    halved, frames = halvings(clip_shape)
    width = channels * 2 ** (halved - 1)
    z = keras.Input([latent_size], name="z")
    x = keras.layers.Reshape([1, 1, 1, latent_size])(z)
    x = _transposed(3, width, [frames, 4, 4], 1, "valid")(x)
    x = rising(_normalised(x, GENERATING), channels)
    if streams == 1:
        clips = _head(3, clip_shape[-1], "tanh", name="head")(x)
        return keras.Model(z, clips, name="generator")
    foreground, mask = _moving(x, clip_shape[-1], mask_logit)
    x = keras.layers.Reshape([1, 1, latent_size])(z)
    x = _transposed(2, width, 4, 1, "valid")(x)
    x = rising(_normalised(x, GENERATING), channels)
    background = _head(2, clip_shape[-1], "tanh")(x)
    outputs = composed(foreground, mask, background)
    return keras.Model(z, outputs, name="generator")


def future_generator(clip_shape, channels):
    """Return first frames `[rows, side, side, c]` -> the outputs of two streams.

    The frame is encoded into a map of 4 x 4, from which both streams rise; there is no
    noise. Outputs as those of `generator`.
    """
    halved, frames = halvings(clip_shape)
    first = x = keras.Input(clip_shape[1:], name="images")
    for depth in range(halved):
        x = _convolution(2, channels * 2**depth, 4)(x)
        x = keras.layers.ReLU()(x) if depth == 0 else _normalised(x, LOOKING)
    width = x.shape[-1]
    code = keras.layers.Reshape([1, *x.shape[1:]])(x)
    moving = _transposed(3, width, [frames, 1, 1], 1, "valid")(code)
    moving = rising(_normalised(moving, GENERATING), channels)
    foreground, mask = _moving(moving, clip_shape[-1])
    background = _head(2, clip_shape[-1], "tanh")(rising(x, channels))
    outputs = composed(foreground, mask, background)
    return keras.Model(first, outputs, name="generator")


def discriminator(clip_shape, channels, outputs=2):
    """Return clips `[rows, frames, side, side, c]` -> logits `[rows, outputs]`.

    Batch normalisation follows every convolution but the first and the last.
    """
    halved, frames = halvings(clip_shape)
    clips = x = keras.Input(clip_shape, name="videos")
    for depth in range(halved):
        x = _convolution(3, channels * 2**depth, 4)(x)
        if depth:
            x = _batch_norm(LOOKING)(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    last = volumes.Conv3D(
        outputs, [frames, 4, 4], kernel_initializer=START.clone(), dtype="float32"
    )
    logits = keras.layers.Reshape([outputs], dtype="float32")(last(x))
    return keras.Model(clips, logits, name="discriminator")


def rising(x, channels):
    """Double maps or volumes until they have `channels`, normalised, with ReLU."""
    axes = len(x.shape) - 2
    while x.shape[-1] > channels:
        x = _transposed(axes, x.shape[-1] // 2, 4, 2, "same")(x)
        x = _normalised(x, GENERATING)
    return x


def composed(foreground, mask, background):
    """Return [clips, foreground, mask, background]; one background for all frames."""
    still = keras.ops.expand_dims(background, 1)
    clips = mask * foreground + (1.0 - mask) * still
    return [clips, foreground, mask, background]


def _moving(x, channels, mask_logit=0.0):
    """Return foreground and mask: two convolutions, computed as one."""
    bias = keras.initializers.Constant([*[0.0] * channels, mask_logit])
    x = _head(3, channels + 1, None, name="heads", bias_initializer=bias)(x)
    foreground, mask = keras.ops.split(x, [channels], axis=-1)
    return keras.ops.tanh(foreground), keras.ops.sigmoid(mask)


def _head(axes, channels, activation, **how):
    layer = volumes.Conv3DTranspose if axes == 3 else keras.layers.Conv2DTranspose
    return layer(
        channels,
        4,
        2,
        "same",
        activation=activation,
        kernel_initializer=START.clone(),
        dtype="float32",
        **how,
    )


def _transposed(axes, channels, kernel, strides, padding):
    layer = volumes.Conv3DTranspose if axes == 3 else keras.layers.Conv2DTranspose
    return layer(channels, kernel, strides, padding, kernel_initializer=START.clone())


def _convolution(axes, channels, kernel):
    layer = volumes.Conv3D if axes == 3 else keras.layers.Conv2D
    return layer(channels, kernel, 2, "same", kernel_initializer=START.clone())


def _normalised(x, epsilon):
    return keras.layers.ReLU()(_batch_norm(epsilon)(x))


def _batch_norm(epsilon):
    return BatchNormalization(
        momentum=0.9, epsilon=epsilon, gamma_initializer=SCALE.clone()
    )
