"""Augmentation that a discriminator's gradient passes through.

`ada_augment` is that of Karras et al. 2020 (Training Generative Adversarial Networks
with Limited Data, appendix B). Each step is a matrix, taken with probability p, else
the identity; an image goes through two products of them:

    3x3 on pixel positions   blit   mirror, right angles, shift by whole pixels
                             geom   scale, turn, stretch, turn, shift
    4x4 on colours and 1     color  brightness, contrast, luma flip, hue, saturation;
                                    of grey images brightness and contrast

`diff_augment` is that of Zhao et al. 2020 (Differentiable Augmentation for
Data-Efficient GAN Training): colour, shift and cutout of every image.

Both are functions of images in [-1, 1] and of draws, which are arguments, one row an
image: a row is augmented alike on any number of replicas.

Departures from Karras et al.: images are resampled by `warp.warp`, bilinear with a
three-tap filter where they shrink, rather than through a wavelet at twice the size.
"""

import math

import numpy as np
import tensorflow as tf

from tfgen.layers import warp

_STEPS = (
    "mirror",
    "quarters",
    "shift",
    "scale",
    "turn",
    "stretch",
    "turn_again",
    "drift",
    "brightness",
    "contrast",
    "luma_flip",
    "hue",
    "saturation",
)
_BLIT, _GEOMETRY, _COLOUR = _STEPS[:3], _STEPS[3:8], _STEPS[8:]
PIPELINES = {
    "blit": _BLIT,
    "geom": _GEOMETRY,
    "color": _COLOUR,
    "bg": _BLIT + _GEOMETRY,
    "bgc": _STEPS,
}
_UNIFORM = (
    "mirror",
    "quarters",
    "shift_x",
    "shift_y",
    "turn",
    "turn_again",
    "luma_flip",
    "hue",
)
_NORMAL = (
    "scale",
    "stretch",
    "drift_x",
    "drift_y",
    "brightness",
    "contrast",
    "saturation",
)
# Draws of one image, of `ada_augment` and of `diff_augment`.
UNIFORMS, NORMALS = len(_STEPS) + len(_UNIFORM), len(_NORMAL)
DIFF_UNIFORMS = 7
# v v^T and the cross product with v, for v = (1, 1, 1) / sqrt(3).
_ALONG = np.full([3, 3], 1 / 3)
_ACROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)


def ada_augment(images, uniforms, normals, p, pipeline="bgc"):
    """Return augmented images; at p = 0 the images themselves, bit for bit.

    Args:
        images: `[rows, h, w, c]` in [-1, 1], c = 1 or 3; square, for right angles.
        uniforms: `[rows, UNIFORMS]` on [0, 1).
        normals: `[rows, NORMALS]`.
        p: Probability of each step, `[rows]`.
        pipeline: Which steps there are, a key of `PIPELINES`.
    """
    gates, uniforms = tf.split(uniforms, [len(_STEPS), len(_UNIFORM)], axis=1)
    u = dict(zip(_UNIFORM, tf.unstack(uniforms, axis=1), strict=True))
    n = dict(zip(_NORMAL, tf.unstack(normals, axis=1), strict=True))
    # Two turns, together as likely as one step: neither comes with 1 - p.
    once = 1.0 - tf.sqrt(1.0 - tf.minimum(p, 1.0))
    chance = {step: once if step.startswith("turn") else p for step in _STEPS}
    chance = [chance[s] if s in PIPELINES[pipeline] else 0.0 * p for s in _STEPS]
    on = tf.unstack(gates < tf.stack(chance, axis=1), axis=1)
    on = dict(zip(_STEPS, on, strict=True))
    *_, size, channels = images.shape
    images = warp.warp(images, _gated_product(on, geometry(u, n, size)))
    # Matrices act from the left: what is done last stands first.
    colours = dict(reversed(colour(u, n, channels).items()))
    return recolour(images, _gated_product(on, colours))


def geometry(u, n, size):
    """Return {step: maps of output to source positions `[rows, 3, 3]`}, in order.

    Args:
        u: {name: `[rows]` on [0, 1)}.
        n: {name: `[rows]`, normal}.
        size: Side of the images in pixels.
    """
    wide, stretch = tf.pow(2.0, 0.2 * n["scale"]), tf.pow(2.0, 0.2 * n["stretch"])
    side = 1.0 - 2.0 * tf.floor(2.0 * u["mirror"])
    return {
        "mirror": warp.scaling(side, tf.ones_like(side)),
        "quarters": warp.quarters(tf.floor(4.0 * u["quarters"])),
        "shift": warp.translation(
            tf.round(0.125 * size * (2.0 * u["shift_x"] - 1.0)),
            tf.round(0.125 * size * (2.0 * u["shift_y"] - 1.0)),
        ),
        "scale": warp.scaling(wide, wide),
        "turn": warp.rotation(math.pi * (2.0 * u["turn"] - 1.0)),
        "stretch": warp.scaling(stretch, 1.0 / stretch),
        "turn_again": warp.rotation(math.pi * (2.0 * u["turn_again"] - 1.0)),
        "drift": warp.translation(
            0.125 * size * n["drift_x"], 0.125 * size * n["drift_y"]
        ),
    }


