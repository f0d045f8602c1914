"""What every conformance test does with a model, here and in other processes."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 16
TOY = "tests.toy_gan:ToyGAN"
# Model -> the function of `tests.synthetic` that makes its data; others get pictures.
DATA = {
    **dict.fromkeys(["cyclegan", "adda", "dann"], "pair"),
    **dict.fromkeys(["video_gan", "video_gan_one_stream", "video_gan_future"], "clips"),
    **dict.fromkeys(["video_classifier"], "clips"),
    **dict.fromkeys(["dt2v", "pt2v", "gt2v", "text2video"], "clips"),
    **dict.fromkeys(
        ["text_filter_gan", "text_filter_gan_matched", "text_concat_gan"], "clips"
    ),
    **dict.fromkeys(["pitch_classifier"], "notes"),
    **dict.fromkeys(["gansynth", "gansynth_flat"], "notes"),
}


def names():
    """Every model, and one that the package does not know."""
    from tfgen.models import MODELS

    return [*MODELS, TOY]


# Controls: their steps, networks and signatures are those of a class in the list less
# a part. They run here like all, but are not compiled, saved, exported and shared among
# replicas once more.
CONTROLS = ("text_filter_gan_matched", "text_concat_gan", "pt2v")
CONTROLS += ("stylegan2_diffaugment",)


def distinct():
    """All names but those of controls."""
    return [name for name in names() if name not in CONTROLS]


def families():
    """The first class of every model file: the others there are variations of it."""
    return [first for first, *_ in by_file(names())]


def by_file(given):
    """Lists of those of the names whose classes stand in one file."""
    from tfgen.models import find

    files = {}
    for name in given:
        files.setdefault(find(name).__module__, []).append(name)
    return list(files.values())


def stream(name):
    """Small data of the kind that a model wants, see `DATA`."""
    from tests import synthetic

    return getattr(synthetic, DATA.get(name, "stream"))(size=8, batch=BATCH)


def build(name, strategy=None, xla=False, sgd=False, preset="tiny", **options):
    """A compiled model; `sgd`: every optimizer is plain descent with momentum.

    Adam and RMSProp divide a gradient by its own size: they hide a factor on all
    gradients, and turn rounding of a tiny gradient into a full step.
    """
    import keras

    from tfgen import models

    data = stream(name)
    config = models.configure(name, preset)
    if sgd:
        own = models.find(name).create(config, data.spec).default_optimizers()
        with strategy.scope() if strategy else contextlib.nullcontext():
            options |= {key: keras.optimizers.SGD(1e-3, momentum=0.9) for key in own}
    return models.build(
        name,
        config=config,
        spec=data.spec,
        strategy=strategy,
        xla="on" if xla else "off",
        **options,
    )


def train(model, steps):
    model.fit(stream(name_of(model)), steps_per_epoch=steps, verbose=0)
    return model


def name_of(model):
    """The name a model has in `names`."""
    from tfgen.models import MODELS

    path = f"{type(model).__module__}:{type(model).__name__}"
    return next((name for name, where in MODELS.items() if where == path), TOY)


def weights(model):
    """{name: array} of the networks, moving averages included; one copy of each."""
    from tfgen.core import checkpoint

    networks = model.networks
    arrays = checkpoint.collect(model)
    return {k: v for k, v in arrays.items() if k.split("/")[0] in networks}


def trained(model):
    """{name: array} of `weights` that training moves, the same on every replica."""
    apart = model.replica_local()
    kept = model.starts_from
    return {
        name: array
        for name, array in weights(model).items()
        if name not in apart and name.split("/")[0] not in kept
    }


def difference(start, one, other):
    """Largest |one - other| in units of the largest |one - start|, over variables.

    In units of the movement of the variable's network: a variable that should not
    move has none of its own. One unit in the last place is free: a moving average
    near 1/2 moves by a thousand of them in two steps.
    """
    assert start.keys() == one.keys() == other.keys()
    network = {name: name.split("/")[0] for name in start}
    moved = dict.fromkeys(network.values(), 0.0)
    for name, of in network.items():
        moved[of] = max(moved[of], np.abs(one[name] - start[name]).max())
    assert all(moved.values()), f"a network did not move: {moved}"
    apart = {
        name: np.abs(one[name] - other[name]) - np.spacing(np.abs(one[name]))
        for name in network
    }
    return max(apart[name].max() / moved[of] for name, of in network.items())


def distance(start, one, other):
    """Like `difference`, for Euclidean norms over whole networks.

    Adam turns a gradient that is zero but for rounding into a step of any size, up to
    the learning rate: single weights may differ, networks do not.
    """
    networks = {}
    for name in start:
        moved, apart = networks.setdefault(name.split("/")[0], ([], []))
        moved.append(np.linalg.norm(one[name] - start[name]))
        apart.append(np.linalg.norm(one[name] - other[name]))
    return max(
        np.linalg.norm(apart) / np.linalg.norm(moved)
        for moved, apart in networks.values()
    )


def start_process(job, **environment):
    """Start `python -m tests.conformance.process` on a job, a dict for JSON."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.process", json.dumps(job)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(processes, timeout):
    """What each process printed last, as JSON; all are killed after `timeout`."""
    found = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=timeout)
            assert process.returncode == 0, errors[-3000:]
            found.append(json.loads(output.splitlines()[-1]))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return found
