"""What happens beside training: at which steps, and what is left on disk."""

import csv
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.core.stock import StockConfig
from tests.synthetic import stream
from tfgen import callbacks, models
from tfgen.callbacks.steps import AtSteps
from tfgen.callbacks.tensorboard import drop_events_past
from tfgen.core import checkpoint
from tfgen.core.errors import Stopped


def build(name="tests.toy_gan:ToyGAN", **options):
    return models.build(name, "tiny", spec=stream(8).spec, xla="off", **options)


def fit(model, steps, *given):
    model.fit(stream(8), steps_per_epoch=steps, verbose=0, callbacks=list(given))


class Steps(AtSteps):
    def __init__(self, every):
        super().__init__()
        self.every, self.seen, self.began = every, [], []

    def begin(self, step):
        self.began.append(step)

    def at(self, step, logs):
        if self.due(self.every):
            self.seen.append(step)


@pytest.mark.parametrize(
    ("per_execution", "every", "wanted"),
    [(1, 3, [3, 6]), (1, 0, []), (2, 4, [4, 8]), (4, 3, [4, 8]), (2, 1, [2, 4, 6, 8])],
)
def test_due_steps(per_execution, every, wanted):
    steps = Steps(every)
    fit(build(steps_per_execution=per_execution), 8, steps)
    assert steps.seen == wanted


def test_steps_go_on_after_a_restore():
    model, steps = build(), Steps(4)
    fit(model, 3, steps)
    fit(model, 6, steps)
    assert steps.began == [0, 3]
    assert steps.seen == [4, 8]


# The guard --------------------------------------------------------------------


def broken(**options):
    from tests.core.test_model import Breaks

    model = Breaks.create(StockConfig(), stream(8).spec)
    model.compile(**options)
    return model


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_guard_stops_and_names_step_and_loss(xla):
    with pytest.raises(Stopped, match="step 5: broken_maker_loss of generator is not"):
        fit(broken(xla=xla), 10, callbacks.NaNGuard())


def test_a_training_that_fails_gives_back_what_it_took(tmp_path):
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(number) for number in numbers]
    model = broken(log_every=5)
    progress = callbacks.Progress(6, 5, 16)
    board = callbacks.TensorBoard(tmp_path)
    with pytest.raises(Stopped):
        saver = callbacks.Checkpoints(tmp_path, 0)
        fit(model, 6, progress, board, callbacks.NaNGuard(), saver)
    assert [signal.getsignal(number) for number in numbers] == before
    assert model.log_every == 5
    assert not checkpoint.steps(tmp_path)


def test_the_guard_looks_when_due():
    model = broken()
    with pytest.raises(Stopped, match="step 5: "):
        fit(model, 20, callbacks.NaNGuard(every=8))
    assert model.steps_done == 8


def test_the_guard_may_skip(capsys):
    model, guard = broken(undo_nonfinite=True), callbacks.NaNGuard(policy="skip")
    fit(model, 8, guard)
    assert guard.skipped == 1
    assert model.steps_done == 8
    error = capsys.readouterr().err
    assert "step 5: broken_maker_loss of generator" in error
    assert "the step is undone" in error
    assert all(np.isfinite(w).all() for w in model.generator.get_weights())


@pytest.mark.parametrize("length", [1, 4])
def test_the_guard_does_not_skip_for_ever(length):
    from tests.core.test_model import Breaks

    class BreaksAgain(Breaks):
        """At step 4, and from step 8 on."""

        @property
        def at(self):
            return tf.where(self.step.value >= 8, self.step.value, 4)

    model = BreaksAgain.create(StockConfig(), stream(8).spec)
    model.compile(undo_nonfinite=True, steps_per_execution=length)
    guard = callbacks.NaNGuard(4, "skip")
    fit(model, 104, guard)  # 96 in a row
    assert (guard.skipped, model.nonfinite_in_a_row) == (25, 96)
    fit(model, 96, guard)  # a run that goes on counts its own
    with pytest.raises(Stopped, match="step 296: .* the last 100 steps were all und"):
        fit(model, 200, guard)


# Logs -------------------------------------------------------------------------


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_each_step_once(tmp_path):
    path, model = tmp_path / "metrics.csv", build(log_every=2)
    fit(model, 6, callbacks.CSVLog(path))
    assert [row["step"] for row in rows(path)] == ["2", "4", "6"]
    assert set(rows(path)[0]) == {"step", "discriminator_loss", "generator_loss"}
    # The run is cut back to step 3; half a line was being written.
    with open(path, "a") as file:
        file.write("8,0.5")
    earlier = rows(path)[:1]
    model.step.assign(3)
    fit(model, 3, callbacks.CSVLog(path))
    assert [row["step"] for row in rows(path)] == ["2", "4", "6"]
    assert rows(path)[:1] == earlier
    assert float(rows(path)[-1]["generator_loss"]) > 0


