"""Time a model's training step against the same step written without tfgen.

python -m launch.benchmark --model=wgan_gp --against=bare --xla=off

Both start from the same weights and must compute the same losses and gradients
before anything is timed. Blocks of steps alternate, so that both meet the same
machine; a ratio is ours / theirs of neighbouring blocks. The last line on stdout is
one JSON object.
"""

import os
import sys
import time

from absl import flags

from tfgen.core.errors import BadInput

from . import common_flags

FLAGS = flags.FLAGS
TOLERANCE = 1e-4  # of losses, and of gradients relative to their largest

flags.DEFINE_string("model", "wgan_gp", "Name of the model.")
flags.DEFINE_string("preset", "small", "Sizes of the model: paper, small or tiny.")
flags.DEFINE_multi_string("hparam", [], "name=value changing the preset; repeatable.")
flags.DEFINE_string("dataset", "mnist_5k", "Data: a name, npz:PATH or folder:PATH.")
flags.DEFINE_string("data_dir", None, "Where TFDS data sets lie.")
flags.DEFINE_integer("batch", 64, "Rows of each update.", lower_bound=1)
flags.DEFINE_integer(
    "seed", 0, "Of weights, noise, order.", lower_bound=0, upper_bound=2**31 - 1
)
flags.DEFINE_enum(
    "against",
    "bare",
    ["bare", "bare_whole", "keras_fit", "torch"],
    "A tf.function by hand, XLA around each update's gradients (bare) or all of it "
    "(bare_whole); plain Keras fit; PyTorch.",
)
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "Compile the updates.")
flags.DEFINE_integer("steps", 100, "Steps in a block.", lower_bound=1)
flags.DEFINE_integer("rounds", 10, "Pairs of blocks.", lower_bound=2)


def main():
    """Verify, time, compare; returns the JSON line's dict."""
    from tfgen import models

    from . import benchmark_twins

    config = models.configure(
        FLAGS.model, FLAGS.preset, common_flags.parse_hparams(FLAGS.hparam)
    )
    benchmark_twins.check(FLAGS.model, config)
    if FLAGS.against == "torch":
        _require_torch()
    from tfgen import data

    stream = data.load(
        FLAGS.dataset,
        batch=FLAGS.batch,
        seed=FLAGS.seed,
        data_dir=FLAGS.data_dir,
        image_size=getattr(config, "image_size", 0) or None,
    ).train
    ours, theirs = _pair(config, stream)
    verified = compare(ours, theirs)
    say(f"verified: {verified}")
    seconds = alternate(ours.block, theirs.block)
    return {
        "model": FLAGS.model,
        "preset": FLAGS.preset,
        "config": config.to_json(),
        "batch": FLAGS.batch,
        "against": FLAGS.against,
        "xla": ours.model.xla,
        "threads": os.cpu_count(),
        "steps": FLAGS.steps,
        "rounds": FLAGS.rounds,
        **summary(seconds),
        **verified,
        "matmul_gflops": round(matmul_peak(), 1),
    }


def say(message):
    """Print a line to stderr."""
    print(message, file=sys.stderr, flush=True)


def _pair(config, stream):
    """Return our side and theirs, on separate networks of equal weights."""
    from tfgen import models

    from . import benchmark_twins as twins

    def build():
        return models.build(
            FLAGS.model, config=config, spec=stream.spec, seed=FLAGS.seed, xla=FLAGS.xla
        )

    model, other = build(), build()
    for name, network in model.networks.items():
        other.networks[name].set_weights(network.get_weights())
    xla, updates = model.xla, model.updates_per_step
    if FLAGS.against == "torch":
        from . import benchmark_torch

        theirs = benchmark_torch.Twin(FLAGS.model, other, stream)
        return Steps(model, stream, updates), theirs
    if FLAGS.against == "keras_fit":
        twin = twins.Bare(FLAGS.model, other, FLAGS.batch, xla=False)
        return FitOurs(model, stream), FitTheirs(
            FLAGS.model, twin, stream, updates, xla
        )
    whole = FLAGS.against == "bare_whole"
    twin = twins.Bare(FLAGS.model, other, FLAGS.batch, xla, whole)
    return Steps(model, stream, updates), Steps(twin, stream, updates)


class Steps:
    """A training function called in a loop.

    Args:
        model: Has `train_function(iterator)` and `state()`.
        stream: The data.
        updates: Batches in an element.
    """

    def __init__(self, model, stream, updates):
        self.model = model
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

    def block(self, steps):
        """Run steps and wait for the last."""
        for _ in range(steps):
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
        from . import benchmark_twins as twins

        self.twin, self.xla = twin, xla
        self.model = twins.KerasModel(name, twin)
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
    import numpy as np

    mine, other = ours.first(), theirs.first()
    losses = max(
        abs(mine[name] - value) / max(1.0, abs(value)) for name, value in other.items()
    )
    state, other = ours.state(), theirs.state()
    moments = [name for name in state if name.endswith("momentum")]
    gradients = max(
        float(np.abs(other[name] - state[name]).max() / np.abs(state[name]).max())
        for name in moments
    )
    found = {"loss_difference": losses, "gradient_difference": gradients}
    if not max(found.values()) < TOLERANCE:  # a NaN fails too
        raise RuntimeError(f"the twin computes something else: {found}")
    return found


def alternate(ours, theirs):
    """Return [(our seconds, their seconds)] a step, of `FLAGS.rounds` rounds."""
    seconds = []
    for number in range(-1, FLAGS.rounds):
        pair = []
        for block in (ours, theirs):
            started = time.perf_counter()
            block(FLAGS.steps)
            pair.append((time.perf_counter() - started) / FLAGS.steps)
        if number >= 0:  # the first round warms up
            seconds.append(pair)
            say(
                "round {}: {:.3f} ms, {:.3f} ms".format(
                    number, *(1e3 * s for s in pair)
                )
            )
    return seconds


def summary(seconds):
    """Return medians and quartiles of times and of the ratio ours / theirs."""
    import numpy as np

    seconds = np.array(seconds)
    low, middle, high = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75])
    ours, theirs = np.median(seconds, axis=0)
    return {
        "ours_ms": round(1e3 * float(ours), 4),
        "theirs_ms": round(1e3 * float(theirs), 4),
        "ratio": round(float(middle), 4),
        "ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
    }


def matmul_peak(size=2048, repeats=5):
    """Return the best rate of a float32 matrix product, GFLOP/s."""
    import tensorflow as tf

    x = tf.random.stateless_normal([size, size], seed=[0, 0])
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        tf.matmul(x, x)[0, 0].numpy()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def _require_torch():
    try:
        import torch  # noqa: F401
    except ImportError:
        raise BadInput(
            "--against=torch needs PyTorch: pip install 'tfgen[bench]'"
        ) from None


def command():
    """Entry point of `tfgen-benchmark`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
