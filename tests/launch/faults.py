"""Faults that a forked command (see `warm`) plants in itself before it starts."""

import io
import os
import signal

from tfgen.core import checkpoint


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_save(moment, number):
    """Die in the `number`th save.

    moment: "before the write", "mid-file", "before the rename", "after the rename".
    """
    write, replace, saves = checkpoint._write, os.replace, []

    def dying_write(file, header, arrays):
        saves.append(header["step"])
        if len(saves) == number and moment == "before the write":
            _die()
        if len(saves) == number and moment == "mid-file":
            whole = io.BytesIO()
            write(whole, header, arrays)
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.flush()
            os.fsync(file.fileno())
            _die()
        write(file, header, arrays)

    def dying_replace(source, target):
        mine = str(target).endswith(".npz") and len(saves) == number
        if mine and moment == "before the rename":
            _die()
        replace(source, target)
        if mine and moment == "after the rename":
            _die()

    checkpoint._write, os.replace = dying_write, dying_replace


def kill_at_replace(name, number):
    """Die just before the `number`th file is put in place whose name has `name`."""
    replace, seen = os.replace, []

    def dying_replace(source, target):
        if name in str(target):
            seen.append(target)
            if len(seen) == number:
                _die()
        replace(source, target)

    os.replace = dying_replace


def slow_steps(seconds):
    """Wait after each step, so that a test can act between two of them."""
    import time

    from tfgen.callbacks import Checkpoints

    at = Checkpoints.at

    def slow(self, step, logs):
        time.sleep(seconds)
        at(self, step, logs)

    Checkpoints.at = slow