def colour(u, n, channels):
    """Return {step: maps of (channels, 1), `[rows, channels + 1, channels + 1]`}.

    About the grey axis v = (1, 1, 1) / sqrt(3): I - 2 v v^T flips luma, a turn changes
    hue, v v^T + s (I - v v^T) saturation. Arguments as of `geometry`.
    """
    one = tf.ones_like(n["contrast"])
    linear, zero = _linear(channels), 0.0 * one
    bright = tf.pad(
        tf.tile(0.2 * n["brightness"][:, None, None], [1, channels, 1]),
        [[0, 0], [0, 1], [channels, 0]],
    )
    steps = {
        "brightness": linear(one, zero, zero) + bright,
        "contrast": linear(tf.pow(2.0, 0.5 * n["contrast"]), zero, zero),
    }
    if channels == 1:
        return steps
    angle = math.pi * (2.0 * u["hue"] - 1.0)
    saturation = tf.pow(2.0, n["saturation"])
    return {
        **steps,
        "luma_flip": linear(one, -2.0 * tf.floor(2.0 * u["luma_flip"]), zero),
        "hue": linear(tf.cos(angle), 1.0 - tf.cos(angle), tf.sin(angle)),
        "saturation": linear(saturation, 1.0 - saturation, zero),
    }


def _linear(channels):
    """Return a function of factors `[rows]`: a I + b v v^T + c (v x), and 1 below."""
    own = np.eye(channels), _ALONG, _ACROSS
    own = [np.pad(x, [[0, 1], [0, 1]]) for x in own[: 3 if channels == 3 else 1]]
    corner = np.zeros([channels + 1, channels + 1])
    corner[-1, -1] = 1.0

    def linear(*factors):
        total = tf.constant(corner, tf.float32)
        for factor, matrix in zip(factors, own, strict=False):
            total += factor[:, None, None] * tf.constant(matrix, tf.float32)
        return total

    return linear


def _gated_product(on, steps):
    """Return the product of the matrices of `steps`, the identity where not `on`."""
    gated = [
        tf.where(on[step][:, None, None], matrix, tf.eye(matrix.shape[-1]))
        for step, matrix in steps.items()
    ]
    return warp.compose(*gated)


def recolour(images, maps):
    """Return images `[rows, h, w, c]` whose pixels (channels, 1) went through maps."""
    channels = images.shape[-1]
    maps = maps[:, None, None]
    total = maps[..., :channels, channels]
    for number, plane in enumerate(tf.split(images, channels, axis=-1)):
        total += plane * maps[..., :channels, number]
    return total


def diff_augment(images, uniforms):
    """Return images with other colours, shifted, and with a square cut out.

        colour   x + u - 1/2; then 2 u (x - grey of the pixel) + grey; then
                 (u + 1/2) (x - mean of the image) + mean
        shift    by up to an eighth of a side; what comes in is 0
        cutout   0 in a rectangle of half the sides, which may reach over the edge

    Args:
        images: `[rows, h, w, c]` in [-1, 1].
        uniforms: `[rows, DIFF_UNIFORMS]` on [0, 1).
    """
    _, height, width, _ = images.shape
    u = tf.unstack(uniforms, axis=1)
    bright, vivid, contrast = (x[:, None, None, None] for x in u[:3])
    images += bright - 0.5
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    images = 2.0 * vivid * (images - grey) + grey
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    images = (contrast + 0.5) * (images - mean) + mean

    def steps(u, size):
        most = round(size / 8)
        return tf.floor(u * (2 * most + 1)) - most

    maps = warp.translation(steps(u[3], width), steps(u[4], height))
    images = warp.warp(images, maps) * warp.inside(maps, height, width)
    square = _half(u[5], width)[:, None, :] * _half(u[6], height)[:, :, None]
    return images * (1.0 - square[..., None])


def _half(u, size):
    """Return 1 on half of a side, 0 on the rest, `[rows, size]`."""
    length = round(size / 2)
    first = tf.floor(u * (size + 1 - length % 2))[:, None] - length // 2
    places = tf.range(size, dtype=tf.float32)
    return tf.cast((places >= first) & (places < first + length), tf.float32)
