"""TensorFlow Datasets by name: `mnist`, `cycle_gan/maps`, ...

What is prepared under data_dir loads without network. What is not is downloaded and
prepared there once, however many processes ask at the same time. Of each example the
numeric features of fixed shape are kept (image, label, audio, video, ...). Sound
becomes 16 bits, and the classes of "pitch" are the pitches that occur.
"""

import contextlib
import difflib
import errno
import fcntl
import math
import os
import shutil
import sys
import urllib.parse
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfgen.core.errors import BadInput
from tfgen.core.spec import PCM16, Feature
from tfgen.data import builders, rows, wav
from tfgen.data.image import fit_array
from tfgen.data.pipeline import RowsOnDisk

READ_AHEAD = 256  # examples decoded at a time
DISK_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def read(
    name: str,
    data_dir: str | None,
    split: str,
    domain: str | None,
    image_size: int | None,
    other_names: list[str],
) -> rows.Rows:
    """Loads a data set, preparing it first if need be.

    The test split is the one whose name has "test" for "train" ("trainA", "testA").
    Sets that decode to more than `tfgen.data.rows.MEMORY_LIMIT` are decoded once into
    a folder beside the prepared version and read from there row by row.

    Args:
        name: `name`, `name/config` or with `:version`.
        data_dir: see `tfgen.data.load`.
        split: training split, possibly a slice of one.
        domain: "A" or "B" of a set of two domains, see `tfgen.data.load`.
        image_size: see `tfgen.data.load`.
        other_names: further valid names, for the error message.

    Raises:
        BadInput: no such data set, config or split, or it cannot be prepared.
        OSError: reading or writing fails.
    """
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = Path(folder).expanduser()
    builder = _builder(name, root, other_names)
    if not builder.is_prepared():
        builder = _prepare(name, root, other_names)

    splits = builder.info.splits
    if split == "train" and domain and {"trainA", "trainB"} <= set(splits):
        split = f"train{domain}"
    base = split.partition("[")[0]
    if base not in splits:
        raise BadInput(
            f"{name} has no split {split!r}; it has: {', '.join(sorted(splits))}"
        )
    counterpart = base.replace("train", "test")
    tests = [s for s in (counterpart, "test") if s in splits and s != base][:1]
    features = _features(builder, image_size, name)
    row_size = sum(
        math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in features.values()
    )
    try:
        counts = {s: splits[s].num_examples for s in (split, *tests)}
    except (ValueError, AssertionError) as error:
        raise BadInput(f"{name}: split {split!r}: {rows.one_line(error)}") from error
    in_memory = sum(counts.values()) * row_size <= rows.MEMORY_LIMIT
    get = _in_memory if in_memory else _on_disk
    loaded = [get(builder, s, counts[s], features, image_size) for s in counts]
    if "audio" in features and "pitch" in features:
        _renumber_pitches(features, loaded)
    return rows.Rows(features, *loaded)


def prepared_names(root: Path) -> list[str]:
    """Names under which data prepared in a folder can be loaded."""
    found = {
        info.parent.parent.relative_to(root).as_posix()
        for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json")
        for info in root.glob(pattern)
    }
    return sorted(found)


def _builder(name: str, root: Path, other_names: list[str]):
    builders.register()
    try:
        return tfds.builder(name, data_dir=str(root))
    except OSError:
        raise
    except Exception as error:  # no common type: ValueError, AssertionError, ...
        prepared = prepared_names(root)
        known = [*other_names, *prepared, *tfds.list_builders()]
        close = difflib.get_close_matches(name, known, 3) or difflib.get_close_matches(
            name.partition("/")[0], known, 3
        )
        reason = f"unknown data set {name!r}"
        if not isinstance(error, tfds.core.DatasetNotFoundError):
            reason = f"unusable data set {name!r} ({rows.one_line(error)})"
        elif close:
            reason += f"; close: {', '.join(close)}"
        raise BadInput(f"{reason}; valid: {_choices(root, other_names)}") from error


def _choices(root: Path, other_names: list[str]) -> str:
    prepared = ", ".join(prepared_names(root)) or "none"
    return (
        f"{', '.join(other_names)}, prepared in {root}: {prepared}, "
        "or any other TensorFlow Datasets name, which needs a download"
    )


def _prepare(name: str, root: Path, other_names: list[str]):
    """Downloads and prepares; the second of two processes finds it done."""
    with _lock(root, name), contextlib.redirect_stdout(sys.stderr):
        builder = _builder(name, root, other_names)
        if builder.is_prepared():
            return builder
        try:
            builder.download_and_prepare()
        except OSError as error:
            if error.errno in DISK_ERRORS:  # failed connections are OSErrors too
                raise
            raise _cannot_prepare(name, root, other_names, error) from error
        except Exception as error:  # checksums, missing packages, manual downloads
            raise _cannot_prepare(name, root, other_names, error) from error
        return builder


