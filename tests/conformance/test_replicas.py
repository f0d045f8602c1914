"""N replicas of B rows equal one device that averages the gradients of N shards."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import harness

STEPS = 3
# Sums in another order; measured 1e-6 to 2e-5. A wrong scale gives 1.
TOLERANCE = 1e-4
CASES = [
    pytest.param(name, xla, marks=[] if quick else pytest.mark.slow)
    for name, xla, quick in [
        ("vae", False, True),
        ("vae", True, True),
        ("wgan", False, True),
        ("wgan", True, False),
        ("wgan_gp", False, False),
        ("wgan_gp", True, True),
        ("classifier", False, False),
        ("classifier", True, False),
        (harness.TOY, False, True),
        (harness.TOY, True, False),
    ]
]


def shard_gradients(model, shards):
    """Make one device average the gradients of `shards` equal shards of its rows."""
    whole = model.gradients

    def gradients(loss_fn, networks, *inputs):
        assert all(x.shape[0] == harness.BATCH for x in inputs)
        parts = zip(*(tf.split(x, shards) for x in inputs), strict=True)
        results = [whole(loss_fn, networks, *part) for part in parts]
        return tf.nest.map_structure(lambda *x: tf.add_n(x) / shards, *results)

    model.gradients = gradients
    return model


def record_rows(model, seen):
    """Append (replica, row numbers) to `seen` each time a replica runs a step."""
    step = model.train_step

    def train_step(batch):
        context = tf.distribute.get_replica_context()
        tf.numpy_function(
            lambda replica, rows: seen.append((int(replica), rows.tolist())),
            [context.replica_id_in_sync_group, batch["index"]],
            [],
        )
        return step(batch)

    model.train_step = train_step
    return model


def trained_on(name, strategy, xla, change=lambda model: model):
    model = change(harness.build(name, strategy, xla, sgd=True))
    start = harness.trained(model)
    return start, harness.trained(harness.train(model, STEPS)), model


@pytest.mark.parametrize(("name", "xla"), CASES)
def test_two_replicas_equal_one_device(name, xla, two_replicas):
    assert two_replicas.num_replicas_in_sync == 2
    seen = []
    start, pair, model = trained_on(
        name, two_replicas, xla, lambda model: record_rows(model, seen)
    )
    same_start, shards, _ = trained_on(
        name, None, xla, lambda model: shard_gradients(model, 2)
    )
    for key, value in start.items():
        np.testing.assert_array_equal(value, same_start[key])
    assert harness.difference(start, pair, shards) < TOLERANCE
    # All current models are means over rows, so the full batch agrees too.
    _, full, _ = trained_on(name, None, xla)
    assert harness.difference(start, pair, full) < TOLERANCE
    check_rows(seen, model)
    check_copies(model)


def check_rows(seen, model):
    """Both replicas ran every step, on rows that no other one saw."""
    rows = {0: [], 1: []}
    for replica, index in seen:
        rows[replica] += index
    updates = model.updates_per_step
    assert len(rows[0]) == len(rows[1]) == STEPS * updates * harness.BATCH // 2
    # Fewer rows than the data have, so nothing repeats within the epoch.
    assert len(set(rows[0] + rows[1])) == STEPS * updates * harness.BATCH


def check_copies(model):
    local = model.replica_local()
    for name, variable in model.state().items():
        copies = model.distribute_strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        assert len({copy.device for copy in copies}) == 2
        if name not in local:
            assert copies[0].numpy().tobytes() == copies[1].numpy().tobytes(), name


@pytest.mark.parametrize("name", ["vae", harness.TOY])
def test_a_sum_in_place_of_the_mean_is_seen(name, two_replicas, monkeypatch):
    reduce = tf.distribute.ReplicaContext.all_reduce

    def summed(self, op, value, *args, **kwargs):
        return reduce(self, tf.distribute.ReduceOp.SUM, value, *args, **kwargs)

    monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", summed)
    start, pair, _ = trained_on(name, two_replicas, False)
    _, shards, _ = trained_on(name, None, False, lambda m: shard_gradients(m, 2))
    assert harness.difference(start, shards, pair) > 0.5


def test_own_optimizers_agree_too(two_replicas):
    start, pair, one = {}, {}, {}
    for result, strategy in ((pair, two_replicas), (one, None)):
        model = harness.build("wgan_gp", strategy)
        start |= harness.trained(model)
        result |= harness.trained(harness.train(model, STEPS))
    assert harness.difference(start, pair, one) < TOLERANCE


def test_replicas_draw_different_noise(two_replicas):
    model = harness.build("vae", two_replicas)
    drawn = {}

    @tf.function
    def draw():
        def replica():
            model._begin(lambda: model.step.value)
            return model.noise("z", 8, [3])

        return two_replicas.run(replica)

    for step in range(2):
        copies = two_replicas.experimental_local_results(draw())
        drawn[step] = np.concatenate([copy.numpy() for copy in copies])
        model.step.assign_add(1)
    rows = np.concatenate(list(drawn.values()))
    assert len(np.unique(rows)) == rows.size
