"""Made-up notes, and folders of WAV files."""

import collections
import dataclasses

import numpy as np
import pytest
from scipy.io import wavfile

from tfgen.core.errors import BadInput
from tfgen.data import load, synth_notes, wav
from tfgen.data.rows import Rows
from tfgen.metrics import fundamental


@pytest.mark.parametrize("instrument", synth_notes.INSTRUMENTS)
def test_made_up_notes_are_in_tune(instrument):
    for pitch in (36, 60, 83):
        (note,) = synth_notes.play(instrument, pitch, [0], 12000)
        found = fundamental.f0(note[2000:8000], synth_notes.SAMPLE_RATE)
        # Vibrato and the parabola of YIN at 16 samples a period: up to 9 seen.
        assert abs(fundamental.cents(found, fundamental.midi_hertz(pitch))) < 10
        assert 0.29 < np.abs(note).max() < 0.91


def test_a_take_depends_on_nothing_else():
    one = synth_notes.play("flute", 60, [3], 2000)
    several = synth_notes.play("flute", 60, range(5), 2000)
    # Another number of rows is another matrix product.
    np.testing.assert_allclose(one[0], several[3], atol=1e-5)
    assert np.abs(several[2] - several[3]).max() > 0.1


def test_a_set(monkeypatch):
    fewer = dataclasses.replace(synth_notes.SMALL, pitches=range(60, 63), takes=5)
    monkeypatch.setitem(synth_notes.SETS, "synth_notes", fewer)
    data = load("synth_notes", batch=4)
    batch = next(iter(data.train.dataset()))
    assert batch["audio"].dtype == "int16" and batch["audio"].shape == (4, 8192)
    assert data.spec.features["pitch"].classes == ("60", "61", "62")
    assert len(data.spec.features["instrument"].classes) == 8
    # Every fifth take is for testing.
    for stream, takes in ((data.train, 4), (data.test, 1)):
        pairs = zip(stream.arrays["pitch"], stream.arrays["instrument"], strict=True)
        assert set(collections.Counter(pairs).values()) == {takes}
        assert len(stream) == 24 * takes
    row = data.train.arrays["audio"][70] / 32768
    pitch = 60 + data.train.arrays["pitch"][70]
    found = fundamental.f0(row[2000:5000], 16000)
    assert abs(fundamental.cents(found, fundamental.midi_hertz(pitch))) < 10


# Folders ----------------------------------------------------------------------------


def tone(hertz=440.0, samples=400, rate=16000):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def write(folder, name, sound=None, rate=16000, dtype="int16"):
    sound = tone() if sound is None else np.asarray(sound)
    if dtype == "int16":
        sound = wav.to_pcm16(sound)
    elif dtype == "uint8":
        sound = np.uint8(np.rint(sound * 127 + 128))
    elif dtype == "int32":
        sound = np.int32(sound * 2**31)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    wavfile.write(path, rate, sound.astype(dtype))
    return path


def loaded(folder, **options):
    return load(f"folder:{folder}", batch=2, **options)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "float32"])
def test_encodings(tmp_path, dtype):
    write(tmp_path, "a_060.wav", dtype=dtype)
    data = loaded(tmp_path)
    given = data.train.arrays["audio"][0] / 32768
    np.testing.assert_allclose(given, tone(), atol=1e-2 if dtype == "uint8" else 1e-4)
    audio = data.spec.audio
    assert (audio.dtype, audio.sample_rate) == ("int16", 16000)
    assert (audio.low, audio.high) == (-32768, 32768)


@pytest.mark.parametrize(
    ("name", "pitch", "velocity"),
    [
        ("flute_acoustic_002-069-100.wav", 69, 100),
        ("pitch_7.wav", 7, None),
        ("My pitch127 take2.wav", 127, None),
        ("harp_060.wav", 60, None),
        ("harp_061_soft_12.WAV", 61, None),
    ],
)
def test_pitches_in_names(tmp_path, name, pitch, velocity):
    write(tmp_path, name)
    data = loaded(tmp_path)
    assert data.spec.features["pitch"].classes == (str(pitch),)
    if velocity:
        assert data.train.arrays["velocity"].tolist() == [velocity]
    assert ("velocity" in data.spec.features) == bool(velocity)


