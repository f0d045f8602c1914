"""What a classifier of the data says of samples: score, classes, confidence."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.special

from tfgen.core.errors import BadInput
from tfgen.metrics.moments import Estimate, as_features


@dataclasses.dataclass(frozen=True)
class ScoreTotals:
    """Sums from which the classifier score follows; parts merge by addition.

    Attributes:
      count: rows seen.
      probabilities: `[classes]`, the sum of p(y|x) over rows.
      negative_entropy: the sum over rows of `sum_y p(y|x) log p(y|x)`, in nats.
    """

    count: int
    probabilities: np.ndarray
    negative_entropy: float

    @classmethod
    def of(cls, logits) -> ScoreTotals:
        """Totals of the rows of `logits`, `[n, classes]`."""
        log_p = scipy.special.log_softmax(as_features(logits, "logits"), axis=1)
        p = np.exp(log_p)
        # p log p is 0 at p = 0, where log p is huge or -inf.
        negative_entropy = float(np.sum(p * np.where(p > 0, log_p, 0.0)))
        return cls(len(p), p.sum(axis=0), negative_entropy)

    def merge(self, other: ScoreTotals) -> ScoreTotals:
        """Totals of the union of two disjoint sets of rows."""
        return ScoreTotals(
            self.count + other.count,
            self.probabilities + other.probabilities,
            self.negative_entropy + other.negative_entropy,
        )

    @property
    def score(self) -> float:
        """`exp(mean KL(p(y|x) || p(y)))`, between 1 and the number of classes."""
        marginal = self.probabilities / self.count
        marginal_entropy = scipy.special.entr(marginal).sum()
        return float(np.exp(self.negative_entropy / self.count + marginal_entropy))


def classifier_score(logits, splits: int = 10) -> Estimate:
    """Inception score with any classifier: confident and diverse is high.

        score = exp(E_x KL(p(y|x) || p(y))) = exp(H(E p) - E H(p)),

    p(y) being the mean over the same split. Range [1, classes]. It sees neither
    real data nor diversity within a class, and depends on the size of a split.

    Args:
      logits: `[n, classes]`, rows in random order.
      splits: parts whose scores are averaged; cut to n when there are fewer rows.

    Returns:
      Mean of the splits' scores, and its standard error (None for one split).
      Published spreads are those of a split: sqrt(splits) times as large.

    Source: Salimans et al. 2016 (arXiv 1606.03498).
    """
    logits = as_features(logits, "logits")
    if splits < 1:
        raise BadInput(f"splits must be at least 1, got {splits}")
    parts = np.array_split(logits, min(splits, len(logits)))
    scores = np.asarray([ScoreTotals.of(part).score for part in parts])
    if len(scores) == 1:
        return Estimate(float(scores[0]), None)
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    return Estimate(float(scores.mean()), float(error))


class ClassSummary(NamedTuple):
    """How a classifier sorts samples; see `class_summary`."""

    confident_share: float
    classes_found: int
    histogram_distance: float
    histogram: np.ndarray


def class_summary(logits, expected=None, confidence: float = 0.9) -> ClassSummary:
    """Confidence, classes found, and how far the class histogram is from real.

    Args:
      logits: `[n, classes]`.
      expected: `[classes]` shares of the classes in real data; None: uniform.
      confidence: a row counts as confident when its largest p(y|x) exceeds this.

    Returns:
      confident_share: share of confident rows.
      classes_found: classes predicted for at least 0.2 / classes of the rows.
      histogram_distance: total variation `0.5 sum |share - expected|`, in [0, 1].
      histogram: `[classes]` shares of the predicted classes.

    Raises:
      BadInput: unusable logits, or `expected` of another size.
    """
    logits = as_features(logits, "logits")
    classes = logits.shape[1]
    p = scipy.special.softmax(logits, axis=1)
    histogram = np.bincount(p.argmax(axis=1), minlength=classes) / len(p)
    if expected is None:
        expected = np.full(classes, 1 / classes)
    expected = np.asarray(expected, np.float64)
    if expected.shape != (classes,):
        raise BadInput(f"expected shares have shape {expected.shape}, not ({classes},)")
    return ClassSummary(
        confident_share=float(np.mean(p.max(axis=1) > confidence)),
        classes_found=int(np.sum(histogram >= 0.2 / classes)),
        histogram_distance=float(0.5 * np.abs(histogram - expected).sum()),
        histogram=histogram,
    )


class LabelAgreement(NamedTuple):
    """Agreement of a classifier with the labels asked for; see `label_agreement`."""

    cross_entropy: Estimate
    accuracy: Estimate


def label_agreement(logits, labels) -> LabelAgreement:
    """Cross-entropy and accuracy of samples against the labels they were asked for.

    Args:
      logits: `[n, classes]` of the generated samples.
      labels: `[n]` integers, the condition given to the generator.

    Returns:
      cross_entropy: mean of `-log p(label|x)` in nats, with its standard error.
      accuracy: share with the asked label on top, with its standard error.

    Raises:
      BadInput: labels of another count, not integers, or outside the classes.
    """
    logits = as_features(logits, "logits", rows=2)
    labels = np.asarray(labels)
    if labels.shape != (len(logits),) or not np.issubdtype(labels.dtype, np.integer):
        raise BadInput(
            f"labels must be {len(logits)} integers, got {labels.dtype} "
            f"of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise BadInput(
            f"labels must be 0..{logits.shape[1] - 1}, got "
            f"{labels.min()}..{labels.max()}"
        )
    log_p = scipy.special.log_softmax(logits, axis=1)
    losses = -log_p[np.arange(len(labels)), labels]
    hits = (log_p.argmax(axis=1) == labels).astype(np.float64)
    root = np.sqrt(len(labels))
    return LabelAgreement(
        Estimate(float(losses.mean()), float(losses.std(ddof=1) / root)),
        Estimate(float(hits.mean()), float(hits.std(ddof=1) / root)),
    )
