"""What the readers of data have in common: whole splits as arrays, within a bound."""

from dataclasses import dataclass, replace

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data import image

# Largest decoded size, in bytes, that is held in memory. Larger TFDS sets are decoded
# once into files beside the prepared data; larger folders and archives are refused.
MEMORY_LIMIT = 8 * 2**30


@dataclass(frozen=True)
class Rows:
    """What a reader returns.

    Attributes:
        features: what one example looks like.
        train: feature name -> array `[rows, ...]`.
        test: the same for the source's own test split, or None.
        skipped: what was wrong with each picture or sound that was left out.
        remarks: a line for each thing that was done to some of the files.
        groups: number of the group of each training row, or None: rows of a group are
            not divided between training and validation.
    """

    features: dict[str, Feature]
    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray] | None = None
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    def resized(self, size: int | None, frames: int | None = None) -> "Rows":
        """Cuts and resizes images or clips, see `tfgen.data.image`.

        Args:
            size: side in pixels, None: their own.
            frames: of a clip, None: their own.

        Raises:
            BadInput: there are no images, or they are not uint8.
        """
        name = "video" if "video" in self.features else "image"
        if not size and (name == "image" or not frames):
            return self
        if name not in self.features:
            raise BadInput("image_size resizes images, and the data have none")
        old = self.features[name]
        if old.dtype != "uint8":
            if old.shape[:2] == (size, size):  # nothing to do to images
                return self
            raise BadInput("image_size resizes uint8 images only, these are floats")

        def fit(x):
            if name == "image":
                return image.fit_array(x, size)
            return image.fit_clip(x, size, frames)

        def split(arrays):
            return {**arrays, name: np.stack([fit(x) for x in arrays[name]])}

        first = fit(next(iter(self.train[name])))
        new = replace(old, shape=first.shape)
        return replace(
            self,
            features={**self.features, name: new},
            train=split(self.train),
            test=None if self.test is None else split(self.test),
        )


def check_memory(size: int, what: str, hint: str = ""):
    """Refuses what would decode to more than `MEMORY_LIMIT` bytes."""
    if size > MEMORY_LIMIT:
        raise BadInput(
            f"{what} decodes to {size / 2**30:.1f} GiB; at most "
            f"{MEMORY_LIMIT / 2**30:.1f} GiB are held in memory{hint}"
        )


def one_line(error: BaseException) -> str:
    """The first line of an error's message that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
