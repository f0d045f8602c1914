"""Saves step 2 beside step 1 and kills itself at a moment: `killed_save.py DIR MOMENT`.

Imports no TensorFlow: `save` needs only what `FakeModel` has.
"""

import os
import pathlib
import signal
import sys
from unittest import mock

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tfgen.core import checkpoint  # noqa: E402


class FakeModel:
    """One variable of a megabyte, all of it the number of the step."""

    def __init__(self, step):
        self.steps_done, self.pending_logs = step, {}
        self.distribute_strategy = mock.Mock(
            cluster_resolver=None,
            num_replicas_in_sync=1,
            experimental_local_results=lambda value: [value],
        )
        array = np.full([2**18], step, "float32")
        value = mock.Mock(numpy=lambda: array)
        self.variables = {"step": mock.Mock(value=value)}

    def state(self):
        return self.variables

    def replica_local(self):
        return set()


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(*args, **kwargs):
    raise OSError(28, "No space left on device")


def half(file, header, arrays, write=checkpoint._write, then=die):
    """Write the first half of the file, for sure, then `then`."""
    path = pathlib.Path(file.name)
    write(file, header, arrays)
    file.flush()
    os.truncate(path, path.stat().st_size // 2)
    then()


def replace_then_die(source, target, replace=os.replace):
    replace(source, target)
    die()


def at(moment):
    """The patch that strikes at a moment."""
    return {
        "before the write": lambda: mock.patch.object(checkpoint, "_write", die),
        "mid-file": lambda: mock.patch.object(checkpoint, "_write", half),
        "before the flush": lambda: mock.patch.object(os, "fsync", die),
        "before the rename": lambda: mock.patch.object(os, "replace", die),
        "after the rename": lambda: mock.patch.object(os, "replace", replace_then_die),
        "before the folder's flush": lambda: mock.patch.object(
            checkpoint, "_flush_folder", die
        ),
    }[moment]()


if __name__ == "__main__":
    with at(sys.argv[2]):
        checkpoint.save(FakeModel(2), sys.argv[1], keep=1)
