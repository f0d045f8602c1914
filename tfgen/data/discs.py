"""Moving discs: a bright disc bounces before a picture that stands still.

The background is a linear gradient between two colours, the disc of radius 4 keeps to
one colour and one speed. What moves and what stands is thus known of every pixel.
"""

import colorsys

import numpy as np

from tfgen.core.spec import Feature
from tfgen.data import drawing
from tfgen.data.rows import Rows

SIDE, FRAMES, RADIUS = 32, 16, 4.0
SPEED = (1.0, 3.0)  # pixels a frame
CLIPS = (4000, 512)
SEED = 20161205
CHUNK = 64  # clips drawn at a time


def clips(split: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns clips of a split and where their discs are.

    Args:
        split: 0 to train, 1 to test.
        count: clips.

    Returns:
        uint8 `[count, 16, 32, 32, 3]`, and the discs' centres (x, y) in pixels,
        `[count, 16, 2]`.
    """
    random = np.random.default_rng([SEED, split])
    ends = random.uniform(32, 208, [2, count, 1, 1, 3])
    angle = random.uniform(0, 2 * np.pi, [count, 1, 1])
    across = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    ramp = across * np.cos(angle) + across[:, None] * np.sin(angle)
    span = np.abs(np.cos(angle)) + np.abs(np.sin(angle))
    share = (0.5 + ramp / span)[..., None]
    still = np.rint(ends[0] + share * (ends[1] - ends[0])).astype("uint8")
    hue = random.uniform(size=count)
    colour = np.rint([np.multiply(255, colorsys.hsv_to_rgb(h, 1, 1)) for h in hue])

    heading = random.uniform(0, 2 * np.pi, count)
    speed = random.uniform(*SPEED, count)
    velocity = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    room = SIDE - 2 * RADIUS
    start = random.uniform(0, room, [count, 2])
    path = start[:, None] + np.arange(FRAMES)[:, None] * velocity[:, None]
    folded = np.abs((path + room) % (2 * room) - room)  # mirrored at both walls
    centre = folded + RADIUS

    video = np.repeat(still[:, None], FRAMES, axis=1)
    for first in range(0, count, CHUNK):
        part = slice(first, first + CHUNK)
        canvas = video[part].reshape(-1, SIDE, SIDE, 3)
        circle = np.full(len(canvas), drawing.SHAPES.index("circle"))
        size = np.full(len(canvas), 2 * RADIUS)
        colours = np.repeat(colour[part], FRAMES, axis=0)
        drawing.draw(canvas, circle, size, colours, centre[part].reshape(-1, 2))
    return video, centre


def moving_discs() -> Rows:
    """The clips of both splits."""
    feature = Feature((FRAMES, SIDE, SIDE, 3), "uint8", 0.0, 255.0)
    splits = [{"video": clips(n, count)[0]} for n, count in enumerate(CLIPS)]
    return Rows({"video": feature}, *splits)
