"""`folder:PATH`: PNG, JPEG, BMP, GIF (first frame), WEBP pictures; or clips; or notes.

Pictures in sub-folders (at any depth below them) take the sub-folder's name as their
class; without sub-folders there are no labels. Sub-folders `train` and `test` are
splits, with the classes below them, see `tfgen.data.tree`. The order is that of the
sorted paths. Names that start with a dot and other kinds of files are skipped. A folder
of animations and movies is read by `tfgen.data.clips`, one of WAV files by
`tfgen.data.wav`. What takes long to decode is decoded once, into the hidden folder
`.decoded` beside the pictures, and what would fill the memory is read from there.
"""

import hashlib
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data import clips, decoded, rows, tree, wav
from tfgen.data.image import GIVE_A_SIZE, fit
from tfgen.data.rows import Rows, one_line

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
}


def read(
    path: str,
    image_size: int | None = None,
    frames: int | None = None,
    on_corrupt: str = "stop",
) -> Rows:
    """Decodes all pictures, or all clips, below a folder.

    Args:
        path: the folder.
        image_size: side in pixels to cut and resize to; without it all pictures must
            have the same size.
        frames: of clips.
        on_corrupt: "stop" or "skip" where a picture is broken.

    Returns:
        "image", uint8 `[h, w, c]`: gray if every picture is, else RGB on white; and
        "label" if there are sub-folders, of all rows and of those to test on.
        `skipped` names the pictures left out.

    Raises:
        BadInput: no such folder, no pictures in it, a broken or too large one, sizes
            that differ, sub-folders that are partly splits.
        OSError: something cannot be read.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise BadInput(f"folder:{path} is not a folder; expected one with pictures")
    if sounds := tree.files(root, [".wav"]):
        if pictures := tree.files(root, [*FORMATS, *clips.MOVIES]):
            raise BadInput(
                f"folder:{path} has both pictures, such as {pictures[0].name!r}, and "
                f"sounds, such as {sounds[0].name!r}: move one kind elsewhere"
            )
        return wav.read(root, f"folder:{path}", on_corrupt)
    if clips.are_in(root, FORMATS):
        return clips.read(path, image_size, frames, on_corrupt)
    pictures = tree.files(root, FORMATS)
    if not pictures:
        raise BadInput(
            f"folder:{path} has no pictures; expected files ending in "
            f"{', '.join(FORMATS)}, or .wav"
        )
    skipped = []
    if on_corrupt == "skip":
        pictures, skipped = _usable(pictures, image_size)
        if not pictures:
            raise BadInput(f"folder:{path} has no usable picture: {skipped[0]}")
    arranged = tree.Tree(root, pictures, "pictures")
    classes, labels = arranged.labels()
    gray = all(
        _opened(picture, lambda opened: opened.mode in ("1", "L"))
        for picture in pictures
    )
    channels = 1 if gray else 3
    first = _opened(pictures[0], lambda x: fit(x, image_size, channels)).shape
    shape = (len(pictures), *first)

    def fill(arrays):
        for row, picture in enumerate(pictures):
            image = _opened(picture, lambda x: fit(x, image_size, channels))
            if image.shape != first:
                raise BadInput(
                    f"{pictures[0]} is {first[0]}x{first[1]} and {picture} is "
                    f"{image.shape[0]}x{image.shape[1]}: {GIVE_A_SIZE}"
                )
            arrays["image"][row] = image

    images, remarks = _decoded(root, pictures, shape, fill)
    features = {"image": Feature(images.shape[1:], "uint8", 0.0, 255.0)}
    return Rows(
        features | classes,
        **arranged.divided({"image": images} | labels),
        skipped=tuple(skipped),
        remarks=(*remarks, *tree.remarks(root)),
    )


def _decoded(root: Path, pictures: list[Path], shape: tuple[int, ...], fill):
    """All pictures, `[n, h, w, c]`, and what to say of where they are kept."""
    size, remarks = math.prod(shape), ()
    kept = root / ".decoded"
    if size > decoded.SLOW:
        key = _fingerprint(root, pictures, shape)
        try:
            images = decoded.once(kept, key, {"image": (shape, "uint8")}, fill)["image"]
        except OSError as error:
            if error.errno not in decoded.DISK_ERRORS or size > rows.MEMORY_LIMIT:
                raise
            remarks = (
                f"pictures are decoded at every start: {kept} cannot be written "
                f"({error.strerror})",
            )
        else:
            if size <= rows.MEMORY_LIMIT:
                images = np.asarray(images)
            return images, (f"pictures are decoded once, into {kept}",)
    images = np.empty(shape, "uint8")
    fill({"image": images})
    return images, remarks


def _fingerprint(root: Path, pictures: list[Path], shape: tuple[int, ...]) -> str:
    """A file name that changes with the pictures and with what they are brought to."""
    lines = [str(shape)]
    for picture in pictures:
        found = picture.stat()
        lines.append(f"{picture.relative_to(root)} {found.st_size} {found.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return f"{'x'.join(map(str, shape))}-{digest}"


def _usable(pictures: list[Path], image_size: int | None):
    """Returns the pictures that decode, and what is wrong with each of the others."""
    usable, skipped = [], []
    for picture in pictures:
        try:
            _opened(picture, lambda opened: fit(opened, image_size, 3))
        except BadInput as error:
            skipped.append(str(error))
        else:
            usable.append(picture)
    return usable, skipped


def _opened(path: Path, use):
    """Returns `use(picture)`; whatever is wrong with the content names the file."""
    with path.open("rb") as file, warnings.catch_warnings():
        # Pillow warns from 89 megapixels on and raises above twice that.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=sorted(set(FORMATS.values()))) as picture:
                if picture.mode.startswith(("I", "F")):
                    raise ValueError(f"{picture.mode} pixels, more than 8 bits deep")
                return use(picture)
        except Exception as error:  # decoders raise nearly anything on broken files
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the picture's
            reason = one_line(error).replace(repr(file), "the file")
            raise BadInput(f"{path} is not a usable picture: {reason}") from error
