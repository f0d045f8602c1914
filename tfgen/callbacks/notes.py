"""Notes of fixed latents: rainbowgrams to look at, sound to listen to."""

import os
import pathlib

import numpy as np
import tensorflow as tf
from scipy import signal
from scipy.io import wavfile

from tfgen.callbacks.pictures import grid, write_png
from tfgen.callbacks.steps import AtSteps

QUIETEST = 60.0  # dB below the loudest point: black


def rainbowgram(audio, sample_rate, height=128, width=128):
    """Draw a note: time to the right, frequency upwards, on the mel scale.

    Loudness is brightness, over 60 dB. The hue is the instantaneous frequency: how far
    the phase turns from one column to the next, a full turn being all colours. A steady
    partial is a stripe of one colour, noise has all colours.

    Args:
        audio: `[samples]`, any scale.
        sample_rate: Hz.
        height: Pixels.
        width: Pixels, at most one a sample.

    Returns:
        uint8 `[height, width, 3]`.
    """
    from matplotlib.colors import hsv_to_rgb

    audio = np.nan_to_num(np.asarray(audio, "float64"))
    window = 2 ** round(np.log2(0.064 * sample_rate))
    window = max(16, min(window, 2 ** int(np.log2(len(audio)))))
    hop = max(1, len(audio) // width)
    spectra = _spectra(audio, window, hop, width + 1)
    turn = np.angle(spectra[1:] * np.conj(spectra[:-1]))
    hue = (turn / (2 * np.pi) + 0.5) % 1.0
    loud = np.abs(spectra[1:])
    level = 20 * np.log10(np.maximum(loud, 1e-12) / max(loud.max(), 1e-9))
    value = np.clip(1 + level / QUIETEST, 0.0, 1.0)
    rows = []
    for bins in _mel_rows(height, window, sample_rate):
        loudest = loud[:, bins].argmax(axis=1)[:, None]
        parts = [np.take_along_axis(x[:, bins], loudest, 1) for x in (hue, value)]
        rows.append(np.concatenate(parts, axis=1))
    hue, value = np.stack(rows[::-1]).transpose(2, 0, 1)
    picture = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.9), value], axis=-1))
    return np.rint(255 * picture).astype("uint8")


def _spectra(audio, window, hop, frames):
    """Windowed spectra `[frames, window / 2 + 1]`, the first before the sound."""
    reach = hop * (frames - 1) + window
    before = window // 2 + hop
    padded = np.zeros(max(reach, before + len(audio)))
    padded[before : before + len(audio)] = audio
    parts = np.lib.stride_tricks.sliding_window_view(padded[:reach], window)[::hop]
    return np.fft.rfft(parts * signal.windows.hann(window, sym=False), axis=1)


def _mel_rows(height, window, sample_rate):
    """The bins that each row shows the loudest of, rows equally spaced in mel."""
    top = np.log1p(sample_rate / 2 / 700.0)
    hertz = 700.0 * np.expm1(np.linspace(0.0, top, height + 1))
    edges = np.rint(hertz * window / sample_rate).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        low = min(max(low, 1), window // 2)
        yield slice(low, max(high, low + 1))


def rainbowgrams(audio, sample_rate, columns=None):
    """Return one picture of notes `[n, samples]`, uint8 `[h, w, 3]`."""
    return grid([rainbowgram(note, sample_rate) for note in audio], columns)


def write_wav(path, audio, sample_rate):
    """Write sound `[samples]` in [-1, 1], clipped, as 16 bits; whole or not at all."""
    samples = np.nan_to_num(np.asarray(audio, "float64"))
    samples = np.rint(32767 * np.clip(samples, -1.0, 1.0)).astype("int16")
    partial = pathlib.Path(path).with_suffix(".partial")
    with open(partial, "wb") as file:
        wavfile.write(file, sample_rate, samples)
    os.replace(partial, path)


class SampleNotes(AtSteps):
    """Write `samples/step_<n>.png` and `.wav`: notes of the same latents, over time.

    They come from `model.sample`, so from the moving average where there is one; the
    WAV file has them one after another.

    Args:
        folder: Run folder; files go to its `samples`.
        every: Steps between them.
        num: Notes.
        also: Called with (step, picture), uint8 `[h, w, 3]`, besides.
        sounds: Called with (step, audio `[n, samples]`, Hz), of the first notes.
        played: How many of them `sounds` gets.
    """

    def __init__(self, folder, every=500, num=16, also=None, sounds=None, played=4):
        super().__init__()
        self.folder = pathlib.Path(folder) / "samples"
        self.every, self.num, self.played = every, num, played
        self.also, self.sounds = also, sounds

    def begin(self, step):
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sample = tf.function(
            lambda: self.model.sample(self.num, seed=0), autograph=False
        )

    def at(self, step, logs):
        """Draw when due."""
        if not self.due(self.every):
            return
        audio, rate = self._sample().numpy(), self.model.spec.audio.sample_rate
        picture = rainbowgrams(audio, rate)
        stem = self.folder / f"step_{step:09d}"
        write_png(stem.with_suffix(".png"), picture)
        write_wav(stem.with_suffix(".wav"), audio.reshape(-1), rate)
        if self.also:
            self.also(step, picture)
        if self.sounds:
            self.sounds(step, audio[: self.played], rate)
