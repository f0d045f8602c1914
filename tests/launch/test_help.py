"""--help: soon there, without TensorFlow, and of this command's flags."""

import pathlib
import resource
import statistics
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["train", "evaluate", "export"])
def test_help(name):
    command = [sys.executable, "-m", f"launch.{name}", "--help"]
    seconds = []
    for _ in range(3):
        start = _processor_time()
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        seconds.append(_processor_time() - start)
        assert ended.returncode == 0
        assert "--workdir" in ended.stdout and ended.stderr == ""
        assert ("--recipe" in ended.stdout) == (name == "train")
    assert statistics.median(seconds) < 1.0

    command[1:1] = ["-X", "importtime"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    imported = {x.rpartition("|")[2].strip() for x in ended.stderr.splitlines()}
    assert "absl.flags" in imported
    assert not {"tensorflow", "keras"} & imported


def _processor_time():
    """Seconds of ended child processes: on an idle machine a little under the clock's.

    Another test runs beside this one.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
