"""Who may import whom, how long a file may be, what importing the package costs."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Folder or module of tfgen -> what of tfgen it may import, itself aside.
ARROWS = {
    "core": {"core"},
    "layers": {"core.errors", "core.graphs"},
    "losses": set(),
    "networks": {"layers", "core.errors"},
    "models": {"core", "networks", "layers", "losses"},
    # Noise: bounds of a likelihood draw latents.
    "metrics": {"losses", "core.spec", "core.errors", "core.noise"},
    "callbacks": {"metrics", "core"},
    "data": {"core.spec", "core.errors", "layers"},
    "theory": {"losses", "core", "data.ring"},
    "export": {"core"},
}
# The package's face and the run folder tie the parts together.
FREE = {"__init__", "workdir"}
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "base", "stuff"}


def source_files():
    return sorted((ROOT / "tfgen").rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, tree):
    """Full names of all modules that a file imports, wherever it does."""
    package = name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            # `from tfgen.core import noise` imports tfgen.core.noise, perhaps.
            yield from (".".join([*base, alias.name]) for alias in node.names)


def allowed(part, imported):
    """Whether a part of tfgen may import `tfgen.<imported>`."""
    if part in FREE:
        return True
    targets = {part, *ARROWS[part]}
    return any(imported == t or imported.startswith(f"{t}.") for t in targets)


def complaints(path, text):
    part = path.relative_to(ROOT / "tfgen").with_suffix("").parts[0]
    for name in imports(path, ast.parse(text)):
        top, _, rest = name.partition(".")
        if top in ("launch", "tests") or (top == "tfgen" and not allowed(part, rest)):
            yield f"{path.relative_to(ROOT)} imports {name}"


def test_imports_follow_the_arrows():
    files = source_files()
    assert len(files) > 30
    assert [c for path in files for c in complaints(path, path.read_text())] == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/model.py", "from tfgen.models import vae"),
        ("core/model.py", "import tfgen.losses.penalties"),
        ("core/model.py", "def f():\n    from tfgen.data import Stream"),
        ("core/model.py", "from ..losses import penalties"),
        ("losses/penalties.py", "from tfgen.core import noise"),
        ("losses/penalties.py", "from tfgen.networks import dense"),
        ("networks/dense.py", "from tfgen.core import noise"),
        ("metrics/frechet.py", "from tfgen.models import MODELS"),
        ("metrics/frechet.py", "from tfgen.core import model"),
        ("data/pipeline.py", "from tfgen.core.model import GenerativeModel"),
        ("callbacks/logs.py", "from tfgen.models import MODELS"),
        ("export.py", "from tfgen.models import find"),
        ("models/vae.py", "from tfgen.callbacks import NaNGuard"),
        ("models/vae.py", "from launch import train"),
        ("workdir.py", "import tests.synthetic"),
    ],
)
def test_a_wrong_import_is_seen(path, line):
    assert len(list(complaints(ROOT / "tfgen" / path, line))) == 1


def test_files_are_short():
    cap = {
        path: 400 if path.parent.name == "models" else 600 for path in source_files()
    }
    cap |= dict.fromkeys((ROOT / "launch").glob("*.py"), 600)
    cap |= dict.fromkeys((ROOT / "tests").rglob("*.py"), 600)
    lines = {path: len(path.read_text().splitlines()) for path in cap}
    assert {str(path): n for path, n in lines.items() if n > cap[path]} == {}


def test_modules_are_named_for_what_they_hold():
    files = [*source_files(), *(ROOT / "launch").glob("*.py")]
    files += (ROOT / "tests").rglob("*.py")
    assert [str(path) for path in files if path.stem in VAGUE] == []


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.strip()


HEAVY = "sorted({'tensorflow', 'keras', 'tensorflow_probability'} & set(sys.modules))"


@pytest.mark.parametrize(
    "module",
    ["tfgen", "tfgen.models", "tfgen.core.strategy", "tfgen.core.config"],
)
def test_importing_it_does_not_import_tensorflow(module):
    assert run(f"import sys, {module}; print({HEAVY})") == "[]"


def test_the_package_gives_what_it_names():
    import tfgen

    assert "build" in dir(tfgen)
    assert [name for name in dir(tfgen) if not hasattr(tfgen, name)] == []
