"""What a data set or a model's input looks like, and how to get from one to another.

A source keeps its rows as they were stored (images as uint8, sound as int16); a model
declares the size and the value range it was written for. `adapter` is the bridge: it
is applied to each batch on the device, so the host only ever moves bytes.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfgen.core import sound
from tfgen.core.errors import BadInput

DTYPES = ("uint8", "int16", "float32", "int64", "string")
PCM16 = (-32768.0, 32768.0)  # of int16 sound: full scale, and silence at its centre
# Red, green, blue by ITU-R BT.601; the weights sum to 1, so that white stays white.
LUMINANCE = np.array([0.299, 0.587, 0.114], "float32")


@dataclass(frozen=True)
class Feature:
    """One named tensor of an example.

    Attributes:
        shape: shape of one example, without the batch axis; images are [h, w, c],
            videos [frames, h, w, c], sound [samples].
        dtype: one of `DTYPES`.
        low: smallest value, or None where the range is unknown (with `high`).
        high: largest value.
        classes: names of the classes if the values are class numbers.
        sample_rate: Hz, for sound.

    Raises:
        BadInput: unknown dtype, or a range that is half given or empty.
    """

    shape: tuple[int, ...]
    dtype: str
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()
    sample_rate: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(side) for side in self.shape))
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.dtype not in DTYPES:
            raise BadInput(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if (self.low is None) != (self.high is None):
            raise BadInput("a value range needs both low and high, or neither")
        if self.low is not None and not self.low < self.high:
            raise BadInput(f"the value range {self.low}..{self.high} is empty")

    @property
    def value_range(self) -> str:
        """The range as text, such as "[0,255]", or "" where it is unknown."""
        return "" if self.low is None else f"[{self.low:g},{self.high:g}]"


@dataclass(frozen=True)
class DataSpec:
    """Names, shapes, ranges and classes of the examples of a data set.

    Attributes:
        name: what the user called the data.
        examples: number of training rows.
        features: feature by name, in a fixed order ("image", "label", ...).
    """

    name: str
    examples: int
    features: dict[str, Feature]

    def __post_init__(self):
        object.__setattr__(self, "features", dict(self.features))

    @property
    def image(self) -> Feature:
        """The feature called "image", of two domains "source"; BadInput if none is."""
        for name in ("image", "source"):
            if name in self.features:
                return self.features[name]
        raise BadInput(
            f"data {self.name!r} has no image; it has: {', '.join(self.features)}"
        )

    @property
    def audio(self) -> Feature:
        """The feature called "audio"; BadInput if there is none."""
        if "audio" in self.features:
            return self.features["audio"]
        raise BadInput(
            f"data {self.name!r} has no audio; it has: {', '.join(self.features)}"
        )

    @property
    def video(self) -> Feature:
        """The feature called "video"; BadInput if the data has no clips."""
        if "video" not in self.features:
            raise BadInput(
                f"data {self.name!r} has no video; it has: {', '.join(self.features)}"
            )
        return self.features["video"]

    @property
    def shown(self) -> Feature:
        """What a person looks at: the video of clips, else the image."""
        return self.video if "video" in self.features else self.image

    @property
    def num_classes(self) -> int:
        """Number of classes of "label"; 0 if the data has no labels."""
        label = self.features.get("label")
        return len(label.classes) if label else 0

    def replace(self, **changes) -> "DataSpec":
        """Returns a copy with other values for the named attributes."""
        return dataclasses.replace(self, **changes)

    def with_feature(self, name: str, **changes) -> "DataSpec":
        """Returns a copy in which attributes of one feature are changed.

        Example: `spec.with_feature("image", dtype="float32", low=-1.0, high=1.0)`.
        A name that the data does not have yet is added at the end.
        """
        old = self.features.get(name)
        new = dataclasses.replace(old, **changes) if old else Feature(**changes)
        return self.replace(features={**self.features, name: new})

    def for_images(self, user, *, low, high, size=0, also=()) -> "DataSpec":
        """Returns what a model of float32 images wants of this data.

        Args:
            user: name of the model, for messages.
            low: smallest pixel value it is written for.
            high: largest.
            size: side of its square images in pixels, 0 = those of the data.
            also: names of further features it needs, unchanged.
        """
        shape = (size, size, self.image.shape[-1]) if size else self.image.shape
        image = Feature(shape, "float32", low, high)
        others = {name: self.features[name] for name in also if name in self.features}
        return self.replace(name=user, features={"image": image, **others})

    def for_notes(self, user, *, samples=0, sample_rate=0, also=()) -> "DataSpec":
        """Returns what a model of notes of known pitch wants: float32 in [-1, 1].

        Args:
            user: name of the model, for messages.
            samples: length of its notes, 0 = those of the data.
            sample_rate: Hz, 0 = that of the data.
            also: names of further features it needs, unchanged.

        Raises:
            BadInput: the data are no sound, or lack rate or pitches.
        """
        audio, pitch = self.audio, self.features.get("pitch")
        if not audio.sample_rate or len(audio.shape) != 1:
            raise BadInput(f"{user} needs sound [samples] of a known rate")
        if pitch is None or not pitch.classes:
            raise BadInput(
                f"{user} needs notes of known pitch; data {self.name!r} has no pitch"
            )
        rate = sample_rate or audio.sample_rate
        length = sound.resampled_length(audio.shape[0], audio.sample_rate, rate)
        wanted = Feature((samples or length,), "float32", -1.0, 1.0, sample_rate=rate)
        others = {name: self.features[name] for name in also if name in self.features}
        features = {"audio": wanted, "pitch": pitch, **others}
        return self.replace(name=user, features=features)

    def for_videos(self, user, *, low, high, size=0, frames=0, also=()) -> "DataSpec":
        """Returns what a model of float32 clips wants of this data.

        Args:
            user: name of the model, for messages.
            low: smallest pixel value it is written for.
            high: largest.
            size: side of its square frames in pixels, 0 = those of the data.
            frames: of a clip, 0 = those of the data.
            also: names of further features it needs, unchanged.

        Raises:
            BadInput: the data have no clips, or lack a feature.
        """
        length, height, width, channels = self.video.shape
        shape = (frames or length, size or height, size or width, channels)
        features = {"video": Feature(shape, "float32", low, high)}
        for name in also:
            if name not in self.features:
                raise BadInput(
                    f"{user} needs {name!r} beside the video; data {self.name!r} has: "
                    f"{', '.join(self.features)}"
                )
            features[name] = self.features[name]
        return self.replace(name=user, features=features)

    def for_domains(
        self, user, *, low, high, size=0, shape=None, also=()
    ) -> "DataSpec":
        """Returns what a model of two domains of float32 images wants of this data.

        Args:
            user: name of the model, for messages.
            low: smallest pixel value it is written for.
            high: largest.
            size: side of its square images in pixels, 0: those of the data, which
                must be alike.
            shape: [h, w, c] of both; None: with the channels of the data, which must
                be alike.
            also: names of further features it needs, unchanged.

        Raises:
            BadInput: the data are not a pair of sets, or differ where they may not.
        """
        if not {"source", "target"} <= set(self.features):
            raise BadInput(
                f"{user} needs two domains, source and target; data {self.name!r} is "
                "one: give --target_dataset"
            )
        source, target = (self.features[n].shape for n in ("source", "target"))
        alike = source[-1] == target[-1] and (size or source == target)
        if shape is None and not alike:
            ours, theirs = ("x".join(map(str, x)) for x in (source, target))
            advice = "give an image_size, --image_size=64 say"
            if source[-1] != target[-1]:
                advice = "they must have the same number of channels"
            raise BadInput(
                f"the domains of data {self.name!r} differ, {ours} and {theirs}: "
                f"{advice}"
            )
        shape = shape or ((size, size, source[-1]) if size else source)
        image = Feature(shape, "float32", low, high)
        others = {name: self.features[name] for name in also if name in self.features}
        features = {"source": image, **others, "target": image}
        return self.replace(name=user, features=features)

    def to_json(self) -> dict:
        """Returns plain dicts, lists, numbers and strings; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict) -> "DataSpec":
        """Rebuilds the spec that `to_json` described, exactly.

        Raises:
            BadInput: keys are missing or unknown.
        """
        try:
            features = {k: Feature(**v) for k, v in content["features"].items()}
            return cls(**{**content, "features": features})
        except (TypeError, KeyError, AttributeError) as error:
            raise BadInput(f"this is not a data description: {error}") from error


