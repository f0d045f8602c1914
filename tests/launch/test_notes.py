"""A generator of notes: sound of each mode of launch.sample, metrics, a training."""

import dataclasses
import json
import types

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import tfgen
from launch import midi, note_metrics
from tests.launch.made_runs import make_run
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.data import wav
from tfgen.metrics.fundamental import cents_off

RATE = 16000


@pytest.fixture(scope="module")
def run(tmp_path_factory, tones):
    data = tfgen.data.load(tones, batch=16, validation_fraction=0.25)
    path = tmp_path_factory.mktemp("runs") / "gansynth"
    return make_run(path, "gansynth_flat", data, tones, validation=0.25)


def sample(launcher, *flags):
    return launcher.run(*flags, module="launch.sample")


def heard(path):
    rate, samples = wavfile.read(path)
    assert rate == RATE
    return samples / 32767


def wavs(answer):
    """{name: sound} of what a command wrote."""
    from pathlib import Path

    return {path.name: heard(path) for path in sorted(Path(answer["notes"]).iterdir())}


def test_notes_of_a_run(run, launcher, tmp_path):
    path, model = run
    ended = sample(launcher, f"--workdir={path}", "--num=5", "--seed=7")
    assert ended.code == 0, ended.stderr
    found = wavs(ended.json)
    assert list(found)[1] == "pitch_085_001.wav"
    wanted = np.asarray(model.sample(5, seed=7))
    np.testing.assert_allclose(list(found.values()), wanted, atol=2e-4)
    with Image.open(ended.json["out"]) as picture:
        assert picture.mode == "RGB"
    # What was written can be read as data.
    data = tfgen.data.load(f"folder:{ended.json['notes']}", batch=2)
    assert data.spec.features["pitch"].classes == ("84", "85", "86", "87", "88")


@pytest.mark.slow
def test_notes_of_an_export(run, launcher, tmp_path):
    _, model = run
    tfgen.export(model, tmp_path / "export")
    out = f"--out={tmp_path}/notes.png"
    flags = [f"--saved_model={tmp_path}/export", "--num=5", "--seed=7", out]
    found = wavs(sample(launcher, *flags).json)
    wanted = np.asarray(model.sample(5, seed=7))
    np.testing.assert_allclose(list(found.values()), wanted, atol=2e-4)


@pytest.mark.slow
def test_a_row_a_pitch(run, launcher, tmp_path):
    path, model = run
    out = f"--out={tmp_path}/some.png"
    ended = sample(launcher, f"--workdir={path}", "--pitch=90,84", "--num=2", out)
    assert ended.code == 0, ended.stderr
    found = wavs(ended.json)
    assert sorted(found) == [
        *("pitch_084_002.wav", "pitch_084_003.wav"),
        *("pitch_090_000.wav", "pitch_090_001.wav"),
    ]
    z = model.prior(2, seed=0)
    wanted = np.asarray(model.render(z, np.array([84, 84])))
    np.testing.assert_allclose(
        [found["pitch_084_002.wav"], found["pitch_084_003.wav"]], wanted, atol=2e-4
    )


@pytest.mark.slow
def test_interpolation_joins_notes(run, launcher, tmp_path):
    path, model = run
    out = f"--out={tmp_path}/between.png"
    flags = ["--mode=interpolate", "--num=1", "--columns=3", "--pitch=85", out]
    ended = sample(launcher, f"--workdir={path}", *flags)
    assert ended.code == 0, ended.stderr
    a, b = np.asarray(model.prior(2, seed=0))
    # Half way along the great circle: as far from both, (a + b) / (2 cos(angle / 2)).
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    middle = (a + b) / np.sqrt(2 + 2 * cosine)
    z = np.stack([a, middle, b])
    wanted = np.asarray(model.render(z, np.array([85, 85, 85])))
    np.testing.assert_allclose(list(wavs(ended.json).values()), wanted, atol=2e-4)
    straight = model.render((a + b)[None] / 2, np.array([85]))
    assert np.abs(straight - wanted[1]).max() > 1e-2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pitch=60"], "--pitch=60: gansynth_flat plays the MIDI numbers 84 to 95"),
        (["--midi=/nowhere.mid"], "--midi=/nowhere.mid: there is no such file"),
        *(
            pytest.param([flag], message, marks=pytest.mark.slow)
            for flag, message in {
                "--pitch=C4": "--pitch=C4: gansynth_flat plays the MIDI numbers",
                "--mode=midi": "--mode=midi needs --midi",
                "--mode=manifold": "valid: grid, interpolate, midi",
                "--num=2000": "more than 1000 notes at a time",
            }.items()
        ),
    ],
)
def test_refusals_of_sampling(run, launcher, flags, message):
    ended = sample(launcher, f"--workdir={run[0]}", *flags)
    assert ended.code == 2
    (line,) = ended.errors
    assert message in line