def test_csv_takes_scalars_that_come_later(tmp_path):
    log = callbacks.CSVLog(tmp_path / "metrics.csv")
    log.begin(0)
    log.add(1, {"a": 1.5})
    log.add(2, {"a": 2.0, "b": 3.0})
    log.add(2, {"c": 4.0})
    log.add(3, {"a": 0.1})
    assert rows(log.path) == [
        {"step": "1", "a": "1.5", "b": "", "c": ""},
        {"step": "2", "a": "2.0", "b": "3.0", "c": "4.0"},
        {"step": "3", "a": "0.1", "b": "", "c": ""},
    ]
    assert not list(tmp_path.glob("*.partial"))


def test_progress_prints_plain_lines(capsys):
    progress = callbacks.Progress(total=6, every=2, rows=16)
    fit(build(), 6, progress)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["step", "2/6"],
        ["step", "4/6"],
        ["step", "6/6"],
    ]
    assert "generator_loss" in lines[-1]
    assert progress.examples_per_second > 0


# Pictures ---------------------------------------------------------------------


def test_grid():
    images = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones(
        [1, 2, 3, 1], "uint8"
    )
    picture = callbacks.grid(images, gap=1)
    assert picture.shape == (2 * 3 - 1, 3 * 4 - 1, 1)
    assert np.all(picture[3:5, 4:7] == 4)
    assert np.all(picture[2] == 128)
    assert np.all(picture[3:, 8:] == 128)
    wide = callbacks.grid(images, columns=5, gap=0)
    np.testing.assert_array_equal(wide[0, ::3, 0], np.arange(5))


def test_sample_grids_are_of_fixed_latents(tmp_path):
    model, seen, wanted = build("wgan_gp"), [], []
    pictures = callbacks.SampleGrid(
        tmp_path,
        every=2,
        num=4,
        also=lambda step, picture: seen.append((step, picture)),
    )
    fit(
        model,
        5,
        pictures,
        At(4, lambda: wanted.append(model.sample(4, seed=0).numpy())),
    )
    files = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert files == ["step_000000002.png", "step_000000004.png"]
    assert [step for step, _ in seen] == [2, 4]
    with Image.open(tmp_path / "samples" / files[1]) as image:
        np.testing.assert_array_equal(np.asarray(image), seen[1][1][..., 0])
    pixels = np.clip(np.rint((wanted[0] + 1) * 127.5), 0, 255).astype("uint8")
    apart = callbacks.grid(pixels).astype(int) - seen[1][1]
    # A graph may round one pixel's half the other way.
    assert np.abs(apart).max() <= 1
    assert np.any(seen[0][1] != seen[1][1])


class At(keras.callbacks.Callback):
    """Runs a function when a step is done."""

    def __init__(self, step, function):
        super().__init__()
        self.step, self.function = step, function

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_done == self.step:
            self.function()


# Saves ------------------------------------------------------------------------


def test_saves_every_so_often_and_at_the_end(tmp_path):
    flushed = []
    save = callbacks.Checkpoints(
        tmp_path, every=2, keep=2, before=[lambda: flushed.append(1)]
    )
    fit(build(), 7, save)
    assert checkpoint.steps(tmp_path) == [6, 7]
    assert len(flushed) == 4


def test_a_step_is_saved_once(tmp_path):
    flushed = []
    save = callbacks.Checkpoints(tmp_path, 2, before=[lambda: flushed.append(1)])
    fit(build(), 4, save)
    assert len(flushed) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_training_with_a_save(tmp_path, number):
    before = signal.getsignal(number)
    model = build()
    save = callbacks.Checkpoints(tmp_path, every=100)
    fit(model, 50, At(3, lambda: os.kill(os.getpid(), number)), save)
    assert model.steps_done == 3
    assert checkpoint.steps(tmp_path) == [3]
    assert save.signal == number
    assert signal.getsignal(number) is before


# TensorBoard ------------------------------------------------------------------


def events(folder):
    """[(step, tag)] of all scalars, pictures and histograms, in file order."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found += [(event.step, value.tag) for value in event.summary.value]
    return found


def test_tensorboard_holds_each_step_once(tmp_path):
    board = callbacks.TensorBoard(tmp_path, histograms_every=4)
    model = build()
    fit(model, 6, board)
    model.step.assign(3)
    fit(model, 3, callbacks.TensorBoard(tmp_path))
    found = events(tmp_path)
    scalars = [step for step, tag in found if tag == "generator_loss"]
    assert sorted(scalars) == [1, 2, 3, 4, 5, 6]
    assert not [step for step, tag in found if "kernel" in tag and step > 3]


def test_tensorboard_takes_pictures_and_histograms(tmp_path):
    board = callbacks.TensorBoard(tmp_path, hparams={"rate": 0.1}, histograms_every=2)
    model = build()
    fit(model, 2, board)
    found = events(tmp_path)
    assert (2, "generator/000.kernel") in found
    assert (0, "_hparams_/session_start_info") in found
    assert not [tag for _, tag in found if "optimizer" in tag]


def test_events_of_a_killed_run_are_cut(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default():
        for step in range(1, 6):
            tf.summary.scalar("loss", step, step=step)
    writer.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    path.write_bytes(path.read_bytes()[:-5])
    drop_events_past(tmp_path, 3)
    assert [step for step, tag in events(tmp_path)] == [1, 2, 3]