def adapter(source: DataSpec, target: DataSpec) -> tuple[Callable[[dict], dict], str]:
    """Makes the function that turns batches of `source` into what `target` declares.

    Pictures, and frames of clips, whose size differs are cut to the target's aspect
    ratio around their centre, then padded with the lowest value if each side grows by
    at most 1/4, else resized bilinearly (with antialiasing where they shrink). Gray
    is repeated to RGB, RGB becomes luminance. Sound of another rate is resampled, then
    cut at its end or lengthened by silence. Values are mapped linearly from range to
    range. Features that `target` does not name pass through unchanged.

    Args:
        source: what the batches hold.
        target: what the model was written for.

    Returns:
        The function, dict of `[rows, ...]` tensors to dict of `[rows, ...]` tensors,
        made of TensorFlow ops with static shapes that run on any device; and one line
        that says what it does.

    Raises:
        BadInput: `target` needs something that `source` cannot give.
    """
    changes, lines = {}, []
    for name, wanted in target.features.items():
        if name not in source.features:
            raise BadInput(
                f"{target.name!r} needs {name!r}, which data {source.name!r} lacks; "
                f"it has: {', '.join(source.features)}"
            )
        given = source.features[name]
        if len(given.classes) > len(wanted.classes) > 0:
            raise BadInput(
                f"{target.name!r} knows {len(wanted.classes)} classes of {name!r}, "
                f"data {source.name!r} has {len(given.classes)}"
            )
        known = wanted.classes[: len(given.classes)]
        if name != "tokens" and known and given.classes != known:
            raise BadInput(
                f"{target.name!r} knows {name!r} as {_listed(known)}, data "
                f"{source.name!r} as {_listed(given.classes)}"
            )
        if name == "tokens" and given.classes != wanted.classes:
            raise BadInput(
                f"{target.name!r} reads other words than those of data "
                f"{source.name!r}: its vocabulary is of the data it was trained on"
            )
        if _same_values(given, wanted):
            continue
        what = f"{name!r} of data {source.name!r} for {target.name!r}"
        changes[name], line = _feature_adapter(given, wanted, what)
        lines.append(f"{name} {line}")

    def adapt(batch):
        return {k: changes[k](v) if k in changes else v for k, v in batch.items()}

    return adapt, "; ".join(lines) or "unchanged"


