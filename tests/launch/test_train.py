"""The small journey: train, look at all that is left, change what may change."""

import csv
import dataclasses
import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import tfgen
from launch import common_flags
from tests.conformance import harness
from tfgen.core.config import Config, option
from tfgen.core.model import GenerativeModel
from tfgen.core.spec import to_uint8
from tfgen.metrics import quality
from tfgen.metrics.extractors import extractor

MODEL = ["--model=wgan_gp", "--preset=tiny", "--batch=16"]


# A model in trouble --------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FragileConfig(Config):
    bad_step: int = option(7, "step whose loss is NaN")


class Fragile(GenerativeModel):
    """Learns one number; in one step the loss is not one."""

    Config = FragileConfig
    PRESETS = {"tiny": {}}

    @classmethod
    def create(cls, config, spec):
        spec = spec.for_images("fragile", low=0.0, high=1.0)
        network = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        return cls(config, spec, network=network)

    def default_optimizers(self):
        return {"optimizer": keras.optimizers.Adam(0.1)}

    def train_step(self, batch):
        bad = tf.cast(self.step.value == self.config.bad_step, tf.float32)
        mean = tf.reduce_mean(batch["image"])
        loss = self.descend(
            self.distance,
            self.network,
            self.optimizer,
            mean,
            tf.math.log(1.0 - 2 * bad),
        )
        return self.track(distance=loss)

    def distance(self, mean, trouble):
        return tf.reduce_mean((self.network(tf.ones([1, 1])) - mean) ** 2) + trouble


FRAGILE = ["--model=tests.launch.test_train:Fragile", "--preset=tiny", "--batch=16"]


# What a run leaves ---------------------------------------------------------------


@pytest.fixture(scope="module")
def journey(_launcher, tmp_path_factory):
    """(how it ended, its folder) of 40 steps on the embedded digits."""
    workdir = tmp_path_factory.mktemp("journey") / "run"
    ended = _launcher.run(
        *MODEL,
        "--dataset=mnist_5k",
        "--steps=40",
        "--log_every=10",
        "--save_every=10",
        "--sample_every=20",
        "--validation_fraction=0.1",
        "--eval_every=20",
        "--metrics=frechet",
        "--extractor=pca:8",
        "--histogram_every=20",
        "--hparam=latent_size=6",
        f"--workdir={workdir}",
    )
    assert ended.code == 0, ended.stderr
    return ended, workdir


def _table(workdir):
    with open(workdir / "metrics.csv") as file:
        return list(csv.DictReader(file))


def test_json_line(journey):
    ended, workdir = journey
    assert len(ended.stdout.splitlines()) == 1
    found = ended.json
    assert found["model"] == "wgan_gp" and found["dataset"] == "mnist_5k"
    assert (found["steps"], found["executed"], found["resumed_from"]) == (40, 40, None)
    assert found["seconds"] > 0 and found["examples_per_second"] > 0
    assert len(found["state_sha256"]) == 64
    assert found["workdir"] == str(workdir)
    last = _table(workdir)[-1]
    losses = ["wasserstein_estimate", "gradient_penalty", "generator_loss"]
    for name in losses:
        assert found[name] == float(last[name])
    assert ended.errors == []
    assert "28x28x1 uint8 [0,255] -> float32 [-1,1]" in ended.stderr
    assert [
        x.split()[1] for x in ended.stderr.splitlines() if x.startswith("step")
    ] == [
        "10/40",
        "20/40",
        "30/40",
        "40/40",
    ]


def test_quality_over_training(journey):
    """2,000 samples of seed 0 against held-out images, by the weights of that step."""
    _, workdir = journey
    found = {
        int(row["step"]): float(row["frechet_distance"])
        for row in _table(workdir)
        if row["frechet_distance"]
    }
    floors = {
        int(row["step"]): row["frechet_distance_floor"] for row in _table(workdir)
    }
    floors = {step: float(value) for step, value in floors.items() if value}
    assert list(found) == list(floors) == [20, 40]
    best = min(found, key=found.get)
    assert json.loads((workdir / "checkpoints" / "best.json").read_text()) == {
        "step": best,
        "metric": "frechet_distance",
        "value": found[best],
    }
    data = tfgen.data.load("mnist_5k", batch=16, seed=0, validation_fraction=0.1)
    images = [np.asarray(x.arrays["image"]) for x in (data.train, data.validation)]
    for step, value in found.items():
        model = tfgen.load(workdir, step)
        made = to_uint8(model.sample(2000, seed=0), model.spec.image).numpy()
        wanted = quality.sample_quality(
            *images, made, extractor("pca:8", images[0]), ["frechet"]
        )["frechet_distance"]
        np.testing.assert_allclose(value, wanted["value"], rtol=1e-3)
        np.testing.assert_allclose(floors[step], wanted["floor"], rtol=1e-3)


