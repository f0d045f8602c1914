"""The linear probe, and variation within a class, where the answer is known."""

import numpy as np
import pytest

from tfgen.core.errors import BadInput
from tfgen.metrics import class_diversity, linear_probe


def clouds(seed, rows, distance):
    """Three classes of unit Gaussians in the plane, `distance` apart."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=rows)
    angle = 2 * np.pi * labels / 3
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1) * distance / np.sqrt(3)
    return centres + random.normal(size=[rows, 2]), labels


def test_probe_of_separable_classes_and_of_noise():
    share, error = linear_probe(*clouds(0, 300, 12.0), *clouds(1, 500, 12.0))
    assert share == 1.0 and error == 0.0
    noise = np.random.default_rng(2).normal(size=[800, 2])
    labels = np.arange(800) % 3
    share, error = linear_probe(noise[:300], labels[:300], noise[300:], labels[300:])
    assert abs(share - 1 / 3) < 5 * error


def test_probe_gets_near_the_best_classifier():
    """Of equal spheres the nearest centre is best; the sides are straight lines."""
    train, labels = clouds(0, 2000, 2.0)
    test, wanted = clouds(1, 20_000, 2.0)
    angle = 2 * np.pi * np.arange(3) / 3
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    best = np.mean((test @ centres.T).argmax(axis=1) == wanted)
    share, error = linear_probe(train, labels, test, wanted)
    assert best - 0.02 < share < best + 3 * error


def test_probe_wants_three_rows_of_a_class():
    with pytest.raises(BadInput, match="three labelled rows"):
        linear_probe(np.zeros([5, 2]), np.array([0, 0, 0, 1, 1]), np.zeros([1, 2]), [0])


def pictures(seed, deviation, rows=2000):
    """Two classes, grey with noise: of standard deviation 8, and of `deviation`."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    noise = random.normal(size=[rows, 4, 4, 1])
    scale = np.where(labels == 1, deviation, 8.0)[:, None, None, None]
    return np.clip(128 + scale * noise, 0, 255).astype("uint8"), labels


def test_variation_within_a_class():
    real, same = pictures(0, 16.0), pictures(1, 16.0)
    result = class_diversity(*real, *same)
    assert abs(result.mean - 1) < 0.03 and abs(result.least - 1) < 0.05
    half = class_diversity(*real, *pictures(2, 8.0))
    assert abs(half.least - 0.25) < 0.02
    assert abs(half.mean - 0.625) < 0.03
    images, labels = same
    one_a_class = images[labels]  # rows 0 and 1 again and again
    assert class_diversity(*real, one_a_class, labels).mean == 0


def test_variation_needs_two_rows():
    images, labels = pictures(0, 8.0, rows=3)
    with pytest.raises(BadInput, match="class 1 needs two rows"):
        class_diversity(images, labels, images, labels)
