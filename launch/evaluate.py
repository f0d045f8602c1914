"""Measure a trained model on held-out data.

python -m launch.evaluate --workdir=runs/vae --metrics=elbo,iwae

Writes WORKDIR/evaluation.json: one record a number, which replaces an earlier one of
the same measurement. The last line on stdout is one JSON object.
"""

import json
import math
import os

from absl import flags

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import graph, in_parts, sampler
from tfgen.workdir import write_json

from . import adaptation, clips, common_flags, held_out, note_metrics, translation
from .progress import Progress

FLAGS = flags.FLAGS
MOST_SAMPLES = 10_000
GAP_ROWS, GAP_SAMPLES = 100, 1000  # where --num and --iwae_samples do not say
PATHS = 2000  # pairs of latents of ppl, where --num does not say
PARZEN_ROWS = 1000  # that choose the width of a Parzen window

common_flags.define_run()
flags.DEFINE_list("metrics", [], "Names, comma-separated; none: the model's own.")
flags.DEFINE_string(
    "extractor",
    "pixels",
    "Features for sample metrics: pixels, pca:N, saved_model:PATH, keras:NAME:PATH.",
)
flags.DEFINE_list(
    "classifiers", [], "Exports of video_classifier, for attributes of clips."
)
flags.DEFINE_integer(
    "num", 0, "Held-out rows and samples used; 0: the whole split.", lower_bound=0
)
flags.DEFINE_integer(
    "labels", 1000, "Labelled rows that linear_probe learns from.", lower_bound=3
)
flags.DEFINE_integer(
    "iwae_samples", 100, "Draws a row of iwae, cll and gaps.", lower_bound=1
)
flags.DEFINE_integer("local_steps", 1000, "Of each q* of gaps.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of all noise.", lower_bound=0, upper_bound=2**31 - 1)
flags.DEFINE_string("data_dir", None, "Where TFDS data sets lie; none: as trained.")


def main():
    """Evaluate as the flags say; returns the JSON line's dict."""
    workdir, run, model = common_flags.load_run()
    chosen = choose(model, FLAGS.metrics)
    check_read(model, chosen)
    data = held_out.load(run, FLAGS.data_dir)
    if not os.access(workdir.path, os.W_OK):  # before minutes of measuring
        raise BadInput(f"{workdir.evaluation} cannot be written")
    evaluation = Evaluation(workdir, run, model, data, Progress())
    numbers = evaluation.measure(chosen)
    records = [evaluation.record(name, number) for name, number in numbers.items()]
    write(workdir.evaluation, records)
    return {
        "model": run["model"],
        "dataset": run["dataset"],
        "split": evaluation.split,
        "step": model.steps_done,
        "metrics": {record["metric"]: record["value"] for record in records},
        "standard_errors": {
            record["metric"]: record["standard_error"]
            for record in records
            if record["standard_error"] is not None
        },
        "evaluation": str(workdir.evaluation),
    }


def groups(model):
    """Return {group: names of its metrics}, those that fit `model`, own ones first."""
    from tfgen.metrics import conditional, gaps, likelihood, notes, path_length, quality

    if "video" in model.spec.features:
        return clips.metrics_of(model)
    found = {}
    if note_metrics.is_measurable(model):
        return {"notes": (*notes.METRICS, note_metrics.SPECTROGRAM)}
    if hasattr(model, "classify_notes"):
        return {"pitches": ("accuracy", "cross_entropy")}
    if metrics := conditional.metrics_of(model):
        found["conditional"] = metrics
    if likelihood.is_measurable(model):
        found["likelihood"] = likelihood.metrics_of(model)
    if gaps.is_measurable(model):
        found["gaps"] = gaps.METRICS
    if hasattr(model, "critic") and hasattr(model, "score"):
        found["critic"] = ("wasserstein_estimate",)
    if hasattr(model, "classify"):
        found["labels"] = ("accuracy", "cross_entropy")
    if hasattr(model, "classify_source"):
        found["labels"] += ("source_only_accuracy",)
    if hasattr(model, "translate_ab"):
        found["translation"] = translation.METRICS
    if hasattr(model, "sample"):
        found["confidence"] = ("confidence",)
        conditional = hasattr(model, "sample_labels")
        found["quality"] = tuple(
            name
            for name in quality.METRICS
            if conditional or name not in quality.NEED_LABELS
        )
        found["parzen"] = ("parzen",)
    if path_length.is_measurable(model):
        found["path"] = path_length.METRICS
    if hasattr(model, "features"):
        found["probe"] = ("linear_probe",)
    return found


