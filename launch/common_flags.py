"""What all launchers share: flags, errors as one line, the JSON line at the end."""

import difflib
import json
import math
import os
import pathlib
import re
import sys

from absl import flags

from tfgen.core.errors import BadInput, Stopped
from tfgen.workdir import Workdir

from . import local_workers
from .quiet import import_tensorflow_quietly

FLAGS = flags.FLAGS
LOST = "a worker was lost"
RECIPES = pathlib.Path(__file__).parent / "recipes"
LONGEST = 4000  # characters of an error line; the names of all recipes fit


def define_workdir():
    """Define the flag that names a run."""
    flags.DEFINE_string("workdir", None, "Folder of the run.")


def define_run():
    """Define the flags that name a run, its checkpoint and weights."""
    define_workdir()
    flags.DEFINE_string(
        "checkpoint", "latest", "latest, best, or a step; 0: untrained."
    )
    flags.DEFINE_enum(
        "weights",
        "average",
        ["average", "raw"],
        "Of networks that have one: their moving average, or what it is of.",
    )


def load_run():
    """Return (Workdir, its config.json, the model) that the flags name."""
    if FLAGS.workdir is None:
        raise BadInput("--workdir is needed: the folder of a training")
    workdir = Workdir(FLAGS.workdir)
    run = workdir.require_config()
    workdir.find_checkpoint(FLAGS.checkpoint)  # before TensorFlow is imported

    import tfgen

    model = tfgen.load(FLAGS.workdir, FLAGS.checkpoint)
    if FLAGS.weights == "raw":
        model.forget_averages()
    return workdir, run, model


def run(main, argv=None, takes_recipes=False):
    """Parse flags, run `main`, print its dict as the last line, exit.

    `main` returns a dict, or (dict, exit code). Exit codes: 0; 2 for a bad flag or
    input; 1 for an I/O error or a lost worker; 3 when a guard stopped the run;
    130 when interrupted.

    Args:
        main: Called without arguments.
        argv: The command line; none: this process's.
        takes_recipes: Whether --recipe, flags of a training, is one of its flags.
    """
    # Our error lines must not drown in TensorFlow's own.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow_quietly()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # TensorFlow's own default only where a CPU has AVX-512 VNNI; with AVX2 alone it
    # halves the time of convolutions as well.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Samples are drawn beside a training that has the same GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # An installed command looks for --model=package.module:Class here, as python -m.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    sys.exit(_code(main, sys.argv if argv is None else argv, takes_recipes))


def _code(main, argv, takes_recipes):
    try:
        if _parse(argv, sys.modules[main.__module__].__doc__, takes_recipes):
            return 0
        returned = main()
    except (BadInput, flags.Error) as error:
        return _fail(error, 2)
    except Stopped as error:
        return _fail(error, 3)
    except OSError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except MemoryError as error:
        return _fail(f"out of memory: {error}", 1)
    except Exception as error:
        if "tensorflow" not in sys.modules or not (cause := _cause(error)):
            raise
        if cause == LOST and local_workers.is_one():
            return local_workers.LOST_ANOTHER
        return _fail(f"{cause}: {error}", 1)
    result, code = returned if isinstance(returned, tuple) else (returned, 0)
    if result is not None:
        print(json.dumps(finite(result), allow_nan=False), flush=True)
    return code


def finite(value):
    """Return a result with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cause(error):
    """Return what an error of TensorFlow means that is nobody's mistake, or None."""
    import tensorflow as tf

    if isinstance(error, tf.errors.ResourceExhaustedError):
        return "out of memory or disk space"
    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    if "TF_CONFIG" in os.environ and isinstance(error, lost):
        return LOST
    return None


def reason(error):
    """Return the line of an error's message that says what was wrong.

    Keras puts "Exception encountered when calling ..." before it.
    """
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # of terminals
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception encountered")]
    return (said or lines or [type(error).__name__])[0]


def _fail(error, code):
    line = " ".join(str(error).split())[:LONGEST]
    print(f"error: {line}", file=sys.stderr, flush=True)
    return code


def _parse(argv, about, takes_recipes):
    """Parse; returns whether help was asked for, and has been printed."""
    arguments = argv[1:]
    if takes_recipes:
        arguments = _with_recipes(arguments)
    if {"--help", "-h", "-help", "--helpfull"} & set(arguments):
        FLAGS.mark_as_parsed()
        print(about)
        for name in sorted(own_flags()):
            flag = FLAGS[name]
            default = "" if flag.default in (None, [], "") else f" [{flag.default}]"
            print(f"  --{name}{default}  {flag.help}")
        if takes_recipes:
            print(f"  --recipe  One of: {', '.join(recipes())}.")
        return True
    try:
        rest = FLAGS([argv[0], *arguments])
    except flags.UnrecognizedFlagError as error:
        raise BadInput(
            f"unknown flag --{error.flagname}; valid: "
            + ", ".join(f"--{name}" for name in sorted(own_flags()))
        ) from None
    if len(rest) > 1:
        raise BadInput(f"unexpected argument {rest[1]!r}; flags look like --name=value")
    return False


def own_flags():
    """Return the names of the flags our modules define."""
    return [
        name
        for module, defined in FLAGS.flags_by_module_dict().items()
        if module.startswith(("absl", "tensorflow")) is False
        for name in (flag.name for flag in defined)
    ]


def recipes():
    """Return the names of the recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.flags"))


def _with_recipes(arguments):
    """Return arguments with --flagfile for --recipe=NAME or --recipe NAME, first.

    The last word on a flag counts, and that is not a recipe's.
    """
    of_recipes, said, rest = [], [], iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name not in ("--recipe", "-recipe"):
            said.append(argument)
            continue
        of_recipes.append(_flagfile(value if equals else next(rest, "")))
    return of_recipes + said


def _flagfile(recipe):
    valid = recipes()
    if not recipe:
        raise BadInput(f"--recipe=NAME needs a name; valid: {', '.join(valid)}")
    if recipe not in valid:
        close = difflib.get_close_matches(recipe, valid, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise BadInput(f"unknown recipe {recipe!r}{hint}; valid: {', '.join(valid)}")
    return f"--flagfile={RECIPES / recipe}.flags"


def parse_hparams(pairs):
    """Return {name: text} of repeated --hparam name=value."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadInput(f"--hparam {pair!r} is not of the form name=value")
        parsed[name.strip()] = value.strip()
    return parsed
