"""TensorBoard: scalars, pictures, hyperparameters, histograms, profile."""

import os
import pathlib

import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams_api
from tensorboard.plugins.image import metadata as image_plugin

from tfgen.callbacks.steps import AtSteps


class TensorBoard(AtSteps):
    """Write events from the host, never from inside the step.

    Args:
        folder: Where event files go.
        hparams: {name: value} shown in the HParams tab.
        histograms_every: Steps between histograms of all weights, 0 = none.
        profile: (first, last) steps to profile, or None; with several steps in an
            execution, the whole executions that hold them.
    """

    def __init__(self, folder, hparams=None, histograms_every=0, profile=None):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.hparams = hparams or {}
        self.histograms_every, self.profile = histograms_every, profile
        self.writer, self._profiling = None, False

    def begin(self, step):
        """Drop events past `step`, then open a new file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.profile and step >= self.profile[1]:  # of a part that is behind
            self.profile = None
        drop_events_past(self.folder, step)
        self.writer = tf.summary.create_file_writer(str(self.folder))
        if self.hparams and step == 0:
            with self.writer.as_default(step=0):
                hparams_api.hparams(
                    {
                        name: str(value) if isinstance(value, tuple) else value
                        for name, value in self.hparams.items()
                    }
                )
        self._start_profile(step)

    def at(self, step, logs):
        """Write what there is."""
        self.scalars(step, logs)
        if self.due(self.histograms_every):
            with self.writer.as_default(step=step):
                for name, variable in self.model.state().items():
                    if variable.trainable and name.split("/")[0] in self.model.networks:
                        tf.summary.histogram(name, variable.value)
        if self._profiling and step >= self.profile[1]:
            self._stop_profile()
        self._start_profile(step)

    def scalars(self, step, values):
        """Write {tag: number} of a step."""
        if values:
            with self.writer.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)

    def picture(self, step, picture, tag="samples"):
        """Write a picture, uint8 `[h, w, c]`, of a step."""
        with self.writer.as_default(step=step):
            tf.summary.image(tag, picture[None])

    def animation(self, step, gif, width, height, tag="samples"):
        """Write a GIF of a step, as bytes: the image tab plays what browsers do."""
        size = [str(side).encode() for side in (width, height)]
        with self.writer.as_default(step=step):
            tf.summary.write(
                tag,
                tf.constant([*size, gif]),
                metadata=image_plugin.create_summary_metadata(None, None),
            )

    def sounds(self, step, audio, sample_rate, tag="notes"):
        """Write players of sounds `[n, samples]` in [-1, 1], of a step."""
        with self.writer.as_default(step=step):
            tf.summary.audio(tag, audio[..., None], sample_rate, max_outputs=len(audio))

    def text(self, step, lines, tag="sentences"):
        """Write lines of a step, numbered as clips are in a grid."""
        with self.writer.as_default(step=step):
            numbered = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
            tf.summary.text(tag, "\n".join(numbered))

    def flush(self):
        """Bring what was written to disk."""
        self.writer.flush()

    def on_train_end(self, logs=None):
        """Close the file."""
        self.abandon()

    def abandon(self):
        """Write a profile that is being taken; close the file."""
        if self._profiling:
            self._stop_profile()
        if self.writer:
            self.writer.close()

    def _start_profile(self, step):
        """Start where the execution after `step` steps holds the first one."""
        if not self.profile or self._profiling:
            return
        if step + self.model.steps_per_execution >= self.profile[0]:
            tf.profiler.experimental.start(str(self.folder))
            self._profiling = True

    def _stop_profile(self):
        tf.profiler.experimental.stop()
        self.profile, self._profiling = None, False


def drop_events_past(folder, step):
    """Rewrite event files without what lies past `step`.

    A run that is killed after its last save leaves events that the resumed run
    writes again. A training that starts anew (`step` 0) leaves nothing of them.
    """
    for partial in folder.glob("events.partial.*"):
        partial.unlink()
    for path in sorted(folder.glob("events.out.tfevents.*")):
        if step == 0:
            path.unlink()
            continue
        kept, dropped = [], False
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        while True:
            try:
                record = next(records)
            except StopIteration:
                break
            except tf.errors.DataLossError:  # the file of a killed run ends midway
                dropped = True
                break
            if event_pb2.Event.FromString(record).step <= step:
                kept.append(record)
            else:
                dropped = True
        if dropped:
            # Not "tfevents": TensorBoard would read what a kill leaves of it.
            partial = path.with_name(path.name.replace("out.tfevents", "partial"))
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for record in kept:
                    writer.write(record)
            os.replace(partial, path)
