"""Rainbowgrams, sound files, and what a training of a generator of notes leaves."""

import types

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import rgb_to_hsv
from PIL import Image
from scipy.io import wavfile

from tfgen.callbacks import SampleNotes, TensorBoard, notes
from tfgen.core.spec import DataSpec, Feature

RATE = 16000


def sine(hertz, samples=8192):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)


def row_of(hertz, height=128):
    """Row from the top that shows a frequency: equal steps of log(1 + f / 700)."""
    return height - height * np.log1p(hertz / 700) / np.log1p(RATE / 2 / 700)


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 3000.0])
def test_a_sine_is_one_stripe_of_one_colour(hertz):
    picture = notes.rainbowgram(sine(hertz), RATE)
    assert picture.shape == (128, 128, 3) and picture.dtype == "uint8"
    hue, _, value = rgb_to_hsv(picture[:, 10:-10] / 255).transpose(2, 0, 1)
    brightest = value.mean(axis=1).argmax()
    assert abs(brightest - row_of(hertz)) < 2
    assert value[brightest].min() > 0.9
    turn = hertz * (8192 // 128) / RATE  # turns from one column to the next
    apart = (hue[brightest] - turn - 0.5 + 0.5) % 1.0 - 0.5
    assert np.abs(apart).max() < 0.02
    assert np.median(value) < 0.2


def test_time_runs_to_the_right():
    late = np.zeros(8192)
    late[6000:] = sine(1000.0, 2192)
    picture = notes.rainbowgram(late, RATE).max(axis=(0, 2))
    assert not picture[:80].any() and picture[110:].min() > 200


@pytest.mark.parametrize("samples", [16, 100, 64000])
def test_any_length(samples):
    audio = np.random.default_rng(0).normal(size=samples)
    audio[3] = np.nan
    assert notes.rainbowgram(audio, RATE, height=32, width=16).shape == (32, 16, 3)
    assert not notes.rainbowgram(0 * audio, RATE).any()


def test_wav_files(tmp_path):
    notes.write_wav(tmp_path / "a.wav", [0.0, 1.0, -1.0, 2.0, np.nan], RATE)
    rate, samples = wavfile.read(tmp_path / "a.wav")
    assert rate == RATE
    assert samples.tolist() == [0, 32767, -32767, 32767, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_notes_over_training(tmp_path):
    audio = Feature((512,), "float32", -1.0, 1.0, sample_rate=RATE)
    played = tf.constant(np.stack([sine(500, 512), sine(900, 512)]), tf.float32)
    model = types.SimpleNamespace(
        spec=DataSpec("m", 1, {"audio": audio}),
        sample=lambda num, seed: played[:num],
        steps_done=0,
        steps_per_execution=1,
    )
    board = TensorBoard(tmp_path / "tensorboard")
    watch = SampleNotes(
        tmp_path, 2, num=2, also=board.picture, sounds=board.sounds, played=1
    )
    for callback in (board, watch):
        callback.set_model(model)
        callback.on_train_begin()
    for step in range(3):
        watch.on_train_batch_end(step)
    board.on_train_end()
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["step_000000002.png", "step_000000002.wav"]
    rate, samples = wavfile.read(tmp_path / "samples" / names[1])
    np.testing.assert_allclose(samples / 32767, np.ravel(played), atol=1e-4)
    with Image.open(tmp_path / "samples" / names[0]) as picture:
        assert picture.size == (128 + 2 + 128, 128)
    found = {}
    for path in (tmp_path / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[value.tag] = (event.step, value.tensor.string_val)
    assert set(found) == {"samples", "notes"}
    step, (sound, label) = found["notes"]
    assert step == 2 and sound[:4] == b"RIFF"
