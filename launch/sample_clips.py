"""Clips of a model: as animations, as rows of frames, over training."""

import numpy as np

from . import held_out

CLIPS = 16  # in an animation over training


def callbacks_of(model, data, folder, every, board):
    """Return the callback that writes sample clips while a model trains, if any."""
    from tfgen import callbacks

    given = None
    if hasattr(model, "predict_clips"):
        given = held_out.arrays(data.test or data.train, model.spec, CLIPS)["video"][
            :, 0
        ]
    elif not hasattr(model, "sample"):
        return []
    return [
        callbacks.ClipGrid(
            folder,
            every,
            num=CLIPS,
            given=given,
            animation=board.animation,
            picture=board.picture,
            text=board.text,
        )
    ]


def write(path, clips, columns, spec):
    """Write clips `[n, frames, h, w, c]` in the range of `spec`.

    Args:
        path: .gif: an animation of all side by side; .png: a picture, a row a clip.
        clips: Array.
        columns: Clips in a row of an animation; None: as square as can be.
        spec: `DataSpec` of the model.
    """
    from tfgen.callbacks.clips import clip_grid, film, write_gif
    from tfgen.callbacks.pictures import write_png
    from tfgen.core.spec import to_uint8

    clips = to_uint8(np.asarray(clips), spec.video)
    if path.suffix.lower() == ".gif":
        write_gif(path, clip_grid(clips, columns))
    else:
        write_png(path, film(clips))


def futures(source, clips):
    """Return clips, each followed by what the model makes of its first frame."""
    made = np.concatenate(
        [source.images("predict", part[:, 0]) for part in _parts(clips)]
    )
    return np.stack([clips, made], axis=1).reshape([-1, *clips.shape[1:]])


def _parts(clips, rows=50):
    return [clips[first : first + rows] for first in range(0, len(clips), rows)]
