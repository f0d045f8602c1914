"""Small data made in memory, the same in every process."""

import numpy as np

from tfgen.core.spec import DataSpec, Feature
from tfgen.data import Stream

ROWS = 256
CLASSES = tuple("0123456789")
DOMAINS = ("source", "target")  # of `pair`


def digits(size=28, rows=ROWS):
    """Arrays of `rows` grey pictures: one stroke whose slant tells the class."""
    random = np.random.default_rng(size)
    label = np.arange(rows, dtype="int64") % len(CLASSES)
    angle = np.pi * label / len(CLASSES) + random.normal(0, 0.05, rows)
    centre = size / 2 + random.normal(0, size / 14, [2, rows, 1, 1])
    y, x = np.mgrid[:size, :size] + 0.5
    y, x = y - centre[0], x - centre[1]
    angle = angle[:, None, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = x * np.sin(angle) - y * np.cos(angle)
    ink = np.exp(-((across / (size / 14)) ** 2) - (along / (size / 3)) ** 4)
    image = np.round(255 * ink)[..., None].astype("uint8")
    return {"image": image, "label": label}


def stream(size=28, batch=16, rows=ROWS, seed=0):
    """A training stream of `digits`."""
    features = {
        "image": Feature((size, size, 1), "uint8", 0, 255),
        "label": Feature((), "int64", classes=CLASSES),
    }
    spec = DataSpec("synthetic", rows, features)
    return Stream(digits(size, rows), spec, batch=batch, seed=seed)


def pair(size=28, batch=16, rows=ROWS, seed=0):
    """A source of `digits` and a target of fewer, turned by a quarter."""
    from tfgen.data import PairStream

    source = stream(size, batch, rows, seed)
    fewer = {name: x[: rows - rows // 4] for name, x in digits(size, rows).items()}
    fewer["image"] = np.ascontiguousarray(np.rot90(fewer["image"], axes=(1, 2)))
    target = Stream(fewer, source.spec, batch=batch, seed=seed + 1)
    return PairStream(source, target)


def clips(size=8, batch=16, rows=ROWS, seed=0, frames=4):
    """A training stream of clips of moving shapes, with their sentences and labels."""
    from tfgen.data import shapes

    kind = shapes.Variant(
        "tiny",
        side=size,
        frames=frames,
        sizes=(("small", size / 4), ("large", size / 2)),
        colours=("red", "green", "blue"),
        paths=shapes.STRAIGHT,
        speed=size / 4 / (frames - 1),
        clips=(rows, 1),
    )
    made = shapes.rows(kind)
    return Stream(
        made.train, DataSpec("clips", rows, made.features), batch=batch, seed=seed
    )


def notes(size=8, batch=16, rows=ROWS, seed=0):
    """A training stream of 8 x `size` samples of tones, an octave of pitches."""
    random = np.random.default_rng(size)
    pitch = np.arange(rows, dtype="int64") % 12
    hertz = 440 * 2.0 ** ((pitch + 84 - 69) / 12)
    cycles = hertz[:, None] * np.arange(8 * size) / 16000
    cycles += random.uniform(size=[rows, 1])
    loudness = random.uniform(0.2, 0.9, [rows, 1])
    audio = np.rint(32767 * loudness * np.sin(2 * np.pi * cycles)).astype("int16")
    features = {
        "audio": Feature((8 * size,), "int16", -32768, 32768, sample_rate=16000),
        "pitch": Feature((), "int64", classes=tuple(map(str, range(84, 96)))),
    }
    spec = DataSpec("notes", rows, features)
    return Stream({"audio": audio, "pitch": pitch}, spec, batch=batch, seed=seed)
