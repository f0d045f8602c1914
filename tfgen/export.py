"""SavedModel with named signatures, which runs without tfgen or Keras; reloading it.

Every endpoint of a model becomes a signature of the same name: `sample(num, seed)`,
`decode(z)`, `encode(images)`, ... Rows are dynamic, outputs are named, nothing is
compiled by XLA, and no optimizer or metric is inside. A single output tensor is
called by what it is: "scores" of `score`, "z" of `encode`, "log_prob" of
`log_prob`, "logits" of `classify`; every other endpoint returns data, called after
the first feature of the model's `DataSpec` ("images" for "image"). An endpoint that
wants other names returns a dict.

Beside `saved_model.pb` lies `tfgen.json`: the model's class, Config and DataSpec, the
signatures, the training step, a fingerprint of the weights and the versions used.

    tfgen.export(model, "runs/demo/export")
    exported = tfgen.export.load("runs/demo/export")
    images = exported.sample(16, seed=1)["images"]

Any TensorFlow program needs only
`tf.saved_model.load(folder).signatures["sample"](num=..., seed=...)`.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import sys
import types

import keras
import numpy as np
import tensorflow as tf

from tfgen.core import checkpoint, graphs
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec

FORMAT = 1
DESCRIPTION = "tfgen.json"
_GRAPH = "saved_model.pb"
# The endpoints whose result is not data.
_SINGLE_OUTPUT = {
    "score": "scores",
    "encode": "z",
    "log_prob": "log_prob",
    "classify": "logits",
    "map": "w",
    "prior": "z",
    "features": "features",
}


def export(model, folder):
    """Write `model` as a SavedModel, moving averages where it samples from them.

    The graph is that of a fresh model on one device, so `model` may live on replicas;
    values that differ between replicas are those of the first. Of several workers
    the chief writes, the others return.

    Args:
        model: A `GenerativeModel` with endpoints.
        folder: Where to. It appears whole or not at all; an earlier export there is
            replaced.

    Returns:
        `folder`.

    Raises:
        BadInput: The model has no endpoints, or `folder` is something else than a
            new or empty folder or an earlier export.
        OSError: It cannot be written.
    """
    if not model.endpoints():
        raise BadInput(f"{type(model).__name__} has no endpoints to export")
    target = pathlib.Path(os.path.abspath(folder))
    _check_target(target)
    if not checkpoint.is_chief(model.distribute_strategy):
        return folder
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*.partial"):  # by a killed export
        shutil.rmtree(left, ignore_errors=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with graphs.portable():
            _write(_fresh_copy(model), partial, model.steps_done)
        _put_in_place(partial, target)
    except tf.errors.OpError as error:  # how TensorFlow reports a full disk
        raise OSError(f"cannot write {folder}: {error.message}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def load(folder):
    """Return the signatures of an exported model as Python callables.

    Returns:
        `Exported`.

    Raises:
        BadInput: `folder` is not an export of tfgen.
    """
    folder = pathlib.Path(folder)
    if not is_export(folder):
        raise BadInput(
            f"{folder} is no export: it needs {_GRAPH} and {DESCRIPTION}, as "
            "launch.export writes them"
        )
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        wrong_format = description["format"] != FORMAT
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{folder / DESCRIPTION} is not what tfgen writes") from None
    if wrong_format:
        raise BadInput(
            f"{folder} has format {description['format']}; this version reads {FORMAT}"
        )
    try:
        return Exported(tf.saved_model.load(str(folder)), description)
    except (tf.errors.OpError, OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{folder} is damaged: {reason}") from None


def is_export(folder):
    """Return whether `folder` holds what `export` writes."""
    return all(
        (pathlib.Path(folder) / name).is_file() for name in (_GRAPH, DESCRIPTION)
    )


class Exported:
    """A loaded export: each signature is a method.

    A method takes its inputs by position or by name, anything NumPy understands, and
    returns {output: NumPy array}.

    Attributes:
        description: the content of `tfgen.json`.
        spec: `DataSpec` of the model's data: shape and range of its images.
        names: the signatures' names.
    """

    def __init__(self, loaded, description):
        self.description = description
        self.spec = DataSpec.from_json(description["spec"])
        self.names = tuple(description["signatures"])
        self._loaded = loaded  # its variables must stay referenced

    def __getattr__(self, name):
        """Return signature `name` as a function."""
        if name.startswith("_") or name not in self.names:
            raise AttributeError(f"no signature {name!r}; there are: {self.names}")
        signature = self._loaded.signatures[name]
        inputs = self.description["signatures"][name]["inputs"]

        def call(*arguments, **named):
            given = dict(zip(inputs, arguments, strict=False)) | named
            if len(arguments) > len(inputs) or given.keys() != inputs.keys():
                raise TypeError(f"{name} takes {', '.join(inputs)}")
            tensors = {
                key: tf.constant(value, inputs[key]["dtype"])
                for key, value in given.items()
            }
            return {key: value.numpy() for key, value in signature(**tensors).items()}

        call.__name__ = name
        return call


def _check_target(target):
    if target.is_dir():
        if any(target.iterdir()) and not is_export(target):
            raise BadInput(
                f"{target} is not empty and holds no earlier export; choose another "
                "folder"
            )
    elif target.exists():
        raise BadInput(f"{target} is a file; choose a folder")


def _fresh_copy(model):
    """Return a model of the same weights, outside any strategy.

    Its networks are those that `create` makes; BadInput where the model has others.
    """
    if tf.distribute.has_strategy():
        raise RuntimeError("export outside strategy.scope(): the copy must be plain")
    with _dtype_policy(model.dtype_policy):
        copy = type(model).create(model.config, model.spec)
    copy.seed = model.seed
    copy.step.assign(model.steps_done)  # how far a growing network has grown
    for name, network in model.networks.items():
        targets = copy.networks[name].variables
        if _structure(network) != _structure(copy.networks[name]):
            raise BadInput(
                f"{name} is not the network that {type(model).__name__}.create makes "
                "of this config and spec, so it cannot be made again for an export"
            )
        for source, target in zip(network.variables, targets, strict=True):
            target.assign(_first_copy(model, source))
    return copy


def _structure(network):
    """Return what two networks of the same function have in common."""
    layers = [
        (type(layer), getattr(getattr(layer, "activation", None), "__name__", None))
        for layer in network._flatten_layers()
    ]
    return layers, [(tuple(v.shape), v.dtype) for v in network.variables]


def _first_copy(model, variable):
    strategy = model.distribute_strategy
    return strategy.experimental_local_results(variable.value)[0].numpy()


@contextlib.contextmanager
def _dtype_policy(policy):
    earlier = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(earlier)


def _write(model, folder, step):
    archive = keras.export.ExportArchive()
    signatures = {}
    for name, (function, arguments) in named_endpoints(model).items():
        endpoint = archive.add_endpoint(name, function, arguments)
        traced = endpoint.get_concrete_function()
        signatures[name] = {
            "inputs": {a.name: _describe(a) for a in arguments},
            "outputs": {k: _describe(v) for k, v in traced.structured_outputs.items()},
        }
    archive.write_out(str(folder), verbose=False)
    description = {
        "format": FORMAT,
        "model": f"{type(model).__module__}:{type(model).__qualname__}",
        "config": model.config.to_json(),
        "spec": model.endpoint_spec.to_json(),
        "step": step,
        "fingerprint": fingerprint(model),
        "signatures": signatures,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


def named_endpoints(model):
    """Return `model.endpoints()` with functions that return dicts of tensors."""
    data = next(iter(model.spec.features)) + "s"

    def named(function, single):
        def endpoint(*arguments):
            returned = function(*arguments)
            return returned if isinstance(returned, dict) else {single: returned}

        return endpoint

    return {
        name: (named(function, _SINGLE_OUTPUT.get(name, data)), arguments)
        for name, (function, arguments) in model.endpoints().items()
    }


def _describe(tensor):
    return {"shape": list(tensor.shape), "dtype": tensor.dtype.name}


def fingerprint(model):
    """Return 16 hexadecimal digits of the SHA-256 over Config and networks' weights.

    Equal for all exports of one checkpoint, whatever strategy it is loaded under.
    """
    sha = hashlib.sha256(json.dumps(model.config.to_json(), sort_keys=True).encode())
    for name, network in model.networks.items():
        for variable in network.variables:
            value = _first_copy(model, variable)
            sha.update(f"{name} {value.dtype} {value.shape}".encode())
            sha.update(np.ascontiguousarray(value).tobytes())
    return sha.hexdigest()[:16]


def _put_in_place(partial, target):
    for path in partial.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    if not target.is_dir() or not any(target.iterdir()):
        os.rename(partial, target)  # replaces an empty folder
        return
    # A folder with content cannot be replaced in one step.
    earlier = target.with_name(f".{target.name}.{os.getpid()}.earlier")
    os.rename(target, earlier)
    os.rename(partial, target)
    shutil.rmtree(earlier, ignore_errors=True)


class _CallableModule(types.ModuleType):
    """Makes `tfgen.export(model, folder)` work: a submodule shadows its function."""

    def __call__(self, model, folder):
        return export(model, folder)


sys.modules[__name__].__class__ = _CallableModule
