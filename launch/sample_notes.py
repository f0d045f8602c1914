"""Sound of a generator of notes: WAV files, rainbowgrams, a MIDI file played.

A mode is a function of (source, flags, out) that returns a function writing to a path,
the number of notes, and what else to report.
"""

import sys

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import in_parts

from . import latents, midi

# What each mode asks of a model.
NEEDS = {"grid": "sample", "interpolate": "render", "midi": "render"}
ROWS = 16  # notes in one pass
MOST = 1000  # notes at a time


def grid(source, flags, out):
    """--num notes, of the pitches in turn; with --pitch, a row of --num a pitch."""
    if not flags.pitch:
        names = source.spec.features["pitch"].classes
        pitch = [int(names[i % len(names)]) for i in range(flags.num)]
        z = source.draw(flags.num)
        return _notes(source, z, pitch, None, out)
    chosen = _pitches(source, flags)
    z = np.tile(source.draw(flags.num), [len(chosen), 1])
    return _notes(source, z, np.repeat(chosen, flags.num), flags.num, out)


def interpolate(source, flags, out):
    """Rows of --columns notes from one latent to another, the pitches in turn."""
    chosen = _pitches(source, flags) or [_middle(source)]
    ends = source.draw(2 * flags.num)
    first, last = ends.reshape([2, flags.num, 1, -1])
    share = np.linspace(0.0, 1.0, flags.columns, dtype="float32")[:, None]
    between = {"linear": latents.linear, "spherical": latents.spherical}[flags.path]
    z = between(first, last, share).reshape([flags.num * flags.columns, -1])
    pitch = np.repeat(np.resize(chosen, flags.num), flags.columns)
    return _notes(source, z, pitch, flags.columns, out)


def play(source, flags, out):
    """--midi as sound."""
    from tfgen.callbacks.notes import write_wav

    if not flags.midi:
        raise BadInput("--mode=midi needs --midi: a MIDI file")
    onset, length, pitch, velocity = midi.read(flags.midi)
    valid = [int(name) for name in source.spec.features["pitch"].classes]
    fitting = midi.moved(pitch, valid)
    outside = int(np.sum(fitting != pitch))
    if outside:
        print(
            f"{outside} of {len(pitch)} notes lie outside the model's pitches, "
            f"{_range(source)}, and are moved, by octaves where that is possible",
            file=sys.stderr,
        )
    z = midi.timbres(onset, source.draw)
    rate = source.spec.audio.sample_rate
    song = midi.render(
        (onset, length, fitting, velocity), z, lambda z, p: _sound(source, z, p), rate
    )
    report = {"seconds": round(len(song) / rate, 3), "moved": outside}
    return lambda path: write_wav(path, song, rate), len(pitch), report


MODES = {"grid": grid, "interpolate": interpolate, "midi": play}


def _notes(source, z, pitch, columns, out):
    """Write a WAV file a note into the folder `out` without its ending."""
    from tfgen.callbacks.notes import rainbowgrams, write_wav
    from tfgen.callbacks.pictures import write_png

    if len(z) > MOST:
        raise BadInput(f"more than {MOST} notes at a time: lower --num")
    audio = in_parts(lambda *part: _sound(source, *part), z, pitch, rows=ROWS)
    rate, folder = source.spec.audio.sample_rate, out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("pitch_???_???.wav"):
        earlier.unlink()
    for number, (note, midi_number) in enumerate(zip(audio, pitch, strict=True)):
        name = f"pitch_{midi_number:03d}_{number:03d}.wav"
        write_wav(folder / name, note, rate)
    picture = rainbowgrams(audio, rate, columns)
    return lambda path: write_png(path, picture), len(audio), {"notes": str(folder)}


def _sound(source, z, pitch):
    return source.images("render", z, np.asarray(pitch, "int64"))


def _pitches(source, flags):
    """--pitch as MIDI numbers, [] if it is not given."""
    valid = source.spec.features["pitch"].classes
    for text in flags.pitch:
        if text not in valid:
            raise BadInput(
                f"--pitch={text}: {source.name} plays the MIDI numbers {_range(source)}"
            )
    return [int(text) for text in flags.pitch]


def _middle(source):
    names = source.spec.features["pitch"].classes
    return int(names[len(names) // 2])


def _range(source):
    """The pitches of a model, such as "24 to 84"."""
    numbers = sorted(int(name) for name in source.spec.features["pitch"].classes)
    whole = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else ", ".join(map(str, numbers))
