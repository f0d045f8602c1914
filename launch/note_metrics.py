"""Generated notes, and a classifier of pitches, against real notes held out."""

import dataclasses

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import graph, in_parts

from . import adaptation, held_out

ROWS = 32  # notes in one pass
MOST = 2000  # notes of each kind
SPECTROGRAM = "spectrogram_pitch_accuracy"
KIND = "saved_model:"


def is_measurable(model):
    """Return whether `model` generates notes."""
    return "audio" in model.spec.features and hasattr(model, "spectrogram")


def accuracy(model, rows):
    """Return {"accuracy", "cross_entropy": Estimate} of a classifier on real notes."""
    from tfgen.metrics.classifier import label_agreement

    logits = adaptation.logits_of(model.classify_notes, rows["audio"], ROWS)
    found = label_agreement(logits, rows["pitch"])
    return {"accuracy": found.accuracy, "cross_entropy": found.cross_entropy}


def measure(model, data, stream, metrics, extractor, num, seed, progress):
    """Measure what a generator plays.

    As many notes as there are held-out ones, of their pitches, each of its own latent.

    Args:
        model: Has `prior`, `spectrogram` and a `representation`.
        data: What it was trained on.
        stream: The held-out rows.
        metrics: Names in `tfgen.metrics.notes.METRICS`, and `SPECTROGRAM`: the
            classifier's accuracy on the generator's own spectrograms.
        extractor: "saved_model:" and the export folder of a `pitch_classifier`.
        num: Notes, at most `MOST` and no more than are held out; 0: so many.
        seed: Of the latents and of k-means.
        progress: See `launch.progress`.

    Returns:
        {number: record}.

    Raises:
        BadInput: More than `MOST` notes; the extractor does not classify pitches, or
            not these.
    """
    from tfgen.metrics import notes

    if num > MOST:  # in memory, with the spectrograms of the fakes
        raise BadInput(f"--num={num}: notes are measured up to {MOST} of a kind")
    classifier = Classifier(extractor, model)
    count = min(num or MOST, len(stream))
    test = held_out.arrays(stream, model.spec, count)
    train = held_out.arrays(data.train, model.spec, MOST)
    progress.say(f"{count} notes: {', '.join(metrics)}")
    asked = test["pitch"]
    pictures, audio = _generated(model, asked, seed)
    sets = [
        _note_set(model, classifier, x, pitch, "in_tune" in metrics)
        for x, pitch in (
            (train["audio"], train["pitch"]),
            (test["audio"], test["pitch"]),
            (audio, asked),
        )
    ]
    found = notes.note_quality(*sets, metrics, seed)
    if SPECTROGRAM in metrics:
        found[SPECTROGRAM] = classifier.accuracy_on(model, pictures, asked)
    about = {"extractor": extractor, "digest": classifier.digest}
    return {name: {**number, **about} for name, number in found.items()}


class Classifier:
    """An exported `pitch_classifier`.

    Args:
        extractor: "saved_model:" and its folder.
        model: The generator; its notes and pitches must be known to the classifier.
    """

    def __init__(self, extractor, model):
        from tfgen.core.spec import adapter
        from tfgen.export import load

        if not extractor.startswith(KIND):
            raise BadInput(
                f"notes are measured by a classifier of pitches, not {extractor}: give "
                "--extractor=saved_model:PATH of an exported pitch_classifier"
            )
        self.exported = load(extractor.removeprefix(KIND))
        if "classify_notes" not in self.exported.names:
            raise BadInput(f"{extractor} does not classify notes")
        self.digest = self.exported.description["fingerprint"]
        known = self.exported.spec.features["pitch"].classes
        ours = model.spec.features["pitch"].classes
        if missing := sorted(set(ours) - set(known), key=int):
            raise BadInput(
                f"{extractor} does not know the pitches {', '.join(missing)}"
            )
        self.classes = np.array([known.index(name) for name in ours])

        def sound(spec):
            return spec.replace(features={"audio": spec.audio})

        self._adapt, _ = adapter(sound(model.spec), sound(self.exported.spec))

    def __call__(self, audio):
        """Return (features, logits) of sound `[n, samples]` as the model makes it."""

        def heard(part):
            part = self._adapt({"audio": part})["audio"]
            return self.exported.classify_notes(np.asarray(part))

        found = in_parts(heard, audio, rows=ROWS)
        return found["features"], found["logits"]

    def accuracy_on(self, model, pictures, pitch):
        """Return the record of the accuracy on spectrograms of the same kind.

        Raises:
            BadInput: The classifier reads others than the generator makes.
        """
        from tfgen.metrics.classifier import label_agreement

        config, ours = self.exported.description["config"], model.representation
        names = "kind", "frames", "bins", "floor"
        theirs = [config.get(name, 0.0) for name in names]
        made = [getattr(ours, name) for name in names]
        if theirs != made or ours.mel_mode != "official":
            raise BadInput(
                f"{SPECTROGRAM}: of {', '.join(names)} the classifier reads "
                f"{', '.join(map(str, theirs))}, the generator makes "
                f"{', '.join(map(str, made))}"
            )
        found = in_parts(self.exported.classify_spectrograms, pictures, rows=ROWS)
        agreement = label_agreement(found["logits"], self.classes[pitch])
        value, error = agreement.accuracy
        return {"value": value, "error": error, "n_real": 0, "n_fake": len(pitch)}


def _generated(model, pitch, seed):
    """Return spectrograms and sound of class numbers `[n]`, by parts."""
    import tensorflow as tf

    numbers = _midi(model, pitch)

    def play(numbers, row):
        z = model.prior(tf.shape(numbers)[0], seed, row[0])
        pictures = model.spectrogram(z, numbers)
        audio = model.representation.inverse(pictures)
        return pictures, tf.clip_by_value(audio, -1.0, 1.0)

    firsts = np.arange(len(numbers), dtype=np.int32)
    return in_parts(graph(play), numbers, firsts, rows=ROWS)


def _midi(model, pitch):
    """Return the keys of class numbers `[n]`, which are named after them."""
    names = model.spec.features["pitch"].classes
    return np.array([int(name) for name in names], "int64")[pitch]


def _note_set(model, classifier, audio, pitch, is_heard):
    from tfgen.metrics.fundamental import cents_off
    from tfgen.metrics.notes import NoteSet, places_of

    linear = dataclasses.replace(model.representation, kind="if", floor=0.0)
    frames, bins, _ = linear.shape
    places = places_of(frames * bins)

    def spectra(x):
        import tensorflow as tf

        flat = tf.reshape(linear.forward(x)[..., 0], [-1, frames * bins])
        return tf.gather(flat, places, axis=1)

    features, logits = classifier(audio)
    cents = np.full(len(audio), np.nan)
    if is_heard:
        rate = model.spec.features["audio"].sample_rate
        cents = cents_off(audio, rate, _midi(model, pitch))
    return NoteSet(
        classifier.classes[pitch],
        features,
        logits,
        in_parts(graph(spectra), audio, rows=ROWS),
        cents,
    )
