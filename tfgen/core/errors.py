"""The two ways a run ends early, each with its exit code."""


class BadInput(ValueError):
    """What the user gave cannot be used: one line naming the valid choices.

    Launchers print the message and exit with code 2; no traceback.
    """


class Stopped(RuntimeError):
    """Training was stopped on purpose by a guard or an alarm (exit code 3)."""
