"""Check the theory of adversarial training against the library's losses, and draw it.

python -m launch.theory --out=theory

Writes table.md, table.json, a PNG for each claim and theory.png with all of them.
Takes about two minutes on one CPU core; needs no data. Exit code 1 when a check
fails, each on a line of stderr. The last line on stdout is one JSON object.
"""

import json
import math
import pathlib
import sys
import time

from absl import flags

from tfgen.core.errors import BadInput

from . import common_flags

FLAGS = flags.FLAGS

flags.DEFINE_string("out", None, "Folder to write the table and the figures to.")
flags.DEFINE_list("only", [], "Claims to check, comma separated; none: all.")

HEIGHT = 3.6  # inches, of a figure


def main():
    """Run the claims; returns the JSON line's dict and the exit code."""
    if FLAGS.out is None:
        raise BadInput("--out is needed: the folder for the table and the figures")
    folder = pathlib.Path(FLAGS.out)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out={folder} is a file; it must be a folder")

    from tfgen.theory import claims

    if unknown := sorted(set(FLAGS.only) - set(claims.CLAIMS)):
        raise BadInput(
            f"--only: no claim {', '.join(unknown)}; valid: {', '.join(claims.CLAIMS)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    start, checks, results = time.monotonic(), [], {}
    for name in FLAGS.only or claims.CLAIMS:
        began = time.monotonic()
        claim = claims.CLAIMS[name]()
        checks += claim.checks
        results[name] = claim.results
        passed = sum(check.passed for check in claim.checks)
        seconds = time.monotonic() - began
        say(f"{name}: {passed} of {len(claim.checks)} checks passed, {seconds:.1f} s")
    write_table(folder, checks)
    draw(folder, results)
    failed = [check for check in checks if not check.passed]
    for check in failed:
        say(f"failed: {check.quantity}: {check.computed:.6g} should be {wanted(check)}")
    summary = {
        "checks": len(checks),
        "passed": len(checks) - len(failed),
        "seconds": round(time.monotonic() - start, 1),
        "out": str(folder),
    }
    return summary, 1 if failed else 0


def say(line):
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def wanted(check):
    """Return what a check asks for, in words."""
    if check.relation == "=":
        return f"{check.closed_form:.6g} within {check.tolerance:.2g}"
    return f"{check.relation} {check.closed_form:.6g}"


def write_table(folder, checks):
    """Write the checks as table.md, for reading, and table.json."""
    lines = [
        "| quantity | closed form, bound | computed | difference | tolerance | pass |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for check in checks:
        bound = "" if check.relation == "=" else f"{check.relation} "
        tolerance = f"{check.tolerance:.2g}" if check.relation == "=" else "-"
        quantity = check.quantity.replace("|", "\\|")
        passed = "yes" if check.passed else "NO"
        lines.append(
            f"| {quantity} | {bound}{check.closed_form:.6g} | {check.computed:.6g} | "
            f"{check.difference:.2g} | {tolerance} | {passed} |"
        )
        row = {
            "quantity": check.quantity,
            "relation": check.relation,
            "closed_form": check.closed_form,
            "computed": check.computed,
            "difference": check.difference,
            "tolerance": check.tolerance,
        }
        # JSON has no NaN or infinity.
        row = {
            name: value if isinstance(value, str) else finite(value)
            for name, value in row.items()
        }
        rows.append(row | {"pass": check.passed})
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    (folder / "table.json").write_text(json.dumps(rows, indent=1) + "\n")


def finite(value):
    """Return `value` as a Python float, or None when it is not finite."""
    return float(value) if math.isfinite(value) else None


def draw(folder, results):
    """Write a PNG for each claim that has a figure, and theory.png with all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    from tfgen.theory import figures

    drawn = {name: figures.FIGURES[name] for name in results if name in figures.FIGURES}
    for name, (function, width) in drawn.items():
        figure = Figure(figsize=(width, HEIGHT), layout="constrained")
        function(figure, results[name])
        figure.savefig(folder / f"{name}.png", dpi=110)
    if not drawn:
        return
    page = Figure(figsize=(14, (HEIGHT + 0.2) * len(drawn)), layout="constrained")
    parts = page.subfigures(len(drawn), 1, squeeze=False)[:, 0]
    for part, (name, (function, _)) in zip(parts, drawn.items(), strict=True):
        function(part, results[name])
    page.savefig(folder / "theory.png", dpi=80)


def command():
    """Entry point of `tfgen-theory`."""
    common_flags.run(main)


if __name__ == "__main__":
    command()
