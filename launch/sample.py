"""Draw pictures from a trained model or an exported one.

python -m launch.sample --workdir=runs/digits --num=64
python -m launch.sample --saved_model=runs/digits/export --out=digits.png

Modes: grid (independent samples); interpolate (a row a pair of latents); manifold (the
plane of two latents, through the normal's quantiles; how far neighbouring tiles are
apart is in the JSON line); latents (where images lie on that plane, by class, beside
what it decodes to; --beside adds a second run); projector (what TensorBoard's projector
shows: codes of held-out images with labels and a picture each; --out names that
picture); reconstruct (images above their reconstructions, --at several saves); classes
(a row a class, the same latents in each); arithmetic (A - B + C on averaged latents);
complete (a row an image: what is observed of it, the image, the prediction, --columns
completions); future (clips beside what becomes of their first frames). Of two domains:
translate (image, translation and back), embedding (features before and after
adaptation), confusion. Of styles: truncation (a row a latent, psi from 0 to
--truncation), mix (coarse styles of the left, fine ones of the top), walk (a GIF or
MP4), project (images beside their projections into w). Of notes: grid (--num notes, or
a row of them each --pitch) and interpolate, as a picture and a folder of WAV files;
midi (--midi played to a WAV file). Of sentences: text (--num clips of each --text),
morph (from one --text to another). Clips are written as .gif, or as .png with a row of
frames for each. The last line on stdout is one JSON object.
"""

import json
import os
import pathlib

import numpy as np
from absl import flags

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import in_parts, made_at_once, sampler
from tfgen.workdir import Workdir

from . import (
    common_flags,
    held_out,
    latents,
    sample_clips,
    sample_domains,
    sample_modes,
    sample_notes,
    sample_styles,
    sample_text,
)

FLAGS = flags.FLAGS
NEEDS = sample_modes.NEEDS
LATTICE = 20  # images a side of --mode=latents

