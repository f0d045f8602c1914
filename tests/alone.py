"""Code that runs in a process which has TensorFlow, but not what made an export."""

import subprocess
import sys

_BLOCK = """
import importlib.machinery
import sys

class Blocked:
    names = ("tfgen", "keras", "tf_keras", "tensorflow_probability")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ImportError(spec.name + " is blocked")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Blocked())
import numpy as np
import tensorflow as tf
"""


def run(code, *arguments):
    """What the code printed last; its `sys.argv[1:]` are the arguments."""
    command = [sys.executable, "-c", _BLOCK + code, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.rstrip().rpartition("\n")[-1]
