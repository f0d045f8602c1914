"""Runs launchers as processes: forks of a warm one (see `warm`), or fresh ones."""

import ctypes
import dataclasses
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # so that nothing outlives tests that are themselves killed
ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Ended:
    """What a command left: exit code (negative: signal), and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self):
        """The last line of stdout, parsed."""
        assert self.stdout.strip(), f"no output; exit code {self.code}: {self.stderr}"
        return json.loads(self.stdout.strip().splitlines()[-1])

    @property
    def errors(self):
        """The lines of stderr that say what was wrong."""
        return [x for x in self.stderr.splitlines() if x.startswith("error: ")]


class Job:
    """A command that is running in a process of its own."""

    def __init__(self, pid, stdout, stderr, code, group=True):
        self.pid, self._stdout, self._stderr = pid, stdout, stderr
        self._code, self._group = code, group

    @property
    def said(self):
        """Its stderr so far."""
        return self._stderr.read_text() if self._stderr.exists() else ""

    def wait_for(self, text, timeout=120):
        """Wait until stderr contains `text`."""
        _until(lambda: text in self.said or self.running() is False, timeout, text)
        assert text in self.said, f"ended without {text!r}: {self.said}"

    def kill(self, number=signal.SIGKILL):
        """Send a signal to the process itself."""
        os.kill(self.pid, number)

    def end_all(self):
        """Kill it and all that it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def running(self):
        """Return whether it has not ended."""
        return self._code() is None

    def wait(self, timeout=180):
        """Return how it `Ended`; kill it and fail when it takes longer."""
        try:
            _until(lambda: not self.running(), timeout, "its end")
        except AssertionError:
            self.end_all()
            raise
        return Ended(self._code(), self._stdout.read_text(), self.said)


def _until(condition, timeout, what):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.005)


class Launcher:
    """Starts commands and ends what is left of them."""

    def __init__(self, folder):
        self.folder, self._jobs, self._number = folder, [], 0
        self._server, self._codes, self._started = None, {}, []
        self._news = threading.Condition()

    def start(
        self,
        *arguments,
        module="launch.train",
        hook=None,
        largest_file=0,
        **environment,
    ):
        """Start `module` with flags in a warm process; returns its `Job`."""
        self._warm_up()
        stdout, stderr = self._streams()
        request = {
            "module": module,
            "arguments": [str(argument) for argument in arguments],
            "stdout": str(stdout),
            "stderr": str(stderr),
            "environment": environment,
            "largest_file": largest_file,
            "hook": hook,
        }
        with self._news:
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            assert self._news.wait_for(lambda: self._started, timeout=60)
            pid = self._started.pop()
        job = Job(pid, stdout, stderr, lambda: self._codes.get(pid))
        self._jobs.append(job)
        return job

    def run(self, *arguments, timeout=180, **options):
        """Start, wait; returns how it `Ended`."""
        return self.start(*arguments, **options).wait(timeout)

    def start_fresh(self, *arguments, module="launch.train", **environment):
        """As `start`, in a process that imports everything itself."""
        stdout, stderr = self._streams()
        with open(stdout, "w") as out, open(stderr, "w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        job = Job(process.pid, stdout, stderr, process.poll)
        self._jobs.append(job)
        return job

    def run_fresh(self, *arguments, timeout=180, **options):
        """Start a fresh process, wait; returns how it `Ended`."""
        return self.start_fresh(*arguments, **options).wait(timeout)

    def end_jobs(self):
        """End what tests left running."""
        for job in self._jobs:
            if job.running():
                job.end_all()
                job.wait(10)
        self._jobs.clear()

    def close(self):
        """End everything."""
        self.end_jobs()
        if self._server:
            self._server.stdin.close()
            self._server.wait(10)
            self._reader.join(10)
            self._server.stdout.close()

    def _streams(self):
        self._number += 1
        name = f"{self._number:04d}"
        return self.folder / f"{name}.out", self.folder / f"{name}.err"

    def _warm_up(self):
        if self._server:
            return
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )
        assert "ready" in json.loads(self._server.stdout.readline())
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self):
        for line in self._server.stdout:
            answer = json.loads(line)
            with self._news:
                if "started" in answer:
                    self._started.append(answer["started"])
                else:
                    pid, code = answer["ended"]
                    self._codes[pid] = code
                self._news.notify_all()


@pytest.fixture(scope="session")
def _launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("jobs"))
    yield launcher
    launcher.close()


@pytest.fixture
def launcher(_launcher):
    """Starts launchers; whatever a test leaves running is ended after it."""
    yield _launcher
    _launcher.end_jobs()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """`npz:PATH` of 256 grey 12x12 pictures with labels: quick to load."""
    from tests.synthetic import digits

    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    arrays = digits(12)
    np.savez(path, images=arrays["image"], labels=arrays["label"])
    return f"npz:{path}"


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """`folder:PATH` of 36 animations with captions, a sub-folder a colour."""
    from tests.synthetic import clips
    from tfgen.callbacks import write_gif

    root, stream = tmp_path_factory.mktemp("clips"), clips(8, frames=4)
    features, arrays = stream.spec.features, stream.arrays
    lines = ["file,caption"]
    for row in range(36):
        colour = features["colour"].classes[arrays["colour"][row]]
        (root / colour).mkdir(exist_ok=True)
        write_gif(root / colour / f"{row:02d}.gif", arrays["video"][row])
        sentence = features["sentence"].classes[arrays["sentence"][row]]
        lines.append(f"{colour}/{row:02d}.gif,{sentence}")
    (root / "captions.csv").write_text("\n".join(lines))
    return f"folder:{root}"


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """`folder:PATH` of 96 WAV files of 64 samples, an octave, one of another rate."""
    from scipy.io import wavfile

    from tests.synthetic import notes

    path = tmp_path_factory.mktemp("wav")
    arrays = notes(rows=96).arrays
    rows = zip(np.asarray(arrays["audio"]), arrays["pitch"], strict=True)
    for number, (audio, pitch) in enumerate(rows):
        name = f"tone_{84 + pitch:03d}_{number}.wav"
        if number:
            wavfile.write(path / name, 16000, audio)
        else:
            wavfile.write(path / name, 32000, np.repeat(audio, 2))
    return f"folder:{path}"


@pytest.fixture(scope="session")
def events():
    """Function returning {tag: {step: [values]}} of a run's event files."""
    import tensorflow as tf
    from tensorboard.compat.proto import event_pb2

    def of(workdir):
        found = {}
        for path in sorted((workdir / "tensorboard").glob("*tfevents*")):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = event_pb2.Event.FromString(record)
                for value in event.summary.value:
                    steps = found.setdefault(value.tag, {})
                    steps.setdefault(event.step, []).append(value)
        return found

    return of


@pytest.fixture(scope="session")
def contents():
    """Function returning {path below a folder: SHA-256}; pass a folder."""

    def of(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(folder).rglob("*"))
            if path.is_file()
        }

    return of
