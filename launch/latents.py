"""Paths and grids in latent space, and how smooth what is decoded there is."""

import numpy as np


def linear(first, last, share):
    """Return (1 - share) first + share last; arguments broadcast over `[..., size]`."""
    return (1 - share) * first + share * last


def spherical(first, last, share):
    """Return points of the path along the great circle.

    sin((1 - t) a) / sin(a) first + sin(t a) / sin(a) last, with a the angle between
    them. Normal latents lie near a sphere, which the straight path leaves. Latents in
    one direction, or opposite ones, have no such circle: they take the straight path.

    Args:
        first: `[..., size]`.
        last: `[..., size]`.
        share: t in [0, 1], `[..., 1]`.
    """
    lengths = [np.linalg.norm(z, axis=-1, keepdims=True) for z in (first, last)]
    cosine = np.sum(first * last, axis=-1, keepdims=True) / np.maximum(
        lengths[0] * lengths[1], 1e-12
    )
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    sine = np.sin(angle)
    curved = sine > 1e-4
    sine = np.where(curved, sine, 1.0)
    weights = np.sin((1 - share) * angle) / sine, np.sin(share * angle) / sine
    weights = [
        np.where(curved, weight, straight)
        for weight, straight in zip(weights, (1 - share, share), strict=True)
    ]
    return (weights[0] * first + weights[1] * last).astype(first.dtype)


def plane(side):
    """Return latents `[side * side, 2]`: a grid even in the normal's probability.

    Coordinates are the normal quantiles of (i + 1/2) / side; the first grows to the
    right, the second upwards. Kingma and Welling 2014, figure 4.
    """
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(side) + 0.5) / side).astype("float32")
    across, up = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([across, up], axis=-1).reshape(-1, 2)


def jumps(images, side):
    """Return how far apart neighbouring tiles of a square are.

    The distance is |a - b|, L2 over all values of two tiles that share an edge. Where
    one picture turns into another over one step, the largest stands out.

    Args:
        images: `[side * side, h, w, c]`, row by row.
        side: Tiles of a row.

    Returns:
        {jump_mean, jump_largest, jump_ratio}: mean and largest distance, and the
        largest over the mean (None where all tiles are equal).
    """
    tiles = np.asarray(images, np.float64).reshape(side, side, -1)
    across, down = np.diff(tiles, axis=1), np.diff(tiles, axis=0)
    found = [np.linalg.norm(part, axis=-1).ravel() for part in (across, down)]
    found = np.concatenate(found)
    mean, largest = float(found.mean()), float(found.max())
    return {
        "jump_mean": mean,
        "jump_largest": largest,
        "jump_ratio": largest / mean if mean else None,
    }
