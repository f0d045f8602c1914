"""Say what this machine can train on, and what is wrong with the installation.

python -m launch.doctor

One line a check on stderr, "ok" or "problem" first; the last line on stdout is one
JSON object. Exit code 1 when there is a problem.
"""

import importlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

from tfgen.core.errors import BadInput

from . import common_flags

PYTHON = (3, 11)
# Module -> (what to install, the versions tfgen is tested with).
PINS = {
    "tensorflow": ("tensorflow", "2.21"),
    "keras": ("keras", "3.15"),
    "tf_keras": ("tf-keras", "2.21"),
    "tensorflow_probability": ("tensorflow-probability", "0.25"),
    "tensorflow_datasets": ("tensorflow-datasets", "4.9"),
    "tensorboard": ("tensorboard", "2."),
}
# Needed, any recent version.
NEEDED = {
    "absl": "absl-py",
    "importlib_resources": "importlib_resources",
    "matplotlib": "matplotlib",
    "mlxtend": "mlxtend",
    "numpy": "numpy",
    "PIL": "pillow",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
}


class Problem(Exception):
    """A check failed; the message says how to repair it."""


def main():
    """Run every check; returns the JSON line's dict and the exit code."""
    found, problems = {}, []
    for name, check in checks().items():
        try:
            found[name] = check()
            line = f"ok       {name}: {found[name]}"
        except Problem as problem:
            problems.append(f"{name}: {problem}")
            line = f"problem  {problems[-1]}"
        except Exception as error:  # a broken installation can raise anything
            problems.append(f"{name}: {one_line(error)}")
            line = f"problem  {problems[-1]}"
        print(line, file=sys.stderr, flush=True)
    result = {"ok": not problems, "problems": problems, **found}
    return result, 1 if problems else 0


def checks():
    """Return {name: function returning what it found, or raising}, in order."""
    packages = {name: lambda name=name: pinned(name) for name in PINS}
    return {
        "python": python,
        "keras backend": keras_backend,
        **packages,
        "packages": packages_present,
        "devices": devices,
        "xla": xla,
        "strategy": strategy,
        "temporary folder": temporary_folder,
    }


def python():
    """Return Python's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        raise Problem(f"is {version}, tfgen needs 3.11 or newer")
    return version


def pinned(module):
    """Import one of PINS; returns its version."""
    package, wanted = PINS[module]
    repair = f"pip install '{package}=={wanted.rstrip('.')}.*'"
    try:
        version = importlib.import_module(module).__version__
    except ModuleNotFoundError as error:
        if error.name == module:
            raise Problem(f"not installed: {repair}") from None
        raise Problem(f"cannot be imported, {error.name} is missing") from None
    except Exception as error:
        raise Problem(f"cannot be imported: {one_line(error)}") from None
    prefix = wanted if wanted.endswith(".") else wanted + "."
    if not f"{version}.".startswith(prefix):
        raise Problem(f"is {version}, tfgen is tested with {wanted}: {repair}")
    return version


def packages_present():
    """Return how many of NEEDED there are."""
    missing = []
    for module, package in NEEDED.items():
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(package)
    if missing:
        raise Problem(f"not installed: pip install {' '.join(missing)}")
    return f"{len(NEEDED)} others present"


def keras_backend():
    """Return the backend that Keras is told to use; tells without importing it."""
    home = os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras"))
    file = pathlib.Path(home) / "keras.json"
    backend, place = os.environ.get("KERAS_BACKEND"), "unset KERAS_BACKEND"
    if not backend:
        try:
            backend = json.loads(file.read_text()).get("backend")
        except (OSError, ValueError, AttributeError):
            backend = None
        place = f"change it in {file}"
    if backend not in (None, "tensorflow"):
        raise Problem(f"is {backend}, tfgen needs tensorflow: {place}")
    return "tensorflow"


def devices():
    """Return what TensorFlow sees, in words."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and has_unseen_gpu():
        raise Problem(
            "this machine has an NVIDIA GPU that TensorFlow does not see: "
            "pip install 'tensorflow[and-cuda]==2.21.*' (and not tensorflow-cpu)"
        )
    names = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [name.get("device_name", "GPU") for name in names]
    return ", ".join([*names, f"{os.cpu_count()} CPU threads"])


def has_unseen_gpu():
    """Return whether there is an NVIDIA GPU with its driver, not hidden on purpose.

    Ask where TensorFlow sees none.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    driver = pathlib.Path("/proc/driver/nvidia/gpus").is_dir()
    return not hidden and (driver or bool(shutil.which("nvidia-smi")))


def xla():
    """Compile a small function for each kind of device; returns the kinds."""
    import tensorflow as tf

    compiled = tf.function(lambda x: tf.exp(x) @ x, jit_compile=True, autograph=False)
    kinds = ["CPU"] + ["GPU"] * bool(tf.config.list_physical_devices("GPU"))
    for kind in kinds:
        with tf.device(f"{kind}:0"):
            x = tf.eye(8)
            try:
                value = float(tf.reduce_sum(compiled(x)))
            except Exception as error:
                text = str(error)
                hint = (
                    "XLA_FLAGS=--xla_gpu_cuda_data_dir=FOLDER must name the CUDA "
                    "folder that holds nvvm/libdevice, or train with --xla=off"
                    if "libdevice" in text
                    else f"train with --xla=off ({one_line(error)})"
                )
                raise Problem(f"does not compile for {kind}: {hint}") from None
        expected = 8 * 2.718281828 + 56
        if abs(value - expected) > 0.1:
            raise Problem(f"computes {value} instead of {expected} on {kind}")
    return f"compiles for {' and '.join(kinds)}"


def strategy():
    """Return what --strategy=auto picks."""
    import tensorflow as tf

    from tfgen.core.strategy import choose

    try:
        return choose(len(tf.config.list_physical_devices("GPU")), os.environ)
    except BadInput as error:
        raise Problem(str(error)) from None


def temporary_folder():
    """Write to the temporary folder; returns its path."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(2**20))
    except OSError as error:
        raise Problem(f"cannot be written ({error}): set TMPDIR") from None
    return tempfile.gettempdir()


def one_line(error):
    """Return the kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def command():
    """Entry point of `tfgen-doctor`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
