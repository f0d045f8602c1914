"""Train a model.

python -m launch.train --model=wgan_gp --dataset=mnist_5k --workdir=runs/digits

The last line on stdout is one JSON object; everything else goes to stderr. A run
that was killed goes on from its last save when the same command is given again.
"""

import math
import signal
import sys
import time

from absl import flags

from tfgen.core.errors import BadInput
from tfgen.core.strategy import STRATEGIES
from tfgen.models import configure
from tfgen.workdir import Workdir, write_json

from . import (
    adaptation,
    common_flags,
    doctor,
    held_out,
    local_workers,
    sample_clips,
    train_checks,
)

FLAGS = flags.FLAGS

common_flags.define_workdir()
flags.DEFINE_string("model", None, "Name of the model, or package.module:Class.")
flags.DEFINE_string("dataset", "mnist_5k", "Data: a name, npz:PATH or folder:PATH.")
flags.DEFINE_string("target_dataset", None, "Second domain, likewise.")
flags.DEFINE_integer(
    "image_size", 0, "Side to cut and resize data to; 0: hparam's.", lower_bound=0
)
flags.DEFINE_string("preset", "small", "Sizes of the model: paper, small or tiny.")
flags.DEFINE_multi_string("hparam", [], "name=value changing the preset; repeatable.")
flags.DEFINE_integer("steps", 1000, "Train up to this step.", lower_bound=0)
flags.DEFINE_string("stage", "all", "Train this part of a training only.")
flags.DEFINE_integer("batch", 64, "Global rows of each update.", lower_bound=1)
flags.DEFINE_integer(
    "seed", 0, "Of weights, noise, order.", lower_bound=0, upper_bound=2**31 - 1
)
flags.DEFINE_enum("strategy", "auto", STRATEGIES, "Where to train.")
flags.DEFINE_integer("replicas", None, "Replicas of a worker.", lower_bound=1)
flags.DEFINE_integer("local_workers", 0, "Start this many here.", lower_bound=0)
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "Compile the updates.")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of layers.")
flags.DEFINE_integer("steps_per_execution", 1, "Steps a call.", lower_bound=1)
flags.DEFINE_string("data_dir", None, "Where TFDS data sets lie.")
flags.DEFINE_float(
    "validation_fraction", 0.0, "Held out.", lower_bound=0.0, upper_bound=0.9
)
flags.DEFINE_enum("on_corrupt", "stop", ["stop", "skip"], "What a broken picture does.")
flags.DEFINE_integer("save_every", 500, "Steps between saves.", lower_bound=1)
flags.DEFINE_integer("keep", 3, "Newest saves kept.", lower_bound=1)
flags.DEFINE_integer("log_every", 50, "Steps between logs.", lower_bound=1)
flags.DEFINE_integer("sample_every", 500, "Steps between pictures.", lower_bound=0)
flags.DEFINE_integer("eval_every", 0, "Steps between validations.", lower_bound=0)
flags.DEFINE_list("metrics", [], "Sample metrics at each validation: frechet, ...")
flags.DEFINE_string("extractor", "pca:30", "Features the metrics look at.")
flags.DEFINE_integer("histogram_every", 0, "Of all weights.", lower_bound=0)
flags.DEFINE_enum("resume", "auto", ["auto", "never", "must"], "From the workdir.")
flags.DEFINE_string("init_from", None, "Workdir whose networks to start from.")
flags.DEFINE_enum("on_nan", "stop", ["stop", "skip"], "What a NaN does.")
flags.DEFINE_enum("on_alarm", "log", ["log", "stop"], "What a health alarm does.")
flags.DEFINE_string("profile", None, "FIRST:LAST steps to profile.")
flags.DEFINE_bool("dry_run", False, "Say what would be trained, and stop.")

PICTURES = 8  # images of each domain in a picture of translations
# What a run is: these cannot change when it is resumed.
IDENTITY = ["model", "dataset", "batch", "seed", "xla", "precision"]
IDENTITY += ["validation_fraction", "target_dataset", "on_corrupt", "image_size"]
# What a resumed run takes from the last time where nothing else is given.
REMEMBERED = ["steps", "steps_per_execution", "save_every", "keep", "log_every"]
REMEMBERED += ["sample_every", "eval_every", "metrics", "extractor", "histogram_every"]
REMEMBERED += ["on_nan", "on_alarm"]
# Numbers of --metrics that a best save is chosen by where the model has no better
# one; smaller is better.
DISTANCES = {"frechet": "frechet_distance", "kernel": "kernel_distance"}


