"""Several workers on this machine, each a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time


def run(number, argv):
    """Start `number` workers of this command; returns the exit code.

    The chief speaks on this process's stdout and stderr. When one dies the others
    are ended, and one line says which died.
    """
    ports = _free_ports(number)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    module = sys.modules["__main__"].__spec__.name
    arguments = [a for a in argv[1:] if not a.lstrip("-").startswith("local_workers")]
    workers, errors = [], []
    for index in range(number):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        quiet = tempfile.TemporaryFile() if index else None
        errors.append(quiet)
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--strategy=multi_worker"],
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.DEVNULL if index else None,
                stderr=quiet,
            )
        )
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda received, _: _signal(workers, received))
    return _watch(workers, errors)


def _watch(workers, errors):
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [index for index, code in enumerate(codes) if code]
        if failed:
            break
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.1)
    # Bad input ends all workers by themselves, each with its own code.
    _wait(workers, 2.0)
    codes = [worker.poll() for worker in workers]
    if all(code == codes[0] and code > 0 for code in codes if code is not None):
        if None not in codes:
            return codes[0]
    first = failed[0]
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
    if died in (2, 3):  # bad input, or a guard: what it said is all there is to say
        if errors[first] is not None:
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
