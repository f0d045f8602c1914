"""Alarms of a training, from what its steps report."""

import collections
import sys

import numpy as np

from tfgen.callbacks.logs import read_csv
from tfgen.callbacks.steps import AtSteps
from tfgen.core.errors import Stopped

WINDOW = 150  # steps that a condition must hold for, more where logs are rare
LEAST = 3  # logs that it must hold at
NOTHING = 1e-6  # diversity of rounding
BEGINNING = 1500  # steps in which samples may be alike, as long as they are not one


class Health(AtSteps):
    """Look at what a model's steps report whenever there are logs.

    An alarm sounds when its condition has held at every log of the last `WINDOW`
    steps, `LEAST` of them or more:

    discriminator_won: it is right on 99.5 % of real and of fake rows, and sure of it:
        its loss is below 0.1.
    collapse: samples differ among themselves by less than a quarter of what real
        rows do, and do not grow apart; in the first 1,500 steps, when generators that
        will do well make all samples alike, by less than a hundredth.
    generator_gradient_vanished: the norm of the generator's gradient is below 1e-4 of
        the largest seen.
    posterior_collapse: no latent next to the data is active: the mean of its posterior
        varies by less than 0.01 over a batch.
    diverged: a loss is 1,000 times the largest of the first `WINDOW` steps and
        grows.

    `estimate_trend` is the relative change of a critic's estimate over the window,
    second half against first.

    Adds "alarm/NAME", 0 or 1, and "health/estimate_trend" to the logs: place it
    before what writes them.

    Args:
        policy: "log" says on stderr which alarm sounds; "stop" raises `Stopped`.
        table: The metrics.csv this training appends to, which a resumed run reads, so
            that it judges as one that was not cut; none: every training starts anew.
    """

    def __init__(self, policy="log", table=None):
        super().__init__()
        self.policy, self.table = policy, table
        self.raised = {}  # alarm -> step it first sounded at

    def begin(self, step):
        """Go on from what the table tells of the steps before."""
        self.window = collections.deque()
        self.raised.clear()
        self.first, self.largest_gradient, self.largest_loss = None, 0.0, {}
        for row in read_csv(self.table) if self.table else ():
            number = int(row.pop("step"))
            if number <= step:
                self._judge(number, {name: float(text) for name, text in row.items()})

    def at(self, step, logs):
        """Add the reports of a step; sound what they tell."""
        earlier = set(self.raised)
        logs |= self._judge(step, {name: float(value) for name, value in logs.items()})
        for name in self.raised.keys() - earlier:
            message = f"step {step}: alarm {name}: {self._evidence(name)}"
            if self.policy == "stop":
                raise Stopped(f"{message}; see --on_alarm")
            print(message, file=sys.stderr, flush=True)

    def _judge(self, step, logs):
        """Return what the logs of a step add: alarms and the trend."""
        if not any(name.startswith("health/") for name in logs):
            return {}
        report = {name.removeprefix("health/"): value for name, value in logs.items()}
        self.window.append((step, report))
        length = max(WINDOW, (LEAST - 1) * self._spacing())
        while self.window[0][0] < step - length:
            self.window.popleft()
        self._remember(step, report)
        alarms = self._alarms()
        for name in [name for name, on in alarms.items() if on]:
            self.raised.setdefault(name, step)
        return {
            f"alarm/{name}": float(on) for name, on in alarms.items()
        } | self._trend()

    def _remember(self, step, report):
        norms = [report[name] for name in _gradients(report)]
        self.largest_gradient = max([self.largest_gradient, *norms])
        self.first = step if self.first is None else self.first
        if step <= self.first + WINDOW:
            for name in _losses(report):
                size = max(1.0, abs(report[name]), self.largest_loss.get(name, 0.0))
                self.largest_loss[name] = size

    def _alarms(self):
        reports = [report for _, report in self.window]
        long = self.window[-1][0] - self.window[0][0] >= WINDOW - self._spacing()
        full = long and len(reports) >= LEAST

        def held(condition):
            return full and all(condition(report) for report in reports)

        first, last = reports[0], reports[-1]
        least = 0.25 if self.window[-1][0] > BEGINNING else 0.01
        collapsed = held(lambda r: r.get("diversity", 1.0) < least)
        return {
            "discriminator_won": held(
                lambda r: (
                    r.get("discriminator_loss", 1.0) < 0.1
                    and min(r.get(f"{x}_accuracy", 0.0) for x in ("real", "fake"))
                    >= 0.995
                )
            ),
            "collapse": collapsed
            and last["diversity"] <= max(1.1 * first["diversity"], NOTHING),
            "posterior_collapse": held(lambda r: r.get("active_units", 1.0) < 0.5),
            "generator_gradient_vanished": held(
                lambda r: any(
                    r[name] < 1e-4 * self.largest_gradient for name in _gradients(r)
                )
            ),
            # Stages have losses of their own: one new to the window has not diverged.
            "diverged": any(
                held(
                    lambda r, n=n: (
                        abs(r.get(n, 0.0)) > 1e3 * self.largest_loss.get(n, np.inf)
                    )
                )
                and abs(last[n]) > abs(first[n])
                for n in _losses(last)
            ),
        }

    def _spacing(self):
        steps = [step for step, _ in self.window]
        return max(np.diff(steps), default=WINDOW)

    def _trend(self):
        estimates = [r.get("wasserstein_estimate") for _, r in self.window]
        if None in estimates:
            return {}
        half = max(1, len(estimates) // 2)
        earlier, later = np.mean(estimates[:half]), np.mean(estimates[-half:])
        change = (later - earlier) / (abs(earlier) + 1e-12)
        return {"health/estimate_trend": float(change)}

    def _evidence(self, alarm):
        report = self.window[-1][1]
        names = {
            "discriminator_won": [
                "discriminator_loss",
                "real_accuracy",
                "fake_accuracy",
            ],
            "collapse": ["diversity"],
            "generator_gradient_vanished": _gradients(report),
            "posterior_collapse": ["active_units"],
            "diverged": _losses(report),
        }[alarm]
        return ", ".join(f"{name} {report[name]:.3g}" for name in names)


def _gradients(report):
    """Names of the norm that is watched; CycleGAN's two generators are one network."""
    names = ("generator_gradient_norm", "generators_gradient_norm")
    return [name for name in names if name in report]


def _losses(report):
    return [
        name
        for name in report
        if name == "wasserstein_estimate"
        or (name.endswith("_loss") and not name.startswith("val_"))
    ]
