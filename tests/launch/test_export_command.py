"""launch.export: a checkpoint of a run leaves as a SavedModel."""

import numpy as np
import pytest

import tfgen
from tests.launch.made_runs import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures):
    data = tfgen.data.load(pictures, batch=16)
    path = tmp_path_factory.mktemp("runs") / "wgan_gp"
    return make_run(path, "wgan_gp", data, pictures)


def test_export_of_a_run(run, launcher):
    path, model = run
    ended = launcher.run(f"--workdir={path}", module="launch.export")
    assert ended.code == 0, ended.stderr
    assert ended.json["out"] == str(path / "export")
    assert ended.json["signatures"] == ["sample", "decode", "score"]
    assert ended.json["step"] == 0
    exported = tfgen.export.load(path / "export")
    images = exported.sample(6, seed=2)["images"]
    np.testing.assert_allclose(images, model.sample(6, seed=2), atol=1e-6)
    assert exported.description["fingerprint"] == ended.json["fingerprint"]


def test_where_it_may_not_write(run, launcher, tmp_path):
    path, _ = run
    (tmp_path / "file.txt").write_text("mine")
    cases = {
        (): "--workdir is needed",
        (f"--workdir={tmp_path}",): "holds no run",
        (f"--workdir={path}", "--checkpoint=7"): "valid: latest, 0",
        (f"--workdir={path}", f"--out={tmp_path}"): "not empty",
        (f"--workdir={path}", f"--out={tmp_path}/file.txt"): "is a file",
    }
    for flags, words in cases.items():
        ended = launcher.run(*flags, module="launch.export")
        assert ended.code == 2, ended.stderr
        assert len(ended.errors) == 1 and words in ended.errors[0]
    assert (tmp_path / "file.txt").read_text() == "mine"


def test_a_full_disk(run, launcher, tmp_path):
    path, _ = run
    ended = launcher.run(
        f"--workdir={path}",
        f"--out={tmp_path}/export",
        module="launch.export",
        largest_file=2000,
    )
    assert ended.code == 1, ended.stderr
    assert len(ended.errors) == 1
    assert list(tmp_path.iterdir()) == []
