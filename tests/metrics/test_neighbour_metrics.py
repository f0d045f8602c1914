"""Precision, recall, density, coverage, memorisation, 1-NN test (specs B)."""

import numpy as np
import pytest
import scipy.stats

from tfgen.core.errors import BadInput
from tfgen.metrics import manifold
from tfgen.metrics.copying import memorisation
from tfgen.metrics.manifold import density_coverage, precision_recall
from tfgen.metrics.two_sample import nearest_neighbour_test


def ten_classes(n, seed):
    """Rows `[n, 8]` of ten well separated unit normals, and their classes."""
    centres = np.random.default_rng(100).normal(size=(10, 8)) * 4
    random = np.random.default_rng(seed)
    labels = random.integers(10, size=n)
    return centres[labels] + random.normal(size=(n, 8)), labels


def test_balls_by_hand():
    # k = 1. Real 0, 1, 3 have radii 1, 1, 2; fake -0.5, 10, 11 have 10.5, 1, 1.
    # Only -0.5 lies in a real ball (that of 0), and in no other; its own ball
    # reaches all reals.
    real, fake = [[0.0], [1], [3]], [[-0.5], [10], [11]]
    assert precision_recall(real, fake, k=1) == pytest.approx((1 / 3, 1))
    assert density_coverage(real, fake, k=1) == pytest.approx((1 / 3, 1 / 3))
    # The other way round: 0, 1 and 3 lie in the ball of -0.5 and in no other.
    assert density_coverage(fake, real, k=1) == pytest.approx((1, 1 / 3))


def test_half_of_the_classes():
    real, labels = ten_classes(2000, 0)
    fake = real[labels < 5]
    result = precision_recall(real, fake)
    assert result.precision > 0.9
    assert result.recall == pytest.approx(0.5, abs=0.05)
    assert density_coverage(real, fake).coverage == pytest.approx(0.5, abs=0.05)


def test_half_far_outliers():
    real, _ = ten_classes(1000, 1)
    outliers = np.random.default_rng(2).normal(size=(1000, 8)) * 200 + 1000
    result = precision_recall(real, np.concatenate([real, outliers]))
    assert result.precision == pytest.approx(0.5, abs=0.05)
    assert result.recall > 0.9


def test_identical_sets():
    real, _ = ten_classes(300, 3)
    assert precision_recall(real, real) == (1, 1)
    assert density_coverage(real, real).coverage == 1


@pytest.mark.parametrize("k, size", [(3, 2), (5, 8)])
def test_expected_density_and_coverage(k, size):
    # The n-1 other reals and the m fakes around a real row are exchangeable. Its
    # ball is empty of fakes when the k nearest of all n-1+m are real:
    # prod_{j<k} (n-1-j) / (n+m-1-j). Before the k-th real come k m / n fakes on
    # average, so that density is 1. Both whatever the distribution is.
    random = np.random.default_rng(4)
    n, m = 150, 200
    results = np.array(
        [
            density_coverage(
                random.normal(size=(n, size)), random.normal(size=(m, size)), k
            )
            for _ in range(40)
        ]
    )
    j = np.arange(k)
    expected = 1, 1 - np.prod((n - 1 - j) / (n + m - 1 - j))
    error = results.std(axis=0, ddof=1) / np.sqrt(len(results))
    assert np.all(np.abs(results.mean(axis=0) - expected) < 3 * error)
    assert np.all(error < 0.02)


def test_blocks_do_not_change_the_result(monkeypatch):
    real, _ = ten_classes(400, 5)
    fake = ten_classes(300, 6)[0] + 0.3
    whole = precision_recall(real, fake), density_coverage(real, fake)
    blocks = []
    chunked = manifold.pairwise_distances_chunked

    def counted(*args, **kwargs):
        for block in chunked(*args, **kwargs):
            blocks.append(len(block))
            yield block

    monkeypatch.setattr(manifold, "pairwise_distances_chunked", counted)
    monkeypatch.setattr(manifold, "WORKING_MEMORY", 0.1)
    assert (precision_recall(real, fake), density_coverage(real, fake)) == whole
    assert len(blocks) > 10 and sum(blocks) == 2 * len(fake)


