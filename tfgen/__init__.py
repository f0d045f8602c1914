"""Train deep generative models: variational, adversarial, moment-matching.

Importing this package does not import TensorFlow; its attributes do, on first use.
"""

import importlib

__version__ = "0.1.0"

_ATTRIBUTES = {
    "BadInput": "tfgen.core.errors:BadInput",
    "DataSpec": "tfgen.core.spec:DataSpec",
    "Feature": "tfgen.core.spec:Feature",
    "GenerativeModel": "tfgen.core.model:GenerativeModel",
    "MODELS": "tfgen.models:MODELS",
    "build": "tfgen.models:build",
    "callbacks": "tfgen.callbacks:",
    "data": "tfgen.data:",
    "export": "tfgen.export:",
    "load": "tfgen.workdir:load",
    "make_strategy": "tfgen.core.strategy:make_strategy",
}

__all__ = [*_ATTRIBUTES, "__version__"]


def __getattr__(name):
    if name not in _ATTRIBUTES:
        raise AttributeError(f"module 'tfgen' has no attribute {name!r}")
    module, _, attribute = _ATTRIBUTES[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__():
    return sorted(__all__)
