"""launch.doctor: each broken installation gets its own line and exit code 1."""

import sys
import tempfile
import types

import pytest
import tensorflow as tf

from launch import doctor


@pytest.fixture
def stub(monkeypatch):
    """Function putting a module of a given version in a package's place."""

    def put(name, version=None):
        module = None  # makes `import name` fail
        if version:
            module = types.ModuleType(name)
            module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module)

    return put


def problems(capsys):
    """(what main() calls problems, the exit code), lines checked on the way."""
    result, code = doctor.main()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(doctor.checks())
    bad = [line for line in lines if line.startswith("problem")]
    assert [line.removeprefix("problem  ") for line in bad] == result["problems"]
    assert all(line.startswith(("ok ", "problem ")) for line in lines)
    assert result["ok"] is (not bad)
    assert code == (1 if bad else 0)
    return result["problems"]


def test_a_sound_installation(launcher):
    ended = launcher.run(module="launch.doctor")
    assert ended.code == 0, ended.stderr
    assert ended.json["ok"] is True and ended.json["tensorflow"].startswith("2.21")
    assert ended.json["strategy"] == "one"


@pytest.mark.parametrize(
    ("module", "version", "words"),
    [
        ("tensorflow", "2.20.0", "tensorflow: is 2.20.0"),
        ("keras", "3.16.0", "keras: is 3.16.0, tfgen is tested with 3.15"),
        ("keras", "3.1.5", "keras: is 3.1.5"),
        ("tf_keras", None, "pip install 'tf-keras==2.21.*'"),
        ("tensorflow_probability", "0.24.0", "tensorflow_probability: is 0.24.0"),
        ("tensorflow_datasets", None, "tensorflow-datasets==4.9.*"),
        ("tensorboard", None, "tensorboard: not installed"),
    ],
)
def test_versions(stub, module, version, words):
    stub(module, version)
    with pytest.raises(doctor.Problem) as problem:
        doctor.pinned(module)
    assert words in f"{module}: {problem.value}"


def test_an_import_that_fails_inside(tmp_path, monkeypatch):
    (tmp_path / "tensorboard_x.py").write_text("import no_such_module_x")
    (tmp_path / "tensorboard_y.py").write_text("raise RuntimeError('bad build')")
    monkeypatch.syspath_prepend(tmp_path)
    for name, words in {"x": "no_such_module_x is missing", "y": "bad build"}.items():
        module = f"tensorboard_{name}"
        monkeypatch.setitem(doctor.PINS, module, (module, "1"))
        with pytest.raises(doctor.Problem, match=words):
            doctor.pinned(module)


def test_each_check_has_its_line(stub, monkeypatch, capsys, tmp_path):
    stub("tensorboard", "1.15.0")
    stub("mlxtend")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_CONFIG", "not json")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    names = [line.split(":")[0] for line in problems(capsys)]
    assert names == [
        "keras backend",
        "tensorboard",
        "packages",
        "devices",
        "strategy",
        "temporary folder",
    ]


def test_the_backend_in_the_settings_file(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert doctor.keras_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    with pytest.raises(doctor.Problem, match="change it in .*keras.json"):
        doctor.keras_backend()


def test_xla_that_does_not_compile(monkeypatch):
    def broken(function, **_):
        def call(x):
            raise RuntimeError("libdevice not found at ./libdevice.10.bc")

        return call

    monkeypatch.setattr(tf, "function", broken)
    with pytest.raises(doctor.Problem, match="xla_gpu_cuda_data_dir"):
        doctor.xla()


def test_xla_that_computes_nonsense(monkeypatch):
    monkeypatch.setattr(tf, "function", lambda function, **_: lambda x: 2 * x)
    with pytest.raises(doctor.Problem, match="computes 16"):
        doctor.xla()
