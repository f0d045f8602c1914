"""Time a model's training step against the same step written without tfgen.

python -m launch.benchmark --model=wgan_gp --against=bare --xla=off

Both start from the same weights and must compute the same losses and gradients
before anything is timed. Blocks of steps alternate, so that both meet the same
machine; a ratio is ours / theirs of neighbouring blocks. The last line on stdout is
one JSON object.
"""

import os

from absl import flags

from tfgen.core.errors import BadInput

from . import common_flags

FLAGS = flags.FLAGS

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
    ["bare", "bare_whole", "keras_fit", "keras_plain", "torch"],
    "A tf.function by hand, XLA around each update's gradients (bare) or all of it "
    "(bare_whole); Keras fit, XLA as ours (keras_fit) or off, its default on CPUs "
    "(keras_plain); PyTorch.",
)
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "Compile the updates.")
flags.DEFINE_integer("steps_per_execution", 1, "Ours; theirs is 1.", lower_bound=1)
flags.DEFINE_integer("steps", 100, "Steps in a block.", lower_bound=1)
flags.DEFINE_integer("rounds", 10, "Pairs of blocks.", lower_bound=2)


def main():
    """Verify, time, compare; returns the JSON line's dict."""
    from tfgen import data, models

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
    benchmark_twins.check(FLAGS.model, config)
    if FLAGS.against == "torch":
        _require_torch()
    stream = data.load(
        FLAGS.dataset,
        batch=FLAGS.batch,
        seed=FLAGS.seed,
        data_dir=FLAGS.data_dir,
        image_size=getattr(config, "image_size", 0) or None,
    ).train
    ours, theirs = _pair(config, stream)
    verified = sides.compare(ours, theirs)
    sides.say(f"verified: {verified}")
    ours.lengthen(FLAGS.steps_per_execution)
    seconds = sides.alternate(ours.block, theirs.block, FLAGS.steps, FLAGS.rounds)
    return {
        "model": FLAGS.model,
        "preset": FLAGS.preset,
        "config": config.to_json(),
        "batch": FLAGS.batch,
        "against": FLAGS.against,
        "xla": ours.model.xla,
        "steps_per_execution": FLAGS.steps_per_execution,
        "threads": os.cpu_count(),
        "steps": FLAGS.steps,
        "rounds": FLAGS.rounds,
        **sides.summary(seconds),
        **verified,
        "matmul_gflops": round(sides.matmul_peak(), 1),
    }


def _pair(config, stream):
    """Return our side and theirs, on separate networks of equal weights."""
    from tfgen import models

    from . import benchmark_sides as sides
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
