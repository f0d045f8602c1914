"""Server of warm processes: TensorFlow is imported once, each command is a fork of it.

Importing TensorFlow takes longer than most of the tests. A fork made before its first
operation is as good as a fresh process, but for Python's hash seed: what depends on
that is tested with processes of their own.

Reads one JSON object a line; answers {"started": pid}, later {"ended": [pid, code]}.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import sys
import traceback

# What commands import, but no module that defines flags; the first keeps them from
# the network, as it does with tests.
MODULES = [
    "tests.conftest",
    "keras",
    "tensorboard.plugins.hparams.api",
    "tensorflow_datasets",
    "tfgen.callbacks",
    "tfgen.data.prepared",
    "tfgen.export",
    "tfgen.models.classifier",
    "tfgen.models.vae",
    "tfgen.models.wgan",
    "tfgen.workdir",
]


def serve():
    """Fork for each request; returns the request in the fork."""
    children, pending = set(), b""
    while True:
        wait = 0.01 if children else None
        if select.select([0], [], [], wait)[0]:
            read = os.read(0, 1 << 16)
            if not read:
                break
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    return json.loads(line)
                children.add(pid)
                _answer(started=pid)
        for child in list(children):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                children.remove(pid)
                _answer(ended=[pid, os.waitstatus_to_exitcode(status)])
    for child in children:
        os.killpg(child, signal.SIGKILL)
    os._exit(0)


def _answer(**content):
    os.write(1, json.dumps(content).encode() + b"\n")


def become(request):
    """Take on the request's streams, environment and limits; run its module."""
    os.setsid()
    for number, path in enumerate([os.devnull, request["stdout"], request["stderr"]]):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(path, flags, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.update(request["environment"])
    if request["largest_file"]:
        limit = request["largest_file"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request["hook"]:
        name, *arguments = request["hook"]
        from tests.launch import faults

        getattr(faults, name)(*arguments)
    sys.argv = [request["module"], *request["arguments"]]
    code = 1
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    # Without taking down TensorFlow's modules, which takes a fork seconds.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # or each fork's first collection would copy all of it
    _answer(ready=os.getpid())
    become(serve())
