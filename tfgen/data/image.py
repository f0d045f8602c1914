"""Pictures of any size and kind to bytes of one size, on the host, while loading."""

import numpy as np
from PIL import Image, ImageOps


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