def main():
    """Train as the flags say; returns the JSON line's dict and the exit code."""
    profile = train_checks.profile()
    if FLAGS.local_workers:
        train_checks.check_evaluations()  # said once, not by every worker
        if FLAGS.strategy not in ("auto", "multi_worker"):
            raise BadInput("--local_workers goes with --strategy=multi_worker")
        if FLAGS.local_workers < 2:
            raise BadInput("--local_workers starts 2 workers or more")
        return None, local_workers.run(FLAGS.local_workers, sys.argv)
    if not FLAGS.workdir and not FLAGS.dry_run:
        raise BadInput("--workdir is needed: the folder this run is kept in")
    workdir = Workdir(FLAGS.workdir) if FLAGS.workdir else None
    config = _identity(workdir and workdir.config)
    train_checks.check_evaluations()
    train_checks.check_all_read()
    if FLAGS.dry_run:
        return _dry_run(config), 0

    strategy = _strategy()
    if strategy is not None and not strategy.extended.should_checkpoint:
        return _train(workdir, config, strategy, profile)
    workdir.create()
    with workdir.lock():
        return _train(workdir, config, strategy, profile)


def _identity(stored):
    """Set the flags that say what the run is; returns its Config.

    A run that exists keeps what it is: flags not given are taken from it, and
    flags that would change it are refused.
    """
    if stored is None:
        if FLAGS.resume == "must":
            raise BadInput(f"--resume=must, but {FLAGS.workdir} holds no run")
        if FLAGS.model is None:
            from tfgen.models import MODELS

            raise BadInput(f"--model is needed; valid: {', '.join(MODELS)}")
        hparams = common_flags.parse_hparams(FLAGS.hparam)
        return configure(FLAGS.model, FLAGS.preset, hparams)
    if FLAGS.resume == "never":
        raise BadInput(
            f"--resume=never, but {FLAGS.workdir} holds a run; give another --workdir"
        )
    for name in IDENTITY:
        kept = stored.get(name, FLAGS[name].default)  # a flag newer than the run
        if FLAGS[name].present and FLAGS[name].value != kept:
            raise BadInput(
                f"--{name}={FLAGS[name].value} cannot change in a resumed run: it was "
                f"{kept}"
            )
        FLAGS[name].value = kept
    for name in REMEMBERED:
        if not FLAGS[name].present:
            FLAGS[name].value = stored.get("flags", {}).get(name, FLAGS[name].value)
    if FLAGS.data_dir is None:
        FLAGS.data_dir = stored["data_dir"]
    hparams = common_flags.parse_hparams(FLAGS.hparam)
    preset = FLAGS.preset if FLAGS["preset"].present else stored["preset"]
    FLAGS.preset = stored["preset"]
    from tfgen.models import find

    kept = find(FLAGS.model).Config.from_json(stored["config"])
    asked = configure(FLAGS.model, preset, hparams)
    given = asked.to_json() if FLAGS["preset"].present else {}
    given |= {name: asked.to_json()[name] for name in hparams}
    for name, value in given.items():
        if value != kept.to_json()[name]:
            raise BadInput(
                f"hparam {name}={value} cannot change in a resumed run: it was "
                f"{kept.to_json()[name]}"
            )
    return kept


def _strategy():
    import tensorflow as tf

    from tfgen.core.strategy import make_strategy

    try:
        strategy = make_strategy(FLAGS.strategy, FLAGS.replicas)
    except BadInput:
        raise
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        reason = common_flags.reason(error)
        raise BadInput(f"TF_CONFIG or --strategy: {reason}") from None
    if strategy is not None:
        from tfgen.data.pipeline import rows_per_replica

        rows_per_replica(FLAGS.batch, strategy.num_replicas_in_sync)
    return strategy


