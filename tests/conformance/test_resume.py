"""Saved, restored by a process that never saw the model, then bitwise the same."""

import pytest

from tests.conformance import harness
from tfgen.core import checkpoint

BEFORE, AFTER = 3, 3
QUICK = [("wgan_gp", 2, False)]
# The others: a save holds nothing that depends on how a step is compiled.
EVERY_WAY = ("vae", "wgan", "wgan_gp")
# Whose replicas do more than average gradients: statistics of their own, rows gathered.
TWO_REPLICAS = ("dcgan", "gmmn", "vae_table")


def check(cases, folder, strategy, timeout):
    """Train half here, all here, and the second half in one fresh process."""
    runs, unbroken = [], []
    for number, (name, replicas, xla) in enumerate(cases):
        saves = folder / str(number)
        saves.mkdir()
        model = harness.build(name, strategy if replicas > 1 else None, xla)
        harness.train(model, BEFORE)
        checkpoint.save(model, saves)
        halfway = checkpoint.digest(model)
        harness.train(model, AFTER)
        unbroken.append(checkpoint.digest(model))
        assert unbroken[-1] != halfway
        run = {"model": name, "replicas": replicas, "xla": xla, "sgd": False}
        runs.append(run | {"steps": AFTER, "restore": str(saves)})
    process = harness.start_process({"strategy": "mirrored", "runs": runs})
    (resumed,) = harness.answers([process], timeout)
    broken = [c for c, a, b in zip(cases, unbroken, resumed, strict=True) if a != b]
    assert not broken


def test_a_fresh_process_goes_on_bitwise(tmp_path, two_replicas):
    check(QUICK, tmp_path, two_replicas, timeout=200)


def ways(name):
    """(replicas, xla) that a model is resumed with."""
    if name in EVERY_WAY:
        return [(1, False), (1, True), (2, False), (2, True)]
    return [(2 if name in TWO_REPLICAS else 1, False)]


@pytest.mark.slow
@pytest.mark.parametrize("names", harness.by_file(harness.distinct()), ids=",".join)
def test_every_model_goes_on_bitwise(names, tmp_path, two_replicas):
    cases = [(name, *way) for name in names for way in ways(name)]
    check(cases, tmp_path, two_replicas, timeout=600)