def choose(model, names):
    """Return {group: metrics asked for}.

    Without names: the model's own group, or sample quality when it has none.

    Raises:
        BadInput: A metric that this model cannot be measured by.
    """
    valid = groups(model)
    if not valid:
        raise BadInput(f"{type(model).__name__} has nothing that could be measured")
    if not names:
        first = next((g for g in valid if g != "confidence"), None)
        names = valid.get(first, ())
        if first == "quality":
            names = ("frechet", "kernel", "precision_recall")
        if first == "samples":
            names = ("motion_energy",)
        if first == "translation":
            names = translation.UNPAIRED
        if first == "notes":
            names = [name for name in names if name != note_metrics.SPECTROGRAM]
    for name in names:
        if not any(name in metrics for metrics in valid.values()):
            every = [metric for metrics in valid.values() for metric in metrics]
            raise BadInput(
                f"no metric {name!r} for {type(model).__name__}; valid: "
                + ", ".join(every)
            )
    names = list(dict.fromkeys(names))
    chosen = {g: [n for n in names if n in metrics] for g, metrics in valid.items()}
    return {group: metrics for group, metrics in chosen.items() if metrics}


def read_by():
    """Return {flag: metrics that read it}, of flags that few metrics read."""
    from tfgen.metrics import conditional, gaps, likelihood, notes, path_length, quality

    of_features = (*quality.METRICS, "confidence", *path_length.METRICS)
    of_features += (*notes.METRICS, note_metrics.SPECTROGRAM, "frechet_video")
    return {
        "extractor": of_features,
        "classifiers": clips.TOLD,
        "labels": ("linear_probe",),
        "iwae_samples": (*likelihood.BOUNDS, *gaps.METRICS, *conditional.SAMPLED),
        "local_steps": gaps.METRICS,
    }


def check_read(model, chosen):
    """Refuse flags that no chosen metric reads, and an extractor that there is not.

    Args:
        model: What is measured.
        chosen: What `choose` returns.
    """
    names = {name for metrics in chosen.values() for name in metrics}
    for flag, metrics in read_by().items():
        if not FLAGS[flag].present or names & set(metrics):
            continue
        fitting = [m for of in groups(model).values() for m in of if m in metrics]
        raise BadInput(
            f"--{flag} is read by --metrics={','.join(fitting)} only"
            if fitting
            else f"--{flag}: no metric of {type(model).__name__} reads it"
        )
    if FLAGS["extractor"].present:
        from tfgen.metrics import extractors

        extractors.check(FLAGS.extractor)


