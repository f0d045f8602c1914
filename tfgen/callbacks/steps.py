"""Base of the callbacks: counts training steps on the host."""

import keras


class AtSteps(keras.callbacks.Callback):
    """Calls `at(step, logs)` after each execution, `step` steps being done.

    Steps are counted from the model's own at the start of training, so a resumed
    run goes on where it stopped, and nothing waits for the device.
    """

    def on_train_begin(self, logs=None):
        """Take the step from the model."""
        self.step = self.model.steps_done
        self.begin(self.step)

    def on_train_batch_end(self, batch, logs=None):
        """Count, then act."""
        self.step += self.model.steps_per_execution
        self.at(self.step, logs or {})

    def begin(self, step):
        """Act before the first step of this training."""

    def at(self, step, logs):
        """Act when `step` steps are done; `logs` is empty between log steps."""
        raise NotImplementedError

    def abandon(self):
        """Give back what was taken: training ends by an exception."""

    def due(self, every):
        """Return whether a multiple of `every` steps has just been reached."""
        return bool(every) and self.step % every < self.model.steps_per_execution
