"""Sound as pictures of two channels, and back: short-time spectra of notes.

A picture is `[frames, bins, 2]`, time by frequency. Channel 0 is log |S|, or the log
of mel power; channel 1 is the phase, or the instantaneous frequency (IF), which is how
far the phase turns from one frame to the next, wrapped into a half turn either way:

    IF[0] = angle S[0],  IF[t] = wrap(angle S[t] - angle S[t-1]),  all divided by pi

A steady tone has a constant IF, while its phase turns at its own rate (Engel et al.
2019, "GANSynth"). Frames are windowed by a periodic Hann window and overlap by what
`hop` says; silence is put before a note so that the last frame ends with it. The
lowest of the fft / 2 + 1 bins, the mean, is dropped; the inverse puts zero there.

Everything is float32 with static shapes. Phases of empty bins are 0 and have no
gradient: `forward` is for data, and only `inverse` may be differentiated.
"""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

KINDS = ("phase", "if", "if_mel")
MEL_MODES = ("official", "true")
EPSILON = 1e-6  # within every logarithm
MARGIN = 0.8  # what the ends of a range become
# x * scale + offset of (magnitude, IF), published for mel spectrograms of NSynth.
MEL_SCALING = ((0.0661371661726, 0.8), (0.113718730221, 0.0))
_BREAK, _Q = 700.0, 1127.0  # mel = Q log(1 + Hz / break)


@dataclasses.dataclass(frozen=True)
class Representation:
    """How notes become spectrograms.

    Attributes:
        kind: "phase" (log |S|, phase / pi), "if" (log |S|, IF / pi) or "if_mel" (log
            of mel power, IF / pi of the unwrapped phase on mel bins).
        frames: number of spectra.
        bins: fft / 2.
        fft: samples in a window.
        hop: samples from one window to the next, at most fft / 2, a divisor of fft.
        samples: length of a note.
        sample_rate: Hz.
        mel_mode: see `mel_matrix`.
        floor: of |S|; all that is far quieter is silence, of one magnitude and of phase
            0. 0 is as published.

    Raises:
        ValueError: these do not fit together; says what would.
    """

    kind: str
    frames: int
    bins: int
    fft: int
    hop: int
    samples: int
    sample_rate: int = 16000
    mel_mode: str = "official"
    floor: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS or self.mel_mode not in MEL_MODES:
            raise ValueError(
                f"kind {self.kind!r} with mel_mode {self.mel_mode!r}; valid: "
                f"{', '.join(KINDS)}; {', '.join(MEL_MODES)}"
            )
        if self.fft != 2 * self.bins or self.hop < 1 or self.fft % (2 * self.hop):
            raise ValueError(
                f"fft {self.fft}, bins {self.bins}, hop {self.hop}: fft must be twice "
                "the bins and an even number of hops"
            )
        if self.padding < 0:
            raise ValueError(
                f"{self.frames} frames of {self.fft} samples, {self.hop} apart, reach "
                f"over {self.reach} samples, a note has {self.samples}: give more "
                "frames"
            )

    @property
    def reach(self) -> int:
        """Samples that the frames cover."""
        return self.hop * (self.frames - 1) + self.fft

    @property
    def padding(self) -> int:
        """Samples of silence before a note."""
        return self.reach - self.samples

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one spectrogram, [frames, bins, 2]."""
        return self.frames, self.bins, 2

    def forward(self, audio):
        """Turn notes into spectrograms.

        Args:
            audio: float32 `[rows, samples]` in [-1, 1].

        Returns:
            float32 `[rows, frames, bins, 2]` in physical units.
        """
        padded = tf.pad(audio, [(0, 0), (self.padding, 0)])
        spectra = tf.signal.stft(padded, self.fft, self.hop, self.fft)[..., 1:]
        size = tf.abs(spectra)
        real = tf.math.real(spectra) + self.floor
        phase = tf.math.atan2(tf.math.imag(spectra), real)
        magnitude = tf.math.log(size + (EPSILON + self.floor))
        if self.kind == "phase":
            return tf.stack([magnitude, phase / math.pi], axis=-1)
        turns = turn_by_frame(phase)
        if self.kind == "if_mel":
            to_mel, _ = self._mel()
            power = _apply(tf.square(size), to_mel)
            magnitude = tf.math.log(power + (EPSILON + self.floor**2))
            # Mixing bins and taking differences in time commute; what is mixed may
            # exceed half a turn and is wrapped again.
            turns = _apply(turns, to_mel)
            turns = tf.concat([turns[:, :1], wrap(turns[:, 1:])], axis=1)
        return tf.stack([magnitude, turns / math.pi], axis=-1)

    def inverse(self, spectrograms):
        """Turn spectrograms, `[rows, frames, bins, 2]`, into notes `[rows, samples]`.

        The least-squares inverse of overlapping frames. Values are not clipped.
        """
        magnitude, angle = tf.unstack(spectrograms, axis=-1)
        size = tf.nn.relu(tf.exp(magnitude) - self.floor)
        if self.kind == "if_mel":
            _, from_mel = self._mel()
            power = tf.nn.relu(tf.exp(magnitude) - self.floor**2)
            size = tf.sqrt(_apply(power, from_mel) + EPSILON)
            # Before the sum over frames, which products of few bits would spoil.
            angle = _apply(angle, from_mel)
        turns = angle if self.kind == "phase" else _sum_modulo_2(angle)
        phase = math.pi * turns
        spectra = tf.complex(size * tf.cos(phase), size * tf.sin(phase))
        spectra = tf.pad(spectra, [(0, 0), (0, 0), (1, 0)])
        audio = tf.signal.inverse_stft(
            spectra,
            self.fft,
            self.hop,
            self.fft,
            window_fn=tf.signal.inverse_stft_window_fn(self.hop),
        )
        return audio[:, self.padding :]

    def normalise(self, spectrograms):
        """Return x * a + b for each channel, clipped to [-1, 1]: a network's units."""
        scale, offset = self.scaling()
        return tf.clip_by_value(spectrograms * scale + offset, -1.0, 1.0)

    def denormalise(self, spectrograms):
        """Return what `normalise` was given, where it did not clip."""
        scale, offset = self.scaling()
        return (spectrograms - offset) / scale

    def scaling(self):
        """Return (a, b) of `normalise`, two numbers each, one a channel.

        The published ones for mel, else what `range_scaling` makes of the widest range
        that a note in [-1, 1] can have.
        """
        scaling = MEL_SCALING
        if self.kind != "if_mel":
            # The window's values sum to fft / 2, which one bin takes half of.
            loudest = math.log(self.fft / 4)
            quietest = math.log(EPSILON + self.floor)
            scaling = range_scaling((quietest, -1.0), (loudest, 1.0))
        return tf.constant(scaling[0]), tf.constant(scaling[1])

    def _mel(self):
        matrix = mel_matrix(self.bins, self.sample_rate, self.mel_mode)
        return matrix, mel_inverse(matrix)


