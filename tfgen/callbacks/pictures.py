"""Sample grids from fixed latents, translations of fixed images."""

import math
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from tfgen.callbacks.steps import AtSteps
from tfgen.core.spec import to_uint8
from tfgen.metrics import passes


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
        self._draw = passes.sampler(self.model, self.num)

    def at(self, step, logs):
        """Draw when due."""
        if not self.due(self.every):
            return
        images = to_uint8(self._draw(), self.model.spec.image)
        picture = grid(images)
        write_png(self.folder / f"step_{step:09d}.png", picture)
        if self.also:
            self.also(step, picture)


def triplets(a, b, translate_ab, translate_ba):
    """Return rows of a, G(a), F(G(a)), b, F(b), G(F(b)), as one batch for `grid`.

    Args:
        a: Images of A `[n, h, w, c]`.
        b: As many of B.
        translate_ab: G, images to images.
        translate_ba: F.

    Returns:
        `[6 n, h, w, c]`, six a row.
    """
    ab, ba = translate_ab(a), translate_ba(b)
    columns = [a, ab, translate_ba(ab), b, ba, translate_ab(ba)]
    return np.stack(columns, axis=1).reshape([-1, *np.shape(a)[1:]])


class TranslationGrid(AtSteps):
    """Write `samples/step_<n>.png`: the same images translated, over training.

    Args:
        folder: Run folder; pictures go to its `samples`.
        a: Images of domain A `[n, h, w, c]` in the model's range.
        b: As many of B.
        every: Steps between pictures.
        also: Called with (step, picture), uint8 `[h, w, c]`, besides.
    """

    def __init__(self, folder, a, b, every=500, also=None):
        super().__init__()
        self.folder = pathlib.Path(folder) / "samples"
        self.a, self.b, self.every, self.also = a, b, every, also

    def begin(self, step):
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._translate = [
            tf.function(lambda x, f=f: f(x)["images"], autograph=False)
            for f in (self.model.translate_ab, self.model.translate_ba)
        ]

    def at(self, step, logs):
        """Translate when due."""
        if not self.due(self.every):
            return
        images = triplets(self.a, self.b, *self._translate)
        picture = grid(to_uint8(images, self.model.spec.image), columns=6)
        write_png(self.folder / f"step_{step:09d}.png", picture)
        if self.also:
            self.also(step, picture)
