"""Guard against NaN and infinity that also sees inside XLA-compiled steps."""

import sys

from tfgen.callbacks.steps import AtSteps
from tfgen.core.errors import Stopped

MOST = 100  # steps in a row that are undone before a training ends


class NaNGuard(AtSteps):
    """Look at the finite flags the steps returned, every `every` steps.

    `tf.debugging.check_numerics` does nothing under XLA; each update returns a
    flag instead, and this reads them. Place it before what saves.

    Args:
        every: Steps between looks; give what divides the save interval.
        policy: "stop" raises `Stopped` naming step, network and loss; "skip" says
            so on stderr (a model compiled with `undo_nonfinite` has undone it), and
            raises it once the last 100 steps or more were all undone.
    """

    def __init__(self, every=1, policy="stop"):
        super().__init__()
        self.every, self.policy = every, policy
        self.skipped = 0

    def at(self, step, logs):
        """Look when due."""
        if self.due(self.every):
            self.look()

    def look(self):
        """Look now; also called before each save, so that no bad state is kept."""
        found = self.model.nonfinite()
        if found is None:
            return
        first, loss = found
        message = f"step {first}: {loss} is not finite (NaN or infinity)"
        if self.policy == "stop":
            raise Stopped(f"{message}; the last save is kept")
        self.skipped += 1
        if (undone := self.model.nonfinite_in_a_row) >= MOST:
            raise Stopped(
                f"{message}, and the last {undone} steps were all undone: nothing is "
                "learned any more; the last save is kept"
            )
        print(f"{message}; the step is undone", file=sys.stderr)
