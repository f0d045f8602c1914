"""Arrays that are decoded once, into files: too large for memory, or slow to make.

The first of several processes writes them; an interrupted writing counts as none.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfgen.data.pipeline import RowsOnDisk

# Pictures that become more bytes than this take long to decode at each start.
SLOW = 2**28
DISK_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def once(
    folder: Path,
    key: str,
    arrays: dict[str, tuple[tuple[int, ...], str]],
    fill: Callable[[dict[str, np.ndarray]], None],
) -> dict[str, RowsOnDisk]:
    """Returns arrays of `folder/key`, which are written if they are not there.

    Args:
        folder: where they lie; it is made.
        key: of these arrays, a file name.
        arrays: name -> (shape, dtype).
        fill: is given {name: memory-mapped array} to fill.
    """
    done = folder / key
    if not done.is_dir():
        with locked(folder, key):
            if not done.is_dir():
                part = folder / f"{key}.part"
                shutil.rmtree(part, ignore_errors=True)
                try:
                    part.mkdir()
                    opened = {
                        name: np.lib.format.open_memmap(
                            part / f"{name}.npy", "w+", dtype, shape
                        )
                        for name, (shape, dtype) in arrays.items()
                    }
                    for name in arrays:
                        _allocate(part / f"{name}.npy")
                    fill(opened)
                    for array in opened.values():
                        array.flush()
                except BaseException:
                    shutil.rmtree(part, ignore_errors=True)  # it may fill the disk
                    raise
                part.rename(done)
    return {name: RowsOnDisk(np.load(done / f"{name}.npy", "r")) for name in arrays}


def _allocate(path: Path):
    """Takes a file's place on the disk: a mapped write that finds none is a crash."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


@contextlib.contextmanager
def locked(folder: Path, name: str):
    """Lets one process at a time in; the system lifts the lock of a killed one."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".{urllib.parse.quote(name, safe='')}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
