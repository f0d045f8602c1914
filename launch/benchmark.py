"""Time a model's training step against the same step written without tfgen.

python -m launch.benchmark --model=wgan_gp --against=bare --xla=off
python -m launch.benchmark --model=stylegan2 --against=none --steps=16

Both start from the same weights and must compute the same losses and gradients
before anything is timed. Blocks of steps alternate, so that both meet the same
machine; a ratio is ours / theirs of neighbouring blocks. `--against=none` times ours
alone, each kind of step by itself: let --steps be a whole cycle of them. The last line
on stdout is one JSON object; in it `gflop` counts the products and convolutions of our
step, and `matmul_share` is what they reach of the rate of a float32 matrix product.
"""

import os
import sys

from absl import flags

from tfgen.core.errors import BadInput

from . import common_flags

FLAGS = flags.FLAGS

flags.DEFINE_string("model", "wgan_gp", "Name of the model.")
flags.DEFINE_string("preset", "small", "Sizes of the model: paper, small or tiny.")
flags.DEFINE_multi_string("hparam", [], "name=value changing the preset; repeatable.")
flags.DEFINE_string("dataset", "mnist_5k", "Data: a name, npz:PATH or folder:PATH.")
flags.DEFINE_string("target_dataset", None, "Second domain, likewise.")
flags.DEFINE_string("data_dir", None, "Where TFDS data sets lie.")
flags.DEFINE_integer("batch", 64, "Rows of each update.", lower_bound=1)
flags.DEFINE_integer(
    "seed", 0, "Of weights, noise, order.", lower_bound=0, upper_bound=2**31 - 1
)
flags.DEFINE_enum(
    "against",
    "bare",
    ["bare", "bare_whole", "keras_fit", "keras_plain", "torch", "none"],
    "A tf.function by hand, XLA around each update's gradients (bare) or all of it "
    "(bare_whole); Keras fit, XLA as ours (keras_fit) or off, its default on CPUs "
    "(keras_plain); PyTorch; nothing.",
)
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "Compile the updates.")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Ours.")
flags.DEFINE_integer("steps_per_execution", 1, "Ours; theirs is 1.", lower_bound=1)
flags.DEFINE_integer("steps", 100, "Steps in a block.", lower_bound=1)
flags.DEFINE_integer("rounds", 10, "Pairs of blocks.", lower_bound=2)


def main():
    """Verify, time, compare; returns the JSON line's dict."""
    from tfgen import models

    from . import benchmark_sides as sides
    from . import benchmark_twins

    if FLAGS.steps % FLAGS.steps_per_execution:
        raise BadInput(
            f"--steps={FLAGS.steps} is not a multiple of --steps_per_execution="
            f"{FLAGS.steps_per_execution}"
        )
    config = models.configure(
        FLAGS.model, FLAGS.preset, common_flags.parse_hparams(FLAGS.hparam)
    )
    if FLAGS.against == "none" and FLAGS.steps_per_execution > 1:
        raise BadInput("--against=none runs one step a call")
    if FLAGS.against == "torch":
        written_for = {n: t.written_for for n, t in _torch_twins().items()}
        benchmark_twins.check(FLAGS.model, config, written_for)
    elif FLAGS.against != "none":
        benchmark_twins.check(FLAGS.model, config, benchmark_twins.WRITTEN_FOR)
    stream = _load_data(config)
    if FLAGS.against == "none":
        return _alone(config, stream)
    # Rounding of bfloat16 hides what differs, so equality is shown in float32.
    verified = sides.compare(*_pair(config, stream, "float32"))
    sides.say(f"verified: {verified}")
    forms = {}
    if FLAGS.against == "torch":
        from . import benchmark_torch

        best, seconds = benchmark_torch.fastest(
            lambda form: _pair(config, stream, FLAGS.precision, form)[1],
            FLAGS.steps,
            sides.say,
        )
        forms = {"torch": best, "torch_seconds": seconds}
    form = forms.get("torch", "channels_last")
    ours, theirs = _pair(config, stream, FLAGS.precision, form)
    ours.lengthen(FLAGS.steps_per_execution)
    seconds = sides.alternate(ours.block, theirs.block, FLAGS.steps, FLAGS.rounds)
    found = {**sides.summary(seconds), **verified, **forms}
    return _result(config, ours, found)


