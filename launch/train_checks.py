"""What flags of a training are refused for, before or after its model is built."""

from absl import flags

from tfgen.core.errors import BadInput

FLAGS = flags.FLAGS


def profile():
    """Return the two steps of --profile, None where it is not given."""
    if FLAGS.profile is None:
        return None
    first, _, last = FLAGS.profile.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise BadInput(f"--profile={FLAGS.profile} is not FIRST:LAST, two steps")
    return int(first), int(last)


def check_evaluations():
    """Refuse intervals that do not fit, metrics and extractors that there are not."""
    length = FLAGS.steps_per_execution
    every = ["steps", "save_every", "log_every", "sample_every", "eval_every"]
    for name in every:
        if FLAGS[name].value % length:
            raise BadInput(
                f"--{name}={FLAGS[name].value} is not a multiple of "
                f"--steps_per_execution={length}"
            )
    if not FLAGS.metrics:
        return
    if not FLAGS.eval_every:
        raise BadInput("--metrics needs --eval_every: the steps between measurements")
    from tfgen.metrics import extractors
    from tfgen.metrics.quality import METRICS, NEED_LABELS

    valid = [name for name in METRICS if name not in NEED_LABELS]
    if wrong := sorted(set(FLAGS.metrics) - set(valid)):
        raise BadInput(
            f"--metrics={','.join(wrong)}: a training measures {', '.join(valid)}; "
            "samples with labels are for launch.evaluate"
        )
    extractors.check(FLAGS.extractor)


def check_all_read():
    """Refuse flags that nothing reads, with what a resumed run remembers."""
    if FLAGS.eval_every and not FLAGS.validation_fraction:
        raise BadInput("--eval_every needs --validation_fraction above 0")
    # An empty --metrics takes back what a recipe measures.
    if FLAGS["extractor"].present and not (FLAGS.metrics or FLAGS["metrics"].present):
        raise BadInput("--extractor is read with --metrics only")
    names = [FLAGS.dataset, FLAGS.target_dataset or ""]
    if FLAGS.on_corrupt == "skip" and not any(x.startswith("folder:") for x in names):
        raise BadInput("--on_corrupt=skip is read with folder:PATH only")


def check_model(model):
    """Refuse what could not be measured of a model when its time comes."""
    if FLAGS.on_alarm == "stop" and not is_watched(model):
        raise BadInput(f"--on_alarm=stop: {FLAGS.model} reports nothing to judge by")
    if FLAGS.metrics and not (
        hasattr(model, "sample") and "image" in model.spec.features
    ):
        raise BadInput(
            f"--metrics are of sampled images, which {FLAGS.model} does not draw"
        )
    if FLAGS.eval_every and not FLAGS.metrics and not validates(model):
        raise BadInput(
            f"--eval_every: {FLAGS.model} has no test_step, so give --metrics"
        )


def is_watched(model):
    """Return whether a model reports what alarms judge by."""
    return model.reports_health or model.has_alarms


def validates(model):
    """Return whether a model measures itself."""
    import keras

    return type(model).test_step is not keras.Model.test_step


def check_steps(done, profile, say):
    """Refuse --steps and --profile that do not follow from `done` steps.

    Args:
        done: Steps of the run as it is restored.
        profile: See `profile`.
        say: Called with a line on a profile that was taken before.
    """
    steps = FLAGS.steps
    if FLAGS["steps"].present and FLAGS.stage == "all" and steps < done:
        raise BadInput(
            f"--steps={steps}: the run stands at step {done} already; --steps is the "
            "step to train up to"
        )
    if (steps - done) % FLAGS.steps_per_execution > 0:
        raise BadInput(
            f"--steps_per_execution={FLAGS.steps_per_execution} does not lead from "
            f"step {done}, where the run stands, to --steps={steps}"
        )
    if profile and profile[1] > steps:
        raise BadInput(f"--profile={FLAGS.profile} goes beyond step {steps}, the last")
    if profile and profile[1] <= done:
        say(f"--profile={FLAGS.profile} lies before step {done}: nothing is profiled")
