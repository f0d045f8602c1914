"""The data of a finished run: its loading flags, and the rows it did not train on."""

import numpy as np

from tfgen.core.errors import BadInput


def load(run, data_dir=None, name=None):
    """Load a run's data as it was trained on.

    Args:
        run: Content of the run's config.json.
        data_dir: Where TFDS data sets lie now, None: where the run found them.
        name: Other data, cut to the same size; None: the run's.
    """
    from tfgen import data

    return data.load(
        name or run["dataset"],
        batch=run["batch"],
        seed=run["seed"],
        data_dir=data_dir or run["data_dir"],
        validation_fraction=0.0 if name else run["validation_fraction"],
        image_size=run["config"].get("image_size") or None,
    )


def split(data):
    """Return (stream, "test" or "validation"): rows that were not trained on.

    Raises:
        BadInput: The data have neither.
    """
    if data.test is not None:
        return data.test, "test"
    if data.validation is not None:
        return data.validation, "validation"
    raise BadInput(
        f"{data.spec.name} has no test split and this run held nothing out; train "
        "with --validation_fraction above 0"
    )


def arrays(stream, spec, limit=None):
    """Return {feature: array} of a split's first rows as a model of `spec` wants them.

    Images become float32 in the range and size of `spec`; `limit` rows at most.
    """
    from tfgen.core.spec import adapter

    adapt, _ = adapter(stream.spec, spec)
    parts = [adapt(batch) for batch in stream.batches(500, limit)]
    names = [*spec.features, *(name for name in ("label",) if name in parts[0])]
    return {name: np.concatenate([part[name] for part in parts]) for name in set(names)}
