"""Checkpoints every N steps, and at the next step once the job is told to end."""

import signal

import tensorflow as tf

from tfgen.callbacks.steps import AtSteps
from tfgen.core import checkpoint


class Checkpoints(AtSteps):
    """Save every `every` steps, at the end, and on SIGTERM or SIGINT.

    A second SIGINT interrupts at once, without a save.

    Place it last, so that what the others write of a step is on disk before the
    step counts as saved.

    Args:
        folder: Where checkpoints go; it exists.
        every: Steps between saves, 0 = only at the end.
        keep: How many of the newest stay.
        before: Called before each save: flushes of the logs.
        agree_every: Steps between the workers' votes on ending together.
    """

    def __init__(self, folder, every, keep=3, before=(), agree_every=1):
        super().__init__()
        self.folder, self.every, self.keep = folder, every, keep
        self.before, self.agree_every = before, agree_every
        self.keep_also = set()
        self.signal = None
        self._handlers = {}  # those that ours stand in for

    def begin(self, step):
        """Listen for signals."""
        self.saved = step if step in checkpoint.steps(self.folder) else None
        self._handlers = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

        strategy = self.model.distribute_strategy
        self._count_votes = tf.function(
            lambda mine: strategy.reduce(
                "SUM", strategy.run(tf.identity, (mine,)), None
            )
        )

    def _on_signal(self, number, frame):
        if number == self.signal == signal.SIGINT:  # asked twice: at once
            raise KeyboardInterrupt
        self.signal = number

    def at(self, step, logs):
        """Save when due; end when a signal came."""
        if self._told_to_end():
            self.model.stop_training = True
        elif not self.due(self.every):
            return
        self.save()

    def save(self, first=None):
        """Save now, unless this step is saved already.

        Args:
            first: Called just before the file is written, also where it is there.
        """
        # Callbacks before this one save too, when it has not counted the step yet.
        due = self.saved != self.model.steps_done
        for flush in self.before if due else ():
            flush()
        if first:
            first()
        if due:
            self.saved = checkpoint.save(
                self.model, self.folder, self.keep, self.keep_also
            )

    def on_train_end(self, logs=None):
        """Save the last step and leave the signals as they were."""
        self.save()
        self.abandon()

    def abandon(self):
        """Give the signals back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _told_to_end(self):
        strategy = self.model.distribute_strategy
        if not checkpoint.is_multi_worker(strategy):
            return self.signal is not None
        # All workers must leave at the same step: their saves are collectives.
        if not self.due(self.agree_every):
            return False
        votes = int(self._count_votes(tf.constant(self.signal is not None, tf.int32)))
        if votes and self.signal is None:
            self.signal = signal.SIGTERM
        return votes > 0
