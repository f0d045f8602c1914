"""`synth_notes`: notes of twelve made-up instruments, no file and no package needed.

Nine instruments are sums of harmonics, each with its own level and decay; three are
plucked strings by the algorithm of Karplus and Strong (1983): noise that runs round a
loop of one period and loses brightness. A note is held for three quarters of its
length, then released. Takes of one note differ in loudness, brightness, onset and
phases. Take t of an instrument and a pitch is the same in every set that has it.
"""

from dataclasses import dataclass

import numpy as np

from tfgen.core.spec import PCM16, Feature
from tfgen.data.rows import Rows

SAMPLE_RATE = 16000  # Hz
HELD = 0.75  # share of a note before its release
TEST = 5  # every fifth take is for testing
SEED = 9


@dataclass(frozen=True)
class Harmonics:
    """An instrument that adds up harmonics k = 1, 2, ... of the pitch.

    Attributes:
        levels: of the first harmonics.
        slope: level of harmonic k beyond those is that of the last * (last / k)^slope.
        attack: seconds until full loudness.
        decay: time constant of the fundamental in seconds; None: it is sustained.
        damping: harmonic k decays 1 + damping * (k - 1) times as fast.
        vibrato: cents either way, at 5 Hz.
        breath: level of noise.
    """

    levels: tuple[float, ...]
    slope: float = 2.0
    attack: float = 0.01
    decay: float | None = None
    damping: float = 0.0
    vibrato: float = 0.0
    breath: float = 0.0


@dataclass(frozen=True)
class Pluck:
    """A plucked string.

    Attributes:
        smoothing: share of a sample that its two neighbours take each period, in
            [0, 0.5].
        half_life: seconds in which a low note loses half of its level, by loss alone.
        darkness: of the pluck, 0 (noise) to 1 (noise smoothed over half a period).
    """

    smoothing: float
    half_life: float
    darkness: float = 0.0


INSTRUMENTS = {
    "flute": Harmonics((1.0, 0.25, 0.08, 0.03), 3.0, 0.05, breath=0.01, vibrato=6.0),
    "clarinet": Harmonics((1.0, 0.02, 0.6, 0.03, 0.35, 0.04, 0.2), 3.0, 0.02),
    "trumpet": Harmonics((0.7, 0.9, 1.0, 0.8, 0.6, 0.45, 0.3), 2.0, 0.03),
    "strings": Harmonics((1.0, 0.6, 0.5, 0.4), 1.0, 0.08, vibrato=10.0),
    "organ": Harmonics((1.0, 0.8, 0.5, 0.6, 0.0, 0.3, 0.0, 0.4), 4.0, 0.005),
    "piano": Harmonics((1.0, 0.7, 0.5, 0.35, 0.3), 1.5, 0.002, 0.6, 0.3),
    "guitar": Pluck(0.1, 0.5),
    "harp": Pluck(0.25, 0.8, darkness=0.5),
    "koto": Pluck(0.04, 0.15),
    "reed": Harmonics((0.5, 0.5, 0.9, 1.0, 0.9, 0.5, 0.3), 2.5, 0.015, vibrato=4.0),
    "marimba": Harmonics((1.0, 0.0, 0.0, 0.3, 0.0), 3.0, 0.002, 0.2, 1.0),
    "bass": Harmonics((1.0, 0.5, 0.2, 0.1), 2.5, 0.004, 0.4, 0.5),
}


@dataclass(frozen=True)
class NoteSet:
    """Which notes a set has.

    Attributes:
        pitches: MIDI numbers.
        instruments: how many of `INSTRUMENTS`, the first.
        takes: of each note.
        samples: length of a note.
    """

    pitches: range
    instruments: int
    takes: int
    samples: int


SMALL = NoteSet(range(60, 72), 8, 40, 8192)
SETS = {
    "synth_notes": SMALL,
    "synth_notes/small": SMALL,
    "synth_notes/wide": NoteSet(range(36, 85), 12, 5, 16384),
    "synth_notes/paper": NoteSet(range(24, 85), 12, 5, 64000),
}


def read(name: str) -> Rows:
    """Makes one of `SETS`.

    Returns:
        "audio" int16 `[samples]`, full scale 32768, and the class numbers "pitch"
        (named by MIDI number) and "instrument". Every fifth take is in the test split.
    """
    wanted = SETS[name]
    names = list(INSTRUMENTS)[: wanted.instruments]
    features = {
        "audio": Feature((wanted.samples,), "int16", *PCM16, sample_rate=SAMPLE_RATE),
        "pitch": Feature((), "int64", classes=tuple(map(str, wanted.pitches))),
        "instrument": Feature((), "int64", classes=tuple(names)),
    }
    notes = [(p, i) for p in range(len(wanted.pitches)) for i in range(len(names))]
    audio = np.empty((len(notes), wanted.takes, wanted.samples), "int16")
    for row, (pitch, instrument) in enumerate(notes):
        takes = range(wanted.takes)
        sound = play(names[instrument], wanted.pitches[pitch], takes, wanted.samples)
        audio[row] = np.rint(sound * 32767.0)

    def split(takes):
        pitch, instrument = np.repeat(np.int64(notes), len(takes), axis=0).T
        sound = audio[:, takes].reshape(-1, wanted.samples)
        return {"audio": sound, "pitch": pitch, "instrument": instrument}

    take = np.arange(wanted.takes)
    tested = take % TEST == TEST - 1
    return Rows(features, split(take[~tested]), split(take[tested]))


