"""Classifier score, class summary and label agreement (specs B)."""

import numpy as np
import pytest

from tfgen.core.errors import BadInput
from tfgen.metrics.classifier import (
    ScoreTotals,
    class_summary,
    classifier_score,
    label_agreement,
)


def test_score_of_certain_and_uniform_is_the_number_of_classes():
    # log_softmax of +-1000 gives p = 0 and log p = -2000: p log p must be 0.
    logits = np.tile(np.eye(10) * 1000, (20, 1))
    estimate = classifier_score(logits)
    assert estimate == pytest.approx((10, 0), abs=1e-9)


def test_score_of_a_constant_is_one():
    logits = np.tile(np.arange(10.0), (50, 1))
    assert classifier_score(logits) == pytest.approx((1, 0), abs=1e-12)


def test_score_between():
    # Rows (a, 1-a) and (1-a, a) in turn: the marginal is (1/2, 1/2), every row has
    # entropy h(a), so the score is exp(log 2 - h(a)).
    a = 0.8
    rows = np.log([[a, 1 - a], [1 - a, a]])
    entropy = -(a * np.log(a) + (1 - a) * np.log(1 - a))
    estimate = classifier_score(np.tile(rows, (10, 1)), splits=2)
    assert estimate.value == pytest.approx(2 * np.exp(-entropy), abs=1e-12)


def test_splits_are_averaged():
    # A first half of one class scores 1, a second half of two scores 2.
    logits = np.eye(2)[[0, 0, 0, 0, 0, 1, 0, 1]] * 1000
    estimate = classifier_score(logits, splits=2)
    assert estimate == pytest.approx((1.5, 0.5), abs=1e-12)
    with pytest.raises(BadInput, match="at least 1"):
        classifier_score(logits, splits=0)


def test_totals_merge_to_the_whole():
    logits = np.random.default_rng(0).normal(size=(60, 5)) * 3
    merged = ScoreTotals.of(logits[:7]).merge(ScoreTotals.of(logits[7:]))
    whole = classifier_score(logits, splits=1)
    assert merged.score == pytest.approx(whole.value, rel=1e-13)
    assert whole.error is None


def test_class_summary_by_hand():
    # Ten classes; 90 rows of class 0, 10 of class 1, the latter not confident:
    # (e, 1, ... 1) has p = e / (e + 9) = 0.23.
    logits = np.zeros((100, 10))
    logits[:90, 0] = 100
    logits[90:, 1] = 1
    summary = class_summary(logits)
    assert summary.confident_share == 0.9
    assert summary.classes_found == 2
    # TV to uniform: half of 0.8 + 0 + 8 x 0.1.
    assert summary.histogram_distance == pytest.approx(0.8)
    expected = np.eye(10)[0]
    assert class_summary(logits, expected).histogram_distance == pytest.approx(0.1)
    with pytest.raises(BadInput, match=r"not \(10,\)"):
        class_summary(logits, [1.0])


def test_a_class_below_a_fifth_of_its_share_is_not_found():
    logits = np.eye(2)[[0] * 91 + [1] * 9]
    assert class_summary(logits).classes_found == 1
    logits = np.eye(2)[[0] * 90 + [1] * 10]
    assert class_summary(logits).classes_found == 2


def test_label_agreement_by_hand():
    # p(label) = 3/4, 3/4, 1/4, 1/4: mean of -log, half of them right.
    logits = np.log([[3.0, 1], [1, 3], [1, 3], [3, 1]])
    result = label_agreement(logits, np.array([0, 1, 0, 1]))
    expected = (np.log(4 / 3) + np.log(4)) / 2
    # Deviations are all log(3) / 2; ddof 1 gives sqrt(4/3), over sqrt(4) rows.
    error = np.log(3) / 2 * np.sqrt(4 / 3) / 2
    assert result.cross_entropy == pytest.approx((expected, error), abs=1e-12)
    assert result.accuracy.value == 0.5


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 1], "must be 3 integers"),
        ([0.0, 1.0, 0.0], "must be 3 integers"),
        ([0, 1, 2], r"0\.\.1, got 0\.\.2"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(BadInput, match=message):
        label_agreement(np.zeros((3, 2)), labels)