def range_scaling(low, high):
    """Return ((a, a'), (b, b')) that map low..high to -0.8..0.8, channel by channel.

    Args:
        low: smallest (magnitude, phase).
        high: largest.
    """
    scale = tuple(2 * MARGIN / (b - a) for a, b in zip(low, high, strict=True))
    offset = tuple(-MARGIN * (b + a) / (b - a) for a, b in zip(low, high, strict=True))
    return scale, offset


def wrap(angle):
    """Return an angle in radians, turned by whole turns into [-pi, pi]."""
    return angle - 2 * math.pi * tf.round(angle / (2 * math.pi))


def turn_by_frame(phase):
    """Return how far the phase turns at each frame, the first being the phase itself.

    Args:
        phase: radians, `[rows, frames, bins]`.

    Returns:
        The same shape, in [-pi, pi]: the first difference of the unwrapped phase,
        without the loss of digits that a long unwrapped phase has.
    """
    return tf.concat([phase[:, :1], wrap(phase[:, 1:] - phase[:, :-1])], axis=1)


def _sum_modulo_2(turns):
    """Return the cumulative sum over frames less a multiple of 2, without drift.

    float32 loses digits as a sum grows. Multiples of 2^-12 add up exactly; what is left
    over stays small.
    """
    coarse = tf.round(turns * 4096.0) / 4096.0
    whole = tf.cumsum(coarse, axis=1)
    return whole - 2.0 * tf.round(whole / 2.0) + tf.cumsum(turns - coarse, axis=1)


def _apply(x, matrix):
    """Return x `[..., bins]` times a matrix."""
    return tf.einsum("rtf,fm->rtm", x, tf.constant(matrix))


@functools.lru_cache(maxsize=8)
def mel_matrix(bins, sample_rate, mode="official"):
    """Return M `[bins, bins]`, linear to mel: triangles of height 1 over frequency.

    Centres are equally spaced on the mel scale, 1127 log(1 + Hz / 700), between 0 and
    half the sampling rate, edges are the neighbours' centres, and a band narrower than
    1.5 linear bins is widened to that: its edges move apart on the mel scale. The
    lowest linear bin has weight 0.

    In "true" a widened band leaves its neighbours alone. In "official" the edges are
    moved in one list from the lowest band on, so that each band moves its neighbours'
    centres: below about 5 kHz, bands then lie 0.75 linear bins apart. This is what the
    published constants and checkpoints were made with.

    Args:
        bins: of the linear spectrum and of the mel spectrum.
        sample_rate: Hz.
        mode: "official" or "true".
    """
    top = sample_rate / 2.0
    least = 1.5 * top / bins
    edges = np.linspace(0.0, _Q * math.log1p(top / _BREAK), bins + 2)
    bands = np.lib.stride_tricks.sliding_window_view(edges, 3, writeable=True)
    if mode == "true":
        bands = bands.copy()  # else neighbours share their edges in memory
    for band in bands:
        low, centre, high = _hertz(band)
        if high - low < least:
            # (centre + 700) (e^(d / Q) - e^(-d / Q)) = least
            apart = _Q * math.asinh(least / 2 / (centre + _BREAK))
            band[0], band[2] = band[1] - apart, band[1] + apart
    low, centre, high = _hertz(bands).T
    frequency = np.linspace(0.0, top, bins)[:, None]
    rising = (frequency - low) / (centre - low)
    falling = (high - frequency) / (high - centre)
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return matrix.astype("float32")


def _hertz(mel):
    return _BREAK * np.expm1(mel / _Q)


def mel_inverse(matrix):
    """Return A `[mel, linear]` = M^T diag(1 / column sums of M M^T), empty ones as 0.

    No inverse in the sense of algebra: each linear bin is the mean of the bands it
    went into, weighted as it was.
    """
    matrix = np.float64(matrix)
    sums = matrix @ matrix.sum(axis=0)
    inverse = np.where(np.abs(sums) > 1e-8, sums, np.inf)
    return (matrix.T / inverse).astype("float32")
