"""How far noise images are from white, of patterns whose products are known."""

import numpy as np
import pytest

from tfgen.losses import noise_maps


def board(side, block=1):
    """A checkerboard of +-1 whose squares are `block` pixels wide."""
    y, x = np.mgrid[:side, :side] // block
    return (1.0 - 2.0 * ((x + y) % 2))[None].astype("float32")


@pytest.mark.parametrize(
    ("maps", "wanted"),
    [
        # n * shifted n is -1 everywhere, along both axes.
        (board(4), 2.0),
        (board(8), 2.0),
        # The level below is 0.
        (board(16), 2.0),
        # Half of the products are +1, half -1; below, 2 * board: -4, squared, twice.
        (board(16, block=2), 32.0),
        # A constant: 1 and 1; below 2 n: 4 and 4, squared.
        (np.ones([1, 16, 16], "float32"), 2.0 + 32.0),
    ],
)
def test_autocorrelation(maps, wanted):
    both = np.concatenate([maps, 0.0 * maps])
    np.testing.assert_allclose(noise_maps.autocorrelation(both), [wanted, 0.0])


def test_white_noise_has_little():
    # The mean of s^2 products has variance 1 / s^2: 2 / 64^2 + ... + 2 / 8^2.
    white = np.random.default_rng(0).normal(size=[200, 64, 64]).astype("float32")
    wanted = sum(2.0 / side**2 for side in (64, 32, 16, 8))
    found = np.mean(noise_maps.autocorrelation(white))
    assert found == pytest.approx(wanted, rel=0.2)


def test_standardised():
    maps = np.random.default_rng(0).normal(3.0, 2.0, [4, 8, 8]).astype("float32")
    found = noise_maps.standardised(maps).numpy()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0.0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 1.0, rtol=1e-5)
