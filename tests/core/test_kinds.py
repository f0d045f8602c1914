"""Steps of several kinds: the host picks each one's graph, also within an execution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.core.test_model import Breaks, Recorder, build, compiled, fit, options, state
from tfgen.core import checkpoint
from tfgen.core.model import GenerativeModel


class Lazy(GenerativeModel):
    """f(x) = w.x; w moves a second time at every 2nd, a third at every 4th step."""

    @classmethod
    def create(cls, config, spec):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        return cls(config, spec, network=keras.Sequential([keras.Input([2]), layer]))

    def default_optimizers(self):
        return {"optimizer": keras.optimizers.SGD(0.1, momentum=0.5)}

    def line_loss(self, x):
        return tf.reduce_mean(tf.square(self.network(x)))

    def move(self, batch, name):
        x = self.noise(name, batch["image"].shape[0], [2])
        loss = self.descend(self.line_loss, self.network, self.optimizer, x)
        return self.track(**{name: loss, f"{name}_at": self.step.value})

    def step_method(self, step):
        return {0: "thrice_step", 2: "twice_step"}.get(step % 4, "train_step")

    def train_step(self, batch):
        return self.move(batch, "once")

    def twice_step(self, batch):
        return self.move(batch, "once") | self.move(batch, "twice")

    def thrice_step(self, batch):
        return self.twice_step(batch) | self.move(batch, "thrice")


@pytest.mark.parametrize(
    "way", ["plain", "xla", pytest.param("two replicas", marks=pytest.mark.slow)]
)
def test_steps_of_an_execution_are_of_their_kinds(way, two_replicas):
    states, patterns = [], []
    for length in (1, 6, 12):
        how = options(way, two_replicas) | {"steps_per_execution": length}
        model = build(Lazy, **how)
        fit(model, 12)
        once = dict(model.traces)
        patterns.append({name for name in once if "loss" not in name})
        states.append(state(model))
        fit(model, 24)
        assert model.traces == once
        # 36 steps, 18 second and 9 third moves.
        iterations = model.state()["optimizer/000.iteration"].value.numpy()
        assert iterations == 36 + 18 + 9
    assert states[1:] == states[:1] * 2
    # Six steps of a cycle of four start at 0, 2, 0, ...: two patterns.
    assert patterns == [
        {"thrice_step", "train_function", "twice_step"},
        {"thrice_step train_step twice_step", "twice_step train_step thrice_step"},
        {"thrice_step train_step twice_step"},
    ]


def test_logs_hold_the_latest_of_each_kind():
    # Of steps 0 to 5 the last one has only `once`, 4 all three; 2 to 5 of 6 to 11.
    found = {}
    for length in (1, 3, 6):
        record = Recorder()
        model = build(Lazy, log_every=6, steps_per_execution=length)
        fit(model, 12, callbacks=[record])
        found[length] = [logs for logs in record.logs if logs]
        steps = [
            [logs[f"{name}_at"] for name in ("once", "twice", "thrice")]
            for logs in found[length]
        ]
        assert steps == [[5, 4, 4], [11, 10, 8]]
    assert found[1] == found[3] == found[6]


def test_logs_are_no_older_than_the_last_ones():
    record = Recorder()
    fit(build(Lazy), 4, callbacks=[record])
    assert ["thrice" in logs for logs in record.logs] == [True, False, False, False]


def test_a_cut_run_logs_what_it_had_not_yet_shown(tmp_path):
    whole, first, second = (build(Lazy, log_every=6) for _ in range(3))
    records = [Recorder(), Recorder()]
    fit(whole, 6, callbacks=[records[0]])
    fit(first, 5)
    checkpoint.save(first, tmp_path)
    checkpoint.restore_newest(second, tmp_path, warn=None)
    fit(second, 1, callbacks=[records[1]])
    assert records[0].logs[-1] == records[1].logs[-1]
    assert {"once", "twice", "thrice"} <= records[1].logs[-1].keys()


def test_a_run_cut_between_two_kinds_goes_on(tmp_path):
    whole, first, second = (build(Lazy, steps_per_execution=n) for n in (9, 3, 2))
    fit(whole, 9)
    fit(first, 3)
    checkpoint.save(first, tmp_path)
    assert checkpoint.restore_newest(second, tmp_path, warn=None) == 3
    fit(second, 6)
    assert checkpoint.digest(whole) == checkpoint.digest(second)


class BreaksInTurns(Breaks):
    """Every third step is run by a method of its own."""

    def step_method(self, step):
        return "both_steps" if step % 3 == 2 else "train_step"

    def both_steps(self, batch):
        return self.train_step(batch)


@pytest.mark.parametrize("length", [1, 6])
def test_the_first_nonfinite_step_of_several_kinds(length):
    model = compiled(BreaksInTurns, steps_per_execution=length)
    fit(model, 6)
    assert model.nonfinite() == (5, "broken_maker_loss of generator")
    assert model.nonfinite() is None
    if length == 1:
        assert model.traces["train_function"] == model.traces["both_steps"] == 1


@pytest.mark.slow
def test_an_undone_step_is_one_of_its_execution():
    states = []
    for length in (1, 6):
        model = build(
            BreaksInTurns, undo_nonfinite=True, steps_per_execution=length, seed=1
        )
        model.at = 3
        fit(model, 6)
        assert model.nonfinite() == (3, "broken_maker_loss of generator")
        assert all(np.isfinite(v.numpy()).all() for v in model.state().values())
        states.append(state(model))
    assert states[0] == states[1]
