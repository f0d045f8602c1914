"""A chosen set of metrics on one set of samples, each number beside its floor."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import scipy.special

from tfgen.core.errors import BadInput
from tfgen.metrics.bins import different_bins, fit_bins
from tfgen.metrics.classifier import class_summary, classifier_score, label_agreement
from tfgen.metrics.copying import memorisation
from tfgen.metrics.extractors import Extractor
from tfgen.metrics.frechet import frechet_distance
from tfgen.metrics.images import as_images, class_diversity
from tfgen.metrics.kernel import kernel_distance
from tfgen.metrics.manifold import density_coverage, precision_recall
from tfgen.metrics.mmd import gaussian_mmd
from tfgen.metrics.sliced import image_sliced_wasserstein, sliced_wasserstein
from tfgen.metrics.two_sample import nearest_neighbour_test

# Rows a side that the quadratic-memory permutation test looks at.
MMD_ROWS = 1000
# Images a side for patches; each gives 64 patches a level.
PATCH_IMAGES = 2048


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images with what an extractor made of them, rows in one random order.

    Attributes:
      images: uint8 `[n, h, w, c]`.
      features: float64 `[n, d]`.
      logits: float64 `[n, classes]`, or None.
      labels: `[n]` integers asked for (fakes) or true (reals), or None.
    """

    images: np.ndarray
    features: np.ndarray
    logits: np.ndarray | None
    labels: np.ndarray | None

    def __len__(self):
        return len(self.features)

    def rows(self, index) -> ImageSet:
        """The rows that `index` (a slice or integers) selects."""
        return ImageSet(
            *(
                None if part is None else part[index]
                for part in (self.images, self.features, self.logits, self.labels)
            )
        )


@dataclasses.dataclass(frozen=True)
class Number:
    """One measured number.

    Attributes:
      value: in the unit that the metric's function states.
      error: standard error of drawing other rows, or None where none is known.
      n_real: real rows it was computed from.
      n_fake: fake rows it was computed from.
      source: "features", or "images" or "pixels" (the extractor played no part).
    """

    value: float
    error: float | None
    n_real: int
    n_fake: int
    source: str = "features"


def _frechet(train, test, fake, seed):
    value = frechet_distance(test.features, fake.features)
    return {"frechet_distance": Number(value, None, len(test), len(fake))}


def _kernel(train, test, fake, seed):
    estimate = kernel_distance(test.features, fake.features)
    return {"kernel_distance": Number(*estimate, len(test), len(fake))}


def _precision_recall(train, test, fake, seed):
    return _manifold(precision_recall, test, fake)


def _density_coverage(train, test, fake, seed):
    return _manifold(density_coverage, test, fake)


def _manifold(measure, test, fake):
    """Of as many rows of either: more rows lie closer to each other."""
    n = min(len(test), len(fake))
    real, fakes = test.features[:n], fake.features[:n]
    return _shares(measure(real, fakes)._asdict(), real, fakes)


def _shares(values, real, fake):
    return {k: Number(v, None, len(real), len(fake)) for k, v in values.items()}


