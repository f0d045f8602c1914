"""The Parzen-window estimate against sums by hand, expectations and known images."""

import os
import pathlib

import numpy as np
import pytest
import scipy.special
import scipy.stats

from tfgen.core.errors import BadInput
from tfgen.metrics.parzen_windows import parzen, parzen_log_likelihood

DATA = pathlib.Path(os.environ.get("TFGEN_TEST_DATA", "../shared")) / "tfds"


def test_a_sum_by_hand():
    # 700 samples and 600 points: more than one block of each.
    random = np.random.default_rng(0)
    samples, points = random.normal(size=[700, 3]), random.normal(3, size=[600, 3])
    found = parzen_log_likelihood(points, samples, [0.3, 1.7])
    for width, values in zip([0.3, 1.7], found, strict=True):
        windows = scipy.stats.norm(samples[None], width).logpdf(points[:, None])
        by_hand = scipy.special.logsumexp(windows.sum(axis=2), axis=1) - np.log(700)
        np.testing.assert_allclose(values, by_hand, rtol=1e-9)


def test_far_from_all_samples_it_is_finite():
    # One window at 0, a point at distance 1000: -1000^2 / 2 - log sqrt(2 pi).
    (found,) = parzen_log_likelihood([[1000.0]], [[0.0]], [1.0])
    assert found[0] == pytest.approx(-5e5 - 0.5 * np.log(2 * np.pi), rel=1e-12)


def test_the_expectation_of_normal_samples():
    # E over samples s ~ N(0, 1) of N(x; s, w^2) is N(x; 0, 1 + w^2).
    random = np.random.default_rng(1)
    points, width = np.linspace(-2, 2, 9)[:, None], 0.5
    (found,) = parzen_log_likelihood(points, random.normal(size=[40_000, 1]), [width])
    wanted = scipy.stats.norm(0, np.sqrt(1 + width**2)).logpdf(points[:, 0])
    # A window's relative deviation is below 2 here: 2 / sqrt(40,000) = 0.01.
    np.testing.assert_allclose(found, wanted, atol=0.04)


def test_the_width_is_chosen_on_validation_rows_alone():
    # Samples at 0; validation rows of standard deviation 2, test rows of 0.5. In one
    # dimension the best width of windows at 0 is the rows' root mean square.
    random = np.random.default_rng(2)
    validation, test = 2 * random.normal(size=[4000, 1]), random.normal(size=[50, 1])
    found = parzen(np.zeros([5, 1]), validation, test / 2, np.arange(0.5, 4, 0.25))
    assert found.width == 2.0 and not found.at_edge
    scores = scipy.stats.norm(0, 2).logpdf(test[:, 0] / 2)
    assert found.value == pytest.approx(scores.mean(), rel=1e-9)
    assert found.error == pytest.approx(scores.std(ddof=1) / 50**0.5, rel=1e-9)
    assert found.validation == pytest.approx(
        scipy.stats.norm(0, 2).logpdf(validation).mean(), rel=1e-9
    )
    assert parzen(np.zeros([5, 1]), validation, test, [0.5, 1.0]).at_edge


def test_refusals():
    rows = np.zeros([4, 2])
    with pytest.raises(BadInput, match="points of size 2, samples 3"):
        parzen_log_likelihood(rows, np.zeros([4, 3]), [1.0])
    with pytest.raises(BadInput, match="all above 0"):
        parzen_log_likelihood(rows, rows, [0.0])
    with pytest.raises(BadInput, match="all above 0"):
        parzen_log_likelihood(rows, rows, [])
    with pytest.raises(BadInput, match="NaN"):
        parzen(rows * np.nan, rows, rows)
    with pytest.raises(BadInput, match="at least 2 rows"):
        parzen(rows, rows, rows[:1])


@pytest.mark.slow
def test_known_images():
    """10,000 MNIST training images as samples: 230 to 248 nats; others far below."""
    if not (DATA / "mnist").is_dir():
        pytest.skip(f"no prepared MNIST in {DATA}: set TFGEN_TEST_DATA")
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist", data_dir=DATA)
    train, test = (
        tfds.as_numpy(builder.as_dataset(split, batch_size=-1))["image"]
        .reshape([-1, 784])
        .astype(np.float64)
        / 255
        for split in ("train[:12000]", "test[:2000]")
    )
    images, validation = train[:10_000], train[11_000:]
    random = np.random.default_rng(0)
    pixels = random.normal(images.mean(axis=0), images.std(axis=0), images.shape)
    grid = np.arange(0.10, 0.295, 0.01)
    real = parzen(images, validation, test, grid)
    # Seen elsewhere for these counts: 238.2 +- 4.1 at width 0.18.
    assert 230 < real.value < 248
    assert 0.16 < real.width < 0.20
    # The published error of 1.9 to 2 is that of 10,000 test rows.
    assert real.error == pytest.approx(1.9 * 5**0.5, rel=0.1)
    assert parzen(np.clip(pixels, 0, 1), validation, test, grid).value < -50
    assert parzen(images[:1], validation, test, grid).value < -50
