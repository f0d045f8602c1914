"""The training contract: what a model owes and what it is given.

A model writes `train_step(batch)` like the algorithm box of its paper and calls
`descend` once for each update. Only `gradients` and `apply` know about replicas
and XLA, so an author never scales a loss and never sees tf.distribute:

    loss and gradients of one network     replica-local, XLA-compiled when asked
    mean over replicas                    outside the compiled part: XLA cannot
    clip, optimizer, moving average       hold another device's variables
"""

import re

import keras
import tensorflow as tf

from tfgen.core import ema, noise
from tfgen.core.errors import BadInput
from tfgen.core.trainer import Trainer


class GenerativeModel(Trainer):
    """Base of every model: networks, optimizers, noise, `descend`.

    A subclass declares `Config` (a frozen dataclass), `PRESETS` (preset name ->
    changed fields), `create(config, spec)` and `train_step(batch)`; it may add
    `test_step`, `sample`, `endpoints`.

    N replicas of B rows equal one device that averages the gradients of N shards
    of B rows. Each random draw is a function of (seed, step, global row, purpose).

    Args:
        config: The model's frozen `Config`.
        spec: `DataSpec` of the batches `train_step` receives.
        **networks: The networks by name; each becomes an attribute.
    """

    Config = None
    PRESETS = {}
    monitor = None  # (name in test_step's logs, "max" or "min") that picks the best
    xla_on_cpu = False  # what --xla=auto means where there is no accelerator
    reports_health = False  # log each network's gradient norm and update ratio
    starts_from = ()  # networks kept as an earlier training made them (--init_from)
    made_by = None  # the model of that training
    has_alarms = False  # its steps report, of their own, what alarms are judged by

    def __init__(self, config, spec, **networks):
        super().__init__(spec)
        self.config = config
        self.seed = 0
        self.xla = False
        self._network_names = tuple(networks)
        self._optimizer_names = ()
        self._seeds_separated = False
        self._averages = []
        self._functions, self._programs = {}, {}
        for name, network in networks.items():
            setattr(self, name, network)
        self.built = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = (c for c in cls.__mro__ if not c.__module__.startswith("keras."))
        if any("loss" in vars(c) for c in own):
            raise TypeError(
                f"{cls.__name__}.loss: Keras sets an attribute of this name; give "
                "the method another, such as generator_loss"
            )

    # What a subclass declares ---------------------------------------------------

    @classmethod
    def create(cls, config, spec):
        """Return a model, not yet compiled, for data of `spec`."""
        raise NotImplementedError(f"{cls.__name__}.create(config, spec)")

    def default_optimizers(self):
        """Return {"<network>_optimizer" or "optimizer": keras optimizer}."""
        return {}

    def endpoints(self):
        """Return {name: (function, [tf.TensorSpec, ...])} for the SavedModel."""
        return {}

    @property
    def endpoint_spec(self):
        """`DataSpec` of what the endpoints take: what `train_step` receives."""
        return self.spec

    # Assembly -------------------------------------------------------------------

    def call(self, *args, **kwargs):
        """Not defined: a generative model is used through its named methods."""
        raise NotImplementedError(
            f"{type(self).__name__} has no single forward pass; use its named "
            "methods (sample, encode, ...)"
        )

    def average(self, name, twin, decay):
        """Keep `twin` as the moving average of network `name`; see `ema.move`.

        `decay` is a number, or a function that returns one for the current step. The
        twin is called `<name>_ema`, as the attribute that holds it.
        """
        network = getattr(self, name)
        ema.copy(network, twin)
        twin.name = f"{name}_ema"
        setattr(self, twin.name, twin)
        self._averages.append((network, twin, decay))

    def forget_averages(self):
        """Set every moving average to its network as it is now."""
        for network, twin, _ in self._averages:
            ema.copy(network, twin)

    # Keras would count the weights of averages as trainable. The flag of each stays
    # True: it tells `ema` and `replica_local` weights from statistics.

    @property
    def trainable_variables(self):
        """What training moves by gradients: not the moving averages."""
        return self._without_averages(super().trainable_variables)

    @property
    def non_trainable_variables(self):
        """All other variables, moving averages included."""
        return _without(self.variables, self.trainable_variables)

    @property
    def trainable_weights(self):
        """As `trainable_variables`: Keras keeps both names."""
        return self._without_averages(super().trainable_weights)

    @property
    def non_trainable_weights(self):
        """As `non_trainable_variables`, without seeds and metrics."""
        return _without(self.weights, self.trainable_weights)

    def _without_averages(self, variables):
        averages = [v for _, twin, _ in self._averages for v in twin.variables]
        return _without(variables, averages)

    def compile(
        self,
        *,
        seed=0,
        xla=False,
        undo_nonfinite=False,
        log_every=1,
        steps_per_execution=1,
        run_eagerly=False,
        **optimizers,
    ):
        """Set the optimizers and how a step is run.

        Args:
            seed: All noise and data order derive from it, in [0, 2**31).
            xla: Compile loss and gradients of every update with XLA.
            undo_nonfinite: Undo, as a whole, a step with a NaN or infinite loss
                or gradient on any replica.
            log_every: Steps between the logs handed to callbacks, which each wait
                for the device; other steps hand them nothing.
            steps_per_execution: Steps in one call of the training function.
            run_eagerly: Run without graphs, to debug.
            **optimizers: Optimizers, or what `keras.optimizers.get` makes one of:
                `critic_optimizer=` trains network `critic`, `optimizer=` trains all
                networks but `starts_from`; those not given take the model's defaults.

        Raises:
            BadInput: The seed is out of range.
            TypeError: The model has no optimizer of this name.
            ValueError: What is given is no optimizer, or one that does not work here.
        """
        seed = noise.check_seed(seed)
        super().compile(
            optimizer=None,
            loss=None,
            jit_compile=False,  # Keras' own would enclose the cross-replica update
            steps_per_execution=steps_per_execution,
            run_eagerly=run_eagerly,
        )
        self.seed, self.xla, self.undo_nonfinite = seed, bool(xla), undo_nonfinite
        self.log_every = log_every
        self._refuse_synchronized_norms()
        self._functions, self._programs = {}, {}
        with self.distribute_strategy.scope():
            chosen = self.default_optimizers()
            if unknown := sorted(set(optimizers) - set(chosen)):
                raise TypeError(
                    f"{type(self).__name__} has no {', '.join(unknown)}; "
                    f"its optimizers are {', '.join(chosen)}"
                )
            chosen |= {n: keras.optimizers.get(x) for n, x in optimizers.items()}
            for name, optimizer in chosen.items():
                self._check_optimizer(name, optimizer)
                # Unbuilt optimizers fail under tf.distribute (keras#23085).
                optimizer.build(self._trained_by(name))
                # Keras would sum over replicas what `gradients` has averaged.
                optimizer._all_reduce_sum_gradients = list
                setattr(self, name, optimizer)
            self._optimizer_names = tuple(chosen)
        if not self._seeds_separated:
            self.separate_seeds(1)
            self._seeds_separated = True

    def make_train_function(self, force=False):
        """Build the function `fit` calls; one that is built anew shares no graphs."""
        if force:
            self._functions, self._programs = {}, {}
        super().make_train_function(force)

    def _check_optimizer(self, name, optimizer):
        if optimizer is None:
            raise ValueError(f"{name} is None; leave it out for the model's own")
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                f"{name} is a LossScaleOptimizer, which would divide gradients of "
                "losses that nobody has scaled; bfloat16 needs none"
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        if optimizer.gradient_accumulation_steps and replicas > 1:
            raise ValueError(
                f"{name} has gradient_accumulation_steps, which does not work with "
                f"replicas: {replicas} replicas already average as many gradients"
            )
        extended = self.distribute_strategy.extended
        for variable in optimizer.variables:
            if not extended.variable_created_in_scope(variable.value):
                raise ValueError(
                    f"{name} was made outside the model's strategy; make it inside "
                    "`with strategy.scope():`"
                )

    def _refuse_synchronized_norms(self):
        """Their sums over replicas cannot stand within the function of a loss."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return
        for name, network in self.networks.items():
            for layer in network._flatten_layers():
                if getattr(layer, "synchronized", False):
                    raise ValueError(
                        f"{layer.name} of {name} has synchronized=True, which does not "
                        "work with replicas here; without, each normalises its rows"
                    )

    def _trained_by(self, optimizer_name):
        name = optimizer_name.removesuffix("optimizer").removesuffix("_")
        trained = [n for n in self._network_names if n not in self.starts_from]
        networks = [name] if name else trained
        return _trainable([getattr(self, n) for n in networks])

    def separate_seeds(self, distinct):
        """Give each replica its own stream in stock Keras random layers.

        Keras gives all replicas the same SeedGenerator (keras-team/keras#20612).

        Args:
            distinct: Replica r holds the stream of replica r modulo this.
        """
        states = [
            variable
            for name in self._network_names
            for variable in getattr(self, name).non_trainable_variables
            if variable.name == "seed_generator_state"
        ]
        if not states or self.distribute_strategy.num_replicas_in_sync == 1:
            return

        @tf.function(autograph=False)
        def separate():
            def replica():
                number = _replica_number()
                offset = (number - number % distinct) * 1000003
                for state in states:
                    offsets = tf.cast(tf.stack([offset, 0]), state.dtype)
                    state.assign(state.value + offsets)

            self.distribute_strategy.run(replica)

        separate()

    # The contract ---------------------------------------------------------------

    def gradients(self, loss_fn, networks, *inputs):
        """Return the loss and its gradients, averaged over replicas.

        Args:
            loss_fn: Pure function of `inputs` and variables. Returns the mean loss
                over this replica's rows, or (loss, {name: scalar to report}).
            networks: The network, or a tuple of networks or parts of them (layers), to
                differentiate by.
            *inputs: Tensors; all randomness comes in here.

        Returns:
            (what `loss_fn` returned for this replica, list of gradients).
        """
        variables = _trainable(networks)
        if self._is_within_program:
            compute = _loss_and_gradients(loss_fn, variables, self._count_trace)
            returned, gradients, finite = compute(*inputs)
        else:
            key = (loss_fn, tuple(id(variable) for variable in variables))
            if key not in self._functions:
                self._functions[key] = self._graph(
                    _loss_and_gradients(loss_fn, variables, self._count_trace), self.xla
                )
            returned, gradients, finite = self._functions[key](*inputs)
        name = f"{loss_fn.__name__} of {self._names_of(networks)}"
        self._add_flags({name: finite})
        if self.distribute_strategy.num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        if self.reports_health:
            norm = tf.linalg.global_norm(gradients)
            self._tracing.health[f"{self._names_of(networks)}_gradient_norm"] = norm
        return returned, gradients

    def apply(self, optimizer, networks, gradients, clip=None, average=True):
        """Update `networks` by `gradients`, then their moving averages.

        Args:
            optimizer: The Keras optimizer built for these networks.
            networks: The network, or a tuple of networks or parts of them, to update.
            gradients: What `gradients` returned.
            clip: Scale the gradients to this global norm when they exceed it.
            average: Whether the averages move: not when the step updates the network
                again.
        """
        variables = _trainable(networks)
        if clip is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, clip)
        before = [tf.identity(v.value) for v in variables if self.reports_health]
        optimizer.apply(gradients, variables)
        if self.reports_health:
            moved = [v.value - old for v, old in zip(variables, before, strict=True)]
            ratio = tf.linalg.global_norm(moved) / tf.linalg.global_norm(before)
            self._tracing.health[f"{self._names_of(networks)}_update_ratio"] = ratio
        for network, twin, decay in self._averages:
            if average:
                decay = decay() if callable(decay) else decay
                ema.move(network, twin, decay, among=variables)

    def descend(self, loss_fn, networks, optimizer, *inputs, clip=None, average=True):
        """Move `networks` one step down `loss_fn(*inputs)`: gradients, then apply.

        Returns what `loss_fn` returned, for this replica.

        On one device under XLA both halves are one program: the optimizer then reads
        each weight once. With replicas it would hold other devices' variables.
        """

        def both(*inputs):
            returned, gradients = self.gradients(loss_fn, networks, *inputs)
            self.apply(optimizer, networks, gradients, clip, average)
            return returned

        separate = self._is_within_program or self._distribute_strategy is not None
        if not self.xla or separate:
            return both(*inputs)
        kind = clip, average
        key = (loss_fn, id(optimizer), tuple(map(id, _as_tuple(networks))), *kind)
        if key not in self._programs:
            self._programs[key] = self._graph(self._with_reports(both), True)
        returned, flags, health = self._programs[key](*inputs)
        self._add_flags(flags)
        self._tracing.health.update(health)
        return returned

    def _with_reports(self, function):
        """Make `function` also return the flags and health it reports, as its own."""

        def wrapped(*inputs):
            tracing = self._tracing
            outside = tracing.finite, tracing.health
            tracing.finite, tracing.health = {}, {}
            returned = function(*inputs)
            reports = tracing.finite, tracing.health
            tracing.finite, tracing.health = outside
            return returned, *reports

        return wrapped

    def _add_flags(self, flags):
        for name, flag in flags.items():
            earlier = self._tracing.finite.get(name, True)
            self._tracing.finite[name] = tf.logical_and(earlier, flag)

    def noise(self, purpose, rows, shape, kind="normal"):
        """Draw noise for this replica's rows of the current step.

        Args:
            purpose: Name of the draw; once in a step, or rows would see the same
                noise twice.
            rows: Rows of this replica.
            shape: Shape of one row.
            kind: "normal" or "uniform" on [0, 1).

        Returns:
            float32 `[rows, *shape]`.

        Raises:
            BadInput: The number of rows is not known before they come.
        """
        if rows is None:
            raise BadInput(
                f"{type(self).__name__} draws noise for batches of one size: "
                "dataset.batch(n, drop_remainder=True)"
            )
        drawn = self._tracing.drawn
        if purpose in drawn:
            raise ValueError(f"noise {purpose!r} is drawn twice in one step; rename it")
        drawn.add(purpose)
        if self._is_within_program and purpose in self._tracing.given:
            return self._tracing.given[purpose]
        self._tracing.requests.append((purpose, rows, shape, kind))
        draw = {"normal": noise.normal, "uniform": noise.uniform}[kind]
        first_row = _replica_number() * rows
        return draw(self.seed, self._tracing.clock(), purpose, rows, shape, first_row)

    def gather(self, x):
        """Return the rows of `x` of all replicas, in their global order.

        Call it outside loss functions: XLA holds one device only.
        """
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return x
        return tf.distribute.get_replica_context().all_gather(x, axis=0)

    def other_rows(self, x):
        """Return the rows of `x` of all other replicas: none on one device."""
        rows = x.shape[0]
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return x[:0]
        return tf.roll(self.gather(x), -rows * _replica_number(), axis=0)[rows:]

    def of_all_rows(self, loss):
        """Return `loss` so that its gradients add up over replicas.

        For a loss that is no mean over rows: every replica computes it of the rows of
        all (`other_rows`) and differentiates by what its own rows contribute. The
        mean that `gradients` takes then wants each counted once for every replica.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        return loss + (replicas - 1) * (loss - tf.stop_gradient(loss))

    def track(self, **values):
        """Return the step's scalars to log, as float32."""
        return {name: tf.cast(value, tf.float32) for name, value in values.items()}

    # State ----------------------------------------------------------------------

    @property
    def networks(self):
        """The networks by name, moving averages included."""
        names = [*self._network_names]
        names += [
            f"{name}_ema"
            for name in self._network_names
            if hasattr(self, f"{name}_ema")
        ]
        return {name: getattr(self, name) for name in names}

    @property
    def optimizers(self):
        """The optimizers by name."""
        return {name: getattr(self, name) for name in self._optimizer_names}

    def state(self):
        """Return {name: keras variable} of all that a resumed run restores.

        Names carry a position, not Keras' automatic layer numbers, which depend
        on what else the process has built.
        """
        state = {"step": self.step}
        for name, owner in {**self.networks, **self.optimizers}.items():
            for position, variable in enumerate(owner.variables):
                # Slots are named after layers: dense_7_kernel_momentum.
                plain = re.sub(r"_\d+(?=_)", "", variable.name)
                state[f"{name}/{position:03d}.{plain}"] = variable
        return state

    def replica_local(self):
        """Names in `state` whose copies may differ between replicas.

        They are what a forward pass changes: batch statistics, seeds of layers.
        """
        return {
            name
            for name, variable in self.state().items()
            if not variable.trainable
            and name != "step"
            and name.split("/")[0] in self.networks
        }

    def _names_of(self, networks):
        updated = {id(variable) for variable in _trainable(networks)}
        names = [
            name
            for name, network in self.networks.items()
            if any(id(v) in updated for v in network.trainable_variables)
        ]
        return " and ".join(names) or "an unnamed network"


def _loss_and_gradients(loss_fn, variables, count_trace):
    """Return a function of `loss_fn`'s inputs: (its result, gradients, all finite)."""

    def loss_and_gradients(*inputs):
        count_trace(loss_fn.__name__)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            returned = loss_fn(*inputs)
            loss = returned[0] if isinstance(returned, tuple) else returned
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        # One sum tells: a NaN or an infinity in any gradient survives it.
        total = loss + tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])
        return returned, gradients, tf.math.is_finite(total)

    return loss_and_gradients


def _replica_number():
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def _as_tuple(networks):
    return tuple(networks) if isinstance(networks, (tuple, list)) else (networks,)


def _without(variables, others):
    """Return those of `variables` that are not among `others`."""
    left_out = {id(variable) for variable in others}
    return [variable for variable in variables if id(variable) not in left_out]


def _trainable(networks):
    return [v for network in _as_tuple(networks) for v in network.trainable_variables]


SAMPLE_ARGUMENTS = [
    tf.TensorSpec([], tf.int32, name="num"),
    tf.TensorSpec([], tf.int32, name="seed"),
]