def _load_data(config):
    from tfgen import data

    how = {
        "batch": FLAGS.batch,
        "seed": FLAGS.seed,
        "data_dir": FLAGS.data_dir,
        "validation_fraction": FLAGS.validation_fraction,
        "image_size": FLAGS.image_size or getattr(config, "image_size", 0) or None,
        "on_corrupt": FLAGS.on_corrupt,
    }
    if FLAGS.target_dataset:
        return data.load_pair(FLAGS.dataset, FLAGS.target_dataset, **how)
    return data.load(FLAGS.dataset, frames=getattr(config, "frames", 0) or None, **how)


def _build(config, data, strategy, **arguments):
    import tensorflow as tf

    from tfgen import models

    try:
        return models.build(
            FLAGS.model,
            config=config,
            spec=data.spec,
            seed=FLAGS.seed,
            strategy=strategy,
            xla=FLAGS.xla,
            precision=FLAGS.precision,
            **arguments,
        )
    except BadInput:
        raise
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise BadInput(
            f"{FLAGS.model} with these hparams does not fit in memory: "
            f"{common_flags.reason(error)}"
        ) from error
    except (ValueError, OverflowError, tf.errors.InvalidArgumentError) as error:
        raise BadInput(
            f"{FLAGS.model} cannot be built with these hparams for this data: "
            f"{common_flags.reason(error)}"
        ) from error


def _dry_run(config):
    print(*config.describe(), sep="\n", file=sys.stderr)
    data = _load_data(config)
    model = _build(config, data, None)
    train_checks.check_model(model)
    rows = FLAGS.batch * model.updates_per_step
    state = sum(v.value.numpy().nbytes for v in model.state().values())
    pixels = sum(
        math.prod(feature.shape)
        for feature in model.spec.features.values()
        if feature.dtype == "float32"
    )
    parameters = {
        name: sum(math.prod(v.shape) for v in network.trainable_variables)
        for name, network in model.networks.items()
    }
    return {
        "model": FLAGS.model,
        "dataset": FLAGS.dataset,
        "data": data.spec.to_json(),
        "input": model.feed_from(data.spec),
        "config": config.to_json(),
        "parameters": parameters,
        "state_bytes": state,
        "batch_bytes": rows * 4 * pixels,
        "xla": model.xla,
    }


def _train(workdir, config, strategy, profile):
    """Build or restore, fit, save."""
    started = time.monotonic()
    data = _load_data(config)
    if FLAGS.eval_every and data.validation is None:
        raise BadInput(f"--eval_every: {FLAGS.dataset} leaves no validation rows")
    stored = workdir.config or {}
    held_out.check_same(data, stored)
    model = _build(
        config,
        data,
        strategy,
        undo_nonfinite=FLAGS.on_nan == "skip",
        log_every=FLAGS.log_every,
        steps_per_execution=FLAGS.steps_per_execution,
    )
    train_checks.check_model(model)
    from tfgen.core import checkpoint

    chief = checkpoint.is_chief(model.distribute_strategy)
    say = _say if chief else lambda message: None
    place = _place(model)
    say(f"{FLAGS.model} on {data.spec.name}: {model.feed_from(data.spec)}")
    say(f"replicas: {place['replicas']} of {place['device']}; XLA: {place['xla']}")
    if place["device"] == "CPU" and doctor.has_unseen_gpu():
        say("there is an NVIDIA GPU that TensorFlow does not see: see launch.doctor")
    for remark in data.remarks:
        say(remark)
    for number, what in enumerate(data.skipped, start=1):
        say(f"skipped {number} of {len(data.skipped)} broken files: {what}")
    resumed_from = _restore(model, workdir, say)
    remembered = {name: FLAGS[name].value for name in REMEMBERED}
    if FLAGS.stage != "all":  # the steps are the stage's
        remembered["steps"] = stored.get("flags", remembered)["steps"]
    tests = _set_stage(model, data)
    train_checks.check_steps(model.steps_done, profile, say)

    def write_config():
        if chief and remembered != (workdir.config or {}).get("flags"):
            workdir.write_config(
                **{name: FLAGS[name].value for name in IDENTITY},
                preset=FLAGS.preset,
                data_dir=FLAGS.data_dir,
                config=config.to_json(),
                data_spec=data.spec.to_json(),
                flags=remembered,
            )

    new = not stored
    if new:
        write_config()
    executed, logs, rate, ended_by = 0, {}, 0.0, None
    if model.steps_done < FLAGS.steps:
        before = model.steps_done
        try:
            logs, rate, ended_by = _fit(
                model, data, workdir, profile, chief, before=[write_config]
            )
        except BaseException:
            if chief and new and not checkpoint.steps(workdir.checkpoints):
                workdir.config_path.unlink()  # other flags may be tried here
            raise
        executed = model.steps_done - before
    sha256 = checkpoint.digest(model)  # takes all workers
    if not chief:
        return None, 0
    result = {
        "model": FLAGS.model,
        "dataset": FLAGS.dataset,
        "steps": model.steps_done,
        "resumed_from": resumed_from,
        "executed": executed,
        "seconds": round(time.monotonic() - started, 3),
        "examples_per_second": round(rate, 1),
        **place,
        **logs,
        **(_test(model, data) if tests else {}),
        "state_sha256": sha256,
        "workdir": str(workdir.path),
    }
    if ended_by:
        name = signal.Signals(ended_by).name
        _say(f"ended by {name} at step {model.steps_done}, saved")
        return {**result, "ended_by": name}, 128 + ended_by
    return result, 0