def listener(spec):
    """A classifier of pitches 80 to 99, of which it answers with 92 to 95 only."""
    pitch = dataclasses.replace(
        spec.features["pitch"], classes=tuple(map(str, range(80, 100)))
    )
    spec = spec.replace(features={**spec.features, "pitch": pitch})
    hparams = {"kind": "if", "frames": 8, "bins": 16}
    made = models.build("pitch_classifier", "tiny", spec=spec, hparams=hparams, seed=3)
    kernel, bias = made.network.trainable_variables[-2:]
    # Of 60 draws one whose answers are no near ties.
    random = np.random.default_rng(44)
    kernel.assign(4 * random.normal(size=kernel.shape))
    numbers = np.arange(20)
    bias.assign(np.where((numbers >= 12) & (numbers < 16), 0.0, -1e3))
    return made


def test_evaluation(run, launcher, tones, tmp_path):
    path, model = run
    data = tfgen.data.load(tones, batch=16, validation_fraction=0.25)
    classifier = listener(data.spec)
    tfgen.export(classifier, tmp_path / "export")
    extractor = f"--extractor=saved_model:{tmp_path}/export"
    names = "pitch_accuracy,spectrogram_pitch_accuracy,pitch_entropy,frechet,ndb"
    ended = launcher.run(
        f"--workdir={path}",
        extractor,
        f"--metrics={names},classifier_score,in_tune",
        module="launch.evaluate",
    )
    assert ended.code == 0, ended.stderr
    found = ended.json["metrics"]
    content = json.loads((path / "evaluation.json").read_text())
    records = {r["metric"]: r for r in content}
    # Notes of the held-out pitches, whose numbers the classifier counts from 80 on.
    rows = data.validation.arrays
    pitch, real = rows["pitch"], np.float32(rows["audio"]) / 32768
    pictures = model.spectrogram(model.prior(24, seed=0), 84 + pitch)
    sound = np.clip(model.representation.inverse(pictures), -1, 1)

    def accuracy(heard):
        return np.mean(np.argmax(heard["logits"], axis=1) == pitch + 4)

    heard, seen = (
        classifier.classify_notes(sound),
        classifier.classify_spectrograms(pictures),
    )
    assert found["pitch_accuracy"] == pytest.approx(accuracy(heard))
    assert found["spectrogram_pitch_accuracy"] == pytest.approx(accuracy(seen))
    assert records["pitch_accuracy"]["floor"] == pytest.approx(
        accuracy(classifier.classify_notes(real))
    )
    # An untrained generator's frames do not fit: its sound has other spectrograms.
    assert len({0.0, accuracy(heard), accuracy(seen)}) == 3
    p = np.float64(heard["probabilities"])
    entropy = -np.mean(np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1))
    assert found["pitch_entropy"] == pytest.approx(entropy, rel=1e-3)
    cents = np.nan_to_num(cents_off(sound, RATE, 84 + pitch), nan=np.inf)
    assert found["in_tune"] == pytest.approx(np.mean(np.abs(cents) <= 50))
    assert records["in_tune"]["floor"] > 0.5  # of tones of 4 ms
    record = records["ndb"]
    assert (record["count"], record["n_real"], record["cells"]) == (24, 72, 7)
    assert record["floor"] is not None and record["weights"] == "moving average"

    other = types.SimpleNamespace(
        spec=model.spec,
        representation=dataclasses.replace(model.representation, floor=0.1),
    )
    with pytest.raises(
        BadInput, match=r"floor the classifier reads .* makes if, 8, 16, 0"
    ):
        note_metrics.Classifier(f"saved_model:{tmp_path}/export", other).accuracy_on(
            other, pictures, pitch
        )

    ended = launcher.run(f"--workdir={path}", module="launch.evaluate")
    assert ended.code == 2
    assert "saved_model:PATH of an exported pitch_classifier" in ended.errors[0]


def test_more_notes_than_fit_are_refused():
    with pytest.raises(BadInput, match="--num=2001: notes are measured up to 2000"):
        note_metrics.measure(None, None, [], (), "", 2001, 0, None)


def test_more_spectra_than_frames_of_a_clip(launcher, tones):
    """Readers of clips alone look at an hparam `frames`."""
    given = ["--model=pitch_classifier", "--preset=tiny", "--hparam=frames=2000"]
    ended = launcher.run(*given, f"--dataset={tones}", "--batch=2", "--dry_run")
    assert ended.code == 0, ended.stderr


@pytest.mark.slow
def test_classifier_of_pitches(launcher, tones, tmp_path):
    data = tfgen.data.load(tones, batch=16, validation_fraction=0.25)
    path, model = make_run(
        tmp_path / "run", "pitch_classifier", data, tones, validation=0.25
    )
    found = launcher.run(f"--workdir={path}", module="launch.evaluate").json["metrics"]
    rows = data.validation.arrays
    audio = np.float32(rows["audio"]) / 32768
    wanted = np.mean(model.classify_notes(audio)["pitch"] == rows["pitch"])
    assert found["accuracy"] == pytest.approx(wanted)
    assert set(found) == {"accuracy", "cross_entropy"}


