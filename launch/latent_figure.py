"""A picture of latent planes: where codes of images lie, what the plane decodes to."""

import io

import numpy as np

POSTERIORS = 150  # drawn as ellipses


def draw(panels):
    """Return uint8 `[h, w, 3]`: a row a model, its codes beside its decoded lattice.

    Codes are coloured by class; the circles hold 39 % and 86 % of N(0, I), one and two
    standard deviations. Posteriors, where a model has them, are ellipses of one
    standard deviation. The lattice is that of `latents.plane`.

    Args:
        panels: For each model a dict of name; codes `[n, 2]`; stddev, likewise, or
            None; labels `[n]` or None; lattice, uint8 pictures `[side^2, h, w, c]`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 2, squeeze=False)
    for (left, right), panel in zip(rows, panels, strict=True):
        _codes(left, panel)
        side = round(len(panel["lattice"]) ** 0.5)
        right.imshow(_tiled(panel["lattice"], side), cmap="gray", vmin=0, vmax=255)
        right.set(title=f"{panel['name']}: decoded lattice of N(0, I)")
        right.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, dpi=80)
    from PIL import Image

    return np.asarray(Image.open(file).convert("RGB"))


def _codes(axes, panel):
    from matplotlib.collections import EllipseCollection

    codes, labels = panel["codes"], panel["labels"]
    points = axes.scatter(*codes.T, c=labels, cmap="tab10", s=3, alpha=0.6)
    if labels is not None:
        axes.legend(*points.legend_elements(num=None), title="class", loc="upper right")
    if panel["stddev"] is not None:
        sizes = 2 * panel["stddev"][:POSTERIORS]
        axes.add_collection(
            EllipseCollection(
                *sizes.T,
                np.zeros(len(sizes)),
                units="xy",
                offsets=codes[:POSTERIORS],
                offset_transform=axes.transData,
                facecolors="none",
                edgecolors="0.3",
                linewidths=0.6,
            )
        )
    angle = np.linspace(0, 2 * np.pi, 100)
    for radius in (1, 2):
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), "k", lw=1)
    axes.set(title=f"{panel['name']}: codes", xlabel="z1", ylabel="z2", aspect="equal")


def _tiled(images, side):
    from tfgen.callbacks.pictures import grid

    picture = grid(images, side, gap=0)
    return picture[..., 0] if picture.shape[-1] == 1 else picture
