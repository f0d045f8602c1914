"""The training contract: what fit, gradients, apply and descend do."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.core.stock import Stock, StockConfig
from tests.synthetic import stream
from tfgen import models
from tfgen.core import checkpoint
from tfgen.core.model import GenerativeModel
from tfgen.data import Stream

WAYS = ("plain", "xla", "two replicas", "four steps an execution")
SLOW = pytest.mark.slow
MOSTLY_PLAIN = ["plain"]
MOSTLY_PLAIN += [pytest.param(way, marks=SLOW) for way in ("xla", "two replicas")]


def options(way, two_replicas):
    return {
        "plain": {},
        "xla": {"xla": "on"},
        "two replicas": {"strategy": two_replicas},
        "four steps an execution": {"steps_per_execution": 4},
    }[way]


def build(cls=Stock, **options):
    """A compiled model of a class given as such."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    options = {"config": StockConfig(), "spec": stream(8).spec, "xla": "off"} | options
    return models.build(path, **options)


def fit(model, steps, **options):
    data = stream(8)
    options = {"steps_per_epoch": steps, "verbose": 0} | options
    return model.fit(data, **options).history


def state(model):
    """{(name, replica): bytes}."""
    local = model.distribute_strategy.experimental_local_results
    return {
        (name, replica): copy.numpy().tobytes()
        for name, variable in model.state().items()
        for replica, copy in enumerate(local(variable.value))
    }