def test_a_list_and_instruments(tmp_path):
    write(tmp_path, "oboe/x.wav")
    write(tmp_path, "viola/y_060.wav")
    (tmp_path / "pitches.csv").write_text("file,pitch\noboe/x.wav,64\ny_060.wav,61\n")
    data = loaded(tmp_path)
    arrays, features = data.train.arrays, data.spec.features
    assert features["pitch"].classes == ("61", "64")
    assert arrays["pitch"].tolist() == [1, 0]
    assert features["instrument"].classes == ("oboe", "viola")
    assert arrays["instrument"].tolist() == [0, 1]


def test_rates_lengths_and_channels_are_made_alike(tmp_path):
    write(tmp_path, "a_060.wav", tone(samples=400))
    write(tmp_path, "b_060.wav", tone(samples=800))
    write(tmp_path, "c_060.wav", tone(samples=1600, rate=32000), rate=32000)
    write(tmp_path, "d_060.wav", np.stack([tone(), 0 * tone()], axis=1))
    data = loaded(tmp_path)
    a, b, c, d = data.train.arrays["audio"] / 32768
    np.testing.assert_allclose(c[50:-50], b[50:-50], atol=2e-3)
    np.testing.assert_allclose(d, a / 2, atol=1e-4)
    assert not a[400:].any() and b[799] != 0
    assert data.remarks == (
        "1 of 4 WAV files resampled from 32000 to 16000 Hz",
        "1 of 4 WAV files mixed to one channel",
        "2 of 4 WAV files lengthened to 800 samples",
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", None, r"a\.wav names no pitch; expected a line in pitches\.csv"),
        ("a_200.wav", None, r"a_200\.wav: pitch 200 is no MIDI number, 0 to 127"),
        ("a_060.wav", 0 * tone(), r"a_060\.wav is silent; remove it, or give --on_c"),
        ("a_060.wav", b"RIFF1234WAVEfmt ", r"a_060\.wav is not a usable WAV file: "),
        ("a_060.wav", b"", r"a_060\.wav is not a usable WAV file: "),
    ],
)
def test_unusable_files_are_named_or_skipped(tmp_path, name, content, message):
    write(tmp_path, "good_060.wav")
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write(tmp_path, name, content)
    with pytest.raises(BadInput, match=message) as caught:
        loaded(tmp_path)
    assert "\n" not in str(caught.value)
    data = loaded(tmp_path, on_corrupt="skip")
    assert len(data.train) == 1 and len(data.skipped) == 1


@pytest.mark.parametrize("text", ["name,note\nx.wav,3\n", "file,pitch\nx.wav,C4\n"])
def test_a_list_that_is_none(tmp_path, text):
    write(tmp_path, "x.wav")
    (tmp_path / "pitches.csv").write_text(text)
    with pytest.raises(BadInput, match="not a list of pitches"):
        loaded(tmp_path)


def test_pictures_beside_sounds_are_refused(tmp_path):
    write(tmp_path, "x_060.wav")
    (tmp_path / "y.png").write_bytes(b"")
    with pytest.raises(BadInput, match="both pictures, such as 'y.png', and sounds"):
        loaded(tmp_path)
    (tmp_path / "y.png").unlink()
    with pytest.raises(BadInput, match="no split 'test'"):
        loaded(tmp_path, split="test")


def test_held_out_rows_have_every_pitch(tmp_path):
    for number in range(8):
        write(tmp_path, f"{'ab'[number % 2]}{number}_06{number % 2}.wav")
    data = loaded(tmp_path, validation_fraction=0.25)
    assert sorted(data.validation.arrays["pitch"]) == [0, 1]


def test_images_are_asked_of_sounds():
    with pytest.raises(BadInput, match="the data have none"):
        Rows({}, {}).resized(8)
