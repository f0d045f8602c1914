"""Validation at steps, and the best of them."""

import math

from tfgen.callbacks.steps import AtSteps


class Validation(AtSteps):
    """Evaluate on held-out rows every `every` steps.

    Args:
        stream: The held-out rows; whole batches of them are used.
        every: Steps between validations.
        sinks: Called with (step, {"val_<name>": number}).
        best: Called with {"step", "metric", "value"} when the model's `monitor`
            improves on every earlier validation.
        earlier: What `best` was last called with, by the run that is resumed.
    """

    def __init__(self, stream, every, sinks=(), best=None, earlier=None):
        super().__init__()
        self.stream, self.every, self.sinks = stream, every, sinks
        self.best, self.earlier = best, earlier

    def at(self, step, logs):
        """Evaluate when due."""
        if not self.due(self.every):
            return
        logs = self.model.evaluate(self.stream, verbose=0, return_dict=True)
        for sink in self.sinks:
            sink(step, {f"val_{name}": value for name, value in logs.items()})
        if self.best is None or self.model.monitor is None:
            return
        metric, direction = self.model.monitor
        value = float(logs[metric])
        sign = {"max": 1, "min": -1}[direction]
        if not math.isfinite(value):  # no later value would count as better
            return
        same = self.earlier and self.earlier["metric"] == metric
        if same and sign * value <= sign * self.earlier["value"]:
            return
        self.earlier = {"step": step, "metric": metric, "value": value}
        self.best(self.earlier)