def _listed(names) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown}, ..." if len(names) > 5 else shown


def to_uint8(images, feature: Feature):
    """Returns pictures as bytes: `feature`'s range to 0..255, rounded and clipped.

    Args:
        images: array or tensor with values in [feature.low, feature.high]; values
            outside are clipped, NaN becomes 0 (a broken model still gives a picture).
        feature: where the range is read; uint8 images are returned as they are.

    Returns:
        uint8, same shape, an array for an array and a tensor for a tensor.

    Raises:
        BadInput: the feature has no value range.
    """
    if images.dtype == "uint8":
        return images
    if feature.low is None:
        raise BadInput("pictures need a feature with a value range")
    factor = 255.0 / (feature.high - feature.low)
    if isinstance(images, np.ndarray):
        bytes_ = (images.astype("float32") - feature.low) * factor
        bytes_ = np.where(np.isnan(bytes_), 0, np.clip(np.rint(bytes_), 0, 255))
        return bytes_.astype("uint8")
    import tensorflow as tf

    bytes_ = (tf.cast(images, tf.float32) - feature.low) * factor
    bytes_ = tf.clip_by_value(tf.round(bytes_), 0, 255)
    return tf.cast(tf.where(tf.math.is_nan(bytes_), 0.0, bytes_), tf.uint8)


def _same_values(given: Feature, wanted: Feature) -> bool:
    """Whether rows of `given` are rows of `wanted` already."""
    same_range = wanted.low is None or _range(given) == _range(wanted)
    same_kind = (given.shape, given.dtype) == (wanted.shape, wanted.dtype)
    return same_range and same_kind and not _is_resampled(given, wanted)


def _is_resampled(given: Feature, wanted: Feature) -> bool:
    """Whether both name a sampling rate, and another one."""
    rates = {given.sample_rate, wanted.sample_rate} - {None}
    return len(rates) == 2


def _range(feature: Feature):
    """(low, high); bytes and int16 without a declared range have their type's."""
    if feature.low is None:
        return {"uint8": (0.0, 255.0), "int16": PCM16}.get(feature.dtype, (None, None))
    return feature.low, feature.high


