"""How models of clips do: attributes, Frechet video distance, motion."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics import passes

from . import adaptation, held_out

CLASSIFIED = ("accuracy", "cross_entropy")
SAMPLED = ("motion_energy", "frechet_video")
CONTINUED = ("first_frame_l1", "motion_energy")
TOLD = ("attributes",)


def metrics_of(model):
    """Return {group: names of metrics} that fit a model of clips."""
    found = {}
    if hasattr(model, "classify"):
        found["labels"] = CLASSIFIED
    if hasattr(model, "predict_clips"):
        found["future"] = CONTINUED
    if hasattr(model, "sample"):
        found["samples"] = SAMPLED
    if hasattr(model, "generate"):
        found["told"] = TOLD
    return found


def measure(
    model, data, stream, metrics, *, extractor, classifiers, num, seed, progress
):
    """Return {metric: record}.

    accuracy, cross_entropy: of a classifier, on held-out rows.
    motion_energy: mean |frame k + 1 - frame k| of samples in units of the bytes 0 to
        255, and of held-out clips as `real`.
    frechet_video: between samples and held-out clips, on the features of --extractor;
        `floor` is that of as many training clips.
    first_frame_l1: mean |predicted first frame - the one that was given|, in the
        model's range of 2.
    attributes: {NAME}_accuracy for each of --classifiers: the share of clips, made of
        the sentences of held-out rows, that a classifier of real clips takes for what
        the sentence says; `real` is its accuracy on those rows' own clips, `unseen`
        the number of rows whose sentence no training row has.

    Args:
        model: Of clips.
        data: Its `Data`.
        stream: The held-out split.
        metrics: Names.
        extractor: "saved_model:PATH" of an exported video_classifier, for
            frechet_video.
        classifiers: Paths of such exports, for attributes.
        num: Rows at most, 0: all of the split.
        seed: Of the samples.
        progress: Called with (done, total).

    Raises:
        BadInput: A metric lacks its extractor, classifiers, labels or sentences.
    """
    spec = model.spec
    found = {}
    labels = [name for name in metrics if name in CLASSIFIED]
    if hasattr(model, "classify"):
        rows = held_out.arrays(stream, spec, num or None)
        found |= _classified(model, rows, labels)
        return found
    count = min(num or len(stream), len(stream))
    real = _bytes(held_out.arrays(stream, spec, count)["video"], spec)
    network = _extractor(extractor, real) if "frechet_video" in metrics else None
    judges = _judges(classifiers, real, stream) if "attributes" in metrics else []
    if hasattr(model, "predict_clips"):
        found |= _continued(model, stream, metrics, count, progress)
    if {"motion_energy", "frechet_video"} & set(metrics) and hasattr(model, "sample"):
        progress.start("clips")
        fake = _bytes(passes.sampler(model, count, seed)(progress), spec)
        if "motion_energy" in metrics:
            found["motion_energy"] = _motion(real, fake)
        if network:
            train = _bytes(held_out.arrays(data.train, spec, count)["video"], spec)
            found["frechet_video"] = _frechet(network, real, fake, train)
    if judges:
        found |= _attributes(model, data, stream, judges, count, seed, progress)
    return found


def _classified(model, rows, metrics):
    from tfgen.metrics.classifier import label_agreement

    labels = rows[model.config.label]
    logits = adaptation.logits_of(model.classify, rows["video"])
    agreement = label_agreement(logits, labels)
    return {name: _record(getattr(agreement, name), len(labels)) for name in metrics}


def _continued(model, stream, metrics, count, progress):
    from tfgen.metrics.likelihood import mean_and_error

    real = held_out.arrays(stream, model.spec, count)["video"]
    progress.start("clips")
    made = passes.in_parts(
        passes.graph(model.predict_clips),
        real[:, 0],
        rows=passes.made_at_once(model.spec),
        progress=progress,
    )
    found = {}
    if "first_frame_l1" in metrics:
        error = np.abs(made[:, 0] - real[:, 0]).mean(axis=(1, 2, 3))
        found["first_frame_l1"] = _record(mean_and_error(error), count)
    if "motion_energy" in metrics:
        both = (_bytes(clips, model.spec) for clips in (real, made))
        found["motion_energy"] = _motion(*both)
    return found


def _motion(real, fake):
    from tfgen.metrics.clips import motion_energy
    from tfgen.metrics.likelihood import mean_and_error

    theirs, ours = (mean_and_error(motion_energy(clips)) for clips in (real, fake))
    how = {"real": theirs.value, "real_error": theirs.error, "unit": "bytes a frame"}
    return {**_record(ours, len(fake)), **how}


def _frechet(network, real, fake, train):
    from tfgen.metrics import frechet_distance

    real, fake, train = (network.extract(x).features for x in (real, fake, train))
    return {
        "value": frechet_distance(real, fake),
        "standard_error": None,
        "count": len(fake),
        "n_real": len(real),
        "floor": frechet_distance(real, train),
        **network.describe(),
    }


def _attributes(model, data, stream, judges, count, seed, progress):
    from tfgen.metrics.classifier import label_agreement

    names = {"tokens"} | {judge.label for judge in judges}
    rows = np.sort(np.random.default_rng(0).permutation(len(stream))[:count])
    told = {name: stream.arrays[name][rows] for name in names}
    seen = np.isin(stream.arrays["sentence"][rows], data.train.arrays["sentence"])
    progress.start("clips")
    made = passes.in_parts(
        passes.graph(lambda tokens, row: model.generate(tokens, seed, row[0])),
        told["tokens"],
        np.arange(len(rows), dtype=np.int32),
        rows=passes.made_at_once(model.spec),
        progress=progress,
    )
    fake = _bytes(made, model.spec)
    real = _bytes(held_out.arrays(stream, model.spec, count)["video"], model.spec)
    found = {}
    for judge in judges:
        labels = told[judge.label]
        mine, theirs = (
            label_agreement(judge.extract(clips).logits, labels).accuracy
            for clips in (fake, real)
        )
        found[f"{judge.label}_accuracy"] = {
            **_record(mine, len(rows)),
            "real": theirs.value,
            "unseen": int((~seen).sum()),
            "unit": "share of clips",
            **judge.describe(),
        }
    return found


def _extractor(name, real):
    from tfgen.metrics import ClipExtractor

    kind, colon, path = name.partition(":")
    if kind != "saved_model" or not colon:
        raise BadInput(
            "frechet_video needs --extractor=saved_model:PATH, an exported "
            f"video_classifier, not {name}"
        )
    return ClipExtractor(path, real.shape[1:])


def _judges(paths, real, stream):
    from tfgen.metrics import ClipExtractor

    if not paths:
        raise BadInput(
            "attributes need --classifiers: exports of video_classifier, a path for "
            "each attribute"
        )
    judges = [ClipExtractor(path, real.shape[1:]) for path in paths]
    for judge in judges:
        feature = stream.spec.features.get(judge.label)
        if feature is None or feature.classes != judge.classes:
            raise BadInput(
                f"{judge.name} tells {judge.label}, of other classes than "
                f"{stream.spec.name} has"
            )
    return judges


def _bytes(clips, spec):
    from tfgen.core.spec import to_uint8

    return to_uint8(clips, spec.video)


def _record(estimate, count):
    return {
        "value": estimate.value,
        "standard_error": estimate.error,
        "count": count,
    }
