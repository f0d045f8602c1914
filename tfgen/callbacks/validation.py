"""Validation at steps, and the best of them."""

import math

from tfgen.callbacks.steps import AtSteps


class Validation(AtSteps):
    """Evaluate on held-out rows every `every` steps.

    Args:
        stream: The held-out rows; whole batches of them are used.
        every: Steps between validations.
        sinks: Called with (step, {"val_<name>": number}).
        best: `Best` of the model's `monitor`.
    """

    def __init__(self, stream, every, sinks=(), best=None):
        super().__init__()
        self.stream, self.every, self.sinks = stream, every, sinks
        self.best = best

    def at(self, step, logs):
        """Evaluate when due."""
        if not self.due(self.every):
            return
        logs = self.model.evaluate(self.stream, verbose=0, return_dict=True)
        for sink in self.sinks:
            sink(step, {f"val_{name}": value for name, value in logs.items()})
        if self.best and self.model.monitor:
            metric, direction = self.model.monitor
            self.best(step, metric, float(logs[metric]), direction)


class Best:
    """Knows the best value so far of the number that a run is judged by.

    Args:
        keep: Called with {"step", "metric", "value"} when a value beats the earlier.
        earlier: What it was last called with, by the run that is resumed.
    """

    def __init__(self, keep, earlier=None):
        self.keep, self.earlier = keep, earlier

    def __call__(self, step, metric, value, direction):
        """Compare a value, better when larger ("max") or smaller ("min")."""
        sign = {"max": 1, "min": -1}[direction]
        if not math.isfinite(value):  # no later value would count as better
            return
        same = self.earlier and self.earlier["metric"] == metric
        if same and sign * value <= sign * self.earlier["value"]:
            return
        self.earlier = {"step": step, "metric": metric, "value": value}
        self.keep(self.earlier)
