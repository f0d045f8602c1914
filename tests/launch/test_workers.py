"""Several worker processes: they train as one, and end and resume as one."""

import json
import os
import pathlib
import signal
import socket
import time

import pytest

STEPS = 120


@pytest.fixture(scope="module")
def given(pictures):
    """The command."""
    return [
        "--model=wgan",
        "--preset=tiny",
        "--batch=16",
        f"--dataset={pictures}",
        "--log_every=1",
        "--save_every=5",
        "--sample_every=40",
        f"--steps={STEPS}",
        "--strategy=multi_worker",
    ]


@pytest.fixture(scope="module")
def unbroken(_launcher, given, tmp_path_factory):
    """The JSON line of a run of two workers that nothing befell."""
    workdir = tmp_path_factory.mktemp("workers") / "unbroken"
    jobs = _start_both(_launcher, *given, f"--workdir={workdir}")
    chief, other = [job.wait() for job in jobs]
    assert (chief.code, other.code) == (0, 0), chief.stderr + other.stderr
    assert other.stdout == ""  # the chief speaks
    return chief.json


def _start_both(launcher, *arguments, hook=None, own=((), ())):
    """Start two workers as a cluster manager would: TF_CONFIG says who is who."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    jobs = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        given = *arguments, *own[index]
        jobs.append(launcher.start(*given, hook=hook, TF_CONFIG=json.dumps(config)))
    return jobs


def _index_of(pid):
    """The worker that a process is, by its environment; None if it is no worker."""
    variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (config,) = [v[10:] for v in variables if v.startswith(b"TF_CONFIG=")] or ["{}"]
    return json.loads(config).get("task", {}).get("index")


def _workers_of(parent):
    """{index: pid} of the workers that a process started."""
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return {_index_of(int(pid)): int(pid) for pid in children.split()}


def _assert_resumed(ended, saved, unbroken):
    assert ended.code == 0, ended.stderr
    assert ended.json["resumed_from"] == saved
    assert ended.json["executed"] == STEPS - saved
    assert ended.json["state_sha256"] == unbroken["state_sha256"]


def _newest(workdir):
    return max(int(path.stem[5:]) for path in (workdir / "checkpoints").glob("*.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1], ids=["chief", "other"])
def test_cluster_loses_a_worker(launcher, given, unbroken, tmp_path, dies):
    given = [*given, f"--workdir={tmp_path}"]
    jobs = _start_both(launcher, *given, hook=["slow_steps", 0.02])
    jobs[0].wait_for("step 12/")
    jobs[dies].kill()
    survivor = jobs[1 - dies].wait(60)
    assert survivor.code == 1
    assert len(survivor.errors) == 1 and "worker was lost" in survivor.errors[0]
    assert "Traceback" not in survivor.stderr

    saved = _newest(tmp_path)
    assert 10 <= saved < STEPS
    chief, _ = [job.wait() for job in _start_both(launcher, *given)]
    _assert_resumed(chief, saved, unbroken)


@pytest.mark.slow
def test_folders_that_are_not_shared(launcher, given, tmp_path):
    """Only the chief's has saves: the other would start anew beside it."""
    own = [[f"--workdir={tmp_path / name}"] for name in ("chief", "other")]
    for job in _start_both(launcher, *given, "--steps=5", own=own):
        assert job.wait().code == 0
    for job, step in zip(_start_both(launcher, *given, own=own), (5, 0), strict=True):
        ended = job.wait(120)
        assert ended.code == 2, ended.stderr
        assert f"different steps, this one at {step}: all need" in ended.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [1, 0], ids=["other", "chief"])
def test_local_workers_lose_one(launcher, given, unbroken, tmp_path, dies):
    given = [*given, "--local_workers=2", f"--workdir={tmp_path}"]
    job = launcher.start_fresh(*given)
    job.wait_for("step 12/")
    workers = _workers_of(job.pid)
    assert sorted(workers) == [0, 1]
    os.kill(workers[dies], signal.SIGKILL)
    ended = job.wait(60)
    assert ended.code == 1
    assert len(ended.errors) == 1
    assert f"worker {dies} died (SIGKILL)" in ended.errors[0]
    _assert_gone(workers)

    saved = _newest(tmp_path)
    assert 10 <= saved < STEPS
    _assert_resumed(launcher.run_fresh(*given), saved, unbroken)


@pytest.mark.slow
def test_local_workers_are_told_to_end(launcher, given, unbroken, tmp_path):
    given = [*given, "--local_workers=2", f"--workdir={tmp_path}"]
    job = launcher.start_fresh(*given)
    job.wait_for("step 8/")
    workers = _workers_of(job.pid)
    job.kill(signal.SIGTERM)
    ended = job.wait(60)
    assert ended.code == 128 + signal.SIGTERM
    assert ended.errors == [] and "Traceback" not in ended.stderr
    assert ended.json["ended_by"] == "SIGTERM"
    saved = ended.json["steps"]
    assert 8 <= saved == _newest(tmp_path) < STEPS
    _assert_gone(workers)
    _assert_resumed(launcher.run_fresh(*given), saved, unbroken)


@pytest.mark.slow
def test_local_workers_end_with_the_one_who_started_them(launcher, given, tmp_path):
    given = [*given, "--local_workers=2", f"--workdir={tmp_path}", "--steps=1000000"]
    job = launcher.start_fresh(*given)
    job.wait_for("step 8/")
    workers = _workers_of(job.pid)
    job.kill()
    assert job.wait().code == -signal.SIGKILL
    _assert_gone(workers, timeout=30)


@pytest.mark.slow
def test_second_job_of_workers_is_refused(launcher, given, tmp_path):
    given = [*given, "--local_workers=2", f"--workdir={tmp_path}", "--steps=1000000"]
    first = launcher.start_fresh(*given)
    first.wait_for("step 8/")
    second = launcher.run_fresh(*given)
    assert second.code == 2
    assert second.errors == [f"error: another job is using {tmp_path}"]
    assert first.running()


@pytest.mark.slow
def test_bad_input_of_workers(launcher, given, tmp_path):
    given = [*given, "--local_workers=2", f"--workdir={tmp_path}", "--batch=15"]
    ended = launcher.run_fresh(*given)
    assert ended.code == 2
    assert len(ended.errors) == 1 and "14 or 16" in ended.errors[0]


def _assert_gone(workers, timeout=5):
    end = time.monotonic() + timeout
    paths = [pathlib.Path(f"/proc/{pid}") for pid in workers.values()]
    while any(path.exists() for path in paths):
        assert time.monotonic() < end, "a worker was left behind"
        time.sleep(0.05)
