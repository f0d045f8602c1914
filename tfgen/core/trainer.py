"""How Keras' `fit` and `evaluate` run a model's steps on replicas and under XLA.

Keras compiles and reduces everything inside one jitted function, which fails with
XLA on several replicas and with any scalar log on several workers. Here the whole
step is a plain graph that runs a function on each replica and averages what it
returns; what XLA compiles lies inside it (`GenerativeModel.gradients`, `descend`).
"""

import itertools
import threading
import types

import keras
import numpy as np
import tensorflow as tf

from tfgen.core import graphs, program
from tfgen.core.errors import BadInput
from tfgen.core.spec import adapter


class Trainer(keras.Model):
    """The loop's side of a model: `fit`, `evaluate`, and what they report.

    Args:
        spec: `DataSpec` of the batches `train_step` receives.
    """

    updates_per_step = 1  # batches of fresh rows that one train_step consumes
    whole_steps = False  # XLA can compile all of train_step, what is in no loss too

    def __init__(self, spec):
        super().__init__(name=type(self).__name__.lower())
        self.spec = spec
        self.step = keras.Variable(0, dtype="int64", trainable=False, name="step")
        self.undo_nonfinite = False
        self.traces = {}  # graph name -> how often it was traced
        self._tracing = threading.local()  # replicas are traced in threads
        # What changes each step stays out of Keras' attribute tracking: 0.1 ms.
        # Stage -> names of the flags its step returns, and flags not yet looked at;
        # how many steps there were up to the last finite one.
        self._host = types.SimpleNamespace(
            guarded={},
            nonfinite={},
            last_finite=0,
            logs={},
            steps_run=0,
            log_every=1,
            fed={},
            test_steps=None,
        )

    def stages(self):
        """Return {stage: steps}: the parts of a training, in order.

        Steps of stage `name` are `<name>_step(batch)`; the last stage has no end
        (None). Which one a step belongs to is a function of its number alone, so a
        resumed run need not know where it was cut.
        """
        return {"train": None}

    def stage_of(self, step):
        """Return (stage that step number `step` belongs to, step after its last)."""
        end = 0
        for name, steps in self.stages().items():
            end = None if steps is None else end + steps
            if end is None or step < end:
                return name, end
        raise ValueError(f"the last of the stages {self.stages()} must not end")

    def step_method(self, step):
        """Return the name of the method that runs a step, a Python int from 0.

        By default that of the step's stage. Other models have updates that come at some
        steps only, such as a regulariser at every 16th: the host picks the graph, so
        that no update lies in a branch. The methods take the same batches and may log
        different scalars; at a log step each shows its latest value since the last one.
        """
        return f"{self.stage_of(step)[0]}_step"

    def start_on(self, stream):
        """Prepare for a first step on rows of `stream`, as `fit` begins at step 0.

        By default nothing. For what starts from the data, such as a bias at their mean;
        networks that `--init_from` has set come here too and must be left as they are.
        """

    def feed_from(self, source):
        """Accept raw batches of `source`; returns what is done to them, in words."""
        self._feed("test", source)
        return self._feed("train", source)

    def _feed(self, use, source):
        """Adapt the batches of one use, "train" or "test", from now on."""
        earlier = self._host.fed.get(use)
        adapt, description = adapter(source, self.spec)
        if earlier and earlier[0] != source:  # its graph holds what was done before
            setattr(self, f"{use}_function", None)
        self._host.fed[use] = source, adapt
        return description

    def _adapt(self, batch, use="train"):
        source, adapt = self._host.fed.get(use, (self.spec, None))
        if not isinstance(batch, dict) or not self.spec.features.keys() <= batch.keys():
            wanted = ", ".join(
                f"{name!r}: {_rows_of(source.features[name])}"
                for name in self.spec.features
            )
            raise TypeError(
                f"a batch of {type(self).__name__} is a dict {{{wanted}}}: give "
                "a stream, such as tfgen.data.load(...).train, or a tf.data.Dataset "
                "of such dicts, batched with drop_remainder=True"
            )
        return adapt(batch) if adapt else batch

    def nonfinite(self):
        """Return (step, "loss of network") of the first NaN or infinity since asked.

        None if there was none. Waits for the device; steps count from 0.
        """
        found = []
        for method, seen in self._host.nonfinite.items():
            *first, last = np.min([steps.numpy() for steps in seen], axis=0).tolist()
            found += zip(first, self._host.guarded[method], strict=True)
            self._host.last_finite = max(self._host.last_finite, -last)
        self._host.nonfinite.clear()
        # Of several in one step, the first update: it has broken the others.
        step, name = min(found, key=lambda pair: pair[0], default=(tf.int64.max, None))
        return None if step == tf.int64.max else (step, name)

    @property
    def nonfinite_in_a_row(self):
        """How many steps there were after the last finite one, as of `nonfinite`."""
        return self._host.steps_run - self._host.last_finite

    @property
    def log_every(self):
        """Steps between the logs handed to callbacks; may change during `fit`."""
        return self._host.log_every

    @log_every.setter
    def log_every(self, steps):
        self._host.log_every = steps

    @property
    def steps_done(self):
        """How many training steps the weights have seen, a Python int."""
        return int(self.step.value.numpy())

    @property
    def pending_logs(self):
        """{scalar: value} since the last log step; a checkpoint keeps them."""
        return {name: float(value) for name, value in self._host.logs.items()}

    @pending_logs.setter
    def pending_logs(self, logs):
        self._host.logs = dict(logs)

    def fit(self, x=None, *args, validation_data=None, validation_steps=None, **kwargs):
        """As `keras.Model.fit`; also takes tfgen streams, and starts at `self.step`.

        `steps_per_epoch` of a stream is as many as read its rows once, if not given.
        """
        _check_fed("fit", x)
        self._host.steps_run = self._host.last_finite = self.steps_done
        if hasattr(x, "dataset"):
            # The data never end.
            epoch = max(1, len(x) // (x.batch * self.updates_per_step))
            kwargs.setdefault("steps_per_epoch", epoch)
            stream, first = x, self._host.steps_run
            x = self._dataset(stream, "train", first, self.updates_per_step)
            if first == 0:
                self.start_on(stream)
        if hasattr(x, "element_spec"):
            kwargs.setdefault("shuffle", False)  # or Keras warns that it does not
        if hasattr(validation_data, "dataset"):
            validation_steps = validation_steps or _full_batches(validation_data)
            validation_data = self._dataset(validation_data, "test")
        try:
            return super().fit(
                x,
                *args,
                validation_data=validation_data,
                validation_steps=validation_steps,
                **kwargs,
            )
        except BaseException:  # Keras tells callbacks of a normal end only
            for callback in tf.nest.flatten(kwargs.get("callbacks")):
                if hasattr(callback, "abandon"):
                    callback.abandon()
            raise

    def evaluate(self, x=None, *args, steps=None, **kwargs):
        """As `keras.Model.evaluate`; also takes tfgen streams."""
        _check_fed("evaluate", x)
        if hasattr(x, "dataset"):
            steps = steps or _full_batches(x)
            x = self._dataset(x, "test")
        self._host.test_steps = steps
        return super().evaluate(x, *args, steps=steps, **kwargs)

    def _dataset(self, stream, use, start=0, updates=1):
        self._feed(use, stream.spec)
        return stream.dataset(
            strategy=self.distribute_strategy, updates=updates, start=start
        )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing to build: Keras would take a batch and call the model on it."""

    def make_train_function(self, force=False):
        """Build the function `fit` calls: `steps_per_execution` steps, then logs."""
        if self.train_function is not None and not force:
            return
        host, length = self._host, self.steps_per_execution
        steps, executions = {}, {}

        def train_function(iterator):
            numbers = range(host.steps_run, host.steps_run + length)
            kinds = itertools.groupby(map(self.step_method, numbers))
            runs = tuple((method, len(list(same))) for method, same in kinds)
            if runs not in executions:
                for method, _ in runs:
                    steps[method] = steps.get(method) or self._step_of(method)
                executions[runs] = self._execution_of(runs, steps)
            logs, nonfinite = executions[runs](iterator)
            for method, found in nonfinite.items():
                seen = host.nonfinite.setdefault(method, [])
                seen.append(found)
                if len(seen) == 1000:  # nobody asks: keep what they say
                    seen[:] = [tf.reduce_min(tf.stack(seen), axis=0)]
            host.steps_run += length
            host.logs |= logs
            if host.steps_run % host.log_every >= length:
                return {}
            logs, host.logs = host.logs, {}
            return logs

        self.train_function = train_function

    def _step_of(self, method):
        """Return a function of (iterator, count): `count` steps run by `method`.

        It returns the logs of the last, and the minimum of the `program.marks` of all.
        """
        names = []
        run_step = getattr(self, method)

        def replica_step(batch):
            self._begin(lambda: self.step.value)
            return adapted_step(self._adapt(batch))

        def adapted_step(batch):
            before = self._snapshot() if self.undo_nonfinite else ()
            logs = run_step(batch)
            health = self._tracing.health.items()
            logs = {**logs, **{f"health/{name}": value for name, value in health}}
            flags = self._tracing.finite
            finite = tf.stack([tf.cast(flag, tf.float32) for flag in flags.values()])
            self._restore_unless_finite(before, finite)
            self.step.assign_add(1)
            names[:], self._host.guarded[method] = logs, tuple(flags)
            return tf.stack(list(logs.values())), finite

        def step(iterator):
            position = tf.identity(self.step.value)
            logs, finite = self._mean(replica_step, next(iterator))
            return logs, program.marks(finite, position)

        step = self._graph(step)

        def steps(iterator, count):
            if count > 1 and self._is_one_program():
                logs, nonfinite = program.run(self, iterator, adapted_step, count)
            else:
                logs, nonfinite = step(iterator)
                if count > 1:

                    def body(number, _, earlier):
                        logs, nonfinite = step(iterator)
                        return number + 1, logs, tf.minimum(earlier, nonfinite)

                    _, logs, nonfinite = tf.while_loop(
                        lambda number, *_: number < count, body, (1, logs, nonfinite)
                    )
            return dict(zip(names, tf.unstack(logs), strict=True)), nonfinite

        return steps

    def _execution_of(self, runs, steps):
        """Return the graph of `runs`, ((method, steps in a row), ...)."""
        methods = list(dict.fromkeys(method for method, _ in runs))
        name = "train_function" if methods == ["train_step"] else " ".join(methods)

        def execution(iterator):
            self._count_trace(name)
            shown, nonfinite = {}, {}
            for method, count in runs:
                logs, found = steps[method](iterator, count)
                shown |= logs
                nonfinite[method] = tf.minimum(nonfinite.get(method, found), found)
            return shown, nonfinite

        return self._graph(execution)

    def graph_of(self, method, element_spec):
        """Return the graph of one step by `method` on one device, to look at.

        Args:
            method: See `step_method`.
            element_spec: Of what a stream's dataset yields.
        """

        def step(element):
            self._begin(lambda: self.step.value)
            getattr(self, method)(self._adapt(element))

        traced = tf.function(step, autograph=False)
        return traced.get_concrete_function(element_spec).graph

    def make_test_function(self, force=False):
        """Build the function `evaluate` calls; its logs are means over all batches."""
        if self.test_function is not None and not force:
            return
        names = []

        def execution(iterator, position):
            self._count_trace("test_function")

            def replica_step(batch):
                self._begin(lambda: position)
                logs = self.test_step(self._adapt(batch, "test"))
                names[:] = logs
                return tf.stack(list(logs.values()))

            return self._mean(replica_step, next(iterator))

        run = self._graph(execution)

        def test_function(iterator):
            # Keras asks for whole executions, also where they do not divide the steps.
            left = (self._host.test_steps or np.inf) - self._test_batches
            for _ in range(min(self.steps_per_execution, left)):
                position = tf.constant(self._test_batches, tf.int64)
                self._test_total += run(iterator, position)
                self._test_batches += 1
            means = tf.unstack(self._test_total / self._test_batches)
            return dict(zip(names, means, strict=True))

        self.test_function = test_function

    def reset_metrics(self):
        """Start the means of `evaluate` afresh."""
        super().reset_metrics()
        self._test_total, self._test_batches = 0.0, 0

    def _begin(self, clock, given=None):
        """Start a step: noise is keyed by `clock()`; nothing is drawn or reported.

        Within a program of many steps, `given` is {purpose: noise drawn before it}.
        """
        self._tracing.clock, self._tracing.given = clock, given
        self._tracing.drawn, self._tracing.finite = set(), {}
        self._tracing.health, self._tracing.requests = {}, []

    @property
    def _is_within_program(self):
        """Whether a program of many steps is being traced, or what it will draw."""
        return self._tracing.given is not None

    def _is_one_program(self):
        """Return whether XLA compiles the steps of an execution as one program."""
        one_device = self._distribute_strategy is None
        compiled = self.xla and self.whole_steps and not self.run_eagerly
        return compiled and one_device

    def _mean(self, replica_fn, batch):
        """Run `replica_fn(batch)` on every replica; mean of what it returns."""
        strategy = self.distribute_strategy
        returned = strategy.run(replica_fn, args=(batch,))
        return tf.nest.map_structure(
            lambda value: strategy.reduce("MEAN", value, axis=None), returned
        )

    def _snapshot(self):
        variables = [v for name, v in self.state().items() if name != "step"]
        return [(variable, tf.identity(variable.value)) for variable in variables]

    def _restore_unless_finite(self, before, finite):
        if not before:
            return
        finite = tf.reduce_min(finite)
        if self.distribute_strategy.num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            finite = context.all_reduce(tf.distribute.ReduceOp.MEAN, finite)
        for variable, old in before:
            variable.assign(tf.where(finite >= 1.0, variable.value, old))

    def _count_trace(self, name):
        self.traces[name] = self.traces.get(name, 0) + 1

    def _graph(self, function, xla=None):
        if self.run_eagerly:
            return function
        return graphs.function(function, xla)


def _check_fed(what, x):
    if x is None or hasattr(x, "train"):
        part = "train" if what == "fit" else "test"
        raise BadInput(
            f"{what} needs rows: data.{part} of tfgen.data.load, or a tf.data.Dataset"
        )


def _full_batches(stream):
    return max(1, len(stream) // stream.batch)


def _rows_of(feature):
    """Say type and shape of rows: "uint8 [rows, 28, 28, 1]"."""
    return f"{feature.dtype} [{', '.join(map(str, ('rows', *feature.shape)))}]"
