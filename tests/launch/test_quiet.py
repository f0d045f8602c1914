"""What TensorFlow's libraries write while they load is heard when they fail only."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As its libraries do: not through sys.stderr.
STUB = "import os\nos.write(2, b'I0000 port.cc:153] operations are on\\n')\n"


@pytest.mark.parametrize(
    ("level", "ends", "heard"),
    [("3", "", False), ("0", "", True), ("3", "raise ImportError('no library')", True)],
)
def test_lines_of_the_first_import(tmp_path, level, ends, heard):
    (tmp_path / "tensorflow.py").write_text(STUB + ends)
    environment = {"PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": level}
    ended = subprocess.run(
        [sys.executable, "-m", "launch.train", "--model=vae", "--dry_run"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ("no library" if ends else "'tensorflow' is not a package") in ended.stderr
    assert ("port.cc" in ended.stderr) == heard
