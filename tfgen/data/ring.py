"""A ring of eight Gaussians: points of the plane on which modes can be counted.

Centres lie on a circle of radius 2 / 1.414, each with standard deviation
0.02 / 1.414: the toy of Gulrajani et al. 2017.
"""

import numpy as np

from tfgen.core.spec import Feature
from tfgen.data.rows import Rows

RADIUS, SPREAD, MODES = 2 / 1.414, 0.02 / 1.414, 8
_ANGLES = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = np.float32(RADIUS * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1))
POINTS = 20_000  # to train on, as many again to test


def gaussian_ring() -> Rows:
    """Points as images of one pixel with two channels, x and y; labels are modes."""
    features = {
        "image": Feature((1, 1, 2), "float32", -2.0, 2.0),
        "label": Feature((), "int64", classes=tuple("01234567")),
    }
    random = np.random.default_rng(0)

    def split():
        mode = random.integers(MODES, size=POINTS)
        points = CENTRES[mode] + SPREAD * random.normal(size=[POINTS, 2])
        image = points.reshape(POINTS, 1, 1, 2).astype("float32")
        return {"image": image, "label": mode}

    return Rows(features, split(), split())
