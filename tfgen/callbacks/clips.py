"""Sample clips over training: animations, and the streams they are made of."""

import io
import math
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from tfgen.callbacks.pictures import grid, write_png
from tfgen.callbacks.steps import AtSteps
from tfgen.core.spec import to_uint8

RATE = 8  # frames a second
STREAMS = ("foreground", "mask", "background")


def clip_grid(clips, columns=None, gap=2):
    """Tile clips, uint8 `[n, frames, h, w, c]`, into one, `[frames, height, width, c]`.

    See `tfgen.callbacks.grid`.
    """
    return np.stack([grid(frames, columns, gap) for frames in np.swapaxes(clips, 0, 1)])


def film(clips, gap=2):
    """Lay clips, uint8 `[n, frames, h, w, c]`, out as a picture: a row a clip."""
    clips = np.asarray(clips)
    return grid(clips.reshape([-1, *clips.shape[2:]]), clips.shape[1], gap)


def encode_gif(frames, rate=RATE):
    """Return an endless animation of frames, uint8 `[frames, h, w, 1 or 3]`, as bytes.

    A GIF has 256 colours a frame: each frame gets its own.
    """
    pictures = [
        Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
        for frame in frames
    ]
    content = io.BytesIO()
    first, *rest = [picture.quantize() for picture in pictures]
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=round(1000 / rate),
        loop=0,
        optimize=False,
    )
    return content.getvalue()


def write_gif(path, frames, rate=RATE):
    """Write frames as an animation, see `encode_gif`."""
    pathlib.Path(path).write_bytes(encode_gif(frames, rate))


class ClipGrid(AtSteps):
    """Write `samples/step_<n>.gif`: the clips of the same latents, over training.

    Models that have `streams` or `sample_parts` also leave `step_<n>_streams.png`: a
    row a clip, its middle frame, the foreground's, the mask's, the background and the
    gist it started from, if any. Models of sentences leave `sentences.txt`, a line a
    clip.

    Args:
        folder: Run folder; files go to its `samples`.
        every: Steps between animations.
        num: Clips in an animation.
        given: First frames `[num, h, w, c]` for models that go on from one; none: of
            noise.
        animation: Called with (step, GIF as bytes, width, height), besides.
        picture: Called with (step, picture, tag), of a clip's streams.
        text: Called with (0, sentences), by a run that starts.
    """

    def __init__(
        self,
        folder,
        every=500,
        num=16,
        given=None,
        animation=None,
        picture=None,
        text=None,
    ):
        super().__init__()
        self.folder = pathlib.Path(folder) / "samples"
        self.every, self.num, self.given = every, num, given
        self.animation, self.picture, self.text = animation, picture, text

    def begin(self, step):
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if hasattr(self.model, "told"):
            told = self.model.told(self.num)
            (self.folder / "sentences.txt").write_text("\n".join(told) + "\n")
            if self.text and step == 0:
                self.text(step, told)
        self._draw = tf.function(self._made, autograph=False)

    def _made(self):
        model = self.model
        if hasattr(model, "sample_parts"):
            return model.sample_parts(self.num, seed=0)
        if not hasattr(model, "streams"):
            return {"videos": model.sample(self.num, seed=0)}
        given = model.prior(self.num, 0) if self.given is None else self.given
        return model.streams(given)

    def at(self, step, logs):
        """Draw when due."""
        if not self.due(self.every):
            return
        made = {name: value.numpy() for name, value in self._draw().items()}
        video = self.model.spec.video
        clips = to_uint8(made["videos"], video)
        frames = clip_grid(clips)
        gif = encode_gif(frames)
        (self.folder / f"step_{step:09d}.gif").write_bytes(gif)
        if self.animation:
            self.animation(step, gif, frames.shape[2], frames.shape[1])
        if set(STREAMS) <= set(made):
            self._draw_streams(step, made, clips, video)

    def _draw_streams(self, step, made, clips, video):
        middle = clips.shape[1] // 2
        mask = np.rint(255 * made["mask"][:, middle]).astype("uint8")
        parts = {
            "clip": clips[:, middle],
            "foreground": to_uint8(made["foreground"][:, middle], video),
            "mask": np.repeat(mask, clips.shape[-1], axis=-1),
            "background": to_uint8(made["background"], video),
        }
        if "gist" in made:
            parts["gist"] = to_uint8(made["gist"], video)
        table = np.stack(list(parts.values()), axis=1)
        # Two clips a row.
        columns = 2 * len(parts) if len(clips) > 8 else len(parts)
        picture = grid(table.reshape([-1, *table.shape[2:]]), columns)
        write_png(self.folder / f"step_{step:09d}_streams.png", picture)
        if self.picture:
            side = math.ceil(math.sqrt(len(clips)))
            for name in parts.keys() - {"clip"}:
                self.picture(step, grid(parts[name], side), f"samples/{name}")
