"""Run folders made here, untrained, in a fraction of a training's time."""

from tfgen import models
from tfgen.core import checkpoint
from tfgen.workdir import Workdir


def make_run(path, name, data, dataset, preset="tiny", hparams=None, validation=0.0):
    """Write the workdir of a model at step 0; returns (its path, the model)."""
    model = models.build(name, preset, spec=data.spec, hparams=hparams, seed=3)
    workdir = Workdir(path)
    workdir.create()
    checkpoint.save(model, workdir.checkpoints)
    workdir.write_config(
        model=name,
        dataset=dataset,
        batch=16,
        seed=3,
        xla="off",
        precision="float32",
        validation_fraction=validation,
        preset=preset,
        data_dir=None,
        config=model.config.to_json(),
        data_spec=data.spec.to_json(),
    )
    return path, model