common_flags.define_run()
flags.DEFINE_string("saved_model", None, "Export folder, instead of --workdir.")
flags.DEFINE_integer("num", None, sample_modes.num_help(), lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the latents.", lower_bound=0, upper_bound=2**31 - 1)
flags.DEFINE_string("mode", "grid", f"What to draw: {', '.join(NEEDS)}.")
flags.DEFINE_integer(
    "columns",
    10,
    "Steps of a row of interpolate or truncation, or between two stops of a walk; "
    "completions of a row of complete.",
    lower_bound=2,
    upper_bound=100,
)
flags.DEFINE_enum(
    "path", "spherical", ["spherical", "linear"], "Between latents of interpolate."
)
flags.DEFINE_integer("label", None, "Class to draw, of labelled models.", lower_bound=0)
flags.DEFINE_list("pitch", [], "MIDI numbers, of models of notes; none: all in turn.")
flags.DEFINE_string("midi", None, "MIDI file to play, of models of notes.")
flags.DEFINE_multi_string("text", [], "Sentence to make a clip of; repeatable.")
flags.DEFINE_string(
    "exemplars",
    None,
    "For arithmetic: images of the grid of --seed, as 0,3,5:1,2,9:4,6,7 for A:B:C.",
)
flags.DEFINE_list("at", [], "Steps of saves to reconstruct by; none: --checkpoint.")
flags.DEFINE_string("beside", None, "Workdir of a second run, for --mode=latents.")
flags.DEFINE_string(
    "input", None, "Data to reconstruct or translate; none: the run's held-out."
)
flags.DEFINE_string("data_dir", None, "Where TFDS data sets lie.")
flags.DEFINE_float("truncation", 1.0, "psi: share of the way from the mean of w.")
flags.DEFINE_integer(
    "truncation_layers", None, "Copies of w that psi is of; none: all.", lower_bound=1
)
flags.DEFINE_integer(
    "crossover", None, "Copies of w that mix takes from the left; none: half."
)
flags.DEFINE_integer("projection_steps", 1000, "Of project.", lower_bound=1)
flags.DEFINE_string(
    "extractor", "pixels", "Features that project compares; see launch.evaluate."
)
flags.DEFINE_string(
    "out",
    None,
    "PNG (clips: also GIF; walk: GIF, MP4; midi: WAV); none: WORKDIR/samples/MODE.*.",
)


def main():
    """Draw as the flags say; returns the JSON line's dict."""
    if (FLAGS.workdir is None) == (FLAGS.saved_model is None):
        raise BadInput("give either --workdir or --saved_model")
    sample_modes.check()
    out = _out()
    source = _open()
    valid = source.modes()
    if FLAGS.mode not in valid:
        raise BadInput(
            f"no mode {FLAGS.mode!r} for {source.name}; valid: "
            + (", ".join(valid) or "none, it does not make images")
        )
    if FLAGS.label is not None and not source.takes_label:
        raise BadInput(f"--label: {source.name} takes no label")
    if FLAGS.label is not None and FLAGS.label >= source.spec.num_classes:
        raise BadInput(
            f"--label={FLAGS.label} is not a class; valid: 0 to "
            f"{source.spec.num_classes - 1}"
        )
    if (
        source.takes_label
        and FLAGS.label is None
        and FLAGS.mode in sample_modes.OF_ONE_CLASS
    ):
        raise BadInput(f"--mode={FLAGS.mode} of {source.name} is of one --label")
    if FLAGS["truncation"].present and not source.truncates:
        raise BadInput(f"--truncation: {source.name} has no mean of w")
    if FLAGS.pitch and not source.is_sound:
        raise BadInput(f"--pitch: {source.name} makes no notes")
    report = {}
    if source.is_sound:
        draw = sample_notes.MODES[FLAGS.mode]
        write_out, count, report = draw(source, FLAGS, out)
        _whole(out, write_out)
    elif FLAGS.mode == "projector":
        count, report = _projector(source, out)
    elif FLAGS.mode in sample_modes.FIGURES:
        draw = getattr(sample_domains, FLAGS.mode)
        count = _whole(out, lambda path: draw(source, FLAGS, path))
    elif FLAGS.mode in sample_styles.MODES:
        draw = sample_styles.MODES[FLAGS.mode]
        write_out, count, report = draw(source, FLAGS)
        _whole(out, write_out)
    elif FLAGS.mode in sample_text.NEEDS:
        clips, columns = getattr(sample_text, FLAGS.mode)(source, FLAGS)
        write(out, clips, columns, source.spec)
        count, report = len(clips), {"text": FLAGS.text}
    else:
        images, columns = globals()[f"_{FLAGS.mode}"](source)
        write(out, images, columns, source.spec)
        count = len(images)
        if FLAGS.mode == "manifold":
            report = latents.jumps(images, columns)
    return {
        "model": source.name,
        "step": source.step,
        "mode": FLAGS.mode,
        "images": count,
        "seed": FLAGS.seed,
        **report,
        "out": str(out),
    }


def _out():
    kinds = {"walk": (".gif", ".mp4"), "midi": (".wav",)}.get(FLAGS.mode, (".png",))
    if FLAGS.mode not in ("walk", "midi") and _shows_clips():
        kinds = (".gif", ".png")
    if FLAGS.out is None and FLAGS.workdir is None:
        raise BadInput(f"--out is needed: the {kinds[0][1:].upper()} file to write")
    run = Workdir(FLAGS.workdir or "")
    default = run.samples / f"{FLAGS.mode}{kinds[0]}"
    if FLAGS.mode == "projector":
        default = run.tensorboard / "sprite.png"
    out = pathlib.Path(FLAGS.out or default)
    if out.suffix.lower() not in kinds or out.is_dir():
        raise BadInput(f"--out={out} is not the name of a {' or '.join(kinds)} file")
    if FLAGS.out and not out.absolute().parent.is_dir():
        raise BadInput(f"--out={out}: there is no folder {out.parent}")
    return out


def _shows_clips():
    """Return whether the model makes clips; its data tell, before it is loaded."""
    if FLAGS.saved_model:
        from tfgen.export import is_export

        if not is_export(FLAGS.saved_model):
            return False  # said in full when it is opened
        text = (pathlib.Path(FLAGS.saved_model) / "tfgen.json").read_text()
        try:
            return "video" in json.loads(text)["spec"]["features"]
        except (ValueError, KeyError, TypeError):
            return False  # this, too
    spec = (Workdir(FLAGS.workdir).config or {"data_spec": {}})["data_spec"]
    return "video" in spec.get("features", {})


def _open():
    if FLAGS.saved_model:
        for flag in ("checkpoint", "weights"):
            if FLAGS[flag].present:
                raise BadInput(f"--{flag} goes with --workdir; an export holds one")
        from tfgen.export import load

        exported = load(FLAGS.saved_model)
        calls = {name: getattr(exported, name) for name in exported.names}
        return Source(exported.description, calls)
    _, run, model = common_flags.load_run()
    return _live(run, model)


def _live(run, model):
    """Return the `Source` of a model of this process."""
    import tensorflow as tf

    import tfgen

    endpoints = tfgen.export.named_endpoints(model)
    description = {
        "run": run,
        "model": run["model"],
        "spec": model.endpoint_spec.to_json(),
        "step": model.steps_done,
        "signatures": {
            name: {"inputs": {a.name: {"shape": list(a.shape)} for a in arguments}}
            for name, (_, arguments) in endpoints.items()
        },
    }
    calls = {
        name: _as_arrays(tf.function(function, arguments, autograph=False))
        for name, (function, arguments) in endpoints.items()
    }
    return Source(description, calls, model)


def _as_arrays(function):
    def call(*arguments):
        return {name: value.numpy() for name, value in function(*arguments).items()}

    return call


class Source:
    """What pictures are drawn from: a live model or an export, seen alike.

    Attributes:
        name: the model's.
        step: training steps of its weights.
        spec: `DataSpec` of its data.
        run: what `held_out.load` needs to bring other data to the same size.
        calls: {endpoint: function returning {name: array}}.
        signatures: {endpoint: {"inputs": {name: {"shape": ...}}}}.
        model: the live model, or None.
    """

    def __init__(self, description, calls, model=None):
        from tfgen.core.spec import DataSpec

        self.name, self.step = description["model"], description["step"]
        self.spec = DataSpec.from_json(description["spec"])
        alone = {"batch": 1, "seed": 0, "data_dir": None}
        self.run = description.get("run") or alone | {"config": description["config"]}
        self.calls, self.model = calls, model
        self.signatures = description["signatures"]
        decode, generate, drawn = (
            self.signatures.get(name, {"inputs": {}})["inputs"]
            for name in ("decode", "generate", "sample")
        )
        self.takes_label = "label" in {**decode, **generate}
        self.truncates = "truncation" in drawn
        self.takes_text = "text" in generate
        self.is_sound = "audio" in self.spec.features
        render = self.signatures.get("render", {"inputs": {}})["inputs"]
        plain = set(decode) in ({"z"}, {"z", "label"})
        self.latent_shape = decode["z"]["shape"][1:] if plain else None
        if set(render) == {"z", "pitch"}:
            self.latent_shape = render["z"]["shape"][1:]

    def modes(self):
        """The modes that this model can do."""
        if self.is_sound:
            needs = sample_notes.NEEDS.items()
            return [mode for mode, need in needs if need in self.calls]
        valid = [mode for mode, need in NEEDS.items() if need in self.calls]
        if self.latent_shape is None or len(self.latent_shape) != 1:
            valid = [mode for mode in valid if NEEDS[mode] != "decode"]
        if self.latent_shape != [2]:
            valid = [mode for mode in valid if mode not in ("manifold", "latents")]
        encoded = self.signatures.get("encode", {"inputs": {}})["inputs"]
        if set(encoded) != {"images"}:
            valid = [mode for mode in valid if NEEDS[mode] != "encode"]
        if not self.takes_label and "classes" in valid:
            valid.remove("classes")
        if not self.takes_text and "text" in valid:
            valid.remove("text")
        if "synthesize" not in self.calls:
            valid = [mode for mode in valid if mode not in sample_styles.MODES]
        if "target" not in self.spec.features:
            valid = [mode for mode in valid if mode not in sample_modes.FIGURES]
        return valid

    def rows(self, num):
        """Return {feature: array} of --input, else of the run's held-out rows."""
        return _data(self, num)

    def images(self, endpoint, *inputs):
        """The one array that an endpoint returns."""
        (images,) = self.calls[endpoint](*inputs).values()
        return images

    def decode(self, z, label=None):
        """Images of latents `[n, latent_size]`, some hundred at a time.

        Args:
            z: Latents.
            label: `[n]`, of labelled models; none: those of images 0 to n - 1.
        """
        inputs = [z]
        if self.takes_label:
            label = self.labels(np.arange(len(z))) if label is None else label
            inputs.append(np.asarray(label, "int64"))
        rows = made_at_once(self.spec)
        return in_parts(lambda *part: self.images("decode", *part), *inputs, rows=rows)

    def labels(self, numbers):
        """Return the classes of images of the grid: --label, or all in turn."""
        if FLAGS.label is not None:
            return np.full_like(numbers, FLAGS.label)
        return numbers % max(1, self.spec.num_classes)

    def draw(self, num):
        """Return the latents that `sample` draws for --seed, `[num, latent_size]`."""
        from tfgen.core import noise

        if "prior" in self.calls:
            return self.images("prior", num, FLAGS.seed)
        drawn = noise.normal(FLAGS.seed, 0, "sample", num, self.latent_shape)
        return drawn.numpy()


def _grid(source):
    if source.truncates and FLAGS.label is not None:
        return sample_styles.grid(source, FLAGS), None
    if FLAGS.label is not None:
        return source.decode(source.draw(FLAGS.num)), None
    psi = {"truncation": FLAGS.truncation} if source.truncates else {}
    if source.model is not None:
        return sampler(source.model, FLAGS.num, FLAGS.seed, **psi)(), None
    return source.images("sample", FLAGS.num, FLAGS.seed, *psi.values()), None


def _classes(source):
    """A row a class; --num latents, the same in every row."""
    classes = source.spec.num_classes
    sample_modes.check_number(FLAGS.num * classes)
    z = np.tile(source.draw(FLAGS.num), [classes, 1])
    return source.decode(z, np.repeat(np.arange(classes), FLAGS.num)), FLAGS.num


def _arithmetic(source):
    """Rows A, B, C: exemplars, then their average; a row A - B + C and variants."""
    groups = [group.split(",") for group in (FLAGS.exemplars or "").split(":")]
    valid = len(groups) == 3 and all(n.isdigit() for group in groups for n in group)
    if not valid or len({len(group) for group in groups}) != 1:
        raise BadInput(
            "--mode=arithmetic needs --exemplars: three equal lists of images of the "
            "grid, as 0,3,5:1,2,9:4,6,7"
        )
    rows = np.array([[int(n) for n in group] for group in groups])
    most = sample_modes.MOST - 1
    if rows.max() > most:
        raise BadInput(f"--exemplars: no image {rows.max()}; the most is {most}")
    z = source.draw(rows.max() + 1)[rows]
    means = z.mean(axis=1, keepdims=True)
    result = means[0] - means[1] + means[2]
    spread = np.random.default_rng(FLAGS.seed).uniform(
        -0.25, 0.25, [rows.shape[1], *source.latent_shape]
    )
    last = np.concatenate([result, result + spread.astype("float32")])
    table = np.concatenate([np.concatenate([z, means], axis=1), last[None]])
    return source.decode(table.reshape([-1, *source.latent_shape])), rows.shape[1] + 1


def _interpolate(source):
    """Rows from one latent to another; latents are drawn as `sample` draws them."""
    ends = source.draw(2 * FLAGS.num)
    first, last = ends.reshape([2, FLAGS.num, *source.latent_shape])
    share = np.linspace(0.0, 1.0, FLAGS.columns, dtype="float32")
    between = {"linear": latents.linear, "spherical": latents.spherical}[FLAGS.path]
    z = between(first[:, None], last[:, None], share[:, None])
    label = source.labels(np.repeat(np.arange(FLAGS.num), FLAGS.columns))
    return source.decode(z.reshape([-1, *source.latent_shape]), label), FLAGS.columns


def _manifold(source):
    side = max(2, int(np.sqrt(FLAGS.num)))
    return source.decode(latents.plane(side)), side


def _latents(source):
    """One picture, which TensorBoard gets too: a row a run; see `latent_figure`."""
    from . import latent_figure

    sources = [source]
    if FLAGS.beside:
        import tfgen

        run = Workdir(FLAGS.beside).require_config()
        sources.append(_live(run, tfgen.load(FLAGS.beside)))
        if "latents" not in sources[1].modes():
            raise BadInput(f"--beside={FLAGS.beside}: no model of a latent plane")
    picture = latent_figure.draw([_panel(each) for each in sources])
    if FLAGS.workdir:
        import tensorflow as tf

        folder = Workdir(FLAGS.workdir).tensorboard
        with tf.summary.create_file_writer(str(folder)).as_default(step=source.step):
            tf.summary.image("latents", picture[None])
    return picture[None], 1


def _panel(source):
    from tfgen.core.spec import to_uint8

    data = _data(source, FLAGS.num)
    code = source.calls["encode"](data["image"])
    means = next(iter(code.values()))  # deviations, where there are any, come next
    if means.shape[1:] != (2,):
        raise BadInput(f"--mode=latents: {source.name} encodes images as no latents")
    return {
        "name": source.name,
        "codes": means,
        "stddev": code.get("stddev"),
        "labels": data.get("label"),
        "lattice": to_uint8(source.decode(latents.plane(LATTICE)), source.spec.image),
    }


def _projector(source, out):
    """Write the projector's files beside its picture; returns rows and a report."""
    from tfgen.callbacks.projector import most_rows, write_projector
    from tfgen.core.spec import to_uint8

    data = _data(source, min(FLAGS.num, most_rows(source.spec.image.shape)))
    found = source.calls["encode"](data["image"])
    codes = {k: v for k, v in found.items() if not k.startswith("stddev")}
    pictures = to_uint8(data["image"], source.spec.image)
    write_projector(out, codes, pictures, data.get("label"))
    return len(pictures), {"codes": {name: z.shape[1] for name, z in codes.items()}}


def _reconstruct(source):
    """Rows of images, each above rows of what the model, or its saves, make of them."""
    images = _data(source, FLAGS.num)["image"]
    sources = [source]
    if FLAGS.at:
        import tfgen

        if not FLAGS.workdir:
            raise BadInput("--at goes with --workdir; an export holds one save")
        run = Workdir(FLAGS.workdir).require_config()
        sources = [_live(run, tfgen.load(FLAGS.workdir, step)) for step in FLAGS.at]
    made = [each.images("reconstruct", images) for each in sources]
    columns = min(len(images), 10)
    # A part row is filled up, so that originals and reconstructions stay in step.
    missing = -len(images) % columns
    blank = np.full([missing, *images.shape[1:]], source.spec.image.low, images.dtype)
    rows = [
        np.concatenate([part, blank]).reshape([-1, 1, columns, *images.shape[1:]])
        for part in (images, *made)
    ]
    return np.concatenate(rows, axis=1).reshape([-1, *images.shape[1:]]), columns


def _data(source, num):
    """Return {feature: array} of `num` rows of --input, else of the run's held-out."""
    if FLAGS.workdir is None and FLAGS.input is None:
        raise BadInput(f"--mode={FLAGS.mode} of an export needs --input: a data name")
    data = held_out.load(source.run, FLAGS.data_dir, FLAGS.input)
    if FLAGS.input:
        stream = data.test or data.train
    else:
        stream, _ = held_out.split(data)
    return held_out.arrays(stream, source.spec, num)


def _complete(source):
    """A row an image: what is observed, the image, the prediction, completions."""
    images = _data(source, FLAGS.num)["image"]
    size = source.calls["encode"](images)["mean"].shape[1]
    from tfgen.core import noise

    count = len(images) * FLAGS.columns
    z = noise.normal(FLAGS.seed, 0, "sample", count, [size]).numpy()
    several = np.repeat(images, FLAGS.columns, axis=0)
    made = source.images("decode", z, several)
    made = made.reshape([len(images), FLAGS.columns, *images.shape[1:]])
    first = [source.images("observed", images), images]
    first.append(source.images("reconstruct", images))
    table = np.concatenate([np.stack(first, axis=1), made], axis=1)
    return table.reshape([-1, *images.shape[1:]]), FLAGS.columns + 3


def _future(source):
    """Clips, each beside what the model makes of its first frame."""
    return sample_clips.futures(source, _data(source, FLAGS.num)["video"]), 2


def _translate(source):
    return sample_domains.triplets(source, FLAGS)


def write(path, images, columns, spec):
    """Write images `[n, h, w, c]` or clips in the range of `spec`, atomically."""
    from tfgen.callbacks.pictures import grid, write_png
    from tfgen.core.spec import to_uint8

    if images.ndim == 5:
        _whole(path, lambda part: sample_clips.write(part, images, columns, spec))
        return
    picture = grid(to_uint8(images, spec.image), columns)
    _whole(path, lambda partial: write_png(partial, picture))


def _whole(path, write):
    """Return `write(partial path)`; the file then appears as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        returned = write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return returned


def command():
    """Entry point of `tfgen-sample`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
