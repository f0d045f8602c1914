"""`folder:PATH` of WAV files: notes whose pitch is in their names or in a list.

The pitch, a MIDI number from 0 to 127, is looked for in this order:

    pitches.csv in the folder, with the columns file and pitch, perhaps velocity
    NSynth's names, flute_acoustic_002-060-100.wav: pitch 60, velocity 100
    pitch_60 or pitch60 anywhere in a name
    _060_ in a name, or _060 at its end: three digits

Sub-folders, at any depth below them, name the instrument; above these may be splits,
see `tfgen.data.tree`. Channels are mixed to one. The rate is that of most files, and
the length that of the longest; others are resampled or followed by silence, which
`Rows.remarks` says. Samples become 16 bits.
"""

import collections
import csv
import math
import re
import warnings
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from tfgen.core.errors import BadInput
from tfgen.core.spec import PCM16, Feature
from tfgen.data import tree
from tfgen.data.rows import Rows, check_memory, one_line

LIST = "pitches.csv"
QUIET = 1e-4  # a peak below this is silence: three steps of 16 bits
PATTERNS = (
    re.compile(r"-(?P<pitch>\d{3})-(?P<velocity>\d{3})$"),
    re.compile(r"pitch_?(?P<pitch>\d{1,3})(?!\d)", re.IGNORECASE),
    re.compile(r"_(?P<pitch>\d{3})(?:_|$)"),
)
NAMING = (
    f"expected a line in {LIST} (file,pitch) or a name like flute-060-100.wav, "
    "pitch_60.wav or flute_060.wav"
)


def read(root: Path, name: str, on_corrupt: str = "stop") -> Rows:
    """Reads all notes below a folder that has some.

    Args:
        root: the folder.
        name: what the user called it.
        on_corrupt: "stop" or "skip" where a file is broken, silent or without a pitch.

    Returns:
        "audio" int16, "pitch", class numbers named by the MIDI numbers that occur;
        "velocity" where every file has one, and "instrument" if there are sub-folders.

    Raises:
        BadInput: a file is no WAV, is silent, or its pitch is unknown or out of range.
        OSError: something cannot be read.
    """
    listed = _list(root / LIST)
    notes, skipped = [], []
    for path in tree.files(root, (".wav",)):
        try:
            marks = _marks(path, root, listed)
            notes.append((path, marks, *read_file(path)))
        except BadInput as error:
            if on_corrupt != "skip":
                raise
            skipped.append(str(error))
    if not notes:
        raise BadInput(f"{name} has no usable note: {skipped[0]}")

    paths, marks, audio, rates, channels = zip(*notes, strict=True)
    (rate, _), *_ = collections.Counter(rates).most_common(1)
    audio = [
        x if r == rate else resample(x, r, rate)
        for x, r in zip(audio, rates, strict=True)
    ]
    length = max(map(len, audio))
    check_memory(2 * length * len(audio), name)
    samples = np.zeros((len(audio), length), "int16")
    for row, x in zip(samples, audio, strict=True):
        row[: len(x)] = to_pcm16(x)

    features = {"audio": Feature((length,), "int16", *PCM16, sample_rate=rate)}
    train = {"audio": samples}
    pitches = sorted({m["pitch"] for m in marks})
    features["pitch"] = Feature((), "int64", classes=tuple(map(str, pitches)))
    train["pitch"] = np.array([pitches.index(m["pitch"]) for m in marks])
    if all("velocity" in m for m in marks):
        features["velocity"] = Feature((), "int64")
        train["velocity"] = np.array([m["velocity"] for m in marks])
    arranged = tree.Tree(root, list(paths), "sounds")
    if all(arranged.parents):
        names = sorted({parts[0] for parts in arranged.parents})
        features["instrument"] = Feature((), "int64", classes=tuple(names))
        train["instrument"] = np.array([names.index(p[0]) for p in arranged.parents])
    remarks = _remarks(rates, rate, channels, audio, length)
    return Rows(
        features,
        **arranged.divided(train),
        skipped=tuple(skipped),
        remarks=(*remarks, *tree.remarks(root)),
    )


def _remarks(rates, rate, channels, audio, length):
    """One line for each thing that was done to some of the files."""
    total, found = len(rates), []
    for other, count in sorted(collections.Counter(rates).items()):
        if other != rate:
            found.append((count, f"resampled from {other} to {rate} Hz"))
    found.append((sum(n > 1 for n in channels), "mixed to one channel"))
    found.append(
        (sum(len(x) < length for x in audio), f"lengthened to {length} samples")
    )
    return tuple(f"{n} of {total} WAV files {what}" for n, what in found if n)


def _list(path: Path) -> dict[str, dict[str, int]]:
    """Pitch, and velocity, by file name, of `pitches.csv`; {} if there is none."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {
            row["file"].strip(): {
                key: int(row[key]) for key in ("pitch", "velocity") if row.get(key)
            }
            for row in rows
        }
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError, AttributeError):
        raise BadInput(
            f"{path} is not a list of pitches: columns file and pitch, a whole number"
        ) from None


def _marks(path: Path, root: Path, listed) -> dict[str, int]:
    """Pitch, and velocity if known, of a file."""
    marks = listed.get(path.relative_to(root).as_posix()) or listed.get(path.name)
    for pattern in PATTERNS:
        if not marks and (match := pattern.search(path.stem)):
            marks = {key: int(value) for key, value in match.groupdict().items()}
    if not marks or "pitch" not in marks:
        raise BadInput(f"{path} names no pitch; {NAMING}")
    for key, value in marks.items():
        if not 0 <= value <= 127:
            raise BadInput(f"{path}: {key} {value} is no MIDI number, 0 to 127")
    return marks


def read_file(path) -> tuple[np.ndarray, int, int]:
    """Reads one WAV file: PCM of 8 to 32 bits, or floats.

    Returns:
        float32 `[samples]` in [-1, 1], the mean of all channels; the rate in Hz; the
        number of channels.

    Raises:
        BadInput: not a WAV file, or silent.
        OSError: it cannot be read.
    """
    with warnings.catch_warnings():
        # Chunks that hold no sound, such as names and loops.
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        try:
            rate, data = wavfile.read(path)
        except OSError:
            raise
        except Exception as error:  # struct.error, ValueError, EOFError, ...
            reason = one_line(error)
            raise BadInput(f"{path} is not a usable WAV file: {reason}") from None
    if data.dtype.kind == "u":
        audio = (data.astype("float32") - 128.0) / 128.0
    elif data.dtype.kind == "i":
        audio = data.astype("float32") / -float(np.iinfo(data.dtype).min)
    else:
        audio = data.astype("float32")
    channels = 1 if audio.ndim == 1 else audio.shape[1]
    if audio.ndim > 1:
        audio = audio.mean(axis=1)
    if not np.isfinite(audio).all():
        raise BadInput(f"{path} is not a usable WAV file: it holds NaN or infinity")
    if not audio.size or np.abs(audio).max() < QUIET:
        raise BadInput(f"{path} is silent; remove it, or give --on_corrupt=skip")
    return audio, int(rate), channels


def resample(audio: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Returns sound `[..., samples]` at another rate, by a polyphase filter."""
    divisor = math.gcd(rate, new_rate)
    return signal.resample_poly(audio, new_rate // divisor, rate // divisor, axis=-1)


def to_pcm16(audio: np.ndarray) -> np.ndarray:
    """Returns sound in [-1, 1] as int16, full scale 32768, rounded and clipped."""
    scaled = np.rint(np.asarray(audio, "float64") * PCM16[1])
    return np.clip(scaled, -32768, 32767).astype("int16")
