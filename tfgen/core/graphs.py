"""Graphs, and whether XLA compiles the one that is being traced."""

import contextvars
import functools

import tensorflow as tf

_compiling = contextvars.ContextVar("compiling", default=False)


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
