"""Metrics of notes on sets whose answers are known."""

import numpy as np
import pytest

from tfgen.metrics import fundamental, notes
from tfgen.metrics.notes import NoteSet

PITCHES = 4


def made(rows, seed, accuracy=1.0, shift=0.0):
    """Notes in four clusters; `accuracy` of them are classified as their pitch."""
    random = np.random.default_rng(seed)
    pitch = np.arange(rows) % PITCHES
    heard = np.where(random.uniform(size=rows) < accuracy, pitch, (pitch + 1) % PITCHES)
    logits = 20.0 * np.eye(PITCHES)[heard]
    features = np.eye(PITCHES)[heard] + random.normal(0, 0.1, [rows, PITCHES]) + shift
    spectra = 3 * random.normal(size=[rows, 30]) + 2 * shift
    cents = random.uniform(-40, 40, rows) + 100 * (heard != pitch)
    return NoteSet(pitch, features, logits, spectra, cents)


def test_entropy():
    logits = np.log([[0.5, 0.5], [0.25, 0.75]])
    wanted = [np.log(2), -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))]
    value, error = notes.pitch_entropy(logits)
    assert value == pytest.approx(np.mean(wanted))
    assert error == pytest.approx(np.std(wanted, ddof=1) / np.sqrt(2))
    sure, _ = notes.pitch_entropy(1e4 * np.eye(3))
    assert sure == pytest.approx(0, abs=1e-12)


def test_quality_of_good_and_bad_notes():
    train, test = made(1000, 0), made(400, 1)
    good = notes.note_quality(train, test, made(400, 2))
    assert good["pitch_accuracy"]["value"] == 1.0
    # Parts of 40 rows do not hold the classes evenly: exp(log 4 - 3 / 80) = 3.85.
    assert good["classifier_score"]["value"] == pytest.approx(3.85, abs=0.1)
    # At 5 % a cell, 50 cells: 2.5 by chance, with a deviation of 1.5.
    assert good["ndb"]["value"] < 9 and good["ndb"]["cells"] == 50
    assert good["frechet_distance"]["value"] < 0.01
    bad = notes.note_quality(train, test, made(400, 2, accuracy=0.6, shift=1.0))
    assert bad["pitch_accuracy"]["value"] == pytest.approx(0.6, abs=0.08)
    # Four features, each shifted by 1.
    assert bad["frechet_distance"]["value"] == pytest.approx(4, abs=0.1)
    assert bad["ndb"]["value"] > 15
    for name, number in bad.items():
        assert number["floor"] == good[name]["floor"], name
        assert number["n_fake"] == 400
    assert bad["pitch_accuracy"]["floor"] == 1.0
    for name in ("value", "error"):
        assert bad["in_tune"][name] == pytest.approx(bad["pitch_accuracy"][name])
    assert bad["in_tune"]["floor"] == 1.0


def test_notes_in_tune():
    value, error = notes.in_tune([0.0, -50.0, 51.0, np.nan])
    assert value == 0.5
    assert error == pytest.approx(np.sqrt(1 / 3 / 4))


def test_how_far_from_the_pitch():
    time = np.arange(8000) / 16000
    hertz = [440.0, 440 * 2 ** (30 / 1200), 220.0]
    audio = np.stack([np.sin(2 * np.pi * f * time) for f in hertz] + [0 * time])
    off = fundamental.cents_off(audio, 16000, [69, 69, 69, 69])
    np.testing.assert_allclose(off[:3], [0, 30, -1200], atol=1)
    assert np.isnan(off[3])


def test_the_order_of_rows_does_not_count():
    """Data are often sorted by pitch, and a score is a mean over ten parts."""
    sets = [made(400, seed) for seed in range(3)]
    by_pitch = [x.rows(np.argsort(x.pitch, kind="stable")) for x in sets]
    found = notes.note_quality(*by_pitch, ["classifier_score"])["classifier_score"]
    assert found["value"] == pytest.approx(3.85, abs=0.1)
    assert found["floor"] == pytest.approx(3.85, abs=0.1)


def test_only_what_was_asked():
    found = notes.note_quality(made(50, 0), made(20, 1), made(20, 2), ["ndb"])
    assert set(found) == {"ndb", "ndb_divergence"}
    assert found["ndb"]["cells"] == 5


def test_places():
    assert notes.places_of(10).tolist() == list(range(10))
    some = notes.places_of(10_000)
    assert len(set(some)) == notes.PLACES and (np.diff(some) > 0).all()
