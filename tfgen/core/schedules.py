"""Learning rates that end with a training."""

import keras


class ConstantThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """`rate` for `constant` updates, then along a line to 0 over `decay` updates."""

    def __init__(self, rate, constant, decay):
        self.rate, self.constant, self.decay = rate, constant, decay

    def __call__(self, step):
        """Return the learning rate of an update, counted from 0."""
        gone = keras.ops.cast(step, "float32") - self.constant
        return self.rate * (1.0 - keras.ops.clip(gone / self.decay, 0.0, 1.0))


class Annealed(keras.optimizers.schedules.LearningRateSchedule):
    """rate / (1 + 10 p)^0.75 at progress p = min(n / steps, 1).

    Of update n; Ganin and Lempitsky 2015.
    """

    def __init__(self, rate, steps):
        self.rate, self.steps = rate, steps

    def __call__(self, step):
        """Return the learning rate of an update, counted from 0."""
        progress = keras.ops.cast(step, "float32") / self.steps
        progress = keras.ops.minimum(progress, 1.0)
        return self.rate * (1.0 + 10.0 * progress) ** -0.75