def _ndb(train, test, fake, seed):
    # 10 rows a bin; from 2,000 training rows on the floor has 100 bins as well.
    bins = fit_bins(train.features, max(2, min(100, len(train) // 10)), seed)
    result = different_bins(bins.counts, bins.histogram(fake.features))
    return _shares(
        {"ndb_share": result.share, "ndb_divergence": result.divergence}, train, fake
    )


def _sliced(train, test, fake, seed):
    value, _ = sliced_wasserstein(test.features, fake.features, seed)
    return {"sliced_wasserstein": Number(value, None, len(test), len(fake))}


def _patches(train, test, fake, seed):
    n = min(len(test), len(fake), PATCH_IMAGES)
    levels = image_sliced_wasserstein(test.images[:n], fake.images[:n], seed)
    levels = {f"patch_distance_{side}px": value for side, value in levels.items()}
    levels["patch_distance"] = float(np.mean(list(levels.values())))
    return {name: Number(v, None, n, n, "images") for name, v in levels.items()}


def _mmd(train, test, fake, seed):
    real, fakes = test.features[:MMD_ROWS], fake.features[:MMD_ROWS]
    result = gaussian_mmd(real, fakes, seed)
    counts = len(real), len(fakes)
    return {
        "gaussian_mmd": Number(result.value, None, *counts),
        "gaussian_mmd_p_value": Number(result.p_value, None, *counts),
    }


def _two_sample(train, test, fake, seed):
    n = min(len(test), len(fake))
    result = nearest_neighbour_test(test.features[:n], fake.features[:n])
    error = (result.high - result.low) / (2 * 1.96)  # of a 95 % interval
    return {
        "nearest_neighbour_accuracy": Number(result.accuracy, error, n, n),
        "nearest_neighbour_accuracy_real": Number(result.real_accuracy, None, n, n),
        "nearest_neighbour_accuracy_fake": Number(result.fake_accuracy, None, n, n),
    }


def _memorisation(train, test, fake, seed):
    result = memorisation(train.features, test.features, fake.features)
    values = {
        "memorisation_distance_ratio": result.distance_ratio,
        "memorisation_closer_probability": result.closer_probability,
        "memorisation_suspect_share": result.suspect_share,
        "memorisation_exact_copies": float(result.exact_copies),
    }
    return _shares(values, train, fake)


def _classifier_score(train, test, fake, seed):
    estimate = classifier_score(fake.logits)
    return {"classifier_score": Number(*estimate, 0, len(fake))}


def _classes(train, test, fake, seed):
    real = class_summary(test.logits)
    result = class_summary(fake.logits, expected=real.histogram)
    values = {
        "confident_share": result.confident_share,
        "classes_found": float(result.classes_found),
        "class_histogram_distance": result.histogram_distance,
        "class_histogram_entropy": float(scipy.special.entr(result.histogram).sum()),
    }
    return _shares(values, test, fake)


def _labels(train, test, fake, seed):
    result = label_agreement(fake.logits, fake.labels)
    # What a generator that does not look at its label would score.
    shuffled = np.random.default_rng(seed).permutation(fake.labels)
    by_chance = label_agreement(fake.logits, shuffled)
    return {
        "label_cross_entropy": Number(*result.cross_entropy, 0, len(fake)),
        "label_accuracy": Number(*result.accuracy, 0, len(fake)),
        "label_accuracy_shuffled": Number(*by_chance.accuracy, 0, len(fake)),
    }


def _class_diversity(train, test, fake, seed):
    result = class_diversity(train.images, train.labels, fake.images, fake.labels)
    values = {"class_diversity": result.mean, "class_diversity_least": result.least}
    counts = len(train), len(fake)
    return {name: Number(v, None, *counts, "pixels") for name, v in values.items()}


# Name -> function of (train, test, fake, seed). Reference is the held-out `test`
# set, so that a memorising generator scores the floor and not 0; bins and
# memorisation, which are about the training set, use `train`.
METRICS = {
    "frechet": _frechet,
    "kernel": _kernel,
    "precision_recall": _precision_recall,
    "density_coverage": _density_coverage,
    "ndb": _ndb,
    "sliced_wasserstein": _sliced,
    "patches": _patches,
    "mmd": _mmd,
    "two_sample": _two_sample,
    "memorisation": _memorisation,
    "classifier_score": _classifier_score,
    "classes": _classes,
    "labels": _labels,
    "class_diversity": _class_diversity,
}
NEED_LOGITS = ("classifier_score", "classes", "labels")
NEED_LABELS = ("labels", "class_diversity")

# What metrics of the images themselves do, in place of an extractor's digest.
_PROTOCOLS = {
    "images": (
        "image patches",
        "Laplacian pyramid, 64 patches 7x7 an image and level, normalised per channel "
        "over the set, 512 directions, x1000, version 1",
    ),
    "pixels": ("pixels within a class", "variance of bytes, mean over pixels"),
}


class QualityEvaluation:
    """Metrics of generated images against fixed real ones, floors included.

    Features of the real images are extracted once, and a floor is computed once for
    each number of fakes; so one object serves a whole training.

    The floor of a number is the same metric with real training rows posing as
    fakes: as many as there are fakes (at most half of the training rows), drawn
    with the seed and taken out of the training set for that comparison. It shares
    the bias of the number it stands beside, since the counts are the same.

    Args:
      real_train: uint8 `[n, h, w, c]`, what the generator was trained on.
      real_test: uint8 `[m, h, w, c]`, held out: the reference.
      extractor: see `tfgen.metrics.extractor`.
      metrics: keys of `METRICS`; None: all that the extractor can serve.
      seed: of row order, directions, patches, clusters and permutations.
      train_labels: `[n]` integers, for "class_diversity" and the floor of "labels".
      batch: images at a time through the extractor; None: its own choice.

    Raises:
      BadInput: an unknown metric, one that needs a classifier, or unusable images.
    """

    def __init__(
        self,
        real_train,
        real_test,
        extractor: Extractor,
        metrics=None,
        seed: int = 0,
        train_labels=None,
        batch: int | None = None,
    ):
        if metrics is None:
            served = extractor.has_logits
            metrics = [m for m in METRICS if served or m not in NEED_LOGITS]
            metrics = [m for m in metrics if m not in NEED_LABELS]
        self.metrics = check_metrics(metrics, extractor)
        self.extractor, self.seed, self.batch = extractor, seed, batch
        self.train = self._image_set(real_train, train_labels, "train")
        self.test = self._image_set(real_test, None, "test")
        if len(self.train) < 4:
            raise BadInput(f"need at least 4 training images, got {len(self.train)}")
        self._floors: dict[int, dict[str, Number]] = {}

    def _image_set(self, images, labels, purpose):
        images = as_images(images)
        if labels is not None:
            labels = np.asarray(labels)
            if labels.shape != (len(images),):
                raise BadInput(
                    f"{len(images)} {purpose} images with labels of {labels.shape}"
                )
        # Blocks, splits and cut sets need rows in random order.
        stream = [self.seed, *purpose.encode()]
        order = np.random.default_rng(stream).permutation(len(images))
        extracted = self.extractor.extract(images, self.batch)
        return ImageSet(images, *extracted, labels).rows(order)

    def floor(self, count: int) -> dict[str, Number]:
        """Numbers with `count` real training rows in the place of the fakes."""
        count = min(count, len(self.train) // 2)
        if count not in self._floors:
            posing = self.train.rows(slice(count))
            rest = self.train.rows(slice(count, None))
            names = [
                name
                for name in self.metrics
                if name not in NEED_LABELS or self.train.labels is not None
            ]
            if "class_diversity" in names and _has_a_class_of_one(posing.labels):
                names.remove("class_diversity")
            self._floors[count] = self._run(names, rest, self.test, posing)
        return self._floors[count]

    def _run(self, names, train, test, fake):
        numbers = {}
        for name in names:
            numbers.update(METRICS[name](train, test, fake, self.seed))
        return numbers

    def __call__(self, fake, labels=None) -> dict[str, dict]:
        """Measure generated images.

        Args:
          fake: uint8 `[l, h, w, c]`.
          labels: `[l]` integers that the samples were asked to be.

        Returns:
          See `sample_quality`.

        Raises:
          BadInput: unusable images, or a metric needs labels and none were given.
        """
        fake = self._image_set(fake, labels, "fake")
        needing = [name for name in self.metrics if name in NEED_LABELS]
        if labels is None and needing:
            raise BadInput(
                f"the metric {needing[0]} needs the labels that were asked for"
            )
        if self.train.labels is None and "class_diversity" in needing:
            raise BadInput("class_diversity needs the labels of the real images")
        floor = self.floor(len(fake))
        numbers = self._run(self.metrics, self.train, self.test, fake)
        return {
            name: self._record(number, floor.get(name))
            for name, number in numbers.items()
        }

    def _record(self, number, floor):
        record = {
            "value": number.value,
            "error": number.error,
            "floor": floor.value if floor else None,
            "floor_error": floor.error if floor else None,
            "n_real": number.n_real,
            "n_fake": number.n_fake,
            "floor_n_real": floor.n_real if floor else None,
            "floor_n_fake": floor.n_fake if floor else None,
            "seed": self.seed,
        }
        if number.source == "features":
            return record | self.extractor.describe()
        name, protocol = _PROTOCOLS[number.source]
        height, width, channels = self.extractor.image_shape
        area = 49 if number.source == "images" else height * width
        return record | {
            "extractor": name,
            "digest": hashlib.sha256(protocol.encode()).hexdigest()[:16],
            "size": area * channels,
            "resize": "none",
            "preprocessing": protocol,
        }


def _has_a_class_of_one(labels):
    return np.unique(labels, return_counts=True)[1].min() < 2


def check_metrics(metrics, extractor: Extractor) -> list[str]:
    """Return the names once each, in order.

    Raises:
      BadInput: an unknown name, or one that needs logits the extractor lacks.
    """
    for name in metrics:
        if name not in METRICS:
            raise BadInput(f"metric {name!r}: choose from {', '.join(METRICS)}")
        if name in NEED_LOGITS and not extractor.has_logits:
            raise BadInput(
                f"metric {name!r} needs a classifier's logits and {extractor.name} "
                "has none: use saved_model:PATH, or leave out "
                f"{', '.join(NEED_LOGITS)}"
            )
    return list(dict.fromkeys(metrics))


def sample_quality(
    real_train,
    real_test,
    fake,
    extractor: Extractor,
    metrics=None,
    seed: int = 0,
    fake_labels=None,
    train_labels=None,
) -> dict[str, dict]:
    """Measure generated images once; `QualityEvaluation` does so repeatedly.

    Args:
      real_train: uint8 `[n, h, w, c]`, what the generator was trained on.
      real_test: uint8 `[m, h, w, c]`, held out: the reference of every distance.
      fake: uint8 `[l, h, w, c]`.
      extractor: see `tfgen.metrics.extractor`.
      metrics: keys of `METRICS`; None: all that the extractor can serve.
      seed: of row order, directions, patches, clusters and permutations.
      fake_labels: `[l]` integers asked for, for "labels" and "class_diversity".
      train_labels: `[n]` integers, for "class_diversity" and the floor of "labels".

    Returns:
      {number: record}, ready for JSON. A record holds value, error (None where none
      is known), floor and floor_error (the same with real rows posing as fakes),
      n_real, n_fake, floor_n_real, floor_n_fake, seed, extractor, digest, size,
      resize and preprocessing.

    Raises:
      BadInput: unknown metric, extractor without logits, or unusable images.
    """
    evaluation = QualityEvaluation(
        real_train, real_test, extractor, metrics, seed, train_labels
    )
    return evaluation(fake, fake_labels)
