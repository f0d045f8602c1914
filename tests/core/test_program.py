"""Steps of an execution as one XLA program: they are the steps they would be alone."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import harness
from tfgen import models
from tfgen.core import checkpoint, program

NAMES = [name for name in models.MODELS if models.find(name).whole_steps]
QUICK = ("vae",)


def trained(name, steps, length, **options):
    """A model after `steps`, in executions of `length`; under XLA."""
    model = harness.build(name, xla=True, steps_per_execution=length, **options)
    return harness.train(model, steps)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NAMES],
)
def test_a_program_of_steps_computes_them(name):
    start = harness.trained(harness.build(name, sgd=True))
    one = harness.trained(trained(name, 8, 1, sgd=True))
    several = trained(name, 8, 4, sgd=True)
    assert several.steps_done == 8
    # XLA may fuse otherwise, and round otherwise. Other noise or rows differ by 1.
    assert harness.difference(start, one, harness.trained(several)) < 1e-4
    assert several.traces["train_function"] == 1
    assert not several._programs  # no program for each update besides
    assert not several._functions


@pytest.mark.slow
def test_how_many_steps_a_program_has_does_not_matter(monkeypatch):
    digests = set()
    for length, longest in ((4, 50), (12, 50), (12, 4)):
        monkeypatch.setattr(program, "LONGEST", longest)
        digests.add(checkpoint.digest(trained("vae", 12, length)))
    assert len(digests) == 1


def test_a_later_fit_goes_on():
    whole, parts = trained("vae", 12, 4), trained("vae", 4, 4)
    harness.train(parts, 8)
    assert checkpoint.digest(whole) == checkpoint.digest(parts)


@pytest.mark.slow
def test_executions_may_become_longer():
    # Graphs of the first training function are not shared: they gave no gradients.
    one = trained(harness.TOY, 8, 1)
    longer = trained(harness.TOY, 4, 1)
    longer.steps_per_execution = 4
    longer.make_train_function(force=True)
    harness.train(longer, 4)
    assert checkpoint.digest(one) == checkpoint.digest(longer)


@pytest.mark.slow
def test_logs_are_those_of_the_last_step():
    logs = [
        harness.build("vae", xla=True, steps_per_execution=n).fit(
            harness.stream("vae"), steps_per_epoch=8, verbose=0
        )
        for n in (1, 4)
    ]
    one, several = (each.history for each in logs)
    assert one.keys() == several.keys()
    for name, value in one.items():
        np.testing.assert_allclose(several[name], value, rtol=1e-4)


class Breaks(models.find("vae")):
    """The weight of step 5 is not a number."""

    def loss_inputs(self, batch):
        images, epsilon, weight = super().loss_inputs(batch)
        broken = tf.where(self.step.value == 5, float("nan"), 1.0)
        return images, epsilon, weight * broken


@pytest.mark.parametrize("undo", [False, True])
def test_a_nan_within_a_program_is_found(undo):
    path = f"{Breaks.__module__}:{Breaks.__qualname__}"
    model = harness.build(
        path, xla=True, steps_per_execution=4, undo_nonfinite=undo, log_every=4
    )
    harness.train(model, 8)
    assert model.nonfinite() == (5, "loss_and_parts of encoder and decoder")
    finite = all(np.isfinite(v.numpy()).all() for v in model.state().values())
    assert finite == undo


def test_only_one_device_under_xla_runs_programs(two_replicas):
    pair = harness.build("vae", two_replicas, xla=True, steps_per_execution=4)
    plain = harness.build("vae", steps_per_execution=4)
    one = harness.build("vae", xla=True, steps_per_execution=4)
    adversarial = harness.build("wgan_gp", xla=True, steps_per_execution=4)
    found = [m._is_one_program() for m in (pair, plain, one, adversarial)]
    assert found == [False, False, True, False]
