"""Pictures of a generator whose layers take styles, copies of w: StyleGAN2.

A mode is a function of (source, flags) that returns a function writing to a path, the
number of images, and what else to report.
"""

import os
import pathlib

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import in_parts, made_at_once

from . import held_out, latents

CENTRE = 10_000  # latents that the mean of w is taken of
STOPS = 4  # latents on a walk
FITTED = 10_000  # training images that an extractor is fitted to


def truncation(source, flags):
    """A row a latent: psi from 0, the mean of w, to --truncation.

    With --truncation_layers, of so many copies of w, those of coarse layers.
    """
    z, label = _latents(source, flags, "sample", flags.num)
    shares = np.linspace(0.0, flags.truncation, flags.columns, dtype="float32")
    if flags.truncation_layers is None:
        columns = [_generate(source, z, psi, label) for psi in shares]
    else:
        w, centre = _map(source, z, label), _centre(source, flags)
        columns = [
            _synthesize(source, _truncated(w, centre, psi, flags.truncation_layers))
            for psi in shares
        ]
    return _picture(source, _in_rows(columns), flags.columns)


def mix(source, flags):
    """Above --num images, to the left as many; within, their mixtures.

    A mixture has the first --crossover copies of w, which say what is coarse, of the
    image to its left, and all others of the image above it.
    """
    num = flags.num
    w = _mapped(source, flags, *_latents(source, flags, "sample", 2 * num))
    copies = w.shape[1]
    crossover = copies // 2 if flags.crossover is None else flags.crossover
    if not 0 <= crossover <= copies:
        raise BadInput(f"--crossover={crossover}; valid: 0 to {copies}")
    left, above = w[:num], w[num:]
    table = np.tile(above, [num, 1, 1])
    table[:, :crossover] = np.repeat(left[:, :crossover], num, axis=0)
    images = _synthesize(source, np.concatenate([w, table]))
    left, above = images[:num], images[num : 2 * num]
    blank = np.full_like(images[:1], source.spec.image.low)
    rows = [blank, above]
    for image, row in zip(left, np.split(images[2 * num :], num), strict=True):
        rows += [image[None], row]
    rows = np.concatenate(rows)
    write, count, report = _picture(source, rows, num + 1, crossover=crossover)
    return write, count - 1, report  # the corner is no image


def walk(source, flags):
    """--num walks at a time through `STOPS` latents and back to the first, a film.

    Between two stops lie --columns pictures, along great circles in z.
    """
    from tfgen.callbacks.clips import clip_grid
    from tfgen.core.spec import to_uint8

    num, columns = flags.num, flags.columns
    z, label = _latents(source, flags, "walk", STOPS * num)
    stops = z.reshape([STOPS, 1, num, -1])
    share = np.arange(columns, dtype="float32").reshape([1, -1, 1, 1]) / columns
    path = latents.spherical(stops, np.roll(stops, -1, axis=0), share)
    label = [np.tile(rows[:num], STOPS * columns) for rows in label]
    w = _mapped(source, flags, path.reshape([-1, z.shape[1]]), label)
    images = to_uint8(_synthesize(source, w), source.spec.image)
    frames = images.reshape([STOPS * columns, num, *images.shape[1:]])
    frames = clip_grid(np.swapaxes(frames, 0, 1))
    return lambda path: write_film(path, frames), len(images), {}


def project(source, flags):
    """A row an image: it, and what its projection into w makes.

    Beside the picture, <its name>_projection.npz keeps w and the noise.
    """
    from tfgen.core.spec import to_uint8
    from tfgen.metrics import extractor
    from tfgen.workdir import Workdir

    from . import projection
    from .progress import Progress

    if source.model is None:
        raise BadInput("--mode=project needs --workdir: an export's noise is fixed")
    run = Workdir(flags.workdir).require_config()
    stream = held_out.load(run, flags.data_dir).train
    train = held_out.arrays(stream, source.spec, FITTED)["image"]
    network = extractor(flags.extractor, to_uint8(train, source.spec.image))
    rows, progress = source.rows(flags.num), Progress()
    progress.start("projection")
    found = projection.project(
        source.model,
        rows["image"],
        network,
        flags.projection_steps,
        flags.seed,
        rows["label"] if source.takes_label else None,
        progress,
    )
    pairs = _in_rows([rows["image"], found.pop("images")])
    report = {"distance": float(found["distance"].mean()), **network.describe()}
    draw, count, report = _picture(source, pairs, 2, **report)
    out = pathlib.Path(flags.out or Workdir(flags.workdir).samples / "project")

    def write(path):
        draw(path)
        partial = path.with_suffix(".npz")
        np.savez(partial, **found)
        os.replace(partial, out.with_name(f"{out.stem}_projection.npz"))

    return write, count, report


