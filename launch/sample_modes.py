"""What the modes of launch.sample ask of a model, and which flags each reads."""

import math
import pathlib

from absl import flags

from tfgen.core.errors import BadInput

from . import sample_styles, sample_text

FLAGS = flags.FLAGS
# What each mode asks of a model.
NEEDS = {
    "grid": "sample",
    "interpolate": "decode",
    "manifold": "decode",
    "reconstruct": "reconstruct",
    "latents": "encode",
    "projector": "encode",
    "classes": "decode",
    "arithmetic": "decode",
    "complete": "observed",
    "future": "predict",
    "translate": "translate_ab",
    "embedding": "classify",
    "confusion": "classify",
    **dict.fromkeys(sample_styles.MODES, "map"),
    "midi": "render",
    **sample_text.NEEDS,
}
FIGURES = ("embedding", "confusion")  # of an adaptation's two domains
OF_ONE_CLASS = ("manifold", "arithmetic")  # where images have labels
NUM = {  # mode -> what --num counts, and how many without it; else 64 images
    **dict.fromkeys(("interpolate", "complete", "truncation"), ("rows", 64)),
    "classes": ("images of each class", 64),
    **dict.fromkeys(("latents", "projector"), ("points", 2000)),
    "mix": ("images a side", 6),
    "walk": ("walks at a time", 16),
    "project": ("images", 8),
    "text": ("clips of each --text", 1),
    "morph": ("clips", 1),
}
READ_BY = {  # flag -> the modes that read it
    "text": tuple(sample_text.NEEDS),
    "midi": ("midi",),
    "exemplars": ("arithmetic",),
    "beside": ("latents",),
    "at": ("reconstruct",),
    "path": ("interpolate",),
    "crossover": ("mix",),
    "truncation": ("grid", "truncation", "mix", "walk"),
    "truncation_layers": ("truncation", "mix", "walk"),
    "projection_steps": ("project",),
    "extractor": ("project",),
    "input": (
        *("reconstruct", "latents", "projector", "complete"),
        *("future", "translate", "project"),
    ),
    "columns": ("interpolate", "complete", "truncation", "walk"),
    "label": (
        *("grid", "interpolate", "manifold", "latents", "arithmetic"),
        *("truncation", "mix", "walk"),
    ),
    "pitch": ("grid", "interpolate"),
    "num": tuple(
        mode for mode in NEEDS if mode not in (*FIGURES, "arithmetic", "midi")
    ),
}
MOST = 10_000  # images in a picture


def num_help():
    """Return the help of --num."""
    told = (f"{mode}: {what} [{num}]" for mode, (what, num) in NUM.items())
    return f"Images [64]; of {', '.join(told)}."


def check():
    """Set --mode and --num where they follow; refuse flags before a model is opened.

    Raises:
        BadInput: A flag that the mode does not read, a value that is none, more images
            than a picture holds.
    """
    for name in ("midi", "text"):
        if FLAGS[name].value and not FLAGS["mode"].present:
            FLAGS["mode"].value = name
    for name, modes in READ_BY.items():
        if FLAGS[name].present and FLAGS.mode in NEEDS and FLAGS.mode not in modes:
            raise BadInput(f"--{name} is read by --mode={', '.join(modes)} only")
    if not math.isfinite(FLAGS.truncation):
        raise BadInput(f"--truncation={FLAGS.truncation} is not a finite number")
    if FLAGS.midi and not pathlib.Path(FLAGS.midi).is_file():
        raise BadInput(f"--midi={FLAGS.midi}: there is no such file")
    if FLAGS.num is None:
        FLAGS["num"].value = NUM.get(FLAGS.mode, ("", 64))[1]
    check_number(_images(FLAGS.mode, FLAGS.num, FLAGS.columns))


def check_number(images):
    """Refuse more images than a picture holds."""
    if images > MOST:
        raise BadInput(f"{images} images are more than {MOST}: lower --num")


def _images(mode, num, columns):
    """Return how many images a mode makes, of a model that is not known yet."""
    if mode in ("interpolate", "truncation"):
        return num * columns
    if mode == "complete":
        return num * (columns + 3)
    if mode == "mix":
        return num * (num + 2)
    if mode == "walk":
        return num * columns * sample_styles.STOPS
    return num