def _load_data(config):
    from tfgen import data

    how = {
        "batch": FLAGS.batch,
        "seed": FLAGS.seed,
        "data_dir": FLAGS.data_dir,
        "image_size": getattr(config, "image_size", 0) or None,
    }
    if FLAGS.target_dataset:
        return data.load_pair(FLAGS.dataset, FLAGS.target_dataset, **how).train
    frames = getattr(config, "frames", 0) or None
    return data.load(FLAGS.dataset, frames=frames, **how).train


def _alone(config, stream):
    """Time our steps by their kind."""
    from . import benchmark_sides as sides

    model = _build(config, stream, FLAGS.precision)
    ours = sides.Steps(model, stream, model.updates_per_step)
    seconds = sides.by_kind(ours, FLAGS.steps, FLAGS.rounds)
    rows = FLAGS.batch * model.updates_per_step
    return _result(config, ours, sides.summary_of_kinds(seconds, rows, model))


def _result(config, ours, found):
    from . import benchmark_flops
    from . import benchmark_sides as sides

    model, peak = ours.model, sides.matmul_peak()
    done = model.steps_done
    kinds = [model.step_method(step) for step in range(done - FLAGS.steps, done)]
    spec = ours.iterator.element_spec
    each = {kind: benchmark_flops.of_step(model, kind, spec) for kind in set(kinds)}
    gflop = sum(each[kind] for kind in kinds) / len(kinds) / 1e9
    return {
        "model": FLAGS.model,
        "preset": FLAGS.preset,
        "config": config.to_json(),
        "batch": FLAGS.batch,
        "against": FLAGS.against,
        "xla": model.xla,
        "precision": FLAGS.precision,
        "steps_per_execution": FLAGS.steps_per_execution,
        "threads": os.cpu_count(),
        "steps": FLAGS.steps,
        "rounds": FLAGS.rounds,
        **found,
        "gflop": float(f"{gflop:.4g}"),
        "matmul_gflops": round(peak, 1),
        "matmul_share": round(1e3 * gflop / found["ours_ms"] / peak, 4),
    }


def _build(config, stream, precision):
    from tfgen import models

    return models.build(
        FLAGS.model,
        config=config,
        spec=stream.spec,
        seed=FLAGS.seed,
        xla=FLAGS.xla,
        precision=precision,
    )


def _pair(config, stream, precision, form="channels_last"):
    """Return our side and theirs, on separate networks of equal weights.

    `form` is that of the PyTorch twin.
    """
    from . import benchmark_sides as sides
    from . import benchmark_twins as twins

    model, other = (_build(config, stream, precision) for _ in "ab")
    for name, network in model.networks.items():
        other.networks[name].set_weights(network.get_weights())
    xla, updates = model.xla, model.updates_per_step
    if FLAGS.against == "torch":
        theirs = _torch_twins()[FLAGS.model](other, stream, form)
        return sides.Steps(model, stream, updates), theirs
    if FLAGS.against in ("keras_fit", "keras_plain"):
        xla = xla and FLAGS.against == "keras_fit"
        twin = twins.Bare(FLAGS.model, other, FLAGS.batch, xla=False)
        return sides.FitOurs(model, stream), sides.FitTheirs(
            FLAGS.model, twin, stream, updates, xla
        )
    whole = FLAGS.against == "bare_whole"
    twin = twins.Bare(FLAGS.model, other, FLAGS.batch, xla, whole)
    return sides.Steps(model, stream, updates), sides.Steps(twin, stream, updates)


def _torch_twins():
    """Return {model: its training step in PyTorch}."""
    # Triton is for GPUs; its LLVM and TensorFlow's end the process that loads both.
    sys.modules.setdefault("triton", None)
    try:
        import torch  # noqa: F401
    except ImportError:
        raise BadInput(
            "--against=torch needs PyTorch: pip install 'tfgen[bench]'"
        ) from None
    from . import benchmark_torch_notes, benchmark_torch_steps

    return benchmark_torch_steps.TWINS | benchmark_torch_notes.TWINS


def command():
    """Entry point of `tfgen-benchmark`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
