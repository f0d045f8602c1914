"""Write a trained model as a SavedModel that runs without tfgen.

python -m launch.export --workdir=runs/digits

The last line on stdout is one JSON object.
"""

from absl import flags

from . import common_flags

FLAGS = flags.FLAGS

common_flags.define_run()
flags.DEFINE_string("out", None, "Folder to write; none: WORKDIR/export.")


def main():
    """Export as the flags say; returns the JSON line's dict."""
    import tfgen

    workdir, run, model = common_flags.load_run()
    folder = FLAGS.out or str(workdir.export)
    tfgen.export(model, folder)
    return {
        "model": run["model"],
        "step": model.steps_done,
        "signatures": list(model.endpoints()),
        "fingerprint": tfgen.export.fingerprint(model),
        "out": folder,
    }


def command():
    """Entry point of `tfgen-export`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
