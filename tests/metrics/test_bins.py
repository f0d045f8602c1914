"""NDB and the divergence of histograms (specs B)."""

import numpy as np
import pytest
import scipy.stats

from tfgen.core.errors import BadInput
from tfgen.metrics.bins import different_bins, fit_bins


def ten_classes(n, seed):
    """Rows `[n, 8]` of ten well separated unit normals, and their classes."""
    centres = np.random.default_rng(100).normal(size=(10, 8)) * 4
    random = np.random.default_rng(seed)
    labels = random.integers(10, size=n)
    return centres[labels] + random.normal(size=(n, 8)), labels


def test_two_proportions_by_hand():
    # 50 of 100 against 70 of 100: pooled 0.6, se = sqrt(0.6 x 0.4 x 0.02) = 0.06928,
    # z = 0.2 / 0.06928 = 2.88675, two-sided p = 0.0038924.
    result = different_bins([50, 50], [70, 30])
    assert result.p_values == pytest.approx([0.0038924, 0.0038924], abs=1e-7)
    assert (result.count, result.share) == (2, 1)
    # JS = 1/2 (0.5 ln(.5/.6) + 0.5 ln(.5/.4)) + 1/2 (0.7 ln(.7/.6) + 0.3 ln(.3/.4)).
    by_hand = 0.25 * np.log(25 / 24) + 0.35 * np.log(7 / 6) + 0.15 * np.log(0.75)
    assert result.divergence == pytest.approx(by_hand, abs=1e-14)
    # 50 against 55: z = 0.05 / 0.07062 = 0.708, not significant.
    assert different_bins([50, 50], [55, 45]).count == 0


def test_extremes():
    assert different_bins([5, 3, 0], [5, 3, 0])[:3] == (0, 0, 0)
    apart = different_bins([100, 0, 0], [0, 100, 0])
    assert apart.divergence == pytest.approx(np.log(2), abs=1e-14)
    assert apart.count == 2  # the bin empty in both does not differ
    with pytest.raises(BadInput, match="without rows"):
        different_bins([1, 2], [0, 0])
    with pytest.raises(BadInput, match="twice"):
        different_bins([1, 2], [1, 2, 3])


def test_level_of_the_test():
    # Under equal shares about 5 % of bins differ: 20 repetitions x 100 bins.
    random = np.random.default_rng(0)
    shares = np.full(100, 0.01)
    found = [
        different_bins(
            random.multinomial(5000, shares), random.multinomial(5000, shares)
        )
        for _ in range(20)
    ]
    mean = np.mean([result.share for result in found])
    assert mean == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))
    # And the divergence is about (bins - 1) / 8 x (1/n + 1/m) = 0.00495.
    divergence = np.mean([result.divergence for result in found])
    assert divergence == pytest.approx(99 / 8 * 2 / 5000, rel=0.1)


def test_independent_half_and_missing_class():
    # 10,000 rows a side: at 2,000 the divergence of two real sets is 0.009 and a
    # lost tenth of the data raises it 5.0 times only (measured).
    real, _ = ten_classes(10_000, 0)
    half, _ = ten_classes(10_000, 1)
    rest, labels = ten_classes(11_500, 2)
    rest = rest[labels > 0][:10_000]
    bins = fit_bins(real, 100, seed=0)
    assert bins.seed == 0 and bins.counts.sum() == 10_000
    assert np.all(np.diff(bins.counts) <= 0)  # from the fullest on
    floor = different_bins(bins.counts, bins.histogram(half))
    lost = different_bins(bins.counts, bins.histogram(rest))
    assert 0.01 <= floor.share <= 0.10
    assert lost.divergence >= 5 * floor.divergence
    assert lost.share > floor.share


def test_histograms_add_over_parts_and_repeat():
    real, _ = ten_classes(600, 3)
    bins = fit_bins(real, 20, seed=5)
    np.testing.assert_array_equal(bins.histogram(real), bins.counts)
    parts = bins.histogram(real[:99]) + bins.histogram(real[99:])
    np.testing.assert_array_equal(parts, bins.counts)
    again = fit_bins(real, 20, seed=5)
    np.testing.assert_array_equal(again.counts, bins.counts)


def test_whitening_and_many_dimensions():
    # One dimension of scale 1000 hides two clusters in the other unless whitened.
    random = np.random.default_rng(6)
    clusters = np.repeat([0.0, 10.0], 200)
    rows = np.stack([random.normal(size=400) * 1000, clusters], axis=1)
    rows[:, 1] += random.normal(size=400) * 0.1
    plain = fit_bins(rows, 2, 0).histogram(rows[:200])
    white = fit_bins(rows, 2, 0, whiten=True).histogram(rows[:200])
    assert min(plain) > 50
    assert sorted(white) == [0, 200]
    wide = fit_bins(random.normal(size=(40, 1203)), 4, 0)
    assert len(set(wide.dimensions)) == 200  # a sixth of 1203
    with pytest.raises(BadInput, match="fitted to size 1203"):
        wide.histogram(rows)
    with pytest.raises(BadInput, match="at least 8 rows"):
        fit_bins(rows[:7], 4)


def test_z_test_matches_scipy():
    # The squared z statistic is Pearson's chi-square without continuity correction.
    table = [[30, 970], [55, 945]]
    expected = scipy.stats.chi2_contingency(table, correction=False).pvalue
    result = different_bins([30, 970], [55, 945])
    assert result.p_values[0] == pytest.approx(expected, rel=1e-10)
