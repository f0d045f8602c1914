"""Many training steps as one XLA program.

A program for each update costs its launch, and buffers for every weight, each step: a
sixth of the time of an MLP. Here the data and the noise of some steps are drawn first,
outside XLA, where the same keys would give other numbers; then one program runs them.
"""

import tensorflow as tf

from tfgen.core import graphs

LONGEST = 50  # steps in one program: their data and noise lie in memory


def marks(finite, position):
    """Return what tells of many steps, by their minimum, which were finite.

    Args:
        finite: Flags `[m]` of one step that are 1 where an update was finite.
        position: Number of the step, int64.

    Returns:
        int64 `[m + 1]`: of each flag the position where it is not 1; then, where all
        are, -(position + 1), so that the minimum is of the last such step. Elsewhere
        the largest int64.
    """
    none = tf.int64.max
    broken = tf.where(finite < 1.0, position, none)
    whole = tf.where(tf.reduce_all(finite >= 1.0), -position - 1, none)
    return tf.concat([broken, whole[tf.newaxis]], axis=0)


def run(model, iterator, step, length):
    """Run `length` steps on the next elements of `iterator`.

    Args:
        model: The `GenerativeModel`, on one device, whose whole step XLA can compile.
        iterator: Yields raw batches.
        step: Function of an adapted batch that does one training step and returns (its
            scalars `[n]`, flags `[m]` that are 1 where the update was finite).
        length: Steps.

    Returns:
        The scalars of the last step; the minimum of the `marks` of all.
    """
    batch_spec, requests, scalars, flags = _record(model, iterator.element_spec, step)
    noise_spec = {name: tf.TensorSpec([n, *shape]) for name, n, shape, _ in requests}
    longest = max(n for n in range(1, LONGEST + 1) if length % n == 0)

    def draw(number):
        batch = _seen(model, next(iterator))
        clock = model.step.value + tf.cast(number, tf.int64)
        model._begin(lambda: clock)
        return batch, {request[0]: model.noise(*request) for request in requests}

    def steps(stacked):
        def body(number, _, earlier):
            batch, given = tf.nest.map_structure(lambda x: x[number], stacked)
            model._begin(lambda: model.step.value, given)
            position = tf.identity(model.step.value)
            logs, finite = step(batch)
            return number + 1, logs, tf.minimum(earlier, marks(finite, position))

        start = tf.zeros([scalars]), tf.fill([flags + 1], tf.int64.max)
        return _loop(longest, body, *start)

    program = graphs.function(steps, True)

    def execution(number, _, earlier):
        # In order: the iterator is stateful.
        stacked = tf.map_fn(
            draw,
            tf.range(longest),
            fn_output_signature=(batch_spec, noise_spec),
            parallel_iterations=1,
        )
        logs, nonfinite = program(stacked)
        return number + 1, logs, tf.minimum(earlier, nonfinite)

    start = tf.zeros([scalars]), tf.fill([flags + 1], tf.int64.max)
    return _loop(length // longest, execution, *start)


def _record(model, spec, step):
    """Return what a step sees and draws, how many scalars and flags it returns."""
    found = []

    def trace(element):
        batch = _seen(model, element)
        model._begin(lambda: model.step.value, {})
        logs, finite = step(batch)
        batch_spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, batch)
        requests = list(model._tracing.requests)
        found[:] = [batch_spec, requests, *logs.shape, *finite.shape]

    # Not in an init_scope, which would stop the tapes of the step.
    tf.function(trace, autograph=False).get_concrete_function(spec)
    return found


def _seen(model, element):
    """Return what the model declares of a raw batch, and `index`: XLA holds no text."""
    batch = model._adapt(element)
    return {name: batch[name] for name in [*model.spec.features, "index"]}


def _loop(count, body, *start):
    """Return the second and further values of `body`'s loop over 0 ... count - 1."""
    return tf.while_loop(lambda number, *_: number < count, body, (0, *start))[1:]
