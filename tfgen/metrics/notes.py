"""How good generated notes are, by a pitch classifier and by their spectrograms.

Of a classifier of the pitch of real notes (`pitch_classifier`), never of the
generator's own: accuracy against the pitch that was asked for, entropy of its answer,
Frechet distance of its features, classifier score of its logits. Of log-magnitude
spectrograms: the number of statistically different bins (NDB). These are the measures
of Engel et al. 2019; a distance here is not comparable with theirs, whose classifier
was another. Of the sound itself: whether its fundamental frequency is the asked one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special

from tfgen.metrics.bins import different_bins, fit_bins
from tfgen.metrics.classifier import classifier_score, label_agreement
from tfgen.metrics.frechet import frechet_distance
from tfgen.metrics.moments import Estimate, as_features

CELLS = 50  # of k-means, as published
PLACES = 1000  # points of a spectrogram that are looked at, at most: `bins` takes all
NEAR = 50.0  # hundredths of a semitone: the nearest key is the asked one
METRICS = (
    "pitch_accuracy",
    "pitch_entropy",
    "frechet",
    "classifier_score",
    "ndb",
    "in_tune",
)


@dataclasses.dataclass(frozen=True)
class NoteSet:
    """Notes as the metrics see them, rows in one order.

    Attributes:
      pitch: `[n]` class numbers: true ones of real notes, of generated ones those that
        were asked for.
      features: `[n, d]` of the classifier.
      logits: `[n, pitches]` of the classifier.
      spectra: `[n, places]` log magnitudes.
      cents: `[n]` how far the fundamental lies from the pitch, see
        `fundamental.cents_off`.
    """

    pitch: np.ndarray
    features: np.ndarray
    logits: np.ndarray
    spectra: np.ndarray
    cents: np.ndarray

    def __len__(self):
        return len(self.pitch)

    def rows(self, index) -> NoteSet:
        """The rows that `index` (a slice or integers) selects."""
        parts = (getattr(self, field.name) for field in dataclasses.fields(self))
        return NoteSet(*(part[index] for part in parts))


def pitch_entropy(logits) -> Estimate:
    """Mean over rows of `H(p(pitch | x))` in nats, and its standard error.

    0 where the classifier is sure, log(pitches) where it knows nothing.

    Args:
      logits: `[n, pitches]`, two rows or more.
    """
    log_p = scipy.special.log_softmax(as_features(logits, "logits", rows=2), axis=1)
    p = np.exp(log_p)
    entropy = -np.sum(p * np.where(p > 0, log_p, 0.0), axis=1)
    error = entropy.std(ddof=1) / np.sqrt(len(entropy))
    return Estimate(float(entropy.mean()), float(error))


def in_tune(cents) -> Estimate:
    """Share of `[n]` notes within `NEAR` cents, and its standard error; NaN is not."""
    right = np.abs(np.nan_to_num(cents, nan=np.inf)) <= NEAR
    return Estimate(float(right.mean()), float(right.std(ddof=1) / np.sqrt(len(right))))


def places_of(size: int, seed: int = 0) -> np.ndarray:
    """Which points of a flat spectrogram are looked at: at most `PLACES`, sorted."""
    random = np.random.default_rng(seed)
    return np.sort(random.permutation(size)[:PLACES])


def note_quality(train, test, fake, metrics=METRICS, seed: int = 0) -> dict[str, dict]:
    """Measure generated notes.

    Args:
      train: `NoteSet` of real notes that the generator was trained on.
      test: of real ones that it was not.
      fake: of generated ones.
      metrics: names in `METRICS`.
      seed: of the order of rows and of k-means.

    Returns:
      {number: {"value", "error", "floor", "n_real", "n_fake"}}. "pitch_accuracy" and
      "in_tune" in shares; "pitch_entropy" in nats; "frechet_distance" of features to
      `test`; "classifier_score" in [1, pitches]; "ndb" in cells of at most 50 fitted
      to `train`, at a significance of 5 %, and "ndb_divergence" of the histograms in
      nats.
      The floor is the same of `test` in the place of the fakes; of the Frechet
      distance, of as many training notes.
    """
    # The parts that a classifier score is taken of must not be sorted by pitch.
    random = np.random.default_rng(seed)
    train, test, fake = (
        x.rows(random.permutation(len(x))) for x in (train, test, fake)
    )
    found = {}

    def add(name, estimate, floor, real, of=fake):
        value, error = estimate if isinstance(estimate, tuple) else (estimate, None)
        counts = {"n_real": real, "n_fake": len(of)}
        found[name] = {"value": value, "error": error, "floor": floor, **counts}

    def of_all(measure):
        return measure(fake), measure(test).value

    if "pitch_accuracy" in metrics:
        add(
            "pitch_accuracy",
            *of_all(lambda x: label_agreement(x.logits, x.pitch).accuracy),
            0,
        )
    if "in_tune" in metrics:
        add("in_tune", *of_all(lambda x: in_tune(x.cents)), 0)
    if "pitch_entropy" in metrics:
        add("pitch_entropy", *of_all(lambda x: pitch_entropy(x.logits)), 0)
    if "classifier_score" in metrics:
        add("classifier_score", *of_all(lambda x: classifier_score(x.logits)), 0)
    if "frechet" in metrics:
        distance = frechet_distance(test.features, fake.features)
        posing = train.rows(slice(len(fake)))
        floor = frechet_distance(test.features, posing.features)
        add("frechet_distance", distance, floor, len(test))
    if "ndb" in metrics:
        cells = max(2, min(CELLS, len(train) // 10))
        bins = fit_bins(train.spectra, cells, seed)
        results = [
            different_bins(bins.counts, bins.histogram(x.spectra)) for x in (fake, test)
        ]
        fakes, floor = results
        add("ndb", fakes.count, floor.count, len(train))
        found["ndb"]["cells"] = cells
        add("ndb_divergence", fakes.divergence, floor.divergence, len(train))
    return found