def play(instrument: str, pitch: int, takes, samples: int) -> np.ndarray:
    """Returns takes of a note, float32 `[takes, samples]`, peaks of 0.3 to 0.9.

    Args:
        instrument: key of `INSTRUMENTS`.
        pitch: MIDI number.
        takes: numbers of the takes.
        samples: length.
    """
    place = list(INSTRUMENTS).index(instrument)
    randoms = [np.random.default_rng([SEED, place, pitch, int(t)]) for t in takes]
    # Loudness, brightness and onset first: the same for any length.
    loudness, bright, onset = np.array([r.uniform(size=3) for r in randoms]).T
    timbre = INSTRUMENTS[instrument]
    make = _pluck if isinstance(timbre, Pluck) else _add_up
    notes = make(timbre, 440.0 * 2 ** ((pitch - 69) / 12), bright, randoms, samples)
    time = np.arange(samples, dtype="float32") / SAMPLE_RATE
    attack = getattr(timbre, "attack", 0.001) * (0.7 + 0.6 * bright)
    attack, onset = (np.float32(x)[:, None] for x in (attack, 0.01 * onset))
    rise = np.clip((time - onset) / attack, 0.0, 1.0)
    held = HELD * samples / SAMPLE_RATE
    release = 0.25 * (samples / SAMPLE_RATE - held)  # time constant
    fall = np.exp(-np.maximum(time - held, 0.0) / release)
    notes *= rise * fall
    peak = np.abs(notes).max(axis=1, keepdims=True)
    return notes * (np.float32(0.3 + 0.6 * loudness)[:, None] / peak)


def _add_up(timbre: Harmonics, hertz, bright, randoms, samples) -> np.ndarray:
    """Sums of harmonics below half the sampling rate, `[takes, samples]`.

    Harmonic k is harmonic k - 1 times one more turn, and one more step of damping.
    """
    count = max(1, min(40, int(0.48 * SAMPLE_RATE / hertz)))
    number = np.arange(1, count + 1)
    last = len(timbre.levels)
    level = timbre.levels[-1] * (last / number) ** timbre.slope
    level[:last] = timbre.levels[:count]
    levels = level * number ** (bright[:, None] - 0.5)  # bright: falls less steeply
    phases = 2 * np.pi * np.array([r.uniform(size=40)[:count] for r in randoms])

    time = np.arange(samples) / SAMPLE_RATE
    # The integral of a frequency that swings by `vibrato` cents at 5 Hz.
    swing = (2 ** (timbre.vibrato / 1200) - 1) / (10 * np.pi)
    turns = hertz * (time + swing * (1 - np.cos(10 * np.pi * time)))
    rate = 1 / timbre.decay if timbre.decay else 0.0
    waves = np.empty((count, samples), "complex64")
    waves[:] = np.exp(2j * np.pi * (turns % 1.0) - timbre.damping * rate * time)
    waves[0] *= np.exp((timbre.damping - 1) * rate * time)
    np.multiply.accumulate(waves, axis=0, out=waves)
    notes = (np.complex64(levels * np.exp(1j * phases)) @ waves).imag
    if timbre.breath:
        noise = [r.standard_normal(samples, "float32") for r in randoms]
        notes += np.float32(timbre.breath) * np.array(noise)
    return notes


def _pluck(timbre: Pluck, hertz, bright, randoms, samples) -> np.ndarray:
    """Karplus-Strong strings, `[takes, samples]`.

    y[n] = x[n] + loss * sum_j c_j y[n - N - j], where c is the smoothing
    (s/2, 1 - s, s/2), which delays by one sample, after a cubic interpolator that
    delays by 1 to 2: the loop is a period long, to a fraction of a sample.
    """
    period = SAMPLE_RATE / hertz
    whole = int(period) - 2  # of N; the rest is delayed by the filters
    delay = period - 1 - whole  # of the interpolator, in [1, 2)
    taps = np.arange(4)
    cubic = [
        np.prod([(delay - j) / (i - j) for j in taps if j != i]) for i in taps
    ]  # Lagrange's polynomial
    smooth = timbre.smoothing
    loop = np.convolve([smooth / 2, 1 - smooth, smooth / 2], cubic)
    loss = 0.5 ** (1 / (timbre.half_life * hertz))

    width = int(np.ceil(period))
    noise = np.array([r.uniform(-1, 1, size=width) for r in randoms])
    reach = 1 + int(timbre.darkness * width / 2)
    blurred = np.array([np.convolve(x, np.ones(reach) / reach, "same") for x in noise])
    mix = np.array(bright)[:, None] if timbre.darkness else 1.0
    noise = blurred + 0.3 * mix * (noise - blurred)
    noise -= noise.mean(axis=1, keepdims=True)
    # Each round of `whole` samples depends on earlier ones alone.
    before = whole + len(loop)
    notes = np.zeros([len(randoms), before + samples + whole])
    notes[:, before : before + width] = noise
    for first in range(before + whole, before + samples, whole):
        part = slice(first, first + whole)
        for j, weight in enumerate(loss * loop):
            earlier = slice(first - whole - j, first - j)
            notes[:, part] += weight * notes[:, earlier]
    return notes[:, before : before + samples].astype("float32")