def _place(model):
    """Return the JSON line's words on where a step is run."""
    import tensorflow as tf

    devices = [device.device_type for device in tf.config.list_logical_devices()]
    accelerators = [kind for kind in ("TPU", "GPU") if kind in devices]
    return {
        "device": (accelerators or ["CPU"])[0],
        "replicas": model.distribute_strategy.num_replicas_in_sync,
        "xla": model.xla,
    }


def _set_stage(model, data):
    """Let --stage set or bound --steps; returns whether the target domain is tested."""
    stages = model.stages()
    measurable = adaptation.is_measurable(model, data.test)
    names = [*stages, *(["test"] if measurable else [])]
    if measurable:  # before hours of training
        adaptation.check_classes(model, data.test)
    if FLAGS.stage == "all":
        return measurable and "label" in data.test.target.arrays
    if FLAGS.stage not in names:
        raise BadInput(
            f"no stage {FLAGS.stage!r} of {FLAGS.model}; valid: all, {', '.join(names)}"
        )
    if FLAGS.stage == "test":
        if not model.steps_done:
            raise BadInput("--stage=test: nothing is trained in this --workdir yet")
        FLAGS["steps"].value = model.steps_done
        return True
    first = 0
    for name, steps in stages.items():
        if name == FLAGS.stage:
            break
        first += steps
    if model.steps_done < first:
        raise BadInput(
            f"--stage={FLAGS.stage} starts at step {first}, the run stands at "
            f"{model.steps_done}: train the stages before it, or --stage=all"
        )
    if steps is not None:
        end = first + steps
        FLAGS["steps"].value = min(FLAGS.steps, end) if FLAGS["steps"].present else end
    elif FLAGS.steps <= first:
        raise BadInput(
            f"--stage={FLAGS.stage} starts at step {first} and has no end of its own: "
            "give --steps"
        )
    return False


def _test(model, data):
    """Return {test_<metric>: value} on the target domain's test split."""
    found = adaptation.measure(model, data.test)
    return {f"test_{name}": estimate.value for name, estimate in found.items()}


def _say(message):
    print(message, file=sys.stderr, flush=True)


def _restore(model, workdir, say):
    from tfgen.core import checkpoint

    step = checkpoint.restore_newest(model, workdir.checkpoints, say)
    if step is None:
        if FLAGS.resume == "must":
            raise BadInput(f"--resume=must, but {workdir.path} has no whole checkpoint")
        if FLAGS.init_from:
            path = Workdir(FLAGS.init_from).find_checkpoint()
            checkpoint.restore_networks(model, path)
            say(f"networks start from {path}")
        elif model.starts_from:
            raise BadInput(
                f"{FLAGS.model} needs --init_from: the folder of a training of "
                f"{model.made_by}, whose {' and '.join(model.starts_from)} it keeps"
            )
        return None
    if FLAGS.init_from:
        say("--init_from is for a run that begins: this one goes on from its own save")
    say(f"resumed at step {step} of {FLAGS.steps}")
    return step


