"""A MIDI file played by a generator of notes, whose timbre wanders through latents."""

import numpy as np

from tfgen.core.errors import BadInput

from . import latents

LONGEST = 3.0  # seconds that a note is held at most
ATTACK, RELEASE = 0.01, 0.3  # seconds, both linear
PER_TIMBRE = 5.0  # seconds from one latent to the next
ROWS = 16  # notes in one pass


def read(path):
    """Return the notes of a MIDI file, drums left out, in the order of their onsets.

    Args:
        path: The file.

    Returns:
        Arrays onset and length in seconds, pitch and velocity, each `[notes]`.

    Raises:
        BadInput: Not a MIDI file, no notes in it, or pretty_midi is missing.
        OSError: It cannot be read.
    """
    try:
        import pretty_midi
    except ImportError:
        raise BadInput("--midi needs the package pretty_midi: pip install it") from None
    try:
        song = pretty_midi.PrettyMIDI(str(path))
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadInput(f"{path} is not a MIDI file: {error}") from None
    except Exception as error:  # whatever a parser of bytes stumbles over
        raise BadInput(f"{path} is not a MIDI file: {error}") from None
    notes = sorted(
        (note.start, note.end - note.start, note.pitch, note.velocity)
        for instrument in song.instruments
        if not instrument.is_drum
        for note in instrument.notes
    )
    if not notes:
        raise BadInput(f"{path} has no notes that are not drums")
    onset, length, pitch, velocity = map(np.array, zip(*notes, strict=True))
    return onset, length, pitch, velocity


def moved(pitch, valid):
    """Return each pitch, moved by octaves to the nearest that is valid.

    Without such an octave it becomes the nearest valid pitch.

    Args:
        pitch: MIDI numbers `[notes]`.
        valid: MIDI numbers.
    """
    valid = np.sort(valid)

    def nearest(p):
        octaves = valid[(valid - p) % 12 == 0]
        choices = octaves if len(octaves) else valid
        return choices[np.abs(choices - p).argmin()]

    return np.array([nearest(p) for p in pitch])


def timbres(onset, draw):
    """Return a latent a note: on great circles between one each `PER_TIMBRE` seconds.

    Args:
        onset: Seconds `[notes]`.
        draw: Number of latents -> `[number, size]`.
    """
    place = onset / PER_TIMBRE
    stops = draw(int(place.max()) + 2)
    before = place.astype(int)
    share = np.float32(place - before)[:, None]
    return latents.spherical(stops[before], stops[before + 1], share)


def render(notes, z, play, sample_rate):
    """Return a song as sound `[samples]`, its peak at 1/2.

    Each note is brought to a peak of velocity / 127; it rises for 10 ms, is held as
    long as it is written, 3 s at most, and falls for 0.3 s.

    Args:
        notes: What `read` returns.
        z: Latents `[notes, size]`.
        play: (z, pitch) of some notes -> sound `[rows, samples]`.
        sample_rate: Hz.
    """
    onset, length, pitch, velocity = notes
    length = np.minimum(length, LONGEST)
    first = np.rint(onset * sample_rate).astype(int)
    song = np.zeros(first.max() + int((LONGEST + RELEASE) * sample_rate) + 1)
    for start in range(0, len(pitch), ROWS):
        part = slice(start, start + ROWS)
        sounds = play(z[part], pitch[part])
        rows = zip(sounds, first[part], length[part], velocity[part], strict=True)
        for sound, where, held, loud in rows:
            sound = sound[: int((held + RELEASE) * sample_rate)]
            sound = sound[: len(song) - where]
            time = np.arange(len(sound)) / sample_rate
            envelope = np.minimum(time / ATTACK, 1.0)
            envelope *= np.clip(1 - (time - held) / RELEASE, 0.0, 1.0)
            peak = max(np.abs(sound).max(), 1e-9)
            song[where : where + len(sound)] += sound * envelope * loud / 127 / peak
    end = np.flatnonzero(song)
    song = song[: end[-1] + 1] if len(end) else song
    return song / (2 * max(np.abs(song).max(), 1e-9))
