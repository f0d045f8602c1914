"""Alarms: which reports sound them, and which models."""

import keras
import numpy as np
import pytest

from tests.synthetic import stream
from tfgen import callbacks, models
from tfgen.core.errors import Stopped

HEALTHY = {
    "discriminator_loss": 1.2,
    "generator_loss": 0.9,
    "health/real_accuracy": 0.8,
    "health/fake_accuracy": 0.75,
    "health/diversity": 0.9,
    "health/generator_gradient_norm": 0.3,
    "health/active_units": 1.0,
}
WON = {
    "discriminator_loss": 0.05,
    "health/real_accuracy": 1.0,
    "health/fake_accuracy": 1.0,
}


def sounded(reports, every=50, policy="log"):
    """{alarm: step} after one report each `every` steps; and the last logs."""
    health = callbacks.Health(policy)
    health.begin(0)
    for number, report in enumerate(reports):
        logs = dict(report)
        health.at(every * (number + 1), logs)
    return health.raised, logs


def test_rare_logs_sound_alarms_too():
    raised, _ = sounded([HEALTHY] * 5 + [HEALTHY | WON] * 4, every=100)
    assert raised == {"discriminator_won": 800}


def test_stages_have_losses_of_their_own():
    source = {"source_cross_entropy": 0.3, "health/source_gradient_norm": 1.0}
    raised, logs = sounded([source] * 4 + [HEALTHY] * 4)
    assert not raised and logs["alarm/diverged"] == 0.0
    new = [HEALTHY | {"mapping_loss": 10.0**n} for n in range(6)]
    assert not sounded([HEALTHY] * 6 + new)[0]


def test_a_model_may_report_less():
    bare = {"discriminator_loss": 0.01, "health/diversity": 0.9}
    assert not sounded([bare] * 9)[0]


@pytest.mark.parametrize("every", [1, 10, 50])
@pytest.mark.parametrize(
    ("alarm", "change"),
    [
        ("discriminator_won", WON),
        ("collapse", {"health/diversity": 0.001}),
        ("generator_gradient_vanished", {"health/generator_gradient_norm": 1e-6}),
        ("diverged", {"generator_loss": -5e4}),
        ("posterior_collapse", {"health/active_units": 0.0}),
    ],
)
def test_alarms_sound_when_a_condition_lasts(every, alarm, change):
    before = [HEALTHY] * (200 // every)
    sick = [HEALTHY | change] * (250 // every)
    if alarm == "diverged":  # and grows
        sick = [HEALTHY | {"generator_loss": -5e4 * (1 + n)} for n in range(len(sick))]
    raised, logs = sounded(before + sick, every)
    assert list(raised) == [alarm]
    # Not before the whole window is sick, and within 200 steps of its start.
    assert 300 < raised[alarm] <= 400
    assert logs[f"alarm/{alarm}"] == 1.0
    assert sum(v for name, v in logs.items() if name.startswith("alarm/")) == 1.0


@pytest.mark.parametrize(
    "change",
    [
        WON | {"health/real_accuracy": 0.99},
        WON | {"discriminator_loss": 0.2},
        {"health/diversity": 0.3},
        {"health/generator_gradient_norm": 1e-4},
        {"generator_loss": -900.0},
    ],
)
def test_near_misses_are_silent(change):
    raised, logs = sounded([HEALTHY] * 10 + [HEALTHY | change] * 10)
    assert raised == {}
    assert not any(v for name, v in logs.items() if name.startswith("alarm/"))


def test_a_short_fit_is_silent():
    raised, _ = sounded(([HEALTHY] * 3 + [HEALTHY | WON]) * 5)
    assert raised == {}


def test_samples_that_grow_apart_have_not_collapsed():
    growing = [HEALTHY | {"health/diversity": 1e-4 * 2**n} for n in range(7)]
    assert sounded(growing)[0] == {}


@pytest.mark.parametrize(
    ("diversity", "raised"), [(0.02, {"collapse": 1550}), (0.3, {})]
)
def test_samples_may_be_alike_in_the_beginning(diversity, raised):
    assert sounded([HEALTHY | {"health/diversity": diversity}] * 36)[0] == raised


def test_trend_is_of_the_estimate():
    reports = [{"wasserstein_estimate": e, "health/ranking": 1.0} for e in (8, 8, 4, 4)]
    assert sounded(reports)[1]["health/estimate_trend"] == pytest.approx(-0.5)


def test_a_resumed_run_judges_as_one_that_was_not_cut(tmp_path):
    path = tmp_path / "metrics.csv"
    growing = [HEALTHY | {"wasserstein_estimate": 9.0 - n / 3} for n in range(4)]
    reports = growing + [r | {"health/diversity": 0.001} for r in growing * 2]

    def judge(health, first, last):
        health.begin(first)
        table = callbacks.CSVLog(path)
        table.begin(first)
        for number in range(first // 50, last // 50):
            logs = dict(reports[number])
            health.at(50 * (number + 1), logs)
            table.add(50 * (number + 1), logs)
        return health.raised

    whole = judge(callbacks.Health(table=path), 0, 600)
    assert whole == {"collapse": 400}
    text = path.read_text()
    judge(callbacks.Health(table=path), 0, 550)
    # Cut, and resumed from step 250: what was written since is judged anew.
    assert judge(callbacks.Health(table=path), 250, 600) == whole
    assert path.read_text() == text


def test_stop():
    with pytest.raises(Stopped, match="step 150: alarm discriminator_won: .*0.05"):
        sounded([HEALTHY | WON] * 5, policy="stop")


def test_models_that_report_nothing_are_let_be():
    assert sounded([{"elbo": -100.0}] * 10) == ({}, {"elbo": -100.0})


# Models -----------------------------------------------------------------------


def train(steps, constant, name="gan", **hparams):
    """Health after training against a generator that does not learn."""
    model = models.build(
        name,
        "tiny",
        spec=stream(8).spec,
        hparams={"average_decay": 0.0, **hparams},
        xla="off",
        log_every=10,
        generator_optimizer=keras.optimizers.SGD(1e-30),
    )
    if constant:
        last = model.generator.layers[-2]
        last.kernel.assign(np.zeros(last.kernel.shape))
    health = callbacks.Health()
    model.fit(stream(8), steps_per_epoch=steps, verbose=0, callbacks=[health])
    return health.raised


@pytest.mark.parametrize("name", ["gan", "wgan_gp"])
def test_a_generator_of_one_picture_has_collapsed(name, capsys):
    raised = train(200, True, name)
    assert raised["collapse"] <= 200
    assert "alarm collapse: diversity " in capsys.readouterr().err


def test_a_posterior_under_a_heavy_rate_has_collapsed(capsys):
    raised = {}
    for beta in (0.3, 1000.0):
        model = models.build(
            "vae",
            "tiny",
            spec=stream(8).spec,
            hparams={"beta": beta, "learning_rate": 0.01},
            xla="off",
            log_every=10,
        )
        health = callbacks.Health()
        model.fit(stream(8), steps_per_epoch=300, verbose=0, callbacks=[health])
        raised[beta] = set(health.raised)
    assert raised == {0.3: set(), 1000.0: {"posterior_collapse"}}
    assert "alarm posterior_collapse: active_units 0" in capsys.readouterr().err


def test_a_discriminator_that_is_always_right_has_won():
    # It learns in a few steps what tells noise from digits.
    raised = train(200, False, learning_rate=0.01, keep_hidden=1.0)
    assert raised["discriminator_won"] <= 200
