"""Pictures of a generator whose layers take styles, copies of w: StyleGAN2."""

import numpy as np

from tfgen.core.errors import BadInput

from . import latents

ROWS = 64  # images in one pass
CENTRE = 10_000  # latents that the mean of w is taken of
STOPS, RATE = 4, 20  # latents on a walk; pictures a second
PROJECTED = 8  # images, where --num does not say


def truncation(source, flags):
    """A row a latent: psi from 0, the mean of w, to --truncation."""
    z, label = _latents(source, flags, "sample", flags.num)
    columns = [
        _by_parts(
            lambda *rows, psi=psi: source.images("generate", rows[0], psi, *rows[1:]),
            z,
            *label,
        )
        for psi in np.linspace(0.0, flags.truncation, flags.columns, dtype="float32")
    ]
    return _in_rows(columns), flags.columns, {}


def mix(source, flags):
    """Above --num images, to the left as many; within, their mixtures.

    A mixture has the first --crossover copies of w of the image to its left, which
    say what is coarse, and all others of the image above it.
    """
    num = min(flags.num, 16) if not flags["num"].present else flags.num
    w = _styles(source, flags, "sample", 2 * num)
    copies = w.shape[1]
    crossover = copies // 2 if flags.crossover is None else flags.crossover
    if not 0 <= crossover <= copies:
        raise BadInput(f"--crossover={crossover}; valid: 0 to {copies}")
    left, above = w[:num], w[num:]
    table = np.tile(above, [num, 1, 1])
    table[:, :crossover] = np.repeat(left[:, :crossover], num, axis=0)
    images = _synthesized(source, np.concatenate([w, table]))
    blank = np.full_like(images[:1], source.spec.image.low)
    rows = [np.concatenate([blank, images[num : 2 * num]])]
    for number, row in enumerate(np.split(images[2 * num :], num)):
        rows.append(np.concatenate([images[number][None], row]))
    return np.concatenate(rows), num + 1, {"crossover": crossover}


def walk(source, flags):
    """Return --num walks, each back to its start, as pictures `[time, num, ...]`."""
    z, label = _latents(source, flags, "walk", STOPS * flags.num)
    stops = z.reshape([STOPS, 1, flags.num, -1])
    share = np.arange(flags.columns, dtype="float32") / flags.columns
    path = latents.spherical(
        stops, np.roll(stops, -1, axis=0), share[None, :, None, None]
    )
    steps = STOPS * flags.columns
    label = [np.tile(rows[: flags.num], steps) for rows in label]
    w = _mapped(source, flags, path.reshape([steps * flags.num, -1]), label)
    images = _synthesized(source, w)
    return images.reshape([steps, flags.num, *images.shape[1:]])


def project(source, flags, images, labels, real):
    """A row an image: it, and what its projection into w makes.

    Args:
        source: Of a live model.
        flags: The launcher's.
        images: To project, in the model's range.
        labels: Their classes, or None.
        real: Training images, uint8, that the extractor is made for.

    Returns:
        Images, columns, what to report, arrays to keep.
    """
    from tfgen.metrics import extractor

    from . import projection
    from .evaluate_progress import Progress

    network = extractor(flags.extractor, real)
    progress = Progress()
    progress.start("projection")
    found = projection.project(
        source.model,
        images,
        network,
        flags.projection_steps,
        flags.seed,
        labels if source.takes_label else None,
        progress,
    )
    made = found.pop("images")
    report = {"distance": float(found["distance"].mean()), **network.describe()}
    return _in_rows([images, made]), 2, report, found