def _cannot_prepare(name, root, other_names, error) -> BadInput:
    return BadInput(
        f"{name!r} is not prepared in {root} and could not be downloaded and prepared "
        f"({rows.one_line(error)}); valid: {_choices(root, other_names)}"
    )


@contextlib.contextmanager
def _lock(folder: Path, name: str):
    """Lets one process at a time in; the system lifts the lock of a killed one."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".{urllib.parse.quote(name, safe='')}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _features(builder, image_size: int | None, name: str) -> dict[str, Feature]:
    """Describes the features that are kept."""
    features = {}
    for key, feature in builder.info.features.items():
        shape, dtype = feature.shape, feature.np_dtype
        if not isinstance(shape, tuple) or isinstance(dtype, dict):
            continue  # nested
        if np.dtype(dtype).kind not in "iubf":
            continue  # text and file names
        low = high = None
        dtype = np.dtype(dtype).name
        if dtype != "uint8":
            dtype = "float32" if np.dtype(dtype).kind == "f" else "int64"
        else:
            low, high = 0.0, 255.0
        if _is_resized(feature, image_size):
            shape = (image_size, image_size, 1 if shape[-1] == 1 else 3)
        elif isinstance(feature, tfds.features.Image) and None in shape:
            raise BadInput(f"the images of {name} differ in size: give an image_size")
        if None in shape:
            continue
        if isinstance(feature, tfds.features.Audio):
            dtype, (low, high) = "int16", PCM16
        classes = getattr(feature, "names", None) or ()
        rate = getattr(feature, "sample_rate", None)
        features[key] = Feature(shape, dtype, low, high, tuple(classes), rate)
    if not features:
        raise BadInput(f"{name} has no numeric feature of fixed shape")
    return features


def _renumber_pitches(features: dict[str, Feature], splits: list[dict]):
    """Leaves of the classes of "pitch", 128 in NSynth, those that occur."""
    numbers = [np.asarray(split["pitch"]) for split in splits]
    occurring = np.unique(np.concatenate(numbers))
    for split, number in zip(splits, numbers, strict=True):
        split["pitch"] = np.searchsorted(occurring, number).astype("int64")
    names = features["pitch"].classes or tuple(map(str, range(128)))
    features["pitch"] = Feature((), "int64", classes=[names[i] for i in occurring])


def _is_resized(feature, image_size: int | None) -> bool:
    is_image = isinstance(feature, tfds.features.Image)
    return bool(image_size) and is_image and np.dtype(feature.np_dtype) == "uint8"


def _in_memory(builder, split, count, features, image_size) -> dict[str, np.ndarray]:
    arrays = {k: np.empty((count, *f.shape), f.dtype) for k, f in features.items()}
    _fill(arrays, builder, split, image_size)
    return arrays


def _on_disk(builder, split, count, features, image_size) -> dict[str, RowsOnDisk]:
    """As `_in_memory`, in files that are written by the first process to come."""
    version = Path(builder.data_path)
    folder = version.parent / f"{version.name}.decoded"
    key = f"{urllib.parse.quote(split, safe='')}-{image_size or 'own_size'}"
    done = folder / key
    if not done.is_dir():
        with _lock(folder, key):
            if not done.is_dir():
                part = folder / f"{key}.part"
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                arrays = {
                    k: np.lib.format.open_memmap(
                        part / f"{k}.npy", "w+", f.dtype, (count, *f.shape)
                    )
                    for k, f in features.items()
                }
                _fill(arrays, builder, split, image_size)
                for array in arrays.values():
                    array.flush()
                part.rename(done)
    return {k: RowsOnDisk(np.load(done / f"{k}.npy", "r")) for k in features}


def _fill(arrays: dict[str, np.ndarray], builder, split: str, image_size: int | None):
    """Decodes a split into arrays, in the order in which it is stored."""
    info = builder.info
    resized = [k for k in arrays if _is_resized(info.features[k], image_size)]
    count, row = len(next(iter(arrays.values()))), 0
    try:
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(dict.fromkeys(arrays, True)),
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        # Images of different sizes cannot be batched: they come one at a time.
        dataset = dataset.batch(1 if resized else READ_AHEAD).prefetch(1)
        for batch in tfds.as_numpy(dataset):
            for key in resized:
                batch[key] = fit_array(_gray_or_rgb(batch[key][0]), image_size)[None]
            part = slice(row, row + len(batch[next(iter(arrays))]))
            for key, array in arrays.items():
                value = batch[key]
                if array.dtype == "int16" and value.dtype.kind == "f":
                    value = wav.to_pcm16(value)
                array[part] = value
            row = part.stop
    except tf.errors.OpError as error:
        raise BadInput(
            f"the prepared files in {builder.data_path} are damaged: "
            f"{rows.one_line(error)}"
        ) from error
    if row != count:
        raise BadInput(
            f"the prepared files in {builder.data_path} hold {row} rows of {split!r}, "
            f"their description says {count}"
        )


def _gray_or_rgb(image: np.ndarray) -> np.ndarray:
    return image[..., :3] if image.shape[-1] > 3 else image
