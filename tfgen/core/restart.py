"""An optimizer that forgets, for trainings whose parts each start one anew."""

import tensorflow as tf

_KEPT = ("iteration", "learning_rate")


def restart(optimizer, now):
    """Set an optimizer back to where it started, if `now`.

    All that its updates left behind becomes zero, as it was, and its count of updates;
    the learning rate stays. What decides can be a function of the step, so that a
    resumed run need not know whether it has been done.

    Args:
        optimizer: A built Keras optimizer whose variables start at zero.
        now: Scalar bool tensor.
    """
    slots = [v for v in optimizer.variables if v.name not in _KEPT]

    def clear():
        for slot in slots:
            slot.assign(tf.zeros(slot.shape, slot.dtype))
        return True

    # A branch, not a `where`: the slots are twice the weights, and stay most steps.
    tf.cond(now, clear, lambda: False)
    count = optimizer.iterations
    count.assign(tf.where(now, tf.zeros([], count.dtype), count.value))
