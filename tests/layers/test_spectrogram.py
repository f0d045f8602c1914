"""Spectral transforms against closed forms and the numbers of the published code."""

import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.test_xla import graph_complaints, hlo_complaints
from tfgen.layers import spectrogram
from tfgen.layers.spectrogram import Representation, mel_inverse, mel_matrix
from tfgen.metrics import fundamental

RATE = 16000
SMALL = {"fft": 512, "hop": 128, "samples": 8192}


def small(kind, **changes):
    return Representation(kind, 64, 256, **{**SMALL, **changes})


def published(kind, high, mode="official"):
    """The paper's: 4 s; `high`, its "+ H", has twice the bins and half the frames."""
    frames, bins = (128, 1024) if high else (256, 512)
    return Representation(kind, frames, bins, 2 * bins, bins // 2, 64000, mel_mode=mode)


def note(hertz, samples, harmonics=10, seed=0):
    """Harmonics of level 1 / k and random phase that die out, `[1, samples]`."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    sound = sum(
        np.sin(2 * np.pi * (k * hertz * time + random.uniform())) / k
        for k in range(1, harmonics + 1)
        if k * hertz < RATE / 2
    )
    sound = sound * np.exp(-2 * time)
    return (0.5 * sound / np.abs(sound).max())[None].astype("float32")


@pytest.mark.parametrize(
    ("high", "shape", "padding"),
    [(False, (256, 512, 2), 2304), (True, (128, 1024, 2), 3072)],
)
def test_published_shapes(high, shape, padding):
    ours = published("if_mel", high)
    assert (ours.shape, ours.padding) == (shape, padding)
    assert small("if").padding == 384


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 9000}, "give more frames"),
        ({"fft": 500}, "twice the bins"),
        ({"hop": 512}, "twice the bins"),
        ({"mel_mode": "slaney"}, "valid: phase, if, if_mel; official, true"),
    ],
)
def test_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        small("if", **changes)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("official", [75.3, 375.4, 643.0, 1020.2]),
        ("true", [25.0, 217.0, 643.0, 1020.2]),
    ],
)
def test_centroids_of_mel_bands(mode, wanted):
    """Measured on the published function, columns 100, 500, 854 and 1023."""
    matrix = np.float64(mel_matrix(1024, RATE, mode))[:, [100, 500, 854, 1023]]
    centroids = np.arange(1024) @ matrix / matrix.sum(axis=0)
    np.testing.assert_allclose(centroids, wanted, atol=0.1)
    assert not mel_matrix(1024, RATE, mode)[0].any()


def test_low_official_bands_lie_three_quarters_of_a_bin_apart():
    matrix = np.float64(mel_matrix(1024, RATE, "official"))[:, 100:800]
    centroids = np.arange(1024) @ matrix / matrix.sum(axis=0)
    assert np.diff(centroids).mean() == pytest.approx(0.75, abs=0.002)


def test_mel_inverse():
    matrix = np.float64(mel_matrix(256, RATE, "true"))
    sums = (matrix @ matrix.T).sum(axis=0)
    wanted = matrix.T @ np.diag(np.where(sums > 1e-8, 1 / np.maximum(sums, 1e-8), 0))
    np.testing.assert_allclose(mel_inverse(matrix), wanted, atol=1e-6)


def test_turns_are_differences_of_the_unwrapped_phase():
    angle = np.random.default_rng(0).uniform(-np.pi, np.pi, [2, 50, 7])
    turns = spectrogram.turn_by_frame(tf.constant(angle, tf.float32))
    unwrapped = np.unwrap(angle, axis=1)
    np.testing.assert_allclose(turns[:, 0], unwrapped[:, 0], atol=1e-6)
    np.testing.assert_allclose(turns[:, 1:], np.diff(unwrapped, axis=1), atol=1e-6)


@pytest.mark.parametrize("mode", spectrogram.MEL_MODES)
def test_mel_is_of_power_and_of_the_unwrapped_phase(mode):
    ours, random = small("if_mel", mel_mode=mode), np.random.default_rng(0)
    sound = random.uniform(-1, 1, [2, ours.samples])  # of white noise no bin is quiet
    found = ours.forward(sound.astype("float32")).numpy()
    padded = np.pad(sound, [(0, 0), (ours.padding, 0)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, ours.fft, axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(ours.fft) / ours.fft)
    spectra = np.fft.rfft(frames[:, :: ours.hop] * hann)[..., 1:]
    matrix = np.float64(mel_matrix(ours.bins, RATE, mode))
    magnitude = np.log(np.abs(spectra) + 1e-6)
    wanted = np.log(np.exp(2 * magnitude) @ matrix + 1e-6)
    # Where power all but cancels in a bin, float32 is off by more.
    np.testing.assert_allclose(found[..., 0], wanted, atol=1e-3)

    phase = np.unwrap(np.angle(spectra), axis=1) @ matrix
    wanted = np.concatenate([phase[:, :1], np.diff(phase, axis=1)], axis=1) / np.pi
    # Rounding turns quiet bins, and with them the bands that they go into.
    quiet = (np.abs(spectra) < 0.05) @ (matrix > 0)
    quiet[:, 1:] += quiet[:, :-1].copy()
    assert np.mean(quiet > 0) < 0.2
    apart = found[..., 1] - wanted
    apart[:, 1:] -= 2 * np.round(apart[:, 1:] / 2)
    assert np.abs(apart[quiet == 0]).max() < 1e-3
    # The first frame is as it is, the others are wrapped.
    assert np.abs(wanted[:, 0]).max() > 1 >= np.abs(found[:, 1:, :, 1]).max()


def test_the_sum_of_turns_does_not_drift():
    turns = np.random.default_rng(0).uniform(0.5, 1, [1, 5000, 3]).astype("float32")
    sums = spectrogram._sum_modulo_2(tf.constant(turns)).numpy()
    apart = sums - np.cumsum(np.float64(turns), axis=1)
    # A plain float32 sum is off by 1e-3 here.
    np.testing.assert_allclose(apart / 2, np.round(apart / 2), atol=1e-6)


@pytest.mark.parametrize("bin_", [20.0, 31.3, 77.4])
@pytest.mark.parametrize("kind", ["phase", "if"])
def test_instantaneous_frequency_of_a_sine(kind, bin_):
    ours = small(kind)
    hertz = bin_ * RATE / ours.fft
    sine = np.sin(2 * np.pi * hertz * np.arange(ours.samples) / RATE)[None]
    picture = ours.forward(sine.astype("float32"))[0].numpy()
    nearest = round(bin_) - 1  # bin 0 was dropped
    # The silence before the sine ends within the first frames.
    inside = picture[4:, nearest, 1]
    turn = 2 * np.pi * hertz * ours.hop / RATE
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    if kind == "phase":
        assert inside.std() > 0.4 or abs(turn) < 1e-6
        return
    np.testing.assert_allclose(inside, turn / np.pi, atol=1e-3)
    assert inside.std() < 1e-3
    assert picture[4:, :, 0].mean(axis=0).argmax() == nearest
    # A sine of level 1 gives half the window's sum, fft / 4, at a whole bin.
    if bin_ == round(bin_):
        level = picture[4:, nearest, 0]
        np.testing.assert_allclose(level, math.log(ours.fft / 4), atol=1e-3)


@pytest.mark.parametrize("kind", spectrogram.KINDS)
def test_under_the_floor_is_silence(kind):
    ours, published = small(kind, floor=0.1), small(kind)
    noise = np.random.default_rng(0).normal(size=[1, ours.samples]).astype("float32")
    quiet = 1e-4 * noise  # |S| about 1e-3
    silence = ours.forward(np.zeros_like(noise))
    level = math.log(0.1) * (2 if kind == "if_mel" else 1)
    np.testing.assert_allclose(silence[..., 0], level, atol=1e-3)
    np.testing.assert_array_equal(silence[..., 1], 0.0)
    np.testing.assert_allclose(ours.forward(quiet), silence, atol=0.05)
    assert np.std(published.forward(quiet)[..., 1]) > 0.3
    assert np.abs(ours.inverse(silence)).max() < 1e-4
    if kind != "if_mel":  # whose scale is the published one
        np.testing.assert_allclose(ours.normalise(silence)[..., 0], -0.8, atol=1e-3)
    loud = ours.forward(noise)[0, 6:], published.forward(noise)[0, 6:]
    np.testing.assert_allclose(*(np.median(x[..., 0]) for x in loud), atol=0.02)
    apart = np.abs(loud[0] - loud[1])[..., 1]
    assert np.median(np.minimum(apart, 2.0 - apart)) < 0.01


@pytest.mark.parametrize("kind", ["phase", "if"])
@pytest.mark.parametrize("hertz", [65.4, 261.6, 1046.5])
def test_linear_round_trip_of_a_short_note(kind, hertz):
    """0.5 s, away from the edges by a window; the mean of each frame is lost."""
    ours = Representation(kind, 32, 512, fft=1024, hop=256, samples=8192)
    sound = note(hertz, ours.samples)
    again = ours.inverse(ours.forward(sound))
    assert again.shape == sound.shape
    inside = slice(2 * ours.bins, -2 * ours.bins)
    apart = (again.numpy() - sound)[:, inside]
    lost = mean_of_frames(ours, sound)[:, inside]
    assert np.sqrt(np.mean((apart + lost) ** 2)) < 1e-5
    # The window leaks 65 Hz, four bins away, into the mean; higher notes not.
    assert np.sqrt(np.mean(apart**2)) < (1e-5 if hertz > 200 else 2e-4)


def mean_of_frames(ours, sound):
    """The part of a sound that lies in the lowest bin, `[1, samples]`."""
    padded = np.pad(sound, [(0, 0), (ours.padding, 0)])
    spectra = tf.signal.stft(padded, ours.fft, ours.hop).numpy()
    spectra[..., 1:] = 0
    window = tf.signal.inverse_stft_window_fn(ours.hop)
    back = tf.signal.inverse_stft(spectra, ours.fft, ours.hop, window_fn=window)
    return back[:, ours.padding :].numpy()


@pytest.mark.parametrize("high", [False, True])
def test_linear_round_trip_of_four_seconds(high):
    ours = published("if", high)
    sound = note(220.0, ours.samples)
    apart = ours.inverse(ours.forward(sound)).numpy() - sound
    inside = slice(2 * ours.bins, -2 * ours.bins)
    assert np.sqrt(np.mean(apart[:, inside] ** 2)) < 2e-4


@pytest.mark.parametrize("mode", ["official", "true"])
@pytest.mark.parametrize("high", [False, True])
def test_mel_keeps_pitch_and_loudness(mode, high):
    ours = published("if_mel", high, mode)
    hertz = np.array([fundamental.midi_hertz(pitch) for pitch in (36, 48, 60, 72, 84)])
    sound = np.concatenate([note(f, ours.samples) for f in hertz])
    again = ours.inverse(ours.forward(sound)).numpy()
    inside = slice(8000, 24000)
    found = [fundamental.f0(x[inside], RATE) for x in again]
    # YIN itself is within 0.5 cents of these on the originals.
    assert np.abs(fundamental.cents(found, hertz)).max() < 5
    # Phases that no longer fit make it quieter: 0.73 to 0.94 seen.
    loudness = np.sqrt(np.mean(again**2, axis=1) / np.mean(sound**2, axis=1))
    assert loudness.min() > 0.6 and loudness.max() < 1.1


def test_the_axes_are_time_and_frequency():
    ours = small("if")
    click = np.zeros([1, ours.samples], "float32")
    click[0, 4096] = 1.0
    loud = ours.forward(click)[0, :, :, 0].numpy().mean(axis=1)
    # In the middle of the window of frame t: hop t + fft / 2 - padding.
    assert loud.argmax() == round((4096 + ours.padding - ours.fft / 2) / ours.hop)


def test_published_normalisation():
    ours = small("if_mel")
    ends = np.zeros([1, 1, 3, 2], "float32")
    ends[..., 0] = -16.84, 13.40, math.log(1e-6)
    ends[..., 1] = -1.0, 1.0, 2.0
    normal = ours.normalise(ends).numpy()
    np.testing.assert_allclose(normal[0, 0, :, 0], [-1, 1, -0.8], atol=1e-3)
    np.testing.assert_allclose(normal[0, 0, :, 1], [-0.8, 0.8, 1.0], atol=1e-6)


@pytest.mark.parametrize("kind", spectrogram.KINDS)
def test_normalisation_is_undone(kind):
    ours = small(kind)
    picture = ours.forward(note(300.0, ours.samples))
    again = ours.denormalise(ours.normalise(picture)).numpy()
    normal = ours.normalise(picture).numpy()
    unclipped = np.abs(normal) < 1
    # Mel magnitudes are a fifteenth of their size in between.
    np.testing.assert_allclose(again[unclipped], picture[unclipped], atol=1e-5)
    if kind != "if_mel":
        assert np.abs(normal).max() < 0.801


def test_scaling_to_a_range():
    scale, offset = spectrogram.range_scaling((-4.0, -1.0), (6.0, 1.0))
    for low, high, a, b in zip((-4, -1), (6, 1), scale, offset, strict=True):
        assert low * a + b == pytest.approx(-0.8)
        assert high * a + b == pytest.approx(0.8)


def forward_and_back(ours):
    def both(audio):
        picture = ours.forward(audio)
        return picture, ours.inverse(picture), ours.normalise(picture)

    return both


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.slow) for k in ("phase", "if")] + ["if_mel"],
)
def test_under_xla(kind):
    ours = small(kind)
    both = forward_and_back(ours)
    sound = note(200.0, ours.samples)
    compiled = tf.function(both, jit_compile=True, autograph=False)
    plain = tf.function(both, autograph=False)(sound)
    # Phases of bins that hold rounding only may be anything: compare what is heard.
    np.testing.assert_allclose(compiled(sound)[1], plain[1], atol=2e-4)
    np.testing.assert_allclose(compiled(sound)[0][..., 0], plain[0][..., 0], atol=0.05)
    inputs = [tf.TensorSpec(sound.shape)]
    assert list(graph_complaints(compiled.get_concrete_function(*inputs))) == []
    assert hlo_complaints(compiled, inputs) == []


def test_the_inverse_has_a_gradient():
    ours = small("if_mel")
    picture = ours.forward(note(200.0, ours.samples))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        loss = tf.reduce_sum(ours.inverse(picture) ** 2)
    gradient = tape.gradient(loss, picture)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


# Notes of a SoundFont ---------------------------------------------------------------


@pytest.fixture(scope="module")
def played():
    """[(MIDI number, sound `[1, 64000]`)] of eight instruments, five octaves."""
    pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)
    from tfgen.data.builders import notes

    if not any(Path(path).is_file() for path in notes.SYSTEM):
        pytest.skip("the system has no SoundFont")
    player = notes.Player(notes.soundfont(Path("/nowhere")))
    programs = (0, 19, 24, 40, 48, 56, 71, 73)
    found = [
        (pitch, player.play(program, pitch, 100, 64000)[None])
        for program in programs
        for pitch in (36, 48, 60, 72, 84)
    ]
    player.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("high", [False, True])
def test_linear_round_trip_of_real_notes(played, high):
    """Real notes hold low rumble, which goes with the mean of the frames."""
    long = published("if", high)
    frames = (8192 - long.fft) // long.hop + 2
    short = dataclasses.replace(long, frames=frames, samples=8192)
    for ours, part, least in (
        (short, slice(8000, 16192), 1e-5),
        (long, slice(None), 2e-4),
    ):
        inside = slice(2 * ours.bins, -2 * ours.bins)
        for _, sound in played:
            sound = sound[:, part]
            apart = ours.inverse(ours.forward(sound)).numpy() - sound
            apart += mean_of_frames(ours, sound)
            assert np.sqrt(np.mean(apart[:, inside] ** 2)) < least


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["official", "true"])
@pytest.mark.parametrize("high", [False, True])
def test_mel_keeps_the_pitch_of_real_notes(played, mode, high):
    ours, inside, off = published("if_mel", high, mode), slice(8000, 24000), []
    for pitch, sound in played:
        hertz = fundamental.midi_hertz(pitch)
        again = ours.inverse(ours.forward(sound)).numpy()
        near = {"low": 0.8 * hertz, "high": 1.25 * hertz, "threshold": 0.3}
        pair = [fundamental.f0(x[0, inside], RATE, **near) for x in (sound, again)]
        off.append(abs(fundamental.cents(pair[1], pair[0])))
    # Of 160 notes one is 6 cents off: the lower of two strings of a piano.
    assert np.mean(np.array(off) < 5) >= 0.97
    assert max(off) < 10


@pytest.mark.slow
def test_it_runs_at_fifty_times_real_time():
    ours = published("if_mel", True)
    sound = tf.constant(np.repeat(note(220.0, ours.samples), 8, axis=0))
    for function, given in (
        (ours.forward, sound),
        (ours.inverse, ours.forward(sound)),
    ):
        graph = tf.function(function, autograph=False)
        graph(given)
        # Time of the processor, which no other process takes: two cores have twice.
        start = time.process_time()
        for _ in range(3):
            graph(given).numpy()
        seconds = (time.process_time() - start) / 3
        assert 8 * ours.samples / RATE / seconds > 50