def _fit(model, data, workdir, profile, chief, before):
    """Run `fit`; returns the last logs, examples a second, the signal that ended it.

    Each of `before` is called before each save.
    """
    from tfgen import callbacks
    from tfgen.core import checkpoint

    strategy = model.distribute_strategy
    saver = callbacks.Checkpoints(
        workdir.checkpoints, FLAGS.save_every, FLAGS.keep, agree_every=FLAGS.log_every
    )
    best = workdir.best
    if best and best["step"] > model.steps_done:  # will be found again
        best = None
    if best:
        saver.keep_also.add(best["step"])
    best = callbacks.Best(lambda found: _keep_best(workdir, saver, found, chief), best)
    guard = callbacks.NaNGuard(FLAGS.log_every, FLAGS.on_nan)
    progress = callbacks.Progress(
        FLAGS.steps, FLAGS.log_every, FLAGS.batch * model.updates_per_step
    )
    saver.before = [guard.look, *before]
    each = [guard]
    health = callbacks.Health(FLAGS.on_alarm, workdir.metrics)
    watched = train_checks.is_watched(model)
    if watched and (chief or FLAGS.on_alarm == "stop"):
        each.append(health)
    if chief:
        table = callbacks.CSVLog(workdir.metrics)
        board = callbacks.TensorBoard(
            workdir.tensorboard,
            {**model.config.to_json(), "model": FLAGS.model, "batch": FLAGS.batch},
            FLAGS.histogram_every,
            profile,
        )
        saver.before.append(board.flush)
        each += [progress, table, board]
        if FLAGS.sample_every:
            each += _samples(model, data, workdir, board)
    sinks = [table.add, board.scalars] if chief else []
    if FLAGS.metrics and chief:
        quality = callbacks.SampleQuality(
            data.train,
            data.validation,
            FLAGS.eval_every,
            FLAGS.metrics,
            FLAGS.extractor,
            sinks=list(sinks),
        )
        number = DISTANCES.get(FLAGS.metrics[0])
        # Of several workers all would have to save.
        if number and not model.monitor and not checkpoint.is_multi_worker(strategy):
            quality.sinks.append(
                lambda step, found: best(step, number, found[number], "min")
            )
        each.append(quality)
    # After all that writes: it saves the best.
    if FLAGS.eval_every and train_checks.validates(model):
        each.append(
            callbacks.Validation(
                data.validation,
                FLAGS.eval_every,
                sinks,
                best,
            )
        )
    model.fit(
        data.train,
        steps_per_epoch=FLAGS.steps - model.steps_done,
        verbose=0,
        callbacks=[*each, saver],
    )
    logs = progress.logs | ({"alarms": health.raised} if watched else {})
    return logs, progress.examples_per_second, saver.signal


def _samples(model, data, workdir, board):
    """Return the callback that shows what the model makes, if it makes anything."""
    from tfgen import callbacks

    how = workdir.path, FLAGS.sample_every
    if hasattr(model, "translate_ab"):
        pair = data.test or data.train
        shown = [
            held_out.domain(pair, model.endpoint_spec, name, PICTURES)["image"]
            for name in ("source", "target")
        ]
        where, every = how
        return [callbacks.TranslationGrid(where, *shown, every, also=board.picture)]
    if "video" in model.spec.features:
        return sample_clips.callbacks_of(model, data, *how, board)
    if not hasattr(model, "sample"):
        return []
    if "audio" in model.spec.features:
        return [callbacks.SampleNotes(*how, also=board.picture, sounds=board.sounds)]
    return [callbacks.SampleGrid(*how, also=board.picture)]


def _keep_best(workdir, saver, best, chief):
    """Save the step that validates best, and keep that save.

    The note comes first: a run killed between the two validates this step again.
    """
    saver.keep_also = {best["step"]}
    saver.save(first=lambda: chief and write_json(workdir.best_path, best))


def command():
    """Entry point of `tfgen-train`."""
    common_flags.run(main, takes_recipes=True)


if __name__ == "__main__":
    command()