MODES = {"truncation": truncation, "mix": mix, "walk": walk, "project": project}


def grid(source, flags):
    """Return images of --label, those of the latents that `sample` draws."""
    z, label = _latents(source, flags, "sample", flags.num)
    return _generate(source, z, flags.truncation, label)


def write_film(path, frames, rate=20):
    """Write frames, uint8 `[frames, h, w, c]`, `rate` a second, as .gif or .mp4.

    Raises:
        BadInput: MP4 without imageio and its ffmpeg.
    """
    if path.suffix.lower() == ".gif":
        from tfgen.callbacks.clips import write_gif

        write_gif(path, frames, rate)
        return
    try:
        import imageio.v3
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        raise BadInput(
            "an .mp4 file needs imageio[ffmpeg] (pip install tfgen[video]); give a "
            ".gif file"
        ) from None
    even = [side // 2 * 2 for side in frames.shape[1:3]]  # the codec wants it
    frames = np.broadcast_to(frames, [*frames.shape[:3], 3])[:, : even[0], : even[1]]
    imageio.v3.imwrite(path, frames, fps=rate, plugin="FFMPEG", macro_block_size=1)


def _picture(source, images, columns, **report):
    """Return what a mode does, of images `[n, h, w, c]`."""
    from tfgen.callbacks.pictures import grid, write_png
    from tfgen.core.spec import to_uint8

    picture = grid(to_uint8(images, source.spec.image), columns)
    return lambda path: write_png(path, picture), len(images), report


def _latents(source, flags, purpose, num):
    """Return latents `[num, size]`, and in a list their classes if there are any."""
    from tfgen.core import noise

    size = source.signatures["map"]["inputs"]["z"]["shape"][1:]
    z = noise.normal(flags.seed, 0, purpose, num, size).numpy()
    if not source.takes_label:
        return z, []
    label = np.arange(num) % source.spec.num_classes
    if flags.label is not None:
        label[:] = flags.label
    return z, [label.astype("int64")]


def _generate(source, z, psi, label):
    return in_parts(
        lambda rows, *label: source.images("generate", rows, psi, *label),
        z,
        *label,
        rows=made_at_once(source.spec),
    )


def _mapped(source, flags, z, label):
    """Return w of latents, drawn to the mean of w by --truncation."""
    w, layers = _map(source, z, label), flags.truncation_layers
    if flags.truncation != 1.0:
        return _truncated(w, _centre(source, flags), flags.truncation, layers)
    if layers is not None:
        raise BadInput("--truncation_layers needs --truncation: psi, below 1 say")
    return w


def _map(source, z, label):
    return in_parts(lambda *rows: source.images("map", *rows), z, *label)


def _centre(source, flags):
    """Return the mean of w, `[copies, size]`; the model's own is in no signature."""
    w = _map(source, *_latents(source, flags, "centre", CENTRE))
    return w.mean(axis=0, dtype=np.float64).astype("float32")


def _truncated(w, centre, psi, layers):
    """Return centre + psi (w - centre) in the first `layers` copies; None: in all."""
    copies = w.shape[1]
    layers = copies if layers is None else layers
    if layers > copies:
        raise BadInput(f"--truncation_layers={layers}; valid: 1 to {copies}")
    drawn = centre + np.float32(psi) * (w - centre)
    return np.concatenate([drawn[:, :layers], w[:, layers:]], axis=1)


def _synthesize(source, w):
    rows = made_at_once(source.spec)
    return in_parts(lambda part: source.images("synthesize", part), w, rows=rows)


def _in_rows(columns):
    """Return columns of images, each `[n, ...]`, as one batch, row by row."""
    return np.stack(columns, axis=1).reshape([-1, *columns[0].shape[1:]])
