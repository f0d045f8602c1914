"""`npz:PATH`: images, and labels if there are any, from a NumPy archive.

Keys: images under `x_train`, `x` or `images`, labels under `y_train`, `y` or `labels`,
a test split under `x_test` and `y_test`. Images are [n, h, w] or [n, h, w, c] with 1 or
3 channels, uint8 or floats in [0, 1]; labels are integers [n]. Nothing is unpickled,
and sizes are checked before anything is read.
"""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.data.rows import Rows, check_memory, one_line

IMAGE_KEYS = ("x_train", "x", "images")
LABEL_KEYS = ("y_train", "y", "labels")
TEST_KEYS = ("x_test", "y_test")
MAX_SIDE = 4096  # pixels

# What zipfile and NumPy raise for truncated, damaged or foreign content.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted archive, an unknown compression
)


def read(path: str, image_size: int | None = None) -> Rows:
    """Reads an archive.

    Args:
        path: the file.
        image_size: see `tfgen.data.load`.

    Returns:
        "image" as stored, floats as float32, and "label" if there are labels: they
        are renumbered 0, 1, ... in ascending order and their values become the names
        of the classes.

    Raises:
        BadInput: no such file, or not an archive as described above.
        OSError: the file cannot be read.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInput(f"npz:{path} is not a file; expected one by numpy.savez")
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, path)
            arrays = {key: _array(archive, member) for key, member in members.items()}
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(
            f"npz:{path} is not an intact archive by numpy.savez: {one_line(error)}"
        ) from error

    splits = []
    for image_keys, label_keys in ((IMAGE_KEYS, LABEL_KEYS), (["x_test"], ["y_test"])):
        images = next((arrays[k] for k in image_keys if k in arrays), None)
        labels = next((arrays[k] for k in label_keys if k in arrays), None)
        if images is not None:
            splits.append({"image": _images(images, path)})
        if labels is not None:
            splits[-1]["label"] = _labels(labels, len(images), path)
    first = splits[0]["image"]
    for split in splits[1:]:
        other = split["image"]
        if split.keys() != splits[0].keys() or (other.shape[1:], other.dtype) != (
            first.shape[1:],
            first.dtype,
        ):
            raise BadInput(f"npz:{path}: training and test split are not alike")

    high = 255.0 if first.dtype == "uint8" else 1.0
    features = {"image": Feature(first.shape[1:], first.dtype.name, 0.0, high)}
    if "label" in splits[0]:
        values = np.unique(np.concatenate([split["label"] for split in splits]))
        features["label"] = Feature((), "int64", classes=tuple(map(str, values)))
        for split in splits:
            split["label"] = np.searchsorted(values, split["label"]).astype("int64")
    rows = Rows(features, *splits)
    return rows.resized(image_size) if image_size else rows


def _members(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    """Finds the arrays; refuses pickles and bombs by their headers alone."""
    members, size = {}, 0
    for member in archive.infolist():
        key = member.filename.removesuffix(".npy")
        if key not in (*IMAGE_KEYS, *LABEL_KEYS, *TEST_KEYS):
            continue
        with archive.open(member) as content:
            shape, dtype = _header(content)
            header_size = content.tell()
        if dtype.hasobject:
            raise BadInput(f"npz:{path}: {key!r} is pickled, which is never read")
        if member.file_size != header_size + math.prod(shape) * dtype.itemsize:
            raise BadInput(f"npz:{path}: the size of {key!r} contradicts its shape")
        if key[0] in "xi":
            _check_images(shape, dtype, key, path)
        members[key] = member
        size += member.file_size
    for keys in (IMAGE_KEYS, LABEL_KEYS):
        found = [key for key in keys if key in members]
        if len(found) > 1:
            raise BadInput(f"npz:{path} has both {found[0]!r} and {found[1]!r}")
    names = [member.filename.removesuffix(".npy") for member in archive.infolist()]
    if not any(key in members for key in IMAGE_KEYS):
        raise BadInput(
            f"npz:{path} has no images under {', '.join(IMAGE_KEYS)}; "
            f"it has: {', '.join(names[:10]) or 'nothing'}"
        )
    if "y_test" in members and "x_test" not in members:
        raise BadInput(f"npz:{path} has 'y_test' without 'x_test'")
    check_memory(size, f"npz:{path}")
    return members


def _header(content) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the array that a stream begins with."""
    version = np.lib.format.read_magic(content)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"array format {version} is not supported")
    shape, _, dtype = readers[version](content)
    if any(side < 0 for side in shape):
        raise ValueError(f"array of shape {shape}")
    return shape, dtype


def _check_images(shape, dtype, key: str, path: str):
    """Refuses what is not a batch of images, before it is read."""
    where = f"npz:{path}: {key!r} is {dtype} {list(shape)}"
    if len(shape) not in (3, 4):
        raise BadInput(f"{where}; images must be [n, h, w] or [n, h, w, c]")
    if len(shape) == 4 and shape[3] not in (1, 3):
        raise BadInput(f"{where}; images must have 1 or 3 channels")
    if not shape[0] or not all(1 <= side <= MAX_SIDE for side in shape[1:3]):
        raise BadInput(f"{where}; expected rows, and sides from 1 to {MAX_SIDE}")
    if dtype != "uint8" and dtype.kind != "f":
        raise BadInput(f"{where}; images must be uint8 or floats in [0, 1]")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as content:
        return np.lib.format.read_array(content, allow_pickle=False)


def _images(images: np.ndarray, path: str) -> np.ndarray:
    """Checked images `[n, h, w, c]`, uint8 or float32."""
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype == "uint8":
        return np.ascontiguousarray(images)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # also true where there is a NaN
        raise BadInput(
            f"npz:{path}: float images must lie in [0, 1], "
            f"these lie in [{low:g}, {high:g}]"
        )
    return np.ascontiguousarray(images, "float32")


def _labels(labels: np.ndarray, rows: int, path: str) -> np.ndarray:
    """Checked labels `[rows]`."""
    if labels.dtype.kind not in "iu" or labels.shape not in ((rows,), (rows, 1)):
        raise BadInput(
            f"npz:{path}: labels are {labels.dtype} {list(labels.shape)}; "
            f"they must be integers [{rows}]"
        )
    return labels.reshape(rows)