def test_files(journey):
    ended, workdir = journey
    names = {str(x.relative_to(workdir)) for x in workdir.rglob("*") if x.is_file()}
    events = {name for name in names if "tfevents" in name}
    assert len(events) == 1
    assert names - events == {
        ".lock",
        "config.json",
        "metrics.csv",
        "checkpoints/best.json",
        *(f"checkpoints/step_{step:09d}.npz" for step in (20, 30, 40)),
        *(f"samples/step_{step:09d}.png" for step in (20, 40)),
    }
    config = json.loads((workdir / "config.json").read_text())
    assert config["format"] == 1
    assert config["config"]["latent_size"] == 6 and config["config"]["hidden"] == 16
    expected = {
        "model": "wgan_gp",
        "dataset": "mnist_5k",
        "preset": "tiny",
        "batch": 16,
        "seed": 0,
        "xla": "auto",
        "precision": "float32",
        "validation_fraction": 0.1,
    }
    assert expected.items() <= config.items()
    assert config["versions"]["keras"] == keras.__version__
    assert config["data_spec"]["examples"] == 3600
    rows = _table(workdir)
    assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    measured = [bool(row["val_wasserstein_estimate"]) for row in rows]
    assert measured == [False, True, False, True]


def test_events(journey, events):
    _, workdir = journey
    found = events(workdir)
    rows = _table(workdir)
    for name in rows[0]:
        if name == "step":
            continue
        logged = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        assert found[name].keys() == logged.keys()
        for step, values in found[name].items():
            (value,) = values
            assert float(tf.make_ndarray(value.tensor)) == np.float32(logged[step])
    assert list(found["samples"]) == [20, 40]
    for step, ((picture,)) in found["samples"].items():
        width, height, png = tf.make_ndarray(picture.tensor)
        pixels = tf.io.decode_png(png).numpy()
        assert pixels.shape == (int(height), int(width), 1)
        path = workdir / "samples" / f"step_{step:09d}.png"
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(Image.open(path)))
    histograms = {"generator/000.kernel", "critic/007.bias", "generator_ema/000.kernel"}
    assert histograms < found.keys()
    assert list(found["generator/000.kernel"]) == [20, 40]
    assert [tag for tag in found if tag.startswith("_hparams_")]


def test_samples(journey):
    _, workdir = journey
    early, late = (
        np.asarray(Image.open(workdir / "samples" / f"step_{step:09d}.png"))
        for step in (20, 40)
    )
    # 8 x 8 pictures of 28 x 28 pixels, 2 pixels between them.
    assert early.shape == late.shape == (8 * 30 - 2, 8 * 30 - 2)
    assert early.std() > 1 and (early != late).any()


@pytest.mark.parametrize(("save_every", "length"), [(20, 1), (5, 5), (35, 5)])
def test_best_is_kept(save_every, length, launcher, pictures, tmp_path):
    """Also of executions between which there is a save."""
    ended = launcher.run(
        "--model=classifier",
        "--preset=tiny",
        "--batch=16",
        f"--dataset={pictures}",
        f"--workdir={tmp_path}",
        "--validation_fraction=0.25",
        "--eval_every=5",
        "--log_every=5",
        "--steps=60",
        f"--save_every={save_every}",
        f"--steps_per_execution={length}",
        "--keep=1",
        # So large a rate that the accuracy goes up and down.
        "--hparam=learning_rate=0.03",
    )
    assert ended.code == 0, ended.stderr
    accuracy = {
        int(row["step"]): float(row["val_accuracy"]) for row in _table(tmp_path)
    }
    best = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    first = max(accuracy, key=accuracy.get)  # the earliest of equals
    assert best == {"step": first, "metric": "accuracy", "value": accuracy[first]}
    # The folder knows of the rows held out, and how far it was to go.
    again = launcher.run(f"--workdir={tmp_path}")
    assert again.code == 0, again.stderr
    kept = {path.stem for path in (tmp_path / "checkpoints").glob("*.npz")}
    assert kept == {f"step_{first:09d}", "step_000000060"}


