"""TensorFlow Datasets by name: `mnist`, `cycle_gan/maps`, ...

What is prepared under data_dir loads without network. What is not is downloaded and
prepared there once, however many processes ask at the same time. Of each example the
numeric features of fixed shape are kept (image, label, audio, video, ...). Clips are
called `video`, whatever the set calls them, and the feature `caption` of a set of clips
becomes numbers of words, see `tfgen.data.captions`. Sound becomes 16 bits, and the
classes of `pitch` are the pitches that occur.
"""

import contextlib
import difflib
import io
import logging
import math
import os
import sys
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging as absl_logging
from tensorflow_datasets.core.download import downloader

from tfgen.core.errors import BadInput
from tfgen.core.spec import PCM16, Feature
from tfgen.data import builders, captions, rows, wav
from tfgen.data.decoded import DISK_ERRORS, SLOW, locked, once
from tfgen.data.image import GIVE_A_SIZE, fit_array, fit_clip
from tfgen.data.pipeline import RowsOnDisk

READ_AHEAD = 256  # examples decoded at a time
RETRIES = 5  # of a download, within seven seconds; ten would take over three minutes
CONFIGS = 20  # of a data set that are named where it has no such one
CAPTION = "caption"


def read(
    name: str,
    data_dir: str | None,
    split: str,
    domain: str | None,
    image_size: int | None,
    frames: int | None,
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
        frames: see `tfgen.data.load`.
        other_names: further valid names, for the error message.

    Raises:
        BadInput: no such data set, config or split, or it cannot be prepared.
        OSError: reading or writing fails.
    """
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = Path(folder).expanduser()
    builder, prepared = _builder(name, root, other_names)
    if not prepared:
        builder = _prepare(name, root, other_names)

    splits = builder.info.splits
    if split == "train" and domain and {"trainA", "trainB"} <= set(splits):
        split = f"train{domain}"
    if split == "train" and len(splits) == 1:  # moving_mnist has `test` alone
        (split,) = splits
    base = split.partition("[")[0]
    if base not in splits:
        raise BadInput(
            f"{name} has no split {split!r}; it has: {', '.join(sorted(splits))}"
        )
    counterpart = base.replace("train", "test")
    tests = [s for s in (counterpart, "test") if s in splits and s != base][:1]
    kept = _kept(builder, image_size, frames, name)
    features = {key: stored.feature for key, stored in kept.items()}
    row_size = sum(
        math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in features.values()
    )
    try:
        counts = {s: splits[s].num_examples for s in (split, *tests)}
    except (ValueError, AssertionError) as error:
        raise BadInput(f"{name}: split {split!r}: {rows.one_line(error)}") from error
    size = sum(counts.values()) * row_size
    fitted = any(stored.fit for stored in kept.values())
    in_memory = size <= rows.MEMORY_LIMIT
    get = _in_memory if in_memory and not (fitted and size > SLOW) else _on_disk
    loaded = [get(builder, s, counts[s], kept) for s in counts]
    if in_memory:
        loaded = [{k: np.asarray(v) for k, v in split.items()} for split in loaded]
    if "video" in features and CAPTION in builder.info.features:
        told = [_sentences(builder, s) for s in counts]
        described, *words = captions.described(*told)
        features |= described
        loaded = [a | b for a, b in zip(loaded, words, strict=False)]
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
    """Returns the builder of a data set and whether it is prepared."""
    builders.register()
    try:
        with _quiet:
            builder = tfds.builder(name, data_dir=str(root))
            return builder, builder.is_prepared()
    except OSError:
        raise
    except Exception as error:  # no common type: ValueError, AssertionError, ...
        if reason := _unknown_config(name):
            raise BadInput(reason) from error
        prepared = prepared_names(root)
        known = [*other_names, *prepared, *tfds.list_builders()]
        close = difflib.get_close_matches(name, known, 3) or difflib.get_close_matches(
            name.partition("/")[0], known, 3
        )
        reason = f"unknown data set {name!r}"
        if not isinstance(error, tfds.core.DatasetNotFoundError):
            reason = f"unusable data set {name!r} ({rows.one_line(error)})"
        elif close:
            reason += f"; close: {', '.join(dict.fromkeys(close))}"
        raise BadInput(f"{reason}; valid: {_choices(root, other_names)}") from error


def _unknown_config(name: str) -> str | None:
    """Says that a known data set has no such config, None where that is not it."""
    base, _, config = name.partition("/")
    config = config.partition(":")[0]
    try:
        known = list(tfds.builder_cls(base).builder_configs)
    except (tfds.core.DatasetNotFoundError, ValueError):  # not found, not a name
        return None
    if not config or config in known:
        return None
    close = difflib.get_close_matches(config, known, 3)
    named = list(dict.fromkeys([*close, *known]))[:CONFIGS]
    valid = ", ".join(named) or f"{_typed(base)} alone"
    more = f" and {len(known) - CONFIGS} others" if len(known) > CONFIGS else ""
    return f"data set {_typed(base)!r} has no {config!r}; valid: {valid}{more}"


def _typed(name: str) -> str:
    """What users type for a data set, see `tfgen.data.sources.BUILT`."""
    return name.removeprefix("tfgen_")


def _choices(root: Path, other_names: list[str]) -> str:
    prepared = ", ".join(prepared_names(root)) or "none"
    return (
        f"{', '.join(other_names)}, prepared in {root}: {prepared}, "
        "or any other TensorFlow Datasets name, which needs a download"
    )


def _prepare(name: str, root: Path, other_names: list[str]):
    """Downloads and prepares; the second of two processes finds it done."""
    with locked(root, name):
        builder, prepared = _builder(name, root, other_names)
        if prepared:
            return builder
        own = type(builder).__module__.startswith(f"{builders.__name__}.")
        told = "preparing {} in {}" if own else "downloading {} into {}"
        print(told.format(_typed(name), root), file=sys.stderr, flush=True)
        # Both for good: threads go on after the first one has failed.
        downloader.MAX_RETRIES = RETRIES
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        try:
            with _quiet:
                builder.download_and_prepare()
        except OSError as error:
            if error.errno in DISK_ERRORS:  # failed connections are OSErrors too
                raise
            raise _cannot_prepare(name, root, other_names, error) from error
        except Exception as error:  # checksums, missing packages, manual downloads
            raise _cannot_prepare(name, root, other_names, error) from error
        return builder


class _Quiet:
    """Lets TensorFlow Datasets log errors alone and print nothing but its bars.

    Both are settings of the process: of threads inside at once, the first one makes
    them and the last one takes them back.
    """

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0
        self._undo = contextlib.ExitStack()

    def __enter__(self):
        with self._lock:
            if not self._inside:
                level = absl_logging.get_verbosity()
                self._undo.callback(absl_logging.set_verbosity, level)
                absl_logging.set_verbosity(min(level, absl_logging.ERROR))
                self._undo.enter_context(contextlib.redirect_stdout(io.StringIO()))
            self._inside += 1

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo.close()


_quiet = _Quiet()


def _cannot_prepare(name, root, other_names, error) -> BadInput:
    import requests  # as TensorFlow Datasets does, when something is downloaded

    reason = rows.one_line(error)
    if isinstance(error, requests.ConnectionError) and error.request is not None:
        reason = f"no connection to {urllib.parse.urlsplit(error.request.url).hostname}"
    return BadInput(
        f"{_typed(name)!r} is not prepared in {root} and could not be downloaded and "
        f"prepared ({reason}); valid: {_choices(root, other_names)}"
    )


class _Stored(NamedTuple):
    """A feature that is kept.

    Attributes:
        key: what the set calls it.
        feature: what its rows become.
        fit: cuts and resizes one stored row, None where all have one size.
    """

    key: str
    feature: Feature
    fit: Callable | None


def _kept(builder, image_size, frames, name: str) -> dict[str, _Stored]:
    """Describes the features that are kept, by the names they get."""
    kept = {}
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
        shape, fit = _fitted(feature, shape, dtype, image_size, frames, name)
        if None in shape:
            continue
        if isinstance(feature, tfds.features.Audio):
            dtype, (low, high) = "int16", PCM16
        classes = getattr(feature, "names", None) or ()
        rate = getattr(feature, "sample_rate", None)
        given = "video" if isinstance(feature, tfds.features.Video) else key
        described = Feature(shape, dtype, low, high, tuple(classes), rate)
        kept.setdefault(given, _Stored(key, described, fit))
    if not kept:
        raise BadInput(f"{name} has no numeric feature of fixed shape")
    return kept


def _renumber_pitches(features: dict[str, Feature], splits: list[dict]):
    """Leaves of the classes of "pitch", 128 in NSynth, those that occur."""
    numbers = [np.asarray(split["pitch"]) for split in splits]
    occurring = np.unique(np.concatenate(numbers))
    for split, number in zip(splits, numbers, strict=True):
        split["pitch"] = np.searchsorted(occurring, number).astype("int64")
    names = features["pitch"].classes or tuple(map(str, range(128)))
    features["pitch"] = Feature((), "int64", classes=[names[i] for i in occurring])


def _fitted(feature, shape, dtype, image_size, frames, name):
    """Returns the shape that rows of a feature get, and what gives it to them."""
    if isinstance(feature, tfds.features.Video):
        wanted = (frames or shape[0], *([image_size] * 2 if image_size else shape[1:3]))
        if None in wanted:
            raise BadInput(
                f"the clips of {name} differ in length or size: give frames, "
                f"--hparam=frames=16 say, and {GIVE_A_SIZE.removeprefix('give ')}"
            )
        if wanted == shape[:3]:
            return shape, None
        return (*wanted, shape[3]), lambda clip: fit_clip(clip, image_size, frames)
    if not isinstance(feature, tfds.features.Image):
        return shape, None
    if image_size and dtype == "uint8":
        channels = 1 if shape[-1] == 1 else 3
        return (image_size, image_size, channels), lambda image: fit_array(
            _gray_or_rgb(image), image_size
        )
    if None in shape:
        raise BadInput(f"the images of {name} differ in size: {GIVE_A_SIZE}")
    return shape, None


def _in_memory(builder, split, count, kept) -> dict[str, np.ndarray]:
    arrays = {
        name: np.empty((count, *stored.feature.shape), stored.feature.dtype)
        for name, stored in kept.items()
    }
    _fill(arrays, builder, split, kept)
    return arrays


def _on_disk(builder, split, count, kept) -> dict[str, RowsOnDisk]:
    """As `_in_memory`, in files that are written by the first process to come."""
    version = Path(builder.data_path)
    folder = version.parent / f"{version.name}.decoded"
    sizes = [
        "x".join(map(str, stored.feature.shape[:-1]))
        for stored in kept.values()
        if stored.fit
    ]
    key = f"{urllib.parse.quote(split, safe='')}-{'-'.join(sizes) or 'own_size'}"
    arrays = {
        name: ((count, *stored.feature.shape), stored.feature.dtype)
        for name, stored in kept.items()
    }
    return once(folder, key, arrays, lambda made: _fill(made, builder, split, kept))


def _fill(arrays: dict[str, np.ndarray], builder, split: str, kept):
    """Decodes a split into arrays, in the order in which it is stored."""
    count, row = len(next(iter(arrays.values()))), 0
    # Rows of different sizes cannot be batched: they come one at a time.
    at_once = 1 if any(stored.fit for stored in kept.values()) else READ_AHEAD
    keys = [stored.key for stored in kept.values()]
    try:
        dataset = _dataset(builder, split, keys).batch(at_once).prefetch(1)
        for batch in tfds.as_numpy(dataset):
            part = slice(row, row + len(batch[keys[0]]))
            for name, array in arrays.items():
                key, _, fit = kept[name]
                value = fit(batch[key][0]) if fit else batch[key]
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


def _sentences(builder, split: str) -> list[str]:
    dataset = tfds.as_numpy(_dataset(builder, split, [CAPTION]))
    return [example[CAPTION].decode() for example in dataset]


def _dataset(builder, split: str, keys):
    """Some features of a split, in the order in which it is stored."""
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(dict.fromkeys(keys, True)),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )


def _gray_or_rgb(image: np.ndarray) -> np.ndarray:
    return image[..., :3] if image.shape[-1] > 3 else image
