"""Images resampled under an affine map of the plane, a map for each image.

    out(q) = sum over the four pixels around A q of  tent * image,   A [3, 3]

A maps output positions to source positions, homogeneous, in pixels from the image's
centre, x to the right and y downwards. Beyond its edges the image is mirrored at its
outermost pixels.

The result is linear in the image, so that its gradient is the transpose of the same
sums and gradients of any order exist; no gradient is taken by A. Positions are sums of
products, never matrix products, which accelerators round to few bits. A map that takes
pixels to pixels moves them unchanged, bit for bit.
"""

import numpy as np
import tensorflow as tf


def translation(x, y):
    """Return maps `[rows, 3, 3]` that move images by (x, y) pixels, each `[rows]`."""
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _stack([[one, zero, -x], [zero, one, -y], [zero, zero, one]])


def scaling(x, y):
    """Return maps that stretch images about the centre by factors x and y, `[rows]`."""
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _stack([[1.0 / x, zero, zero], [zero, 1.0 / y, zero], [zero, zero, one]])


def rotation(angle):
    """Return maps that turn images counter-clockwise by `angle` `[rows]`, radians."""
    return _turn(tf.cos(angle), tf.sin(angle))


def quarters(turns):
    """Return maps that turn images by 0 to 3 right angles, float `[rows]`, exactly."""
    cosine = tf.abs(turns - 2.0) - 1.0  # 1, 0, -1, 0
    sine = 1.0 - tf.abs(turns - 1.0)  # 0, 1, 0, -1
    return _turn(cosine, sine)


def _turn(cosine, sine):
    one, zero = tf.ones_like(cosine), tf.zeros_like(cosine)
    return _stack([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])


def _stack(entries):
    return tf.stack([tf.stack(row, axis=-1) for row in entries], axis=-2)


def compose(*maps):
    """Return the product of matrices `[rows, n, n]`, in float32 on every device.

    As maps of output to source positions: the first is done to the image first.
    """
    product, *rest = maps
    for factor in rest:
        product = tf.reduce_sum(product[..., :, :, None] * factor[..., None, :, :], -2)
    return product


def warp(images, maps):
    """Return images under `maps`, mirrored beyond their edges.

    Where a map shrinks, a source axis is smoothed first, by taps a, 1 - 2a, a with

        a = min((s^2 - 1) / 12, 1/4),   s^2 = squared length of that axis' row of A,

    which adds the variance of what a pixel of the output covers beyond one pixel of
    the source; s = 1, as under all rotations, leaves the image alone and s = 2 is the
    binomial filter. It damps aliasing and does not exclude it.

    Args:
        images: `[rows, h, w, c]`, sizes static.
        maps: A, `[rows, 3, 3]`.
    """
    rows, height, width, channels = images.shape
    for row, axis, size in ((0, 2, width), (1, 1, height)):
        squared = tf.square(maps[:, row, 0]) + tf.square(maps[:, row, 1])
        share = tf.clip_by_value((squared - 1.0) / 12.0, 0.0, 0.25)
        if size > 1:
            images = _smooth(images, share[:, None, None, None], axis)
    x, y = _positions(maps, height, width)
    left, top = tf.floor(x), tf.floor(y)
    first = tf.range(rows)[:, None, None] * (height * width)
    places, weights = [], []
    for down in (0, 1):
        place_y = _reflect(tf.cast(top, tf.int32) + down, height)
        weight_y = 1.0 - tf.abs(y - top - down)
        for across in (0, 1):
            place_x = _reflect(tf.cast(left, tf.int32) + across, width)
            places.append(first + place_y * width + place_x)
            weights.append(weight_y * (1.0 - tf.abs(x - left - across)))
    pixels = tf.reshape(images, [rows * height * width, channels])
    taps = tf.gather(pixels, tf.stack(places))
    return tf.reduce_sum(tf.stack(weights)[..., None] * taps, axis=0)


def inside(maps, height, width):
    """Return 1 where `maps` look inside the image and 0 elsewhere, `[rows, h, w, 1]`.

    Inside is what is nearer to a pixel than half a pixel, on each axis.
    """
    x, y = _positions(maps, height, width)
    seen = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return tf.cast(seen, tf.float32)[..., None]


def _positions(maps, height, width):
    """Return the source position of each pixel, from the first pixel: x, y."""
    across = tf.constant(np.arange(width) - (width - 1) / 2, tf.float32)
    down = tf.constant(np.arange(height) - (height - 1) / 2, tf.float32)[:, None]
    maps = maps[:, :, :, None, None]

    def position(row, size):
        along = maps[:, row, 0] * across + maps[:, row, 1] * down
        return along + maps[:, row, 2] + (size - 1) / 2

    return position(0, width), position(1, height)


def _reflect(index, size):
    """Return pixel numbers of the image mirrored at its first and last pixel."""
    period = max(2 * (size - 1), 1)
    index = tf.math.floormod(index, period)
    return tf.minimum(index, period - index)


def _smooth(images, share, axis):
    """Return images filtered by (a, 1 - 2a, a) along an axis; a is `share`."""
    around = [[1, 1] if number == axis else [0, 0] for number in range(4)]
    padded = tf.pad(images, around, "REFLECT")
    if axis == 1:
        before, after = padded[:, :-2], padded[:, 2:]
    else:
        before, after = padded[:, :, :-2], padded[:, :, 2:]
    return images + share * (before + after - 2.0 * images)
