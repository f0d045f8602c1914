"""Progress on the terminal and scalars in a CSV file."""

import csv
import os
import pathlib
import sys
import time

from tfgen.callbacks.steps import AtSteps
from tfgen.core.errors import BadInput


class Progress(AtSteps):
    """Print step, rate, time left and the last losses to stderr.

    A bar that redraws itself on a terminal, else one line each `every` steps.

    Args:
        total: Step at which training ends.
        every: Steps between lines.
        rows: Examples a step, for the rate.
    """

    def __init__(self, total, every, rows):
        super().__init__()
        self.total, self.every, self.rows = total, every, rows
        self.logs = {}
        self.log_every = None
        self.examples_per_second = 0.0

    def begin(self, step):
        """Start the clock after the first execution, which traces and compiles."""
        self.first = None
        self.log_every = self.model.log_every
        self.drawn = 0.0
        self.bar = sys.stderr.isatty()

    def on_train_batch_begin(self, batch, logs=None):
        """Ask for the losses of the last step, whether or not a line is due."""
        if self.step + self.model.steps_per_execution >= self.total:
            self.model.log_every = 1

    def on_train_end(self, logs=None):
        """Leave the model as it was."""
        self.abandon()

    def abandon(self):
        """Leave the model as it was."""
        if self.log_every is not None:
            self.model.log_every = self.log_every

    def at(self, step, logs):
        """Draw the bar at most ten times a second, a line when due."""
        # Those of a group, health/..., are for TensorBoard.
        losses = {k: float(v) for k, v in logs.items() if "/" not in k}
        self.logs = losses or self.logs
        now = time.monotonic()
        if self.first is None:
            self.first = (step, now)
        due = self.due(self.every) or step >= self.total
        if not due and not (self.bar and now - self.drawn > 0.1):
            return
        self.drawn = now
        done, elapsed = step - self.first[0], now - self.first[1]
        rate = done / elapsed if done else 0.0
        self.examples_per_second = rate * self.rows
        left = _clock((self.total - step) / rate) if rate else "--:--"
        losses = "  ".join(f"{k} {v:.4g}" for k, v in self.logs.items())
        text = f"step {step}/{self.total}  {rate:.3g} steps/s  {left} left  {losses}"
        if not self.bar:
            print(text, file=sys.stderr, flush=True)
            return
        filled = round(20 * step / self.total)
        bar = "=" * filled + "." * (20 - filled)
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        end = "\n" if step >= self.total else ""
        line = f"[{bar}] {text}"[: width - 1]
        print(f"\r\x1b[K{line}", end=end, file=sys.stderr, flush=True)


def _clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    )


class CSVLog(AtSteps):
    """Append one row of scalars each time there are logs: `metrics.csv`.

    The first column is the step. A scalar seen for the first time adds a column.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def begin(self, step):
        """Drop rows past `step`: the run they belong to was cut there."""
        self.rows = [row for row in read_csv(self.path) if int(row["step"]) <= step]
        self._rewrite()

    def at(self, step, logs):
        """Append a row when there are logs."""
        if logs:
            self.add(step, logs)

    def add(self, step, values):
        """Write scalars of a step, in its row when that is the last one."""
        row = {"step": str(step)} | {k: repr(float(v)) for k, v in values.items()}
        same = self.rows and self.rows[-1]["step"] == row["step"]
        if same:
            self.rows[-1] |= row
        else:
            self.rows.append(row)
        if same or not set(row) <= set(self.columns):
            self._rewrite()
            return
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def _rewrite(self):
        self.columns = list(dict.fromkeys(["step", *(k for r in self.rows for k in r)]))
        partial = self.path.with_suffix(".partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)


def read_csv(path):
    """Return the whole rows of a metrics file as dicts, [] if there is none.

    Raises:
        BadInput: It is not a table of steps.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        # A killed run may leave half a line.
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(whole.splitlines()))
    except (UnicodeDecodeError, csv.Error):
        raise BadInput(f"{path} is not a table of metrics") from None
    return [
        {name: value for name, value in row.items() if value}
        for row in rows
        if (row.get("step") or "").isdigit()
    ]
