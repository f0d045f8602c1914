"""launch.theory: the table, the figures, and a planted error."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from tests.launch.conftest import ROOT

QUICK = "generator_gradients,dirac_gan"


def test_table_and_figures(launcher, tmp_path):
    out = tmp_path / "new" / "theory"
    ended = launcher.run(f"--out={out}", f"--only={QUICK}", module="launch.theory")
    assert ended.code == 0, ended.stderr
    assert set(ended.json) == {"checks", "passed", "seconds", "out"}
    assert ended.json["checks"] == ended.json["passed"] == 23
    rows = json.loads((out / "table.json").read_text())
    assert len(rows) == 23 and all(row["pass"] for row in rows)
    assert rows[0]["quantity"].startswith("gradient at t=0.5, minimax")
    assert abs(rows[0]["computed"] - 0.235264) < 1e-4
    table = (out / "table.md").read_text().splitlines()
    assert len(table) == 25 and {line.count(" | ") for line in table[2:]} == {5}
    pictures = sorted(out.glob("*.png"))
    assert {path.stem for path in pictures} == {*QUICK.split(","), "theory"}
    for path in pictures:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    assert "dirac_gan: 13 of 13 checks passed" in ended.stderr


def test_bad_flags(launcher, tmp_path):
    (tmp_path / "file").write_text("mine")
    for flags, words in {
        (): "--out is needed",
        (f"--out={tmp_path}/file",): "is a file",
        (f"--out={tmp_path}/x", "--only=nothing"): "valid: optimal_discriminator",
    }.items():
        ended = launcher.run(*flags, module="launch.theory")
        assert ended.code == 2, ended.stderr
        assert len(ended.errors) == 1 and words in ended.errors[0]
        assert ended.stdout == ""
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_wrong_sign_in_the_library_is_reported(tmp_path):
    planted = (
        "import sys; from tfgen.losses import adversarial as a;"
        "right = a.minimax_generator_loss;"
        "a.minimax_generator_loss = lambda logits: -right(logits);"
        f"sys.argv = ['theory', '--out={tmp_path}', '--only=generator_gradients'];"
        "from launch import theory; theory.command()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", planted], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["passed"] == 5
    failed = [x for x in ended.stderr.splitlines() if x.startswith("failed: ")]
    assert len(failed) == 5
    assert failed[1].startswith("failed: gradient at t=1, minimax = d(2 JSD)/dt: -0.39")
    assert (tmp_path / "table.md").read_text().count("| NO |") == 5


@pytest.mark.slow
def test_all_of_it(launcher, tmp_path):
    ended = launcher.run(f"--out={tmp_path}", module="launch.theory", timeout=600)
    assert ended.code == 0, ended.stderr
    assert ended.json["checks"] == ended.json["passed"] > 50
    assert ended.json["seconds"] < 300
