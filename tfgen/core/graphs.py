"""Graphs, and who will run the one that is being traced."""

import contextlib
import contextvars
import functools

import tensorflow as tf

_compiling = contextvars.ContextVar("compiling", default=False)
_portable = contextvars.ContextVar("portable", default=False)


def function(python_function, compiled):
    """Return `python_function` as a `tf.function`, without AutoGraph.

    Args:
        python_function: Of tensors.
        compiled: Whether XLA compiles it, and what it calls.
    """

    @functools.wraps(python_function)
    def traced(*args):
        token = _compiling.set(is_compiling() or bool(compiled))
        try:
            return python_function(*args)
        finally:
            _compiling.reset(token)

    return tf.function(traced, jit_compile=compiled, autograph=False)


def is_compiling():
    """Whether what is being traced will be compiled: `function` says so."""
    return _compiling.get()


@contextlib.contextmanager
def portable():
    """Have what is traced meanwhile be fast without this machine's kernels, too."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def is_portable():
    """Whether what is being traced is for any machine: `portable` says so."""
    return _portable.get()