def test_what_is_not_given_is_as_it_was(launcher, pictures, tmp_path):
    workdir = f"--workdir={tmp_path}"
    given = [*MODEL, f"--dataset={pictures}", workdir, "--save_every=4"]
    launcher.run(*given, "--steps=8", "--log_every=2", "--sample_every=0")
    kept = json.loads((tmp_path / "config.json").read_text())["flags"]
    assert (kept["steps"], kept["save_every"], kept["log_every"]) == (8, 4, 2)
    ended = launcher.run(workdir)
    assert (ended.json["steps"], ended.json["executed"]) == (8, 0)
    ended = launcher.run(workdir, "--steps=12")
    assert (ended.json["resumed_from"], ended.json["executed"]) == (8, 4)
    assert [row["step"] for row in _table(tmp_path)] == ["2", "4", "6", "8", "10", "12"]
    assert list((tmp_path / "samples").glob("*")) == []
    changed = json.loads((tmp_path / "config.json").read_text())["flags"]
    assert changed == {**kept, "steps": 12}


def test_alarms_need_something_to_judge_by(launcher, pictures, tmp_path):
    given = ["--model=classifier", "--preset=tiny", "--batch=16", "--on_alarm=stop"]
    ended = launcher.run(*given, f"--dataset={pictures}", f"--workdir={tmp_path}")
    assert ended.code == 2
    assert "--on_alarm=stop: classifier reports nothing" in ended.errors[0]