def _feature_adapter(given: Feature, wanted: Feature, what: str):
    """Returns the function `[rows, *given.shape] -> [rows, *wanted.shape]`, a line."""
    import tensorflow as tf

    if wanted.dtype != "float32" or given.dtype == "string":
        raise BadInput(
            f"cannot turn {what} from {given.dtype} {list(given.shape)} "
            f"into {wanted.dtype} {list(wanted.shape)}"
        )
    (low, high), (new_low, new_high) = _range(given), _range(wanted)
    if new_low is not None and low is None:
        raise BadInput(f"the value range of {what} is unknown: it cannot be scaled")
    stages, words = [], []
    if {given.sample_rate, wanted.sample_rate} != {None}:
        stages, words = _sound_stages(given, wanted, what)
    elif given.shape != wanted.shape:
        stages, words = _picture_stages(given, wanted, what, low or 0.0)
    # Dividing by the ratio keeps both ends exact: 255 / 127.5 - 1 == 1.
    ratio = (high - low) / (new_high - new_low) if new_low is not None else 1.0

    def adapt(x):
        x = tf.cast(x, tf.float32)
        for stage in stages:
            x = stage(x)
        return (x - low) / ratio + new_low if new_low is not None else x

    before = "x".join(map(str, given.shape)) or "number"
    after = "x".join(map(str, wanted.shape)) or "number"
    after = after + " " if after != before else ""
    line = f"{before} {given.dtype} {given.value_range}".rstrip()
    line += f" -> {after}{wanted.dtype} {wanted.value_range}".rstrip()
    rest = "cast" if new_low is None else "scaled"
    return adapt, f"{line}: {', '.join(words) or rest}"


def _sound_stages(given: Feature, wanted: Feature, what: str):
    """Returns float32 functions that change rate and length, and words for them."""
    if len(given.shape) != 1 or len(wanted.shape) != 1:
        raise BadInput(
            f"cannot turn {what} from shape {list(given.shape)} into "
            f"{list(wanted.shape)}: sound is [samples]"
        )
    middle = sum(_range(given)) / 2 if _range(given)[0] is not None else 0.0
    if middle and given.shape != wanted.shape:
        raise BadInput(f"{what} has no silence at 0: it cannot change its length")
    return sound.adapter(given, wanted)


def _picture_stages(given: Feature, wanted: Feature, what: str, low: float):
    """Returns float32 functions that change size and channels, and words for them."""
    import tensorflow as tf

    rank = len(given.shape)
    if (
        rank not in (3, 4)
        or rank != len(wanted.shape)
        or given.shape[:-3] != wanted.shape[:-3]
        or not {given.shape[-1], wanted.shape[-1]} <= {1, 3}
    ):
        raise BadInput(
            f"cannot turn {what} from shape {list(given.shape)} into "
            f"{list(wanted.shape)}: only height, width and gray or RGB can change"
            + ("; give frames while loading" if rank == len(wanted.shape) == 4 else "")
        )
    *_, height, width, channels = given.shape
    *_, new_height, new_width, new_channels = wanted.shape
    stages, words = [], []

    # Largest centred window with the target's aspect ratio.
    cut_height = min(height, max(1, round(width * new_height / new_width)))
    cut_width = min(width, max(1, round(height * new_width / new_height)))
    if (cut_height, cut_width) != (height, width):
        top, left = (height - cut_height) // 2, (width - cut_width) // 2
        bottom, right = top + cut_height, left + cut_width
        stages.append(lambda x: x[..., top:bottom, left:right, :])
        words.append(f"cropped to {cut_height}x{cut_width}")

    if channels > new_channels:
        stages.append(lambda x: tf.einsum("...c,c->...", x, LUMINANCE)[..., None])
        words.append("RGB to luminance")

    above, beside = new_height - cut_height, new_width - cut_width
    if above or beside:
        if 0 <= 4 * above <= cut_height and 0 <= 4 * beside <= cut_width:
            rows, columns = (above // 2, -(-above // 2)), (beside // 2, -(-beside // 2))
            paddings = [(0, 0)] * (rank - 2) + [rows, columns, (0, 0)]
            stages.append(lambda x: tf.pad(x, paddings, constant_values=low))
            words.append("padded")
        else:
            # Two small matrix products: they run on every device, unlike
            # tf.image.resize(antialias=True), whose kernel exists for the CPU only.
            down = _resize_matrix(cut_height, new_height)
            across = _resize_matrix(cut_width, new_width)
            stages.append(lambda x: tf.einsum("hs,...swc->...hwc", down, x))
            stages.append(lambda x: tf.einsum("wt,...htc->...hwc", across, x))
            words.append("resized")

    if channels < new_channels:
        stages.append(lambda x: tf.tile(x, [1] * rank + [new_channels]))
        words.append("gray repeated to RGB")
    return stages, words


def _resize_matrix(size: int, new_size: int) -> np.ndarray:
    """Bilinear interpolation as a float32 matrix `[new_size, size]`.

    Pixel centres lie at half-integers; where the picture shrinks, the triangle is as
    wide as a new pixel (antialiasing). Rows sum to 1.
    """
    scale = size / new_size
    centres = (np.arange(new_size)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centres) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")
