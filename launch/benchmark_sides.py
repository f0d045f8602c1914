"""Two sides of a benchmark: stepping them, comparing them, timing them."""

import resource
import sys
import time

import numpy as np
import tensorflow as tf

from . import benchmark_twins

TOLERANCE = 1e-4  # of losses, and of gradients relative to their largest


def say(message):
    """Print a line to stderr."""
    print(message, file=sys.stderr, flush=True)


class Steps:
    """A training function called in a loop.

    Args:
        model: Has `train_function(iterator)` and `state()`.
        stream: The data.
        updates: Batches in an element.
    """

    def __init__(self, model, stream, updates):
        self.model, self.length = model, 1
        self.iterator = iter(stream.dataset(updates=updates))
        if hasattr(model, "make_train_function"):
            model.feed_from(stream.spec)
            model.make_train_function()

    def first(self):
        """Run one step; returns its losses."""
        logs = self.model.train_function(self.iterator)
        return {name: float(value) for name, value in logs.items()}

    def state(self):
        """Return {name: array} of all variables but the step count."""
        return _arrays(self.model.state())

    def lengthen(self, steps):
        """From now on run so many steps a call."""
        if steps > 1:
            self.length = self.model.steps_per_execution = steps
            self.model.make_train_function(force=True)

    def block(self, steps):
        """Run steps and wait for the last."""
        for _ in range(steps // self.length):
            logs = self.model.train_function(self.iterator)
        for value in logs.values():
            value.numpy()


class FitOurs(Steps):
    """`fit` of a `GenerativeModel`."""

    def __init__(self, model, stream):
        super().__init__(model, stream, model.updates_per_step)
        self.stream = stream

    def block(self, steps):
        """Fit for some steps."""
        self.model.fit(self.stream, steps_per_epoch=steps, verbose=0)


class FitTheirs:
    """`fit` of a plain Keras model."""

    def __init__(self, name, twin, stream, updates, xla):
        self.twin, self.xla = twin, xla
        self.model = benchmark_twins.KerasModel(name, twin)
        self.dataset = stream.dataset(updates=updates)
        self.model.compile(optimizer=None, jit_compile=xla)

    def first(self):
        """Run one step by hand: inside XLA the same key draws other noise."""
        logs = self.twin.train_function(iter(self.dataset))
        return {name: float(value) for name, value in logs.items()}

    def state(self):
        """Return {name: array} of all variables."""
        return _arrays(self.twin.state())

    def block(self, steps):
        """Fit for some steps."""
        self.model.fit(self.dataset, steps_per_epoch=steps, verbose=0)


def _arrays(state):
    """Return {owner/position and kind: array}, less layers' automatic numbers."""
    arrays = {}
    for name, variable in state.items():
        if name != "step":
            kind = "momentum" if name.endswith("momentum") else "other"
            arrays[f"{name.split('.')[0]} {kind}"] = variable.value.numpy()
    return arrays


def compare(ours, theirs):
    """Run one step of both; returns the largest differences.

    Adam's first moment after a first step is (1 - beta_1) times the gradient, so
    comparing optimizers' variables compares gradients.

    Raises:
        RuntimeError: They do not compute the same.
    """
    mine, other = ours.first(), theirs.first()
    losses = max(
        abs(mine[name] - value) / max(1.0, abs(value)) for name, value in other.items()
    )
    state, other = ours.state(), theirs.state()
    moments = [name for name in state if name.endswith("momentum")]
    largest = max(np.abs(state[name]).max() for name in moments)
    gradients = max(
        # Gradients that cancel to nothing (a bias of the scores) are rounding noise.
        float(
            np.abs(other[name] - state[name]).max()
            / max(np.abs(state[name]).max(), 1e-3 * largest)
        )
        for name in moments
    )
    found = {"loss_difference": losses, "gradient_difference": gradients}
    tolerance = getattr(theirs, "tolerance", TOLERANCE)
    if not max(found.values()) < tolerance:  # a NaN fails too
        raise RuntimeError(f"the twin computes something else: {found}")
    return found


def alternate(ours, theirs, steps, rounds):
    """Return [(our seconds, their seconds)] a step, one pair a round.

    Args:
        ours: Function running that many steps.
        theirs: The same of the twin.
        steps: Steps in a block.
        rounds: Pairs of blocks that count; one more warms up.
    """
    seconds = []
    for number in range(-1, rounds):
        pair = []
        for block in (ours, theirs):
            started = time.perf_counter()
            block(steps)
            pair.append((time.perf_counter() - started) / steps)
        if number >= 0:  # the first round warms up
            seconds.append(pair)
            ours_ms, theirs_ms = (round(1e3 * each, 3) for each in pair)
            say(f"round {number + 1}: ours {ours_ms} ms, theirs {theirs_ms} ms a step")
    return seconds


def summary(seconds):
    """Return medians and quartiles of times and of the ratio ours / theirs."""
    seconds = np.array(seconds)
    low, middle, high = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75])
    ours, theirs = np.median(seconds, axis=0)
    return {
        "ours_ms": round(1e3 * float(ours), 4),
        "theirs_ms": round(1e3 * float(theirs), 4),
        "ratio": round(float(middle), 4),
        "ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
    }


def by_kind(ours, steps, rounds):
    """Return {method: seconds of each of the steps it ran}, each waited for.

    Args:
        ours: `Steps` of a `GenerativeModel`.
        steps: Steps in a round, a whole cycle of kinds.
        rounds: That count; one more warms up.
    """
    seconds = {}
    for number in range(steps * (1 + rounds)):
        method = ours.model.step_method(ours.model.steps_done)
        started = time.perf_counter()
        ours.block(1)
        if number >= steps:
            seconds.setdefault(method, []).append(time.perf_counter() - started)
    return seconds


def summary_of_kinds(seconds, rows, model):
    """Return each kind's median, their mean over the cycle, rows a second, memory.

    `added_ms`, of a model some of whose steps have further updates: what each of these
    adds to the steps it is in, beside the step without, "main".
    """
    medians = {method: np.median(each) for method, each in seconds.items()}
    count = sum(map(len, seconds.values()))
    mean = sum(len(each) * medians[m] for m, each in seconds.items()) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "ours_ms": round(1e3 * float(mean), 4),
        "kinds_ms": {m: round(1e3 * float(each), 4) for m, each in medians.items()},
        **_added(medians, model),
        "examples_per_second": round(rows / float(mean), 2),
        "peak_memory_mib": round(peak / 1024),
    }


def _added(medians, model):
    """Split kinds `<update>_step` and `<update>_and_<update>_step` into their updates.

    Least squares: one unknown for each update and one for what all steps have.
    """
    kinds = [kind.removesuffix("_step").split("_and_") for kind in medians]
    kinds = [[] if updates == ["train"] else updates for updates in kinds]
    names = sorted(set().union(*kinds))
    if not names or not all(hasattr(model, f"{name}_update") for name in names):
        return {}
    table = [[1.0, *(name in updates for name in names)] for updates in kinds]
    found, *_ = np.linalg.lstsq(np.array(table), [*medians.values()], rcond=None)
    pairs = zip(["main", *names], found, strict=True)
    return {"added_ms": {name: round(1e3 * float(x), 4) for name, x in pairs}}


def matmul_peak(size=2048, repeats=5):
    """Return the best rate of a float32 matrix product, GFLOP/s."""
    x = tf.random.stateless_normal([size, size], seed=[0, 0])
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        tf.matmul(x, x)[0, 0].numpy()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9
