"""Which save of a run is loaded."""

import json

import numpy as np
import pytest

import tfgen
from tests.launch.made_runs import make_run
from tests.synthetic import stream
from tfgen.core import checkpoint
from tfgen.core.errors import BadInput
from tfgen.workdir import Workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose weights of step n are all n, for n = 10, 20, 30."""
    path, model = make_run(tmp_path_factory.mktemp("run"), "vae", stream(8), "digits")
    for step in (10, 20, 30):
        model.step.assign(step)
        for network in model.networks.values():
            network.set_weights([0 * w + step for w in network.get_weights()])
        checkpoint.save(model, Workdir(path).checkpoints)
    best = {"step": 20, "metric": "elbo", "value": -1.0}
    Workdir(path).best_path.write_text(json.dumps(best))
    return path


@pytest.mark.parametrize(
    ("which", "step"), [("latest", 30), ("best", 20), (10, 10), ("20", 20)]
)
def test_the_save_that_is_asked_for(run, which, step):
    model = tfgen.load(run, which)
    assert model.steps_done == step
    assert model.encoder.get_weights()[0].min() == step


def test_step_0_is_the_model_before_training(run):
    model = tfgen.load(run, 0)
    config = Workdir(run).config
    fresh = tfgen.models.build(
        "vae", config=model.config, spec=model.spec, seed=config["seed"]
    )
    assert model.steps_done == 0
    for ours, made in zip(
        model.encoder.get_weights(), fresh.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, made)


def test_a_save_that_there_is_not(run):
    wanted = "no checkpoint '7'; valid: latest, best, 0, 10, 20, 30$"
    with pytest.raises(BadInput, match=wanted):
        tfgen.load(run, 7)


def test_a_folder_of_others_files_is_left_alone(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    events = tmp_path / "tensorboard" / "events.out.tfevents.1"
    events.write_text("events")
    with pytest.raises(BadInput, match="no config.json, so no run: give another"):
        Workdir(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
    (tmp_path / ".lock").touch()  # of a run that ended before its first save
    Workdir(tmp_path).create()


def test_saves_without_a_config_are_not_gone_on_with(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.create()
    (tmp_path / ".lock").touch()
    (workdir.checkpoints / "step_000000004.npz").touch()
    with pytest.raises(BadInput, match="holds checkpoints/step_000000004.npz but no"):
        workdir.create()
