"""Several workers on this machine, each a process of its own."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

_MARK = "TFGEN_LOCAL_WORKERS"  # in the environment of those that `run` starts
_PR_SET_PDEATHSIG = 1
LOST_ANOTHER = 75  # exit code of a worker that ended because another did


def is_one():
    """Return whether this process is a worker whose starter speaks for it."""
    return _MARK in os.environ


def run(number, argv):
    """Start `number` workers of this command; returns the exit code.

    The chief speaks on this process's stdout and stderr. When one dies the others
    are ended, and one line says which died.
    """
    ports = _free_ports(number)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    spec = sys.modules["__main__"].__spec__  # none of an installed command
    module = spec.name if spec else "tfgen.launch.train"
    # The last word on a flag counts, also over what a recipe says.
    arguments = [*argv[1:], "--local_workers=0", "--strategy=multi_worker"]
    workers, errors, told = [], [], []
    libc = ctypes.CDLL(None)
    for index in range(number):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        quiet = tempfile.TemporaryFile() if index else None
        errors.append(quiet)
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, "TF_CONFIG": json.dumps(task), _MARK: str(number)},
                stdout=subprocess.DEVNULL if index else None,
                stderr=quiet,
                start_new_session=True,  # a terminal's Ctrl-C comes from here alone
                # When this process is killed, they save and end.
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
            )
        )

    def pass_on(received, _):
        told.append(received)
        _signal(workers, received)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, pass_on)
    return _watch(workers, errors, told)


def _watch(workers, errors, told):
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [index for index, code in enumerate(codes) if code]
        if failed:
            break
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.1)
    if told:  # they save together; one that had nothing to save is gone already
        _wait(workers, 30.0)
        _signal(workers, signal.SIGKILL)
        return 128 + told[0]
    # Bad input ends all workers by themselves, each with its own code.
    _wait(workers, 2.0)
    codes = [worker.poll() for worker in workers]
    if codes[0] in (2, 3) and all(code == codes[0] for code in codes):
        return codes[0]
    first = min(failed, key=lambda index: (codes[index] == LOST_ANOTHER, index))
    died = codes[first]
    how = signal.Signals(-died).name if died < 0 else f"exit code {died}"
    said = ""
    if errors[first] is not None:
        errors[first].seek(0)
        lines = errors[first].read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
    _signal(workers, signal.SIGTERM)
    _wait(workers, 1.0)
    _signal(workers, signal.SIGKILL)
    if first == 0 and died in (1, 2, 3):  # the chief has said why
        return died
    if died in (2, 3):
        print(said.removeprefix(": "), file=sys.stderr, flush=True)
        return died
    print(
        f"error: worker {first} died ({how}){said}; the others were ended, run the "
        "same command to resume",
        file=sys.stderr,
        flush=True,
    )
    return 1


def _wait(workers, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(w.poll() is None for w in workers):
        time.sleep(0.05)


def _signal(workers, number):
    for worker in workers:
        if worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(number)


def _free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
