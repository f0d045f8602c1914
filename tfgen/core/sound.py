"""Sound of another rate or length, on the device: float32 `[rows, samples]`.

A filter of fixed taps with a stride: any rational ratio of rates, static shapes, runs
under XLA.
"""

import math

import numpy as np

# Zero crossings of the filter each side, and its window: those of scipy.signal
# .resample_poly, 74 dB less of what would fold back.
CROSSINGS, KAISER = 10, 5.0


def adapter(given, wanted):
    """Return the stages that turn one sound feature into another, and words for them.

    Another rate is resampled; then the end is cut off, or silence added to it.

    Args:
        given: `Feature` of shape [samples].
        wanted: the same.

    Returns:
        List of functions of float32 `[rows, samples]` with silence at 0, and a list of
        words.
    """
    import tensorflow as tf

    stages, words = [], []
    (length,), (new_length,) = given.shape, wanted.shape
    rate, new_rate = given.sample_rate, wanted.sample_rate
    if rate and new_rate and rate != new_rate:
        stages.append(lambda x: resample(x, rate, new_rate))
        words.append(f"resampled from {rate} to {new_rate} Hz")
        length = resampled_length(length, rate, new_rate)
    if length > new_length:
        stages.append(lambda x: x[:, :new_length])
        words.append(f"cut to {new_length} samples")
    elif length < new_length:
        missing = new_length - length
        stages.append(lambda x: tf.pad(x, [(0, 0), (0, missing)]))
        words.append(f"silence added up to {new_length} samples")
    return stages, words


def resampled_length(samples, rate, new_rate):
    """Return how many samples `resample` makes of `samples`."""
    return -(-samples * new_rate // rate)


def resample(audio, rate, new_rate):
    """Return sound at another rate: what lies below half of both rates is kept.

    With p / q = new_rate / rate in lowest terms, p outputs belong to every q inputs:
    a convolution of stride q with p output channels, one a phase of the filter.

    Args:
        audio: float32 `[rows, samples]`.
        rate: Hz, of `audio`.
        new_rate: Hz.

    Returns:
        float32 `[rows, resampled_length]`.
    """
    import tensorflow as tf

    samples = audio.shape[1]
    length = resampled_length(samples, rate, new_rate)
    divisor = math.gcd(rate, new_rate)
    up, down = new_rate // divisor, rate // divisor
    reach, filters = _phases(up, down)
    blocks = -(-length // up)
    # The last block of outputs needs its inputs and `reach` more.
    end = (blocks - 1) * down + filters.shape[0] - reach - samples
    padded = tf.pad(audio, [(0, 0), (reach, max(0, end))])[..., None]
    outputs = tf.nn.conv1d(padded, filters, stride=down, padding="VALID")
    outputs = outputs[:, :blocks]
    return tf.reshape(outputs, [-1, blocks * up])[:, :length]


def _phases(up, down):
    """Return (reach, filters `[taps, 1, up]`): output m of a block needs these inputs.

    Output n stands at input n * down / up; filter m weighs inputs from -reach on,
    relative to the block's first.
    """
    widest = max(up, down)
    reach = -(-CROSSINGS * widest // up)  # inputs each side
    taps = reach + -(-(up - 1) * down // up) + reach + 1
    place = np.arange(up) * down / up  # of each output, in inputs
    apart = np.arange(-reach, taps - reach)[:, None] - place
    share = apart * up / (CROSSINGS * widest)  # of the window's half-width
    window = np.i0(KAISER * np.sqrt(np.maximum(0.0, 1 - share**2))) / np.i0(KAISER)
    cut = min(1.0, up / down)  # of half the given rate
    filters = np.where(np.abs(share) <= 1, cut * np.sinc(cut * apart) * window, 0.0)
    filters *= up / filters.sum()
    return reach, filters[:, None].astype("float32")
