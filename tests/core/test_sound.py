"""Sound of another rate and length, against scipy and by hand."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from tfgen.core import sound
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature, adapter


def notes(samples=600, rate=16000, dtype="int16", low=-32768, high=32768):
    audio = Feature((samples,), dtype, low, high, sample_rate=rate)
    pitch = Feature((), "int64", classes=("60", "61"))
    return DataSpec("notes", 5, {"audio": audio, "pitch": pitch})


@pytest.mark.parametrize(
    "rates", [(16000, 8000), (8000, 16000), (44100, 16000), (22050, 16000)]
)
@pytest.mark.parametrize("samples", [1, 257, 1000])
def test_resampling_is_that_of_scipy(rates, samples):
    audio = np.random.default_rng(0).normal(size=[2, samples]).astype("float32")
    divisor = np.gcd(*rates)
    up, down = rates[1] // divisor, rates[0] // divisor
    wanted = signal.resample_poly(audio, up, down, axis=1)
    given = sound.resample(tf.constant(audio), *rates)
    assert given.shape == wanted.shape
    # The largest seen is 2e-6; values are of order 1.
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_int16_becomes_float_and_silence_stays_silence():
    audio = np.array([[-32768, -1, 0, 1, 16384, 32767]], "int16")
    source = notes(6)
    adapt, line = adapter(source, source.for_notes("m"))
    given = adapt({"audio": tf.constant(audio)})["audio"]
    wanted = [[-1, -1 / 32768, 0, 1 / 32768, 0.5, 32767 / 32768]]
    np.testing.assert_array_equal(given, np.float32(wanted))
    assert line == "audio 6 int16 [-32768,32768] -> float32 [-1,1]: scaled"


@pytest.mark.parametrize(
    ("wanted", "shape", "words"),
    [
        ({"samples": 500}, 500, "cut to 500 samples"),
        ({"samples": 700}, 700, "silence added up to 700 samples"),
        ({"sample_rate": 8000}, 300, "resampled from 16000 to 8000 Hz"),
        (
            {"sample_rate": 8000, "samples": 320},
            320,
            "resampled from 16000 to 8000 Hz, silence added up to 320 samples",
        ),
    ],
)
def test_rate_and_length(wanted, shape, words):
    source = notes()
    target = source.for_notes("m", **wanted)
    assert target.audio.shape == (shape,)
    adapt, line = adapter(source, target)
    audio = np.full([3, 600], 16384, "int16")
    result = tf.function(adapt)({"audio": tf.constant(audio)})["audio"].numpy()
    assert result.shape == (3, shape)
    np.testing.assert_allclose(result[:, 100:200], 0.5, atol=2e-3)
    assert not result[:, 600:].any()
    assert line.endswith(f": {words}") and "\n" not in line


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": Feature((), "int64")}, "'x' has no audio; it has: label"),
        ({"audio": Feature((5,), "int16")}, "sound .* of a known rate"),
        ({"audio": Feature((5,), "int16", sample_rate=8)}, "'x' has no pitch"),
    ],
)
def test_what_are_no_notes(features, message):
    with pytest.raises(BadInput, match=message):
        DataSpec("x", 1, features).for_notes("m")
