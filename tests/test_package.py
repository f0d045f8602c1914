"""What a user gets: the README's Python, the wheel, an import that costs nothing."""

import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import tfgen\n.*?)```", readme, re.DOTALL)
    assert "steps_per_epoch=1000" in code
    code = code.replace("steps_per_epoch=1000", "steps_per_epoch=2")
    code = code.replace('preset="small"', 'preset="tiny"')
    code = code.replace("batch=64", "batch=8")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["images"].shape == (16, 28, 28, 1)
    assert (tmp_path / "runs/demo/export/saved_model.pb").exists()


def test_flags_of_the_readme_exist():
    readme = (ROOT / "README.md").read_text()
    help_text = subprocess.run(
        [sys.executable, "-m", "launch.train", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    train = re.findall(r"python -m launch\.train (.*)", readme)
    table = re.findall(r"^\| (`--.*?) \|", readme, re.MULTILINE)
    named = {f for line in train + table for f in re.findall(r"--(\w+)", line)}
    named -= {"help"}
    assert named
    for name in named:
        assert f"--{name}" in help_text, name


def test_importing_tfgen_does_not_import_tensorflow():
    code = "import sys, tfgen; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_wheel_takes_one_top_level_name(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path]
        + [str(ROOT)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tfgen"}
    assert "tfgen/launch/train.py" in names
    assert "tfgen/launch/recipes/quickstart.flags" in names
