"""One step of every model: what it moves, what it reads, what it returns."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import harness
from tfgen import models

# A constant added to all scores cancels in f(real) - f(fake).
WITHOUT_GRADIENT = {
    "wgan": {"critic"},
    "wgan_gp": {"critic"},
    "relativistic_gan": {"discriminator"},
}
# (model, first step of a stage): the networks that this stage leaves alone.
STAGES = {("adda", 0): {"discriminator"}, ("adda", 1): {"source"}}
STAGES |= {
    (name, step): frozen
    for name in ("gt2v", "text2video")
    for step, frozen in (
        (0, {"discriminator", "generator", "generator_ema"}),
        (1, {"gist"}),
        (2, set()),
    )
}
# Where not the first step moves all that later ones do: of a growing network, one
# within a fade.
STEPS = {"adda": [0, 1], "gansynth": [3], "text2video": [0, 1, 2]}

# In the quick suite, one class of each file.
QUICK = harness.families()
# Whose eager step takes seconds: once in the quick suite.
LONG = ("stylegan2_ada", "text2video", "text_filter_gan")


def parameters(names, quick):
    """Names as parameters; those that are not quick are of the slow suite."""
    return [
        pytest.param(name, marks=[] if name in quick else [pytest.mark.slow])
        for name in names
    ]


def values(model):
    return {name: v.numpy() for name, v in model.state().items()}


def changed(before, after):
    return {n for n in before if before[n].tobytes() != after[n].tobytes()}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        pytest.param(n, s, marks=[] if n in QUICK else [pytest.mark.slow])
        for n in harness.names()
        for s in STEPS.get(n, [0])
    ],
)
def test_an_update_moves_its_networks_and_nothing_else(name, step):
    model = harness.build(name, run_eagerly=True)
    model.step.assign(step)
    apply, updates = model.apply, []
    names = {id(v): n for n, v in model.state().items()}

    def recorded(optimizer, networks, gradients, *how):
        before = values(model)
        apply(optimizer, networks, gradients, *how)
        networks = networks if isinstance(networks, tuple) else (networks,)
        owned = [v for network in networks for v in network.trainable_variables]
        for network, twin, _ in model._averages:
            shared = {id(v) for v in network.variables} & {id(v) for v in owned}
            owned += twin.variables if shared else []
        with_gradient = [v for v, g in zip(owned, gradients, strict=False) if np.any(g)]
        updates.append(
            (
                changed(before, values(model)),
                {names[id(v)] for v in with_gradient},
                {names[id(v)] for v in [*owned, *optimizer.variables]},
            )
        )

    model.apply = recorded
    start = values(model)
    logs = model.fit(harness.stream(name), steps_per_epoch=1, verbose=0).history
    for moved, with_gradient, allowed in updates:
        assert with_gradient <= moved <= allowed

    moved = changed(start, values(model))
    frozen = STAGES.get((name, step), set()) | set(model.starts_from)
    assert {n.split("/")[0] for n in moved}.isdisjoint(frozen)
    networks = {n for n in start if n.split("/")[0] in set(model.networks) - frozen}
    still = networks - moved
    assert {n.split("/")[0] for n in still} == WITHOUT_GRADIENT.get(name, set())
    assert all(start[n].shape == (1,) for n in still)
    assert values(model)["step"] == step + 1
    assert logs and all(np.isfinite(value).all() for value in logs.values())


@pytest.mark.parametrize("name", harness.names())
def test_config_survives_json(name):
    cls = models.find(name)
    for preset in cls.PRESETS:
        config = models.configure(name, preset)
        text = json.dumps(config.to_json(), allow_nan=False)
        again = cls.Config.from_json(json.loads(text))
        assert again == config
        assert type(again) is type(config)


def recording(cls, read):
    """A Config class that adds to `read` each field somebody looks at."""
    fields = {field.name for field in dataclasses.fields(cls)}

    class Recording(cls):
        def __post_init__(self):
            super().__post_init__()
            read.clear()

        def __getattribute__(self, name):
            if name in fields:
                read.add(name)
            return super().__getattribute__(name)

    return Recording


def variants(cls):
    """The tiny preset, then it with each choice of each field that has choices."""
    tiny = cls.PRESETS["tiny"]
    choices = {
        field.name: field.metadata["choices"]
        for field in dataclasses.fields(cls.Config)
        if field.metadata["choices"]
    }
    return [tiny] + [{**tiny, n: c} for n, several in choices.items() for c in several]


def unread(name, config_class):
    """Fields of a Config that neither `create` nor a step looks at, in any variant."""
    cls, data = models.find(name), harness.stream(name)
    left = {field.name for field in dataclasses.fields(config_class)}
    for values in variants(cls):
        read = set()
        config = recording(config_class, read)(**values)
        model = models.build(name, config=config, spec=data.spec, run_eagerly=True)
        if left - read:
            model.fit(data, steps_per_epoch=2, verbose=0)
        left -= read
        if not left:
            break
    return left


@pytest.mark.parametrize("name", parameters(harness.names(), set(QUICK) - set(LONG)))
def test_every_field_of_config_is_read(name):
    assert unread(name, models.find(name).Config) == set()


def test_a_field_that_nobody_reads_is_found():
    @dataclasses.dataclass(frozen=True)
    class Larger(models.find(harness.TOY).Config):
        dropout: float = 0.5

    assert unread(harness.TOY, Larger) == {"dropout"}


SAMPLERS = [n for n in harness.names() if hasattr(models.find(n), "sample")]


@pytest.mark.parametrize("name", parameters(SAMPLERS, QUICK))
def test_samples_depend_on_seed_and_row_alone(name):
    model = harness.build(name)
    eight = model.sample(8, seed=3)
    data = next(iter(model.spec.features.values()))
    assert eight.shape == (8, *data.shape)
    assert eight.dtype == tf.float32
    # Another number of rows is another matrix product: not bitwise. Sound adds up
    # phases, of 25 radians here.
    atol = 2e-5 if "audio" in model.spec.features else 1e-6
    np.testing.assert_allclose(model.sample(3, seed=3), eight[:3], atol=atol)
    rest = model.sample(5, seed=3, first=3)
    np.testing.assert_allclose(rest, eight[3:], atol=atol)
    # Small: an untrained network of small kernels, its norms not of this batch.
    assert np.abs(model.sample(8, seed=4) - eight).max() > 1e-5


def is_averaged(name):
    config = models.configure(name, "tiny")
    averages = (getattr(config, f"average_{way}", 0) for way in ("decay", "images"))
    return any(averages) and hasattr(models.find(name), "sample")


@pytest.mark.parametrize(
    "name", parameters(filter(is_averaged, harness.names()), QUICK)
)
def test_samples_are_of_the_moving_average(name):
    model = harness.build(name)
    of_start = np.asarray(model.sample(2, seed=1))
    for variable in model.generator.variables:
        variable.assign(variable + keras.ops.cast(1, variable.dtype))
    np.testing.assert_array_equal(model.sample(2, seed=1), of_start)
    for variable in model.generator_ema.trainable_variables:
        variable.assign(variable + 0.1)
    assert np.abs(model.sample(2, seed=1) - of_start).max() > 1e-4
