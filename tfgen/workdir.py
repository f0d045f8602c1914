"""The folder of one run: what it was made with, its saves, its results.

config.json      what the run is: model, Config, data, flags, versions
checkpoints/     step_<n>.npz, and best.json naming the best by validation
tensorboard/     events        metrics.csv   one row a logged step
samples/         pictures      evaluation.json, export/   made on request
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib

from tfgen.core.errors import BadInput

FORMAT = 1
# What every config.json has; `data_dir`, which may be null, besides.
_FIELDS = {
    "model": str,
    "preset": str,
    "dataset": str,
    "batch": int,
    "seed": int,
    "xla": str,
    "precision": str,
    "validation_fraction": float,
    "config": dict,
    "data_spec": dict,
}


class Workdir:
    """Paths and small files of a run folder."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config_path = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.metrics = self.path / "metrics.csv"
        self.evaluation = self.path / "evaluation.json"
        self.export = self.path / "export"
        self.best_path = self.checkpoints / "best.json"

    def create(self):
        """Make the folder; BadInput when something else is in its place.

        A run that ended before its first save has no config.json any more, but the
        lock's file; files beside neither are somebody else's.
        """
        others = [] if self.config else [*self.checkpoints.glob("step_*.npz")]
        if not self.config and not (self.path / ".lock").exists():
            others += [*self.path.glob(self.metrics.name), *self.tensorboard.glob("*")]
        if others:
            raise BadInput(
                f"{self.path} holds {others[0].relative_to(self.path)} but no "
                "config.json, so no run: give another --workdir"
            )
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise BadInput(
                f"{self.path} is not a folder, or lies below a file"
            ) from None

    @contextlib.contextmanager
    def lock(self):
        """Hold the folder for one job; BadInput when another has it."""
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"another job is using {self.path}") from None
            yield

    @property
    def config(self):
        """The content of config.json, None if there is none.

        Raises:
            BadInput: It is not a run's, or of another format version.
        """
        try:
            content = json.loads(self.config_path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            raise BadInput(f"{self.config_path} is not JSON") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise BadInput(f"{self.config_path} is not of a run of format {FORMAT}")
        for name, kind in _FIELDS.items():
            if not isinstance(content.get(name), kind):
                raise BadInput(f"{self.config_path} has no {kind.__name__} {name!r}")
        return content

    def require_config(self):
        """Return config.json's content; BadInput when the folder holds no run."""
        if (config := self.config) is None:
            raise BadInput(
                f"{self.path} holds no run (no config.json); give the --workdir of a "
                "training"
            )
        return config

    def write_config(self, **content):
        """Write config.json with the versions of what matters to a rerun."""
        names = ["tensorflow", "tensorflow-cpu", "keras", "tensorflow-probability"]
        versions = {}
        for name in names:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[name] = importlib.metadata.version(name)
        write_json(
            self.config_path, {"format": FORMAT, **content, "versions": versions}
        )

    @property
    def best(self):
        """{"step", "metric", "value"} of the best save, None if none was chosen.

        Raises:
            BadInput: best.json is not one of ours.
        """
        try:
            content = json.loads(self.best_path.read_text())
            return {
                "step": int(content["step"]),
                "metric": str(content["metric"]),
                "value": float(content["value"]),
            }
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise BadInput(
                f"{self.best_path} does not name a step, metric and value"
            ) from None

    def find_checkpoint(self, which="latest"):
        """Return the path of a checkpoint: "latest", "best" or a step.

        Step 0 is the model that the run's seed makes, untrained: None, for there is
        no file of it.

        Raises:
            BadInput: There is none such; names those there are.
        """
        from tfgen.core import checkpoint

        if str(which) == "0":
            return None
        steps = checkpoint.steps(self.checkpoints)
        if not steps:
            raise BadInput(f"{self.path} holds no checkpoint yet")
        wanted, best = str(which), self.best
        if best and best["step"] not in steps:  # the job is about to write it
            best = None
        if wanted == "latest":
            return checkpoint.path_of(self.checkpoints, steps[-1])
        if wanted == "best" and best:
            return checkpoint.path_of(self.checkpoints, best["step"])
        if wanted.isdigit() and int(wanted) in steps:
            return checkpoint.path_of(self.checkpoints, int(wanted))
        valid = ["latest", *(["best"] if best else []), *map(str, sorted({0, *steps}))]
        raise BadInput(f"no checkpoint {wanted!r}; valid: {', '.join(valid)}")


def write_json(path, content):
    """Write JSON so that `path` is whole at every moment."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def load(path, checkpoint="latest"):
    """Return the model of a run on this device, weights restored.

    Args:
        path: A workdir.
        checkpoint: "latest", "best" or a step; 0 is the model before training.

    Raises:
        BadInput: The folder holds no run, or no such checkpoint, or one that is
            damaged or of another model.
    """
    from tfgen import models
    from tfgen.core import checkpoint as checkpoints
    from tfgen.core.spec import DataSpec

    workdir = Workdir(path)
    config = workdir.require_config()
    file = workdir.find_checkpoint(checkpoint)
    cls = models.find(config["model"])
    model = models.build(
        config["model"],
        config=cls.Config.from_json(config["config"]),
        spec=DataSpec.from_json(config["data_spec"]),
        seed=config["seed"],
        precision=config["precision"],
    )
    if file is None:
        if model.starts_from:
            kept = " and ".join(model.starts_from)
            raise BadInput(f"{path} has no step 0: its {kept} came trained")
        return model
    try:
        checkpoints.restore(model, file)
    except checkpoints.Damaged as error:
        steps = checkpoints.steps(workdir.checkpoints)
        raise BadInput(f"{error}; there are the saves {steps}") from None
    return model
