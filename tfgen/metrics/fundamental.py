"""The fundamental frequency of notes by YIN (de Cheveigne and Kawahara 2002)."""

import numpy as np
from scipy import signal


def f0(audio, sample_rate, low=25.0, high=2500.0, threshold=0.15):
    """Hz of a steady note `[samples]`; NaN where nothing is periodic.

    Steps 2 to 5 of the paper: the difference function of the whole excerpt, its
    cumulative mean, the first dip below the threshold, a parabola through it.
    """
    audio = np.asarray(audio, "float64")
    if not np.any(audio):
        return np.nan
    longest = min(int(sample_rate / low), len(audio) // 2)
    shortest = max(2, int(sample_rate / high))
    window = len(audio) - longest
    head = audio[:window]
    power = np.concatenate([[0.0], np.cumsum(audio**2)])
    lags = np.arange(longest + 1)
    products = signal.correlate(audio, head, "valid", "fft")[: longest + 1]
    difference = power[window] + power[lags + window] - power[lags] - 2 * products
    means = np.cumsum(difference[1:]) / lags[1:]
    normal = np.concatenate([[1.0], difference[1:] / np.maximum(means, 1e-12)])
    below = np.flatnonzero(normal[shortest:-1] < threshold)
    if not len(below):
        return np.nan
    lag = below[0] + shortest
    while lag + 1 < longest and normal[lag + 1] < normal[lag]:
        lag += 1
    before, at, after = difference[lag - 1 : lag + 2]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return sample_rate / (lag + shift)


def cents(hertz, other):
    """How far a frequency lies above another, in hundredths of a semitone."""
    return 1200 * np.log2(hertz / other)


def midi_hertz(pitch):
    """Hz of a MIDI number."""
    return 440.0 * 2.0 ** ((np.asarray(pitch) - 69) / 12)


def cents_off(audio, sample_rate, midi):
    """How far notes lie from their pitches, `[n]` hundredths of a semitone.

    Between an eighth and a half of their length: after the attack, before the release.

    Args:
        audio: `[n, samples]`.
        sample_rate: In Hz.
        midi: `[n]` numbers of keys.

    Returns:
        float64, NaN where nothing is periodic.
    """
    held = slice(audio.shape[1] // 8, audio.shape[1] // 2)
    found = np.array([f0(note[held], sample_rate) for note in audio])
    return cents(found, midi_hertz(np.asarray(midi)))
