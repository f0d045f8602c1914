"""Sample grids from fixed latents."""

import math
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from tfgen.callbacks.steps import AtSteps
from tfgen.core.spec import to_uint8


def grid(images, columns=None, gap=2):
    """Tile images into one picture.

    Points of the plane, `[n, 1, 1, 2]`, are drawn into one square.

    Args:
        images: uint8 `[n, h, w, c]`, c = 1 or 3.
        columns: Images in a row; none: as square as can be.
        gap: Pixels between images.

    Returns:
        uint8 `[height, width, c]`.
    """
    images = np.asarray(images)
    if images.shape[1:] == (1, 1, 2):
        return _scatter(images[:, 0, 0])
    number, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(number))
    rows = -(-number // columns)
    shape = (rows, height + gap, columns, width + gap, channels)
    tiles = np.full(shape, 128, np.uint8)
    for place, image in enumerate(images):
        tiles[place // columns, :height, place % columns, :width] = image
    picture = tiles.reshape(rows * (height + gap), columns * (width + gap), channels)
    return picture[: picture.shape[0] - gap, : picture.shape[1] - gap]


def _scatter(points):
    """Draw points `[n, 2]` in [0, 255], y upwards, as dots of 3 pixels."""
    picture = np.full([258, 258, 1], 255, np.uint8)
    for x, y in points.astype(int):
        picture[255 - y : 258 - y, x : x + 3] = 0
    return picture


def write_png(path, picture):
    """Write uint8 `[h, w, 1 or 3]` as a PNG file."""
    squeezed = picture[..., 0] if picture.shape[-1] == 1 else picture
    Image.fromarray(squeezed).save(path)


class SampleGrid(AtSteps):
    """Write `samples/step_<n>.png`: the images of the same latents, over training.

    They come from `model.sample`, so from the moving average where there is one.

    Args:
        folder: Run folder; pictures go to its `samples`.
        every: Steps between pictures.
        num: Images in a picture.
        also: Called with (step, picture), uint8 `[h, w, c]`, besides.
    """

    def __init__(self, folder, every=500, num=64, also=None):
        super().__init__()
        self.folder = pathlib.Path(folder) / "samples"
        self.every, self.num, self.also = every, num, also

    def begin(self, step):
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sample = tf.function(
            lambda: self.model.sample(self.num, seed=0), autograph=False
        )

    def at(self, step, logs):
        """Draw when due."""
        if not self.due(self.every):
            return
        images = to_uint8(self._sample().numpy(), self.model.spec.image)
        picture = grid(images)
        write_png(self.folder / f"step_{step:09d}.png", picture)
        if self.also:
            self.also(step, picture)
