"""Whatever ends a run, the next one goes on and ends with the unbroken run's state."""

import csv
import json
import random
import re
import signal
import time
import zipfile

import numpy as np
import pytest

STEPS, SAVE_EVERY, SAMPLE_EVERY = 120, 5, 40
MODELS = ["vae", "wgan", "wgan_gp"]
REPLICAS = {1: ["--strategy=one"], 2: ["--strategy=mirrored", "--replicas=2"]}
EVERYTHING = [(model, replicas) for model in MODELS for replicas in REPLICAS]
MOMENTS = ["before the write", "mid-file", "before the rename", "after the rename"]
QUICK = ("mid-file",)


def flags(model, replicas, steps=STEPS):
    return [
        f"--model={model}",
        "--preset=tiny",
        "--batch=16",
        f"--steps={steps}",
        f"--save_every={SAVE_EVERY}",
        f"--sample_every={SAMPLE_EVERY}",
        "--log_every=1",
        *REPLICAS[replicas],
    ]


class Trials:
    """Runs of one command: an unbroken one, and others to compare it with."""

    def __init__(self, launcher, events, folder, given):
        self.launcher, self.events, self.given = launcher, events, given
        self.unbroken, self.run = folder / "unbroken", folder / "run"
        ended = launcher.run(*given, f"--workdir={self.unbroken}")
        assert ended.code == 0, ended.stderr
        self.expected = ended.json
        self.steps = self.expected["steps"]

    def start(self, **options):
        """Start the command in the folder of the run to be broken."""
        return self.launcher.start(*self.given, f"--workdir={self.run}", **options)

    def killed(self, **options):
        """Start it with a fault planted; assert that it killed itself."""
        assert self.start(**options).wait().code == -signal.SIGKILL

    def newest(self):
        """The newest save that is whole, found without the code under test."""
        steps = []
        for path in (self.run / "checkpoints").glob("*.npz"):
            with zipfile.ZipFile(path) as file:
                assert file.testzip() is None
            with np.load(path) as file:
                steps.append(int(file["step"]))
                assert path.name == f"step_{steps[-1]:09d}.npz"
        return max(steps, default=None)

    def finish(self, resumed_from):
        """Resume, and assert that nothing tells the broken run from the unbroken."""
        ended = self.start().wait()
        assert ended.code == 0, ended.stderr
        found = ended.json
        assert found["resumed_from"] == resumed_from
        assert found["executed"] == self.steps - (resumed_from or 0)
        assert found["state_sha256"] == self.expected["state_sha256"]
        assert _table(self.run) == _table(self.unbroken)
        steps = [int(row["step"]) for row in _table(self.run)]
        assert steps == list(range(1, self.steps + 1))
        self._compare_events()
        assert [*self.run.rglob("*partial*")] == []
        _same_files(self.run / "samples", self.unbroken / "samples")
        return ended

    def _compare_events(self):
        found, expected = self.events(self.run), self.events(self.unbroken)
        assert found.keys() == expected.keys()
        scalars = set(_table(self.run)[0]) - {"step"}
        assert scalars < found.keys()
        for tag, values in expected.items():
            assert values.keys() == found[tag].keys()
            assert all(len(each) == 1 for each in found[tag].values()), tag
            if not tag.startswith("_hparams_"):  # holds the time of the start
                assert values == found[tag]
        for tag in scalars:
            assert list(found[tag]) == list(range(1, self.steps + 1))
        every = SAMPLE_EVERY
        assert list(found["samples"]) == list(range(every, self.steps + 1, every))


def _table(run):
    with open(run / "metrics.csv") as file:
        return list(csv.DictReader(file))


def _same_files(one, other):
    names = sorted(path.name for path in other.iterdir())
    assert sorted(path.name for path in one.iterdir()) == names and names
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes()


def _reached(job):
    return max(map(int, re.findall(r"^step (\d+)/", job.said, re.M)), default=0)


def _kill_at_random_moments(trials, number, seed):
    """Kill runs one after another: while it starts, and at steps in rising order."""
    draw = random.Random(seed)
    steps = sorted(draw.sample(range(1, trials.steps - 40), number - 1))
    for step in [None, *steps]:
        saved = trials.newest()
        job = trials.start()
        if step is None:
            time.sleep(draw.uniform(0, 1))
        else:
            end = time.monotonic() + 120
            while _reached(job) < step and job.running():
                assert time.monotonic() < end
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.01))
            if saved:
                assert f"resumed at step {saved} of {trials.steps}" in job.said
        job.kill()
        assert job.wait().code == -signal.SIGKILL
    assert trials.newest() >= steps[-1] - SAVE_EVERY


@pytest.fixture(scope="module")
def _trials(_launcher, events, pictures, tmp_path_factory):
    given = [*flags("wgan_gp", 1), f"--dataset={pictures}"]
    folder = tmp_path_factory.mktemp("trials")
    return Trials(_launcher, events, folder, given)


@pytest.fixture
def trials(launcher, _trials, tmp_path):
    """Of one model on one device, in a folder of the test's own."""
    _trials.run = tmp_path / "run"
    return _trials


