"""The data of a finished run: its loading flags, and the rows it did not train on."""

import json

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import in_parts


def check_same(data, run):
    """Refuse data that are not those that a run began with.

    Args:
        data: What its flags load now.
        run: Content of its config.json, {} for one that begins.

    Raises:
        BadInput: They differ, as by files that came into a folder.
    """
    spec = json.loads(json.dumps(data.spec.to_json()))  # lists for tuples, as stored
    stored = run.get("data_spec", spec)
    if changed := [name for name in spec if spec[name] != stored.get(name)]:
        raise BadInput(
            f"{run['dataset']} has other {' and '.join(changed)} than when this run "
            "began, so other rows would be held out; train in another --workdir"
        )


def load(run, data_dir=None, name=None):
    """Load a run's data as it was trained on.

    Args:
        run: Content of the run's config.json.
        data_dir: Where TFDS data sets lie now, None: where the run found them.
        name: Other data, cut to the same size; None: the run's, of both domains
            where it has two.
    """
    from tfgen import data

    how = {
        "batch": run["batch"],
        "seed": run["seed"],
        "data_dir": data_dir or run["data_dir"],
        "validation_fraction": 0.0 if name else run["validation_fraction"],
        "image_size": run.get("image_size") or run["config"].get("image_size") or None,
        "on_corrupt": run.get("on_corrupt", "stop"),
    }
    if run.get("target_dataset") and not name:
        loaded = data.load_pair(run["dataset"], run["target_dataset"], **how)
    else:
        frames = run["config"].get("frames") or None
        loaded = data.load(name or run["dataset"], frames=frames, **how)
    if not name:
        check_same(loaded, run)
    return loaded


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
    """Return {feature: array} of a split's rows as a model of `spec` wants them.

    Images become float32 in the size and range of `spec`; a label comes along.

    Args:
        stream: The split.
        spec: `DataSpec` of the model.
        limit: See `numbers`.
    """
    from tfgen.core.spec import adapter

    adapt, _ = adapter(stream.spec, spec)
    names = set(spec.features) | ({"label", "pair"} & set(stream.arrays))
    return in_parts(
        lambda part: adapt({name: stream.arrays[name][part] for name in names}),
        numbers(stream, limit),
    )


def numbers(stream, limit=None):
    """Return which rows of a split `arrays` takes, int64 `[rows]`.

    Args:
        stream: The split.
        limit: Rows at most, None: all. They are drawn at random, always the same
            ones: many data sets are sorted by class. Two sets of one length lose
            the same rows.
    """
    rows = np.arange(len(stream))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(0).permutation(len(rows))[:limit])
    return rows


def domain(pair, spec, name, limit=None):
    """Return `arrays` of one domain of a split, its images called "image".

    Where both sides have labels, those of the domain are numbers of the classes that
    `spec` names.

    Args:
        pair: `PairStream`.
        spec: `DataSpec` of a model of two domains.
        name: "source" or "target".
        limit: See `arrays`.

    Raises:
        BadInput: Classes of the domain are others.
    """
    stream, features = getattr(pair, name), {"image": spec.features[name]}
    if "label" in spec.features and "label" in stream.arrays:
        features["label"] = spec.features["label"]
    return arrays(stream, spec.replace(features=features), limit)
