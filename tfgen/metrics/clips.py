"""Metrics of clips, and what makes features of them.

Clips are uint8 `[n, frames, h, w, c]`. The Frechet video distance is
`frechet_distance` of a `ClipExtractor`'s features: those of a classifier trained on the
data, not of the published I3D network, so it compares runs of one data set only.
"""

import hashlib
import json
import pathlib

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature, adapter
from tfgen.metrics.extractors import Extracted


def motion_energy(clips) -> np.ndarray:
    """Mean |frame k + 1 - frame k| of each clip, in the unit of its values, `[n]`.

    0 for a still; a generator that flickers has more than its data.
    """
    clips = _as_clips(clips).astype("float64")
    return np.abs(np.diff(clips, axis=1)).mean(axis=(1, 2, 3, 4))


class ClipExtractor:
    """Features and logits of an exported classifier of clips.

    Clips are brought to what it was trained on by `tfgen.core.spec.adapter`.

    Args:
      path: export folder of a run of `video_classifier`.
      shape: (frames, h, w, c) of the uint8 clips to come.

    Attributes:
      name: `saved_model:PATH`.
      digest: 16 hexadecimal digits over weights, graph and preprocessing.
      label: name of the feature that it tells the classes of.
      classes: their names.

    Raises:
      BadInput: no such export, or not one of a classifier of clips.
    """

    def __init__(self, path: str, shape):
        folder = pathlib.Path(path)
        try:
            description = json.loads((folder / "tfgen.json").read_text())
            spec = DataSpec.from_json(description["spec"])
            wanted, self.label = spec.video, description["config"]["label"]
            self.classes = spec.features[self.label].classes
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{path} is no export of a video_classifier: make one by launch.train "
                "and launch.export"
            ) from error
        import tensorflow as tf

        self._model = tf.saved_model.load(path)  # its variables must stay referenced
        self._classify = self._model.signatures["classify"]
        self.shape, self.name = tuple(shape), f"saved_model:{path}"
        given = Feature(self.shape, "uint8", 0.0, 255.0)
        self._adapt, self.preprocessing = adapter(
            DataSpec("the clips", 0, {"video": given}),
            DataSpec(self.name, 0, {"video": wanted}),
        )
        digest = hashlib.sha256(self.preprocessing.encode())
        for file in (folder / "saved_model.pb", *sorted(folder.glob("variables/*"))):
            digest.update(file.read_bytes())
        self.digest = digest.hexdigest()[:16]

    def extract(self, clips, batch: int = 64) -> Extracted:
        """Features `[n, d]` and logits `[n, classes]`, float64, of uint8 clips."""
        clips = _as_clips(clips)
        if clips.shape[1:] != self.shape or clips.dtype != "uint8":
            raise BadInput(
                f"{self.name} was made for uint8 clips of {self.shape}, these are "
                f"{clips.dtype} {clips.shape[1:]}"
            )
        parts = []
        for first in range(0, len(clips), batch):
            adapted = self._adapt({"video": clips[first : first + batch]})["video"]
            found = self._classify(videos=adapted)
            parts.append([found[name].numpy() for name in ("features", "logits")])
        features, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Extracted(features.astype("float64"), logits.astype("float64"))

    def describe(self) -> dict:
        """What must be recorded with every number, ready for JSON."""
        return {
            "extractor": self.name,
            "digest": self.digest,
            "preprocessing": self.preprocessing,
        }


def _as_clips(clips) -> np.ndarray:
    clips = np.asarray(clips)
    if clips.ndim != 5 or clips.shape[1] < 2:
        raise BadInput(f"clips must be [n, frames, h, w, c], these are {clips.shape}")
    return clips
