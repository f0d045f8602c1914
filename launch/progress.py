"""How far a long measurement is, for people."""

import sys
import time


class Progress:
    """Share done and time left on stderr, a line every few seconds."""

    EVERY = 5.0  # seconds

    def start(self, what):
        """Begin counting something else."""
        self.what = what
        self.started = self.shown = time.monotonic()

    def say(self, message):
        """Print a line."""
        print(message, file=sys.stderr, flush=True)

    def __call__(self, done, total):
        """Print how far it is, when a line is due."""
        now = time.monotonic()
        if now - self.shown < self.EVERY:
            return
        self.shown = now
        left = (now - self.started) * (total - done) / done
        self.say(f"{self.what}: {100 * done // total} %, {left:.0f} s left")
