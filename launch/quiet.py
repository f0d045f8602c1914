"""TensorFlow imported without the lines that its libraries write while they load.

They load before anything reads TF_CPP_MIN_LOG_LEVEL, which holds from then on.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile


def import_tensorflow_quietly():
    """Let the first import of TensorFlow say nothing, unless it fails.

    With TF_CPP_MIN_LOG_LEVEL=0 it says all, and so why it ends a process it is not
    built for.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where it is, once."""

    def find_spec(self, name, path=None, target=None):
        """Return the spec of TensorFlow with a loader that is quiet."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module

            def load_quietly(module):
                with unless_it_fails():
                    load(module)

            spec.loader.exec_module = load_quietly
        return spec


@contextlib.contextmanager
def unless_it_fails():
    """Keep what is written to the descriptor of stderr, and drop it at the end.

    An exception brings it back.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