def test_losses_of_a_last_step_between_logs(launcher, pictures, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", f"--workdir={tmp_path}"]
    found = launcher.run(*given, "--steps=3", "--log_every=2").json
    rows = _table(tmp_path)
    assert [row["step"] for row in rows] == ["2", "3"]
    assert found["generator_loss"] == float(rows[-1]["generator_loss"])


# Going on ------------------------------------------------------------------------


def test_going_on(launcher, pictures, contents, tmp_path):
    """Steps and logging may change; the folder alone says the rest."""
    given = [*MODEL, f"--dataset={pictures}", "--save_every=5", "--sample_every=0"]
    whole = launcher.run(*given, "--steps=16", f"--workdir={tmp_path / 'whole'}").json
    run = tmp_path / "run"
    assert launcher.run(*given, "--steps=6", f"--workdir={run}").json["steps"] == 6

    ended = launcher.run(
        f"--workdir={run}",
        "--steps=16",
        "--log_every=3",
        "--keep=2",
        "--sample_every=8",
    )
    assert "resumed at step 6 of 16" in ended.stderr
    assert (ended.json["resumed_from"], ended.json["executed"]) == (6, 10)
    assert ended.json["state_sha256"] == whole["state_sha256"]
    assert [row["step"] for row in _table(run)] == ["6", "9", "12", "15", "16"]
    assert len(list((run / "checkpoints").glob("*.npz"))) == 2

    # Nothing left to do: nothing is done.
    before = contents(run)
    ended = launcher.run(f"--workdir={run}", "--steps=16", "--resume=must")
    assert (ended.json["resumed_from"], ended.json["executed"]) == (16, 0)
    assert ended.json["state_sha256"] == whole["state_sha256"]
    assert contents(run) == before


@pytest.mark.slow
def test_executions_of_several_steps(launcher, pictures, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", "--steps=20", "--save_every=10"]
    given += ["--log_every=5", "--sample_every=0"]
    one = launcher.run(*given, f"--workdir={tmp_path / '1'}").json
    five = ["--steps_per_execution=5", f"--workdir={tmp_path / '5'}"]
    five = launcher.run(*given, *five).json
    assert five["executed"] == 20
    assert five["state_sha256"] == one["state_sha256"]
    assert _table(tmp_path / "5") == _table(tmp_path / "1")


def test_replicas(launcher, pictures, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", "--steps=8", "--log_every=4"]
    given += ["--save_every=4", "--sample_every=0"]
    one = launcher.run(*given, f"--workdir={tmp_path / '1'}").json
    two = ["--strategy=mirrored", "--replicas=2"]
    ended = launcher.run(*given, *two, f"--workdir={tmp_path / '2'}")
    assert ended.code == 0, ended.stderr
    # Sums in another order: float32's last digits.
    assert ended.json["generator_loss"] == pytest.approx(
        one["generator_loss"], rel=1e-3
    )
    assert ended.json["state_sha256"] != one["state_sha256"]
    # Another number of replicas restores it.
    ended = launcher.run(f"--workdir={tmp_path / '2'}", "--steps=12")
    assert (ended.json["resumed_from"], ended.json["executed"]) == (8, 4)


def test_starting_from_other_weights(launcher, pictures, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", "--log_every=1", "--sample_every=0"]
    launcher.run(*given, "--steps=30", f"--workdir={tmp_path / 'first'}")
    ended = launcher.run(
        *given,
        "--steps=1",
        "--seed=5",
        f"--init_from={tmp_path / 'first'}",
        f"--workdir={tmp_path / 'second'}",
    )
    assert (ended.json["resumed_from"], ended.json["steps"]) == (None, 1)
    assert "networks start from" in ended.stderr
    old, new = (
        dict(np.load(path / "checkpoints" / f"step_{step:09d}.npz"))
        for path, step in ((tmp_path / "first", 30), (tmp_path / "second", 1))
    )
    name = "critic/000.kernel"
    # Adam moves a weight by about the rate, 1e-3, in each of the two updates.
    assert 0 < abs(new[name] - old[name]).max() < 3e-3
    (moment,) = (n for n in new if n.startswith("critic_optimizer") and "iter" in n)
    assert (old[moment], new[moment]) == (60, 2)


# NaN -----------------------------------------------------------------------------


@pytest.mark.parametrize("xla", ["on", "off"])
def test_nan_stops(launcher, pictures, contents, tmp_path, xla):
    given = [*FRAGILE, f"--dataset={pictures}", f"--workdir={tmp_path}", f"--xla={xla}"]
    given += ["--save_every=4", "--log_every=5"]  # a save is due before a look
    ended = launcher.run(*given, "--steps=20")
    assert ended.code == 3
    assert len(ended.errors) == 1 and ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for word in ("step 7", "distance", "network"):
        assert word in ended.errors[0]
    saved = sorted(path.name for path in (tmp_path / "checkpoints").glob("*"))
    assert saved == ["step_000000004.npz"]
    # The last good state is there to go on from.
    ended = launcher.run(*given, "--steps=7")
    assert (ended.code, ended.json["resumed_from"]) == (0, 4)
    with np.load(tmp_path / "checkpoints" / "step_000000007.npz") as state:
        assert all(np.isfinite(state[name]).all() for name in state.files)


def test_nan_before_the_first_save(launcher, pictures, tmp_path):
    """Nothing was trained: other hparams may be tried in the same folder."""
    given = [*FRAGILE, f"--dataset={pictures}", f"--workdir={tmp_path}", "--steps=9"]
    assert launcher.run(*given).code == 3
    assert launcher.run(*given, "--hparam=bad_step=-1").code == 0


def test_nan_is_skipped(launcher, pictures, tmp_path):
    given = [*FRAGILE, f"--dataset={pictures}", "--log_every=1", "--on_nan=skip"]
    given += ["--save_every=1", "--keep=12", f"--workdir={tmp_path}"]
    ended = launcher.run(*given, "--steps=12")
    assert (ended.code, ended.json["steps"]) == (0, 12)
    (said,) = (line for line in ended.stderr.splitlines() if "not finite" in line)
    assert "step 7" in said and "distance" in said and "undone" in said
    losses = [float(row["distance"]) for row in _table(tmp_path)]
    assert [step for step in range(12) if not np.isfinite(losses[step])] == [7]
    states = [
        dict(np.load(tmp_path / "checkpoints" / f"step_{step:09d}.npz"))
        for step in (7, 8, 9)
    ]
    kept = set(states[0]) - {"step", "header.json"}
    assert all((states[0][name] == states[1][name]).all() for name in kept)
    assert any((states[1][name] != states[2][name]).any() for name in kept)


# Other flags ---------------------------------------------------------------------


def test_dry_run(launcher, pictures, contents, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", "--dry_run"]
    found = launcher.run(*given, f"--workdir={tmp_path / 'run'}").json
    assert list(tmp_path.iterdir()) == []
    assert found["model"] == "wgan_gp" and found["config"]["hidden"] == 16
    # 12 x 12 pixels; three hidden layers of 16; and the moving average.
    critic = 144 * 16 + 16 + 2 * (16 * 16 + 16) + 16 + 1
    generator = 8 * 16 + 16 + 2 * (16 * 16 + 16) + 16 * 144 + 144
    assert found["parameters"] == {
        "generator": generator,
        "critic": critic,
        "generator_ema": generator,
    }
    assert found["input"] == "image 12x12x1 uint8 [0,255] -> float32 [-1,1]: scaled"
    assert launcher.run(*given).json == found  # needs no folder


def test_dry_run_of_a_run(launcher, journey, contents):
    _, workdir = journey
    before = contents(workdir)
    found = launcher.run("--dry_run", f"--workdir={workdir}").json
    assert found["config"]["latent_size"] == 6
    assert contents(workdir) == before


# Recipes that keep networks of an earlier training, and that training.
FIRST = {
    "mnist_gmmn_code": "mnist_gmmn_autoencoder",
    "mnist_cvae_guided": "mnist_cvae_baseline",
}


def test_flags_beside_a_recipe_have_the_last_word(launcher, pictures):
    flags = ["--preset=tiny", "--recipe=mnist_vae", f"--dataset={pictures}"]
    ended = launcher.run(*flags, "--image_size=8", "--dry_run")
    assert ended.code == 0, ended.stderr
    assert ended.json["config"]["hidden"] == [16]
    assert ended.json["data"]["features"]["image"]["shape"] == [8, 8, 1]


def test_numbers_that_json_has_not():
    found = common_flags.finite({"a": math.nan, "b": [math.inf, 1.5], "c": "nan"})
    assert found == {"a": None, "b": [None, 1.5], "c": "nan"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "quickstart" else pytest.mark.slow)
        for name in common_flags.recipes()
    ],
)
def test_recipe(launcher, pictures, clip_folder, tones, tmp_path, name):
    """Two steps of each, on small data and at the smallest size."""
    text = (common_flags.RECIPES / f"{name}.flags").read_text()
    (model,) = re.findall(r"^--model=(\S+)", text, re.MULTILINE)
    small, larger = {
        "clips": (clip_folder, clip_folder),
        "notes": (tones, "synth_notes/small@96"),
    }.get(harness.DATA.get(model), (pictures, "mnist_5k@100"))

    if model == "text_filter_gan":  # its own presets want 32 pixels
        larger = "moving_shapes/small"

    def given(recipe, data):
        target = [f"--target_dataset={data}"] if "--target_dataset" in text else []
        return [f"--recipe={recipe}", f"--dataset={data}", *target]

    short = ["--preset=tiny", "--batch=16", "--steps=2", "--steps_per_execution=1"]
    short.append("--xla=off")  # compiling would take most of the time
    if model == "video_classifier":
        short.append("--hparam=label=label")
    run = [*given(name, small), *short, f"--workdir={tmp_path / 'run'}"]
    if name in FIRST:
        ended = launcher.run(*run)
        assert (ended.code, len(ended.errors)) == (2, 1)
        assert "needs --init_from: the folder of a training of" in ended.errors[0]
        first = tmp_path / "first"
        ended = launcher.run(*given(FIRST[name], small), *short, f"--workdir={first}")
        assert ended.code == 0, ended.stderr
        run.append(f"--init_from={first}")
    ended = launcher.run(*run)
    assert ended.code == 0, ended.stderr
    assert ended.json["executed"] == 2
    # Its own preset can be built, too.
    workdir = f"--workdir={tmp_path / 'new'}"
    label = [flag for flag in short if flag.startswith("--hparam")]
    ended = launcher.run(*given(name, larger), *label, workdir, "--dry_run")
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize("together", [1, 4])
def test_profile(launcher, pictures, tmp_path, together):
    given = [*MODEL, f"--dataset={pictures}", "--sample_every=0", "--log_every=100"]
    given += [f"--steps_per_execution={together}", f"--workdir={tmp_path}"]
    ended = launcher.run(*given, "--steps=8", "--profile=5:8", timeout=300)
    assert ended.code == 0, ended.stderr
    (trace,) = (tmp_path / "tensorboard" / "plugins" / "profile").rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(trace.read_bytes())
    events = [len(line.events) for plane in space.planes for line in plane.lines]
    assert sum(events) > 100  # of an empty window there are none


def test_bfloat16(launcher, pictures, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", "--steps=4", "--save_every=2"]
    ended = launcher.run(*given, "--precision=bfloat16", f"--workdir={tmp_path}")
    assert ended.code == 0, ended.stderr
    with np.load(tmp_path / "checkpoints" / "step_000000004.npz") as state:
        assert state["critic/000.kernel"].dtype == "float32"
    ended = launcher.run(f"--workdir={tmp_path}", "--steps=6")
    assert (ended.code, ended.json["resumed_from"]) == (0, 4)


def test_two_jobs_in_one_folder(launcher, pictures, contents, tmp_path):
    given = [*MODEL, f"--dataset={pictures}", f"--workdir={tmp_path}", "--log_every=1"]
    first = launcher.start(*given, "--steps=100000", hook=["slow_steps", 0.05])
    first.wait_for("step 2/")
    second = launcher.run(*given, "--steps=100000")
    assert second.code == 2
    assert second.errors == [f"error: another job is using {tmp_path}"]
    assert first.running()
    first.kill()
    first.wait()
    # The lock went with the job that held it.
    assert launcher.run(*given, "--steps=1").code == 0
