"""2,000 steps with everything on: nothing is traced again, nothing piles up."""

import os
import resource

import pytest

from tests.synthetic import stream
from tfgen import callbacks
from tfgen.callbacks.steps import AtSteps

STEPS, WARM = 2000, 500


class Witness(AtSteps):
    """Notes traces and resident memory at steps."""

    def begin(self, step):
        self.traces, self.bytes = {}, {}

    def at(self, step, logs):
        if self.due(100):
            self.traces[step] = dict(self.model.traces)
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
            self.bytes[step] = pages * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "wgan_gp"])
def test_nothing_piles_up(tmp_path, name):
    import tfgen

    data = stream(12)
    model = tfgen.build(name, "tiny", spec=data.spec)
    os.makedirs(tmp_path / "checkpoints")
    board = callbacks.TensorBoard(
        tmp_path / "tensorboard", {"a": 1}, histograms_every=50
    )
    witness = Witness()
    saver = callbacks.Checkpoints(tmp_path / "checkpoints", 50, before=[board.flush])
    model.log_every = 10
    model.fit(
        data,
        steps_per_epoch=STEPS,
        verbose=0,
        callbacks=[
            callbacks.NaNGuard(10),
            callbacks.Progress(STEPS, 500, 16),
            callbacks.CSVLog(tmp_path / "metrics.csv"),
            board,
            callbacks.SampleGrid(tmp_path, 50, also=board.picture),
            callbacks.Validation(stream(12, seed=1), 100, [board.scalars]),
            saver,
            witness,
        ],
    )
    assert model.steps_done == STEPS
    first = witness.traces[100]
    assert first["train_function"] == 1 and first["test_function"] == 1
    assert all(traces == first for traces in witness.traces.values())
    grown = witness.bytes[STEPS] - witness.bytes[WARM]
    assert grown < 30e6, {step: size / 1e6 for step, size in witness.bytes.items()}
    assert len(list((tmp_path / "samples").iterdir())) == STEPS // 50
    assert len(list((tmp_path / "checkpoints").glob("*.npz"))) == 3