def test_a_training_leaves_sound(launcher, tones, tmp_path, events):
    ended = launcher.run(
        "--model=gansynth_flat",
        "--preset=tiny",
        f"--dataset={tones}",
        "--batch=8",
        "--steps=2",
        "--sample_every=2",
        f"--workdir={tmp_path}/run",
    )
    assert ended.code == 0, ended.stderr
    said = "1 of 96 WAV files resampled from 32000 to 16000 Hz"
    assert said in ended.stderr
    samples = tmp_path / "run" / "samples"
    assert len(heard(samples / "step_000000002.wav")) == 16 * 64
    assert {"samples", "notes"} <= set(events(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["silent", "out of range"])
def test_refusals_of_sound(launcher, tmp_path, kind):
    name = {"silent": "a_060.wav", "out of range": "a_200.wav"}[kind]
    sound = np.zeros(64) if kind == "silent" else np.sin(np.arange(64.0))
    wavfile.write(tmp_path / name, RATE, sound.astype("float32"))
    given = ["--model=pitch_classifier", "--preset=tiny", "--steps=1", "--batch=2"]
    data = [f"--dataset=folder:{tmp_path}", f"--workdir={tmp_path}/run"]
    ended = launcher.run(*given, *data)
    assert ended.code == 2
    (line,) = ended.errors
    assert name in line
    assert {"silent": "is silent", "out of range": "no MIDI number"}[kind] in line


# MIDI -------------------------------------------------------------------------------


def test_pitches_are_moved_by_octaves():
    assert midi.moved([60, 62, 84, 90], range(84, 96)).tolist() == [84, 86, 84, 90]
    # Without the octave, the nearest.
    assert midi.moved([61, 50], [60, 72]).tolist() == [60, 60]


def test_timbres_start_at_their_latents():
    stops = np.random.default_rng(0).normal(size=[4, 8]).astype("float32")
    z = midi.timbres(np.array([0.0, 2.5, 5.0, 12.0]), lambda num: stops[:num])
    np.testing.assert_allclose(z[[0, 2]], stops[:2], atol=1e-6)
    assert np.abs(z[1] - stops[0]).max() > 0.1


def test_a_song_is_the_sum_of_its_notes():
    onset, length = np.array([0.0, 1.0]), np.array([0.5, 9.0])
    pitch, velocity = np.array([60, 62]), np.array([127, 64])
    sound = np.full([2, 4 * RATE], 0.25)
    z = np.zeros([2, 3])
    song = midi.render((onset, length, pitch, velocity), z, lambda z, p: sound, RATE)
    time = np.arange(len(song)) / RATE

    def level(second):
        return song[np.abs(time - second).argmin()]

    assert np.abs(song).max() == pytest.approx(0.5)
    assert level(0.3) == pytest.approx(0.5)
    assert level(0.005) == pytest.approx(0.25, rel=0.01)  # half of the attack
    assert level(0.65) == pytest.approx(0.25, rel=0.01)  # half of the release
    assert level(0.9) == 0
    assert level(2.0) == pytest.approx(0.5 * 64 / 127)
    assert level(3.9) == pytest.approx(0.5 * 64 / 127)  # held for 3 s
    assert len(song) == pytest.approx(4.3 * RATE, abs=3)


@pytest.mark.slow
def test_a_midi_file_is_played(run, launcher, tmp_path):
    pretty_midi = pytest.importorskip("pretty_midi")
    song = pretty_midi.PrettyMIDI()
    piano, drums = (pretty_midi.Instrument(0, is_drum=drum) for drum in (False, True))
    piano.notes = [
        pretty_midi.Note(velocity=100, pitch=60, start=0.5, end=0.7),
        pretty_midi.Note(velocity=80, pitch=86, start=0.0, end=0.4),
    ]
    drums.notes = [pretty_midi.Note(velocity=100, pitch=40, start=0.0, end=1.0)]
    song.instruments += [piano, drums]
    song.write(str(tmp_path / "song.mid"))
    onset, _, pitch, velocity = midi.read(tmp_path / "song.mid")
    np.testing.assert_allclose(onset, [0.0, 0.5], atol=1e-2)
    assert (pitch.tolist(), velocity.tolist()) == ([86, 60], [80, 100])
    out = f"--out={tmp_path}/song.wav"
    flags = [f"--workdir={run[0]}", f"--midi={tmp_path}/song.mid"]
    ended = sample(launcher, *flags, out)
    assert ended.code == 0, ended.stderr
    assert "1 of 2 notes lie outside the model's pitches, 84 to 95" in ended.stderr
    assert ended.json["moved"] == 1
    sound = heard(tmp_path / "song.wav")
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)
    (tmp_path / "none.mid").write_text("nothing")
    ended = sample(launcher, flags[0], f"--midi={tmp_path}/none.mid", out)
    assert ended.code == 2 and "none.mid is not a MIDI file" in ended.errors[0]


def test_pcm_round_trip():
    audio = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert wav.to_pcm16(audio).tolist() == [-32768, -16384, 0, 16384, 32767]
