"""Stochastic gradient descent as the first adversarial papers ran it."""

import math

import keras


class Shrinking(keras.optimizers.schedules.LearningRateSchedule):
    """max(rate / factor^n, floor) after n updates."""

    def __init__(self, rate, factor, floor=1e-6):
        self.rate, self.factor, self.floor = rate, factor, floor

    def __call__(self, step):
        """Return the learning rate of an update, counted from 0."""
        # A power of 1 / factor in float32 is 9 % off after 3 million updates.
        exponent = math.log(self.factor) * keras.ops.cast(step, "float32")
        shrunk = self.rate * keras.ops.exp(-exponent)
        return keras.ops.maximum(shrunk, self.floor)


class GrowingMomentum(keras.optimizers.SGD):
    """v <- m v - rate * gradient, w <- w + v, with m growing from `low` to `high`.

    Args:
        learning_rate: Number or schedule.
        low: m up to update `start`.
        high: m from update `end` on; linear between.
        start: In updates.
        end: In updates.
    """

    def __init__(self, learning_rate, low=0.5, high=0.7, start=0, end=1):
        super().__init__(learning_rate, momentum=low)
        self.low, self.high, self.start, self.end = low, high, start, end

    def update_step(self, gradient, variable, learning_rate):
        """Move one variable."""
        updates = keras.ops.cast(self.iterations, "float32")
        share = keras.ops.clip((updates - self.start) / (self.end - self.start), 0, 1)
        momentum = self.low + (self.high - self.low) * share
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, momentum * velocity - learning_rate * gradient)
        self.assign_add(variable, velocity)