def test_too_few_rows_for_k():
    with pytest.raises(BadInput, match="at least 4 rows"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(BadInput, match="k must be"):
        density_coverage(np.zeros((3, 2)), np.zeros((9, 2)), k=0)


def test_memorisation_of_new_samples_is_at_chance():
    train, held_out, fake = (
        ten_classes(n, s)[0] for n, s in [(900, 7)] + [(600, 8), (500, 9)]
    )
    result = memorisation(train, held_out, fake)
    assert result.distance_ratio == pytest.approx(1, abs=0.05)
    assert result.closer_probability == pytest.approx(0.5, abs=0.05)
    assert result.p_value > 0.01
    assert result.suspect_share < 0.03
    assert result.exact_copies == 0


def test_memorisation_catches_planted_copies():
    train, held_out, fake = (
        ten_classes(n, s)[0] for n, s in [(900, 7)] + [(600, 8), (500, 9)]
    )
    # A twentieth of the fakes are copies, half exact, half with a little noise.
    fake[:13] = train[100:113]
    fake[13:25] = train[:12] + 0.01
    result = memorisation(train, held_out, fake)
    assert result.exact_copies == 13
    assert result.suspect_share >= 25 / 500
    assert list(result.nearest[:13]) == list(range(100, 113))
    # All copies: nothing is as near in held-out rows.
    copies = memorisation(train, held_out, train[:400])
    assert copies.distance_ratio == 0
    assert copies.closer_probability == 1
    assert copies.p_value < 1e-50
    assert copies.suspect_share == 1


def test_memorisation_by_hand():
    # Train 0 and 10. Held-out distances: 1, 3. Fake distances: 1, 2, 4, 0.
    # Pairs with the fake nearer: (1<3), (2<3), (0<1), (0<3), tie (1,1) counts half.
    result = memorisation([[0.0], [10]], [[1.0], [7]], [[9.0], [2], [4], [10]])
    assert result.closer_probability == pytest.approx(4.5 / 8)
    assert result.distance_ratio == pytest.approx(1.5 / 2)
    assert result.exact_copies == 1
    assert list(result.nearest) == [1, 0, 0, 1]


def test_memorisation_wants_one_extractor():
    with pytest.raises(BadInput, match=r"sizes \(2, 2, 3\)"):
        memorisation(np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 3)))


def test_nearest_neighbour_test_at_chance_apart_and_copied():
    # At chance every other row is as likely to be the nearest: of the 2n-1 others
    # n-1 are of the own set. Mean over 40 repetitions, within 3 standard errors.
    random = np.random.default_rng(12)
    n = 60
    found = np.array(
        [
            nearest_neighbour_test(
                random.normal(size=(n, 4)), random.normal(size=(n, 4))
            ).accuracy
            for _ in range(40)
        ]
    )
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - (n - 1) / (2 * n - 1)) < 3 * error
    assert error < 0.02
    real, fake = ten_classes(800, 10)[0], ten_classes(800, 11)[0]
    apart = nearest_neighbour_test(real, fake + 100)
    assert (apart.accuracy, apart.high) == (1, 1)
    # Copies: the nearest neighbour of every row is its copy in the other set.
    assert nearest_neighbour_test(real, real + 1e-6).accuracy == 0
    # Collapse: all fakes at one place recognise each other.
    collapsed = nearest_neighbour_test(real, real[:1] + fake * 1e-3)
    assert collapsed.fake_accuracy > 0.99


def test_nearest_neighbour_interval_is_exact():
    # Real 0, 1, 10 and fake 0.4, 20, 21: nearest of 0 is 0.4, of 1 is 0.4, of 10 is
    # 1 (right), of 0.4 is 0, of 20 and 21 each other: 3 of 6 right.
    result = nearest_neighbour_test([[0.0], [1], [10]], [[0.4], [20], [21]])
    assert result.accuracy == 0.5
    assert result.real_accuracy == pytest.approx(1 / 3)
    assert result.fake_accuracy == pytest.approx(2 / 3)
    # Clopper-Pearson by its beta quantiles: B(0.025; 3, 4) and B(0.975; 4, 3).
    assert result.low == pytest.approx(scipy.stats.beta.ppf(0.025, 3, 4))
    assert result.high == pytest.approx(scipy.stats.beta.ppf(0.975, 4, 3))
    with pytest.raises(BadInput, match="one size, got 2 and 3"):
        nearest_neighbour_test(np.zeros((2, 1)), np.zeros((3, 1)))