class Evaluation:
    """Measures one model against its held-out data; inputs are made when needed."""

    def __init__(self, workdir, run, model, data, progress):
        self.workdir, self.run, self.model = workdir, run, model
        self.data, self.progress = data, progress
        self.stream, self.split = held_out.split(data)
        self.limit = FLAGS.num or None
        self._held_out, self._fakes = None, None

    def measure(self, chosen):
        """Return {name: {"value", "standard_error", ...}} of {group: metrics}."""
        if "video" in self.model.spec.features:
            return clips.measure(
                self.model,
                self.data,
                self.stream,
                [name for metrics in chosen.values() for name in metrics],
                extractor=FLAGS.extractor,
                classifiers=FLAGS.classifiers,
                num=FLAGS.num,
                seed=FLAGS.seed,
                progress=self.progress,
            )
        numbers = {}
        for group, metrics in chosen.items():
            numbers |= getattr(self, f"_{group}")(metrics)
        return numbers

    def record(self, name, number):
        """Return a record that stands by itself: what was measured, on what, how."""
        averaged = any(n.endswith("_ema") for n in self.model.networks)
        averaged = averaged and FLAGS.weights == "average"
        return {
            "metric": name,
            **number,
            "split": self.split,
            "seed": FLAGS.seed,
            "step": self.model.steps_done,
            "weights": "moving average" if averaged else "raw",
        }

    @property
    def held_out(self):
        """{feature: array} of the held-out rows, as the model wants them."""
        if self._held_out is None:
            spec = self.model.spec
            if hasattr(self.stream, "target"):  # what an adaptation is for
                rows = held_out.domain(self.stream, spec, "target", self.limit)
            else:
                rows = held_out.arrays(self.stream, spec, self.limit)
            self._held_out = rows
        return self._held_out

    @property
    def fakes(self):
        """Samples `[n, h, w, c]` in the model's range."""
        if self._fakes is None:
            count = FLAGS.num or min(len(self.stream), MOST_SAMPLES)
            self.progress.start("samples")
            self._fakes = sampler(self.model, count, FLAGS.seed)(self.progress)
        return self._fakes

    def _likelihood(self, metrics):
        from tfgen.metrics import likelihood

        k, images = FLAGS.iwae_samples, self.held_out["image"]
        self.progress.start("likelihood")
        found = likelihood.measure(
            self.model,
            images,
            metrics,
            k=k,
            seed=FLAGS.seed,
            index=held_out.numbers(self.stream, self.limit),
            progress=self.progress,
        )
        config = self.model.config
        units = {"bits_per_dim": "bits", **dict.fromkeys(likelihood.UNITS, "latents")}
        return {
            name: {
                **_number(estimate, len(images)),
                "unit": units.get(name, "nats"),
                "k": k if name in likelihood.BOUNDS else 1,
                "likelihood": getattr(config, "likelihood", None),
                "pixels": getattr(config, "pixels", None),
            }
            for name, estimate in found.items()
        }

    def _gaps(self, metrics):
        from tfgen.metrics import gaps

        limit = FLAGS.num or GAP_ROWS
        images = held_out.arrays(self.stream, self.model.spec, limit)["image"]
        k = FLAGS.iwae_samples if FLAGS["iwae_samples"].present else GAP_SAMPLES
        self.progress.start("gaps")
        found = gaps.measure(
            self.model,
            images,
            k=k,
            steps=FLAGS.local_steps,
            seed=FLAGS.seed,
            index=held_out.numbers(self.stream, limit),
            progress=self.progress,
        )
        self._histograms(found)
        units = {"amortisation_gap_positive": "share of rows"}
        return {
            name: {
                **_number(estimate, len(images)),
                "unit": units.get(name, "nats"),
                "k": k,
                "local_steps": FLAGS.local_steps,
                "log_p_drawn_from": found.proposal,
                "pixels": getattr(self.model.config, "pixels", None),
            }
            for name, estimate in found.estimates().items()
        }

    def _histograms(self, found):
        """Write the gaps of all rows to the run's TensorBoard."""
        import tensorflow as tf

        with tf.summary.create_file_writer(str(self.workdir.tensorboard)).as_default():
            for name, values in found.by_row().items():
                step = self.model.steps_done
                tf.summary.histogram(f"gaps/{name}", values, step)
                tf.summary.scalar(f"gaps/{name}_mean", values.mean(), step)

    def _conditional(self, metrics):
        from tfgen.metrics import conditional

        k = FLAGS.iwae_samples
        self.progress.start("conditional likelihood")
        found = conditional.measure(
            self.model,
            self.held_out,
            metrics,
            k=k,
            seed=FLAGS.seed,
            index=held_out.numbers(self.stream, self.limit),
            progress=self.progress,
        )
        return {
            name: {
                **_number(estimate, len(self.held_out["image"])),
                "unit": "nats",
                "k": k if name in conditional.SAMPLED else 1,
                "quadrants": getattr(self.model.config, "quadrants", None),
                "pixels": self.model.config.pixels,
            }
            for name, estimate in found.items()
        }

    def _critic(self, metrics):
        from tfgen.metrics.likelihood import mean_and_error
        from tfgen.metrics.moments import Estimate

        scores = graph(self.model.score)
        real = mean_and_error(in_parts(scores, self.held_out["image"]))
        fake = mean_and_error(in_parts(scores, self.fakes))
        known = None not in (real.error, fake.error)
        error = math.hypot(real.error, fake.error) if known else None
        estimate = Estimate(real.value - fake.value, error)
        number = _number(estimate, len(self.held_out["image"]))
        number |= {"n_fake": len(self.fakes), "unit": "scores"}
        return {"wasserstein_estimate": number}

    def _labels(self, metrics):
        found = adaptation.measure(self.model, self.stream, self.held_out)
        count = len(self.held_out["label"])
        return {name: _number(found[name], count) for name in metrics}

    def _pitches(self, metrics):
        found = note_metrics.accuracy(self.model, self.held_out)
        count = len(self.held_out["pitch"])
        return {name: _number(found[name], count) for name in metrics}

    def _notes(self, metrics):
        found = note_metrics.measure(
            self.model,
            self.data,
            self.stream,
            metrics,
            FLAGS.extractor,
            FLAGS.num,
            FLAGS.seed,
            self.progress,
        )
        return {
            name: {
                "value": number.pop("value"),
                "standard_error": number.pop("error"),
                "count": number["n_fake"],
                **number,
            }
            for name, number in found.items()
        }

    def _translation(self, metrics):
        found = translation.measure(self.model, self.stream, metrics, self.limit)
        return {
            name: {**_number(estimate, count), "unit": unit}
            for name, (estimate, count, unit) in found.items()
        }

    def _confidence(self, metrics):
        from tfgen.metrics import class_summary, extractor

        # Made before the samples: a bad name should not cost the wait.
        network = extractor(FLAGS.extractor, self._bytes(self.held_out["image"]))
        if not network.has_logits:
            raise BadInput(
                f"confidence needs a classifier, not {FLAGS.extractor}: give "
                "--extractor=saved_model:PATH of an exported one"
            )
        fakes = self._bytes(self.fakes)
        summary = class_summary(network.logits(fakes))
        share, classes = summary.confident_share, summary.classes_found
        error = math.sqrt(share * (1 - share) / len(fakes))
        how = {"count": len(fakes), **network.describe()}
        return {
            "confidence": {"value": share, "standard_error": error, **how}
            | {"unit": "share of samples with p > 0.9"},
            "classes_found": {"value": classes, "standard_error": None, **how}
            | {"unit": "classes of at least 0.2 / classes of the samples"},
        }

    def _quality(self, metrics):
        from tfgen.metrics import QualityEvaluation, extractor

        rows = held_out.arrays(self.data.train, self.model.spec, MOST_SAMPLES)
        train, labels = self._bytes(rows["image"]), None
        if hasattr(self.model, "sample_labels"):
            labels = self.model.sample_labels(len(self.fakes)).numpy()
        network = extractor(FLAGS.extractor, train)
        if "labels" in metrics and network.classes:
            known, ours = network.classes, self.model.spec.features["label"].classes
            if known != ours:
                raise BadInput(
                    f"labels: {network.name} tells {len(known)} classes "
                    f"({', '.join(known[:3])}, ...), the model was asked for "
                    f"{len(ours)} ({', '.join(ours[:3])}, ...)"
                )
        self.progress.say(f"sample quality: {', '.join(metrics)}")
        evaluate = QualityEvaluation(
            train,
            self._bytes(self.held_out["image"]),
            network,
            metrics,
            FLAGS.seed,
            rows.get("label"),
        )
        return {
            name: {
                "value": number.pop("value"),
                "standard_error": number.pop("error"),
                "count": number["n_fake"],
                **number,
            }
            for name, number in evaluate(self._bytes(self.fakes), labels).items()
        }

    def _path(self, metrics):
        from tfgen.metrics import extractor, path_length

        train = self._bytes(
            held_out.arrays(self.data.train, self.model.spec, MOST_SAMPLES)["image"]
        )
        network, pairs = extractor(FLAGS.extractor, train), FLAGS.num or PATHS
        self.progress.start("path length")
        estimate = path_length.measure(
            self.model, network, pairs, FLAGS.seed, progress=self.progress
        )
        how = {"unit": "squared distance of features", "epsilon": path_length.EPSILON}
        return {"ppl": {**_number(estimate, pairs), **how, **network.describe()}}

    def _probe(self, metrics):
        """A linear classifier on the model's features, untrained ones, and pixels."""
        from tfgen import models
        from tfgen.metrics import linear_probe

        train = held_out.arrays(self.data.train, self.model.spec, FLAGS.labels)
        if "label" not in train:
            raise BadInput(f"linear_probe needs labels; {self.data.spec.name} has none")
        untrained = models.build(
            self.run["model"],
            config=self.model.config,
            spec=self.data.spec,
            seed=self.run["seed"],
        )
        kinds = {
            "linear_probe": graph(self.model.features),
            "linear_probe_untrained": graph(untrained.features),
            "linear_probe_pixels": lambda images: images.reshape(len(images), -1),
        }
        found = {}
        for name, features in kinds.items():
            self.progress.say(name)
            estimate = linear_probe(
                in_parts(features, train["image"]),
                train["label"],
                in_parts(features, self.held_out["image"]),
                self.held_out["label"],
                FLAGS.seed,
            )
            number = _number(estimate, len(self.held_out["image"]))
            found[name] = {**number, "unit": "share right", "labels": FLAGS.labels}
        return found

    def _parzen(self, metrics):
        from tfgen.metrics.parzen_windows import WARNING, parzen

        test, validation, chosen_on = self._parzen_rows()
        fakes = self._unit_rows(self.fakes)
        self.progress.say(f"parzen: {len(fakes)} samples, {len(test)} rows. {WARNING}")
        found = parzen(fakes, validation, test)
        # The same with training images in the place of the samples.
        real = held_out.arrays(self.data.train, self.model.spec, len(fakes))["image"]
        floor = parzen(self._unit_rows(real), validation, test)
        return {
            "parzen": {
                **_number((found.value, found.error), len(test)),
                "unit": "nats, pixels in [0, 1]",
                "n_fake": len(fakes),
                "width": found.width,
                "width_at_edge_of_grid": found.at_edge,
                "width_chosen_on": chosen_on,
                "floor": floor.value,
                "floor_error": floor.error,
                "floor_n_fake": len(real),
                "floor_width": floor.width,
                "warning": WARNING,
            }
        }

    def _parzen_rows(self):
        """Return the rows to score, those that choose the width, and where from."""
        import numpy as np

        images = self._unit_rows(self.held_out["image"])
        if self.split == "test" and self.data.validation is not None:
            rows = held_out.arrays(self.data.validation, self.model.spec, PARZEN_ROWS)[
                "image"
            ]
            return images, self._unit_rows(rows), f"{len(rows)} validation rows"
        if len(images) < 4:
            raise BadInput(f"parzen needs 4 held-out rows or more, got {len(images)}")
        aside = min(PARZEN_ROWS, len(images) // 2)
        images = np.random.default_rng(FLAGS.seed).permutation(images)
        where = f"{aside} rows of the {self.split} split, set aside"
        return images[aside:], images[:aside], where

    def _unit_rows(self, images):
        """Return images as rows of values in [0, 1], `[n, size]`."""
        image = self.model.spec.image
        return ((images - image.low) / (image.high - image.low)).reshape(
            [len(images), -1]
        )

    def _bytes(self, images):
        from tfgen.core.spec import to_uint8

        return to_uint8(images, self.model.spec.image)


def _number(estimate, count):
    value, error = estimate
    return {"value": value, "standard_error": error, "count": count}


def write(path, records):
    """Add records to an evaluation file, replacing those of the same measurement."""
    from tfgen.data.decoded import locked

    with locked(path.parent, path.name):
        _add(path, common_flags.finite(records))


def _add(path, records):
    try:
        earlier = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        earlier = []

    def key(record):
        names = (
            "metric step split count k seed digest weights labels local_steps".split()
        )
        return tuple(record.get(name) for name in names)

    kept = {key(record): record for record in [*earlier, *records]}
    write_json(path, list(kept.values()))


def command():
    """Entry point of `tfgen-evaluate`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
