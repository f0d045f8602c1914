"""Squares, circles and triangles at fractions of a pixel.

A point (x, y) lies in pixel (floor(x), floor(y)); rows grow downwards. A shape is
sampled at 4 x 4 points a pixel, at the centres of quarters, so a pixel's coverage is a
whole number of sixteenths. Its place is its centre of gravity.
"""

import numpy as np

SAMPLES = 4  # a pixel and axis
SHAPES = ("square", "circle", "triangle")
# How far a shape of size 1 reaches above and below its centre of gravity. The triangle
# stands on its base: two thirds of its height lie above.
ABOVE = np.array([1 / 2, 1 / 2, 2 / 3])
BELOW = 1 - ABOVE
BESIDE = 1 / 2


def draw(canvas: np.ndarray, shape, size, colour, centre):
    """Draws one shape into each image, in place.

    Args:
        canvas: uint8 `[n, h, w, 3]`, contiguous.
        shape: number in `SHAPES` of each, `[n]`.
        size: side, diameter, or base and height, in pixels, `[n]`.
        colour: `[n, 3]`, 0 to 255.
        centre: (x, y) of the centre of gravity, `[n, 2]`; the whole shape must lie
            within the image.
    """
    height, width = canvas.shape[1:3]
    side = int(np.ceil(size.max())) + 1  # of the patch that holds the shape
    reach = np.stack([BESIDE * size, ABOVE[shape] * size], axis=1)
    corner = np.floor(centre - reach).astype(int)
    corner = np.clip(corner, 0, [width - side, height - side])
    covered = _coverage(shape, size, centre - corner, side)[..., None]

    row = np.arange(len(canvas))[:, None, None]
    y = (corner[:, 1, None] + np.arange(side))[:, :, None]
    x = (corner[:, 0, None] + np.arange(side))[:, None, :]
    patch = canvas[row, y, x].astype("uint16")
    whole = SAMPLES**2
    mixed = patch * (whole - covered)
    mixed += colour[:, None, None, :].astype("uint16") * covered
    canvas[row, y, x] = (mixed + whole // 2) // whole


def _coverage(shape, size, centre, side):
    """Returns how many of a pixel's points a shape covers, `[n, side, side]`."""
    points = (np.arange(SAMPLES * side) + 0.5) / SAMPLES
    half = _half_width(shape[:, None], size[:, None], points - centre[:, 1, None])
    middle = centre[:, 0, None]
    # Points first to last - 1 of a line of points lie within.
    first = np.ceil(SAMPLES * (middle - half) - 0.5).astype("int16")[..., None]
    last = np.floor(SAMPLES * (middle + half) + 0.5).astype("int16")[..., None]
    pixel = (SAMPLES * np.arange(side)).astype("int16")
    within = np.clip(last - pixel, 0, SAMPLES) - np.clip(first - pixel, 0, SAMPLES)
    lines = np.maximum(within, 0).reshape(len(shape), side, SAMPLES, side)
    return lines.sum(axis=2, dtype="uint16")


def _half_width(shape, size, below):
    """Returns half the width of shapes `below` their centres, -1 where there is none.

    Args:
        shape: number in `SHAPES`.
        size: in pixels.
        below: pixels below the centre, negative above.
    """
    radius = size / 2
    square = np.where(np.abs(below) <= radius, radius, -1.0)
    chord = radius**2 - below**2
    circle = np.where(chord >= 0, np.sqrt(np.maximum(chord, 0.0)), -1.0)
    from_apex = below + ABOVE[2] * size
    inside = (from_apex >= 0) & (from_apex <= size)
    triangle = np.where(inside, from_apex / 2, -1.0)
    return np.choose(shape, [square, circle, triangle])
