"""Checked uint8 images, and the size that a Keras application wants."""

from typing import NamedTuple

import numpy as np

from tfgen.core.errors import BadInput


def as_images(images) -> np.ndarray:
    """Return `images` as a non-empty uint8 array `[n, h, w, c]`.

    Raises:
      BadInput: another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise BadInput(
            "images must be uint8 [n, h, w, c] with n >= 1, got "
            f"{images.dtype} {images.shape}"
        )
    return images


def resizing(shape, side: int) -> str:
    """Say in words what `resize_to_rgb` does to images of (h, w, c).

    Raises:
      BadInput: neither 1 nor 3 channels.
    """
    height, width, channels = shape
    if channels not in (1, 3):
        raise BadInput(
            f"images have {channels} channels: a Keras application takes 1 or 3"
        )
    steps = []
    if (height, width) != (side, side):
        steps.append(f"{height}x{width} to {side}x{side} bilinear, antialiased")
    if channels == 1:
        steps.append("grey repeated to RGB")
    return "; ".join(steps) or "none"


def resize_to_rgb(images: np.ndarray, side: int) -> np.ndarray:
    """Resize uint8 `[n, h, w, 1 or 3]` to float32 `[n, side, side, 3]` in 0..255.

    Stretched to a square, as for published Frechet distances. Antialiased: without
    it a smaller size depends on which pixels are hit, which is how such distances
    came to disagree.
    """
    resized = images.astype(np.float32)
    if images.shape[1:3] != (side, side):
        import tensorflow as tf  # only resizing needs it

        size = side, side
        resized = tf.image.resize(resized, size, "bilinear", antialias=True).numpy()
    if images.shape[3] == 1:
        resized = np.repeat(resized, 3, axis=3)
    return resized


class ClassDiversity(NamedTuple):
    """Variation of samples among those of one class; see `class_diversity`."""

    mean: float
    least: float


def class_diversity(real, real_labels, fake, fake_labels) -> ClassDiversity:
    """Pixel variance within a class, of samples over that of real images.

    A conditional generator that ignores z draws one picture a class: 0.

    Args:
      real: uint8 `[n, h, w, c]`.
      real_labels: `[n]` integers.
      fake: uint8 `[m, h, w, c]`.
      fake_labels: `[m]` integers, what was asked for.

    Returns:
      mean: of the ratio over the classes.
      least: the ratio of the class with the smallest.

    Raises:
      BadInput: a class asked for has fewer than two rows on either side.
    """

    def variance(images, labels, label):
        rows = images[labels == label]
        if len(rows) < 2:
            raise BadInput(f"class {label} needs two rows, got {len(rows)}")
        return rows.astype(np.float64).var(axis=0, ddof=1).mean()

    ratios = [
        variance(fake, fake_labels, label) / variance(real, real_labels, label)
        for label in np.unique(fake_labels)
    ]
    return ClassDiversity(float(np.mean(ratios)), float(np.min(ratios)))
