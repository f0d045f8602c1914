"""Pictures and clips of any size to bytes of one size, on the host, while loading."""

import numpy as np
from PIL import Image, ImageOps

GIVE_A_SIZE = "give an image_size, --image_size=64 say"


def fit(picture: Image.Image, size: int | None, channels: int) -> np.ndarray:
    """Decodes a picture; cuts and resizes it if a size is asked for.

    Turns it as its EXIF orientation says and puts transparent parts on white. With a
    size, the largest centred square is cut out and resized bilinearly (antialiased
    where it shrinks).

    Args:
        picture: an opened picture; of an animation, the current frame is taken.
        size: side of the result in pixels, or None to keep the picture's own.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 `[h, w, channels]`.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        page = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(page, picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def fit_array(image: np.ndarray, size: int) -> np.ndarray:
    """The same for one decoded uint8 image `[h, w, c]`, c being 1 or 3."""
    channels = image.shape[-1]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    return fit(picture, size, channels)


def fit_clip(clip: np.ndarray, size: int | None, frames: int | None) -> np.ndarray:
    """Cuts a decoded clip, uint8 `[t, h, w, c]`, to a size and a number of frames."""
    clip = clip[chosen_frames(len(clip), frames or len(clip))]
    if size and clip.shape[1:3] != (size, size):
        clip = np.stack([fit_array(frame, size) for frame in clip])
    return clip


def chosen_frames(available: int, wanted: int) -> np.ndarray:
    """Numbers of the frames that stand for a clip, `[wanted]`.

    Evenly spaced, as far apart as there is room for, from the middle of the clip; the
    last frame of a shorter clip is repeated.

    >>> chosen_frames(11, 5), chosen_frames(3, 5)
    (array([0, 2, 4, 6, 8]), array([0, 1, 2, 2, 2]))
    """
    stride = max(1, available // wanted)
    first = max(0, (available - stride * wanted) // 2)
    return np.minimum(first + stride * np.arange(wanted), available - 1)
