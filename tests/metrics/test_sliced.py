"""Sliced Wasserstein distances of features and of image patches (specs D)."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import gamma

from tfgen.core.errors import BadInput
from tfgen.metrics.sliced import (
    enlarge,
    image_sliced_wasserstein,
    laplacian_pyramid,
    sliced_wasserstein,
)


def textures(n, seed, side=64, channels=3):
    """uint8 images with the 1/f spectrum of photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1 / side
    spectrum = np.fft.fft2(random.normal(size=(n, channels, side, side))) / frequency
    images = np.fft.ifft2(spectrum).real
    images = 128 + 40 * images / images.std()
    return np.clip(images, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def blurred(images, width):
    smooth = gaussian_filter(images.astype(np.float64), (0, width, width, 0))
    return np.round(smooth).astype(np.uint8)


@pytest.mark.parametrize("size, share", [(2, 2 / np.pi), (3, 0.5)])
def test_shift_has_a_closed_form(size, share):
    # A shift by v moves the projections on u by u.v. Over the unit circle the mean
    # of |u.v| is 2/pi |v|; over the sphere u.v / |v| is uniform in [-1, 1]: 1/2.
    rows = np.random.default_rng(0).normal(size=(100, size))
    shift = np.arange(1.0, size + 1)
    estimate = sliced_wasserstein(rows, rows + shift, seed=1, projections=4096)
    length = np.linalg.norm(shift)
    assert abs(estimate.value - share * length) < 3 * estimate.error
    if size == 3:  # a uniform has standard deviation 1 / sqrt(12)
        assert estimate.error == pytest.approx(length / np.sqrt(12 * 4096), rel=0.05)


def test_identical_repeated_and_scaled_sets():
    random = np.random.default_rng(1)
    real, fake = random.normal(size=(50, 6)), random.gamma(2, size=(50, 6))
    assert sliced_wasserstein(real, real, seed=0) == (0, 0)
    value = sliced_wasserstein(real, fake, seed=0)
    # Doubling every row is the same distribution, by the route for unequal sizes.
    doubled = sliced_wasserstein(np.repeat(real, 2, axis=0), fake, seed=0)
    assert doubled == pytest.approx(value, rel=1e-12)
    scaled = sliced_wasserstein(3 * real, 3 * fake, seed=0)
    assert scaled.value == pytest.approx(3 * value.value, rel=1e-12)
    assert sliced_wasserstein(real, fake, seed=2) != value


@pytest.mark.parametrize(
    "shape, sides",
    [((64, 64), [64, 32, 16]), ((28, 28), [28, 14]), ((25, 31), [25, 13])],
)
def test_pyramid_restores_the_image(shape, sides):
    images = np.random.default_rng(2).normal(size=(2, *shape, 2)).astype(np.float32)
    levels = laplacian_pyramid(images)
    assert [level.shape[1] for level in levels] == sides
    restored = levels[-1]
    for band in reversed(levels[:-1]):
        restored = band + enlarge(restored, band.shape)
    np.testing.assert_allclose(restored, images, atol=1e-5)


def test_pyramid_of_a_constant_has_empty_bands():
    # The filters must pass constants with gain 1, both ways, up to the edges.
    levels = laplacian_pyramid(np.full((1, 32, 32, 1), 7, np.float32))
    np.testing.assert_allclose(levels[0], 0, atol=1e-5)
    np.testing.assert_allclose(levels[1], 7, atol=1e-5)


def test_patches_of_two_constants_have_a_closed_form():
    # Images of 7 px are one patch each, on one level. Real ones are constant, half
    # dark and half bright: -1 and 1 when normalised. One in five fakes is bright:
    # 2 for a fifth and -1/2 for the rest. In one dimension, by quantiles,
    # W1 = 0.5 x 0.5 + 0.3 x 1.5 + 0.2 x 1 = 0.9. A constant patch of 49 pixels is 7
    # long, and E|u_1| over unit vectors of 49 dimensions is G(24.5) / sqrt(pi) G(25).
    constants = np.ones((20, 7, 7, 1)) * 10
    real, fake = constants.copy(), constants.copy()
    real[:10], fake[:4] = 90, 200
    share = gamma(24.5) / (np.sqrt(np.pi) * gamma(25))
    value = image_sliced_wasserstein(real, fake, 0, projections=8192, patches=1)
    # |u_1| varies by 0.75 of its mean: 0.8 % after 8192 directions.
    assert value == {7: pytest.approx(1000 * 0.9 * 7 * share, rel=0.025)}


def test_mild_blur_shows_at_the_finest_level_only():
    real, other = textures(128, 0), textures(128, 1)
    floor = image_sliced_wasserstein(real, other, 0, 128, 32)
    blur = image_sliced_wasserstein(real, blurred(other, 0.8), 0, 128, 32)
    assert list(floor) == [64, 32, 16]
    assert blur[64] > 1.5 * floor[64]
    # Measured over 3 seeds: 2.3 to 2.6 times at 64 px, 1.00 to 1.02 at 16 px.
    assert blur[16] == pytest.approx(floor[16], rel=0.05)


def test_set_brightness_and_contrast_do_not_count():
    real = textures(32, 3, side=32, channels=5).astype(np.float64)
    same = image_sliced_wasserstein(real, real, 0, 32, 16)
    changed = image_sliced_wasserstein(real, 0.5 * real + 30, 0, 32, 16)
    # float32 patches: differences of 1e-5 of the value are rounding.
    assert changed == pytest.approx(same, rel=1e-3)
    assert same[32] > 0  # other patches of the same images, so not exactly 0


def test_patches_are_normalised_over_the_set_not_one_by_one():
    # Half of the images with a tenth of the contrast: normalising each patch would
    # hide it.
    real, other = textures(64, 4, 32, 1), textures(64, 5, 32, 1).astype(np.float64)
    uneven = other.copy()
    uneven[::2] = 128 + 0.1 * (uneven[::2] - 128)
    floor = image_sliced_wasserstein(real, other, 0, 64, 16)
    value = image_sliced_wasserstein(real, uneven, 0, 64, 16)
    assert value[32] > 2 * floor[32]


def test_seeded_and_cut_to_the_smaller_set():
    real, fake = textures(20, 6, 32, 1), textures(12, 7, 32, 1)
    first = image_sliced_wasserstein(real, fake, 3, 16, 8)
    assert first == image_sliced_wasserstein(real[:12], fake, 3, 16, 8)
    assert first != image_sliced_wasserstein(real, fake, 4, 16, 8)
    black = image_sliced_wasserstein(real, np.zeros_like(real), 0, 16, 8)
    assert all(np.isfinite(list(black.values())))


def test_bad_images():
    with pytest.raises(BadInput, match="two sets of images"):
        image_sliced_wasserstein(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 9, 1)), 0)
    with pytest.raises(BadInput, match="smaller than a 7 px patch"):
        image_sliced_wasserstein(np.zeros((2, 6, 8, 1)), np.zeros((2, 6, 8, 1)), 0)
    with pytest.raises(BadInput, match="at least 2"):
        sliced_wasserstein(np.zeros((2, 2)), np.zeros((2, 2)), 0, projections=1)