@pytest.mark.slow
def test_killed_at_random_moments(trials):
    _kill_at_random_moments(trials, 3, seed=0)
    trials.finish(trials.newest())


@pytest.mark.parametrize(
    "moment",
    [pytest.param(x, marks=[] if x in QUICK else pytest.mark.slow) for x in MOMENTS],
)
def test_killed_in_a_save(trials, moment):
    trials.killed(hook=["kill_at_save", moment, 3])
    saved = (3 if moment == "after the rename" else 2) * SAVE_EVERY
    assert trials.newest() == saved
    trials.finish(saved)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "replicas"), EVERYTHING)
def test_killed_anywhere(launcher, events, pictures, tmp_path, model, replicas):
    given = [*flags(model, replicas), f"--dataset={pictures}"]
    trials = Trials(launcher, events, tmp_path, given)
    _kill_at_random_moments(trials, 10, seed=replicas)
    trials.finish(trials.newest())
    for number, moment in enumerate(MOMENTS, start=2):
        trials.run = tmp_path / moment
        trials.killed(hook=["kill_at_save", moment, number])
        whole = number if moment == "after the rename" else number - 1
        assert trials.newest() == whole * SAVE_EVERY
        trials.finish(trials.newest())
    trials.run = tmp_path / "told"
    _tell_to_end(trials, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "events.out"])
def test_killed_while_it_starts(trials, name):
    """The small files are rewritten when a run starts: they are whole at any moment."""
    if name == "config.json":
        trials.killed(hook=["kill_at_replace", name, 1])
        trials.finish(None)
        return
    trials.killed(hook=["kill_at_save", "before the write", 3])  # rows to drop
    trials.killed(hook=["kill_at_replace", name, 1])
    trials.finish(2 * SAVE_EVERY)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=["SIGTERM", "SIGINT"],
)
def test_told_to_end(trials, number):
    _tell_to_end(trials, number)


def _tell_to_end(trials, number):
    job = trials.start(hook=["slow_steps", 0.02])
    job.wait_for("step 8/")
    job.kill(number)
    ended = job.wait()
    assert ended.code == 128 + number
    assert ended.errors == [] and "Traceback" not in ended.stderr
    found = ended.json
    assert found["ended_by"] == number.name
    assert 8 <= found["steps"] < 60
    assert found["executed"] == found["steps"] == trials.newest()
    trials.finish(found["steps"])


@pytest.mark.slow
@pytest.mark.parametrize("change", ["truncated", "one bit"])
def test_damaged_newest(trials, change):
    trials.killed(hook=["kill_at_save", "before the write", 4])
    newest = trials.run / "checkpoints" / "step_000000015.npz"
    whole = newest.read_bytes()
    middle = len(whole) // 2
    bit = bytes([whole[middle] ^ 1])
    rest = b"" if change == "truncated" else bit + whole[middle + 1 :]
    newest.write_bytes(whole[:middle] + rest)
    warned = [x for x in trials.finish(10).stderr.splitlines() if "damaged" in x]
    assert len(warned) == 1
    assert str(newest) in warned[0] and "falling back" in warned[0]


@pytest.mark.slow
def test_damaged_newest_is_not_kept(launcher, pictures, tmp_path):
    """With one save to keep, it is the one just written, not a damaged later one."""
    given = [*flags("vae", 1, steps=10), f"--dataset={pictures}", "--save_every=10"]
    workdir = f"--workdir={tmp_path}"
    assert launcher.run(*given, workdir).code == 0
    newest = tmp_path / "checkpoints" / "step_000000020.npz"
    newest.write_bytes(b"")
    ended = launcher.run(*given, workdir, "--steps=12", "--keep=1")
    assert ended.code == 0 and ended.json["resumed_from"] == 10
    assert [x.name for x in newest.parent.glob("*.npz")] == ["step_000000012.npz"]


@pytest.mark.slow
def test_killed_while_the_best_is_kept(launcher, pictures, tmp_path):
    """The best is what it would have been, and its save is there."""
    given = [
        *flags("vae", 1, steps=24),
        f"--dataset={pictures}",
        "--validation_fraction=0.25",
        "--eval_every=4",
        "--save_every=24",
        "--keep=1",
    ]
    hooks = {
        "unbroken": None,
        "before the note": ["kill_at_replace", "best.json", 2],
        "between": ["kill_at_save", "before the write", 2],
    }
    best = {}
    for name, hook in hooks.items():
        workdir = f"--workdir={tmp_path / name}"
        if hook:
            killed = launcher.run(*given, workdir, hook=hook)
            assert killed.code == -signal.SIGKILL
        ended = launcher.run(*given, workdir)
        assert ended.code == 0, ended.stderr
        assert ended.json["resumed_from"] == (4 if hook else None)
        best[name] = json.loads((tmp_path / name / "checkpoints/best.json").read_text())
        assert best[name] == best["unbroken"]
        step = best[name]["step"]
        assert step > 8  # the losses of so few steps fall throughout
        assert (tmp_path / name / "checkpoints" / f"step_{step:09d}.npz").exists()