class Recorder(keras.callbacks.Callback):
    """Keeps the logs of every execution."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})


# Noise ------------------------------------------------------------------------


class DrawsTwice(Stock):
    def train_step(self, batch):
        self.noise("z", 4, [3])
        return self.track(z=tf.reduce_sum(self.noise("z", 4, [3])))


@pytest.mark.parametrize("way", ["plain", "two replicas"])
def test_noise_of_one_purpose_is_drawn_once_a_step(way, two_replicas):
    model = build(DrawsTwice, **options(way, two_replicas))
    with pytest.raises(ValueError, match="noise 'z' is drawn twice in one step"):
        fit(model, 1)


class Draws(Stock):
    def train_step(self, batch):
        z = self.noise("z", batch["image"].shape[0], [3])
        u = self.noise("u", batch["image"].shape[0], [], kind="uniform")
        loss = self.descend(
            self.maker_loss, self.generator, self.generator_optimizer, z
        )
        return self.track(z=tf.reduce_mean(z), u=tf.reduce_mean(u), loss=loss)


def test_noise_is_that_of_the_step_and_the_rows(two_replicas):
    from tfgen.core import noise

    logs = {}
    for name, arguments in (("one", {}), ("two", {"strategy": two_replicas})):
        record = Recorder()
        fit(build(Draws, seed=7, **arguments), 3, callbacks=[record])
        logs[name] = record.logs
    for step in range(3):
        z = np.mean(noise.normal(7, step, "z", 16, [3]))
        u = np.mean(noise.uniform(7, step, "u", 16, []))
        for found in logs.values():
            # A mean of 48 float32 numbers, in halves on two replicas.
            np.testing.assert_allclose(found[step]["z"], z, atol=1e-7)
            np.testing.assert_allclose(found[step]["u"], u, atol=1e-7)


# Optimizers -------------------------------------------------------------------


def test_each_optimizer_has_its_own_network():
    model = build()
    assert set(model.optimizers) == {"critic_optimizer", "generator_optimizer"}
    fit(model, 3)
    for name in ("critic", "generator"):
        optimizer = model.optimizers[f"{name}_optimizer"]
        assert (
            optimizer._trainable_variables == getattr(model, name).trainable_variables
        )
        assert int(optimizer.iterations) == 3


def test_an_unknown_optimizer_is_named():
    with pytest.raises(
        TypeError,
        match="Stock has no critc_optimizer; "
        "its optimizers are critic_optimizer, generator_optimizer",
    ):
        build(critc_optimizer=keras.optimizers.SGD())


def test_an_optimizer_from_outside_the_strategy_is_refused(two_replicas):
    outside = keras.optimizers.SGD()
    with pytest.raises(ValueError, match="critic_optimizer was made outside the"):
        build(strategy=two_replicas, critic_optimizer=outside)
    with two_replicas.scope():
        inside = keras.optimizers.SGD()
    build(strategy=two_replicas, critic_optimizer=inside)


def test_an_optimizer_that_wants_scaled_losses_is_refused():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="critic_optimizer is a LossScaleOptimizer"):
        build(critic_optimizer=scaled)


@pytest.mark.parametrize("xla", ["off", "on"])
def test_gradients_of_two_steps_add_up(xla):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model = build(critic_optimizer=optimizer, xla=xla)
    weights = [model.critic.get_weights()]
    for _ in range(4):
        fit(model, 1)
        weights.append(model.critic.get_weights())
    moved = [
        any(np.any(new != old) for new, old in zip(after, before, strict=True))
        for before, after in itertools.pairwise(weights)
    ]
    assert moved == [False, True, False, True]


def test_adding_gradients_up_is_refused_with_replicas(two_replicas):
    with two_replicas.scope():
        optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="critic_optimizer has gradient_accumulation_"):
        build(strategy=two_replicas, critic_optimizer=optimizer)


def test_a_method_that_keras_would_overwrite_is_refused():
    with pytest.raises(TypeError, match="Wrong.loss: Keras sets an attribute of this"):
        type("Wrong", (Stock,), {"loss": lambda self: 0.0})
    mixin = type("Mixin", (), {"loss": lambda self: 0.0})
    with pytest.raises(TypeError, match="Wrong.loss: Keras sets an attribute of this"):
        type("Wrong", (Stock, mixin), {})


def test_one_optimizer_can_be_replaced():
    model = build(critic_optimizer=keras.optimizers.SGD(1e-30))
    before = [weight.numpy() for weight in model.critic.trainable_variables]
    fit(model, 2)
    for old, new in zip(before, model.critic.trainable_variables, strict=True):
        np.testing.assert_allclose(new.numpy(), old, atol=1e-20)
    assert float(model.generator_optimizer.learning_rate) == pytest.approx(0.01)


# Losses -----------------------------------------------------------------------


class Line(GenerativeModel):
    """f(x) = w.x with two weights; the gradient of the loss is the mean input."""

    @classmethod
    def create(cls, config, spec):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        network = keras.Sequential([keras.Input([2]), layer])
        return cls(config, spec, network=network)

    def default_optimizers(self):
        return {"optimizer": keras.optimizers.SGD(1.0)}

    def line_loss(self, x):
        loss = tf.reduce_mean(self.network(x))
        return loss, {"square": tf.square(loss), "rows": tf.shape(x)[0]}

    def train_step(self, batch):
        # Replica r sees (3, 0) or (0, 4).
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        x = tf.gather([[3.0, 0.0], [0.0, 4.0]], [number])
        loss, parts = self.descend(
            self.line_loss, self.network, self.optimizer, x, clip=self.clip
        )
        return self.track(loss=loss, **parts)


class Synchronized(Line):
    """Its batch statistics would be those of all replicas."""

    @classmethod
    def create(cls, config, spec):
        layer = keras.layers.BatchNormalization(synchronized=True, name="norm")
        return cls(config, spec, network=keras.Sequential([keras.Input([2]), layer]))


def test_synchronized_norms_are_refused_of_replicas(two_replicas):
    build(Synchronized)
    with pytest.raises(ValueError, match="norm of network has synchronized=True"):
        build(Synchronized, strategy=two_replicas)


@pytest.mark.parametrize(
    ("count", "clip", "moved"),
    [
        (1, None, [-3.0, 0.0]),
        (1, 1.0, [-1.0, 0.0]),
        (1, 5.0, [-3.0, 0.0]),
        # The mean gradient is (1.5, 2), of norm 2.5.
        (2, None, [-1.5, -2.0]),
        (2, 1.0, [-0.6, -0.8]),
        (2, 5.0, [-1.5, -2.0]),
    ],
)
def test_clipping_is_by_the_norm_of_the_mean(count, clip, moved, two_replicas):
    model = build(Line, strategy=two_replicas if count == 2 else None)
    model.clip = clip
    fit(model, 1)
    np.testing.assert_allclose(
        model.network.get_weights()[0][:, 0], moved, atol=1e-6 if clip else 0
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_loss_may_return_parts(way, two_replicas):
    model = build(Line, **options(way, two_replicas))
    model.clip = None
    record = Recorder()
    fit(model, 4, callbacks=[record])
    last = record.logs[-1]
    assert last["rows"] == 1
    # w = -3 n (1, 0) after n steps; on two replicas w = -n (1.5, 2), and the
    # replicas' losses are 3 w_1 and 4 w_2.
    losses = [-27.0] if way != "two replicas" else [-13.5, -24.0]
    assert last["loss"] == pytest.approx(np.mean(losses))
    assert last["square"] == pytest.approx(np.mean(np.square(losses)))


# Logs and executions ----------------------------------------------------------


@pytest.mark.parametrize(
    ("log_every", "per_execution", "due"),
    [
        (1, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
        (3, 1, [3, 6]),
        (4, 4, [4, 8]),
        (8, 4, [8]),
        (1, 4, [4, 8]),
    ],
)
def test_logs_come_when_due(log_every, per_execution, due):
    model = build(log_every=log_every, steps_per_execution=per_execution)
    record = Recorder()
    fit(model, 8, callbacks=[record])
    found = [per_execution * (n + 1) for n, logs in enumerate(record.logs) if logs]
    assert len(record.logs) == 8 // per_execution
    assert found == due


def test_log_steps_are_counted_from_the_start_of_training():
    model = build(log_every=5)
    record = Recorder()
    fit(model, 3, callbacks=[record])
    fit(model, 4, callbacks=[record])
    assert [bool(logs) for logs in record.logs] == [0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("way", MOSTLY_PLAIN)
def test_four_steps_an_execution_are_four_steps(way, two_replicas):
    states = []
    for number in (1, 4):
        model = build(steps_per_execution=number, **options(way, two_replicas))
        fit(model, 8)
        states.append(state(model))
    assert states[0] == states[1]


@pytest.mark.parametrize("way", WAYS)
def test_one_trace_of_each_function(way, two_replicas):
    model = build(**options(way, two_replicas))
    data = stream(8)
    fit(model, 4, validation_data=data)
    once = dict(model.traces)
    replicas = model.distribute_strategy.num_replicas_in_sync
    assert once == {
        "train_function": 1,
        "test_function": 1,
        "critic_loss": replicas,
        "maker_loss": replicas,
    }
    fit(model, 24, epochs=2, validation_data=data)
    model.evaluate(data, verbose=0)
    assert model.traces == once
    assert model.steps_done == 52


def test_a_second_fit_goes_on_where_the_first_stopped():
    whole, halves = build(), build()
    fit(whole, 6)
    fit(halves, 2)
    fit(halves, 4)
    assert state(whole) == state(halves)


def test_eager_steps_equal_those_of_graphs():
    eager, graph = (
        build(run_eagerly=way, generator_optimizer=keras.optimizers.SGD(0.01))
        for way in (True, False)
    )
    start = {n: v.numpy() for n, v in graph.state().items()}
    fit(eager, 2)
    fit(graph, 2)
    for name, variable in graph.state().items():
        # Grappler orders sums otherwise; weights are of size 1.
        np.testing.assert_allclose(
            eager.state()[name].numpy(), variable.numpy(), atol=1e-6
        )
    assert any(np.any(v.numpy() != start[n]) for n, v in graph.state().items())


# Validation -------------------------------------------------------------------


def mean_pixel(data, batches):
    elements = data.dataset().take(batches).as_numpy_iterator()
    return np.mean([element["image"] / 127.5 - 1 for element in elements])


@pytest.mark.parametrize("way", ["plain", "two replicas", "four steps an execution"])
def test_validation_is_the_mean_over_all_batches(way, two_replicas):
    model = build(**options(way, two_replicas))
    held_out = stream(8, batch=16, rows=64, seed=5)
    history = fit(model, 4, epochs=2, validation_data=held_out)
    wanted = mean_pixel(held_out, 4)
    assert len(history["val_pixel"]) == 2
    # Means of 4,096 float32 numbers.
    np.testing.assert_allclose(history["val_pixel"], wanted, atol=1e-6)
    found = model.evaluate(held_out, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["pixel"], wanted, atol=1e-6)
    assert set(history) == {"critic", "generator", "val_pixel"}


def test_an_epoch_of_a_stream_reads_its_rows_once():
    model = build(run_eagerly=True)
    model.fit(stream(8, batch=16, rows=64), verbose=0)
    assert model.steps_done == 64 // (16 * model.updates_per_step)


def test_executions_need_not_divide_the_batches():
    model = build(steps_per_execution=4)
    held_out = stream(8, batch=16, rows=80, seed=5)
    found = model.evaluate(held_out, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["pixel"], mean_pixel(held_out, 5), atol=1e-6)
    history = fit(model, 4, validation_data=held_out)
    np.testing.assert_allclose(history["val_pixel"], found["pixel"], atol=1e-6)


def test_each_stream_has_a_range_of_its_own():
    held_out = stream(8, batch=16, rows=64, seed=5)
    feature = held_out.spec.image
    halves = {**held_out.arrays, "image": held_out.arrays["image"] / np.float32(255)}
    unit = dataclasses.replace(feature, dtype="float32", low=0.0, high=1.0)
    features = {**held_out.spec.features, "image": unit}
    spec = held_out.spec.replace(name="unit", features=features)
    as_floats = Stream(halves, spec, batch=16)
    one, other = build(), build()
    one_history = fit(one, 4, validation_data=held_out)
    other_history = fit(other, 4, validation_data=as_floats)
    assert state(one) == state(other)
    np.testing.assert_allclose(
        one_history["val_pixel"], other_history["val_pixel"], atol=1e-6
    )
    # And a later evaluation on the first kind, with a function traced for the second.
    found = other.evaluate(held_out, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["pixel"], mean_pixel(held_out, 4), atol=1e-6)


def test_validation_of_fewer_batches():
    model = build()
    held_out = stream(8, batch=16, rows=64, seed=5)
    history = fit(model, 1, validation_data=held_out, validation_steps=2)
    wanted = mean_pixel(held_out, 2)
    np.testing.assert_allclose(history["val_pixel"], [wanted], atol=1e-6)
    assert abs(wanted - mean_pixel(held_out, 4)) > 1e-4


# What is not finite -----------------------------------------------------------


class Breaks(Stock):
    """At step `at`, `where` breaks: a loss, or only a gradient; on one replica."""

    at, where, replica, value = 5, "maker", 0, float("nan")

    def train_step(self, batch):
        image = batch["image"]
        real = tf.reshape(image, [image.shape[0], 64])
        z = self.noise("z", real.shape[0], [3])
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        due = tf.logical_and(self.step.value == self.at, number == self.replica)
        poison = tf.where(due, self.value, 0.0)
        zero = tf.zeros([])
        self.descend(
            self.broken_critic_loss,
            self.critic,
            self.critic_optimizer,
            real,
            z,
            poison if self.where == "critic" else zero,
        )
        self.descend(
            self.broken_maker_loss,
            self.generator,
            self.generator_optimizer,
            z,
            poison if self.where in ("maker", "gradient") else zero,
        )
        return self.track(step=self.step.value)

    def broken_critic_loss(self, real, z, poison):
        return self.critic_loss(real, z) * (1.0 + poison)

    def broken_maker_loss(self, z, poison):
        loss = self.maker_loss(z)
        if self.where == "gradient":
            # With poison = 1 the root is 0 and its gradient infinity times 0.
            weight = self.generator.trainable_variables[0].value
            return loss + tf.sqrt(tf.reduce_sum(weight) * 0.0 + 1.0 - poison)
        return loss * (1.0 + poison)


@pytest.mark.parametrize(
    "way", ["plain", "xla", *(pytest.param(way, marks=SLOW) for way in WAYS[2:])]
)
def test_the_first_nonfinite_step_and_loss_are_named(way, two_replicas):
    model = build(Breaks, **options(way, two_replicas))
    model.replica = model.distribute_strategy.num_replicas_in_sync - 1
    fit(model, 4)
    assert model.nonfinite() is None
    fit(model, 4)
    # The weights are ruined from there on; the first step counts.
    assert model.nonfinite() == (5, "broken_maker_loss of generator")
    fit(model, 4)
    assert model.nonfinite()[0] == 8
    assert model.nonfinite() is None


def test_of_losses_broken_in_one_step_the_first_is_named():
    # The critic's NaN makes the maker's, whose name comes first in the alphabet.
    class Renamed(Breaks):
        where = "critic"

        def broken_maker_loss(self, z, poison):
            return super().broken_maker_loss(z, poison)

        broken_maker_loss.__name__ = "a_loss"

    model = compiled(Renamed)
    fit(model, 8)
    assert model.nonfinite() == (5, "broken_critic_loss of critic")


def compiled(cls, **options):
    model = cls.create(StockConfig(), stream(8).spec)
    model.compile(**options)
    return model


@pytest.mark.parametrize("xla", [False, True])
def test_a_gradient_alone_is_seen(xla):
    class Gradient(Breaks):
        where, value = "gradient", 1.0

    model = compiled(Gradient, xla=xla)
    history = fit(model, 5)
    assert model.nonfinite() is None, history
    fit(model, 1)
    assert model.nonfinite() == (5, "broken_maker_loss of generator")


def test_infinity_is_not_finite():
    class Infinite(Breaks):
        value = float("inf")

    model = compiled(Infinite)
    fit(model, 6)
    assert model.nonfinite() == (5, "broken_maker_loss of generator")


def test_nobody_need_ask():
    model = build(Breaks)
    model.at = 3
    fit(model, 1050)
    assert len(model._host.nonfinite["train_step"]) < 1000
    assert model.nonfinite() == (3, "broken_maker_loss of generator")


@pytest.mark.parametrize("way", MOSTLY_PLAIN)
def test_a_nonfinite_step_is_undone_as_a_whole(way, two_replicas):
    model = build(Breaks, undo_nonfinite=True, **options(way, two_replicas))
    model.replica = model.distribute_strategy.num_replicas_in_sync - 1
    fit(model, 5)
    before = state(model)
    fit(model, 1)
    after = state(model)
    differ = {name for name, _ in before if before[name, 0] != after[name, 0]}
    assert differ == {"step"}
    assert {n for n, r in before if before[n, r] != after[n, r]} == {"step"}
    assert model.nonfinite() == (5, "broken_maker_loss of generator")
    fit(model, 1)
    final = state(model)
    still = {name for name, _ in final if final[name, 0] == after[name, 0]}
    # What does not move in any step: the optimizers' learning rates.
    assert all(name.endswith("learning_rate") for name in still)
    assert model.nonfinite() is None
    assert checkpoint.digest(model)


# Precision --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["wgan_gp", pytest.param("vae", marks=pytest.mark.slow)]
)
def test_bfloat16_trains(name):
    losses = {}
    for precision in ("float32", "bfloat16"):
        model = models.build(
            name, "tiny", spec=stream(8).spec, precision=precision, xla="off"
        )
        network = next(iter(model.networks.values()))
        hidden = next(x for x in network.layers if isinstance(x, keras.layers.Dense))
        assert hidden.compute_dtype == precision
        weights = [v for n in model.networks.values() for v in n.variables]
        assert {v.dtype for v in weights} == {"float32"}
        record = Recorder()
        fit(model, 20, callbacks=[record])
        key = "elbo" if name == "vae" else "generator_loss"
        losses[precision] = [logs[key] for logs in record.logs]
    assert keras.config.dtype_policy().name == "float32"
    one, other = losses.values()
    assert one != other
    # 8 bits of mantissa: 0.4 % a product, less on average over many.
    np.testing.assert_allclose(one, other, rtol=0.05, atol=0.05)
    assert model.nonfinite() is None
