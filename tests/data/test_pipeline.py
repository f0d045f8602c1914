"""The order of rows: a function of (seed, step), whoever asks."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.data import Stream
from tfgen.data.pipeline import RowsOnDisk


def make(rows=10, batch=4, seed=3, **options):
    """Rows that can be told apart: pixel [0, 0] is the row, [0, 1] is 255 - row."""
    image = np.zeros((rows, 2, 2, 1), "uint8")
    image[:, 0, 0, 0] = np.arange(rows)
    image[:, 0, 1, 0] = 255 - np.arange(rows)
    features = {
        "image": Feature((2, 2, 1), "uint8", 0, 255),
        "label": Feature((), "int64", classes=("even", "odd")),
    }
    arrays = {"image": image, "label": np.arange(rows, dtype="int64") % 2}
    spec = DataSpec("rows", rows, features)
    return Stream(arrays, spec, batch=batch, seed=seed, **options)


def indices(dataset, count):
    return np.stack([x["index"] for x in dataset.take(count).as_numpy_iterator()])


def test_elements_are_static_and_untouched_bytes():
    dataset = make().dataset(updates=3)
    assert dataset.element_spec == {
        "image": tf.TensorSpec((12, 2, 2, 1), tf.uint8),
        "label": tf.TensorSpec((12,), tf.int64),
        "index": tf.TensorSpec((12,), tf.int64),
    }
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    for element in dataset.take(4).as_numpy_iterator():
        np.testing.assert_array_equal(element["image"][:, 0, 0, 0], element["index"])
        np.testing.assert_array_equal(element["label"], element["index"] % 2)


@pytest.mark.parametrize("rows", [1, 2, 7, 10, 64])
def test_each_epoch_is_a_permutation(rows):
    order = indices(make(rows, batch=4).dataset(), rows * 2).ravel()  # 8 epochs
    epochs = order.reshape(8, rows)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(rows), (8, 1)))
    if rows > 7:
        assert len(np.unique(epochs, axis=0)) == 8
        assert not (np.diff(epochs) == 1).all(axis=1).any()


def test_order_depends_on_seed_and_step_only():
    first = indices(make().dataset(), 9)
    np.testing.assert_array_equal(indices(make().dataset(), 9), first)
    np.testing.assert_array_equal(indices(make().dataset(start=5), 4), first[5:])
    assert (indices(make(seed=4).dataset(), 9) != first).any()
    assert (indices(make(seed=3 + 2**32).dataset(), 9) != first).any()


def test_resuming_far_away():
    start = 10**9 * 10
    later = indices(make().dataset(start=start), 5).ravel()
    np.testing.assert_array_equal(np.sort(later[:10]), np.arange(10))


def test_successive_epochs_and_batches_look_random():
    """Fails with the 4 rounds of tf.random.experimental.index_shuffle."""
    rows, batch = 60000, 60
    stream = make(rows, batch)
    order = indices(stream.dataset(updates=100), 90).reshape(9, rows)
    # Means of batches drawn without replacement: uniform variance / batch.
    spread = order.reshape(-1, batch).mean(axis=1).std()
    expected = rows / 12**0.5 / batch**0.5
    # 9,000 means: their standard deviation is known to 1 / sqrt(18,000) = 0.75 %.
    assert abs(spread / expected - 1) < 0.04
    # Independent permutations correlate with deviation 1 / sqrt(rows) = 0.004.
    correlations = np.corrcoef(order)[np.triu_indices(9, 1)]
    assert abs(correlations).max() < 5 / rows**0.5


@pytest.mark.parametrize("updates", [1, 3])
@pytest.mark.parametrize(("pipelines", "replicas"), [(1, 2), (2, 2), (2, 4), (1, 4)])
def test_rows_do_not_depend_on_replicas(updates, pipelines, replicas):
    stream, steps = make(rows=30, batch=8), 6
    whole = indices(stream.dataset(updates=updates, start=2), steps)
    whole = whole.reshape(steps, updates, 8)
    local = replicas // pipelines
    parts = []
    for pipeline in range(pipelines):
        context = tf.distribute.InputContext(pipelines, pipeline, replicas)
        dataset = stream.for_pipeline(context, updates=updates, start=2)
        part = indices(dataset, steps * local)
        parts.append(part.reshape(steps, local, updates, 8 // replicas))
    together = np.concatenate(parts, axis=1)  # [steps, replicas, updates, rows]
    together = together.transpose(0, 2, 1, 3).reshape(steps, updates, 8)
    np.testing.assert_array_equal(together, whole)


def test_two_real_replicas_get_their_halves():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    stream = make(rows=16, batch=8)
    whole = indices(stream.dataset(updates=2), 5)
    distributed = iter(stream.dataset(strategy=strategy, updates=2))
    for expected in whole:
        element = next(distributed)
        shards = strategy.experimental_local_results(element["index"])
        images = strategy.experimental_local_results(element["image"])
        assert [shard.shape for shard in shards] == [(8,), (8,)]
        np.testing.assert_array_equal(images[1][:, 0, 0, 0], shards[1])
        assert not set(shards[0].numpy()) & set(shards[1].numpy())  # one epoch a step
        halves = np.stack([shard.numpy().reshape(2, 4) for shard in shards], axis=1)
        np.testing.assert_array_equal(halves.reshape(16), expected)


def test_one_replica_gets_a_plain_dataset():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert isinstance(make().dataset(strategy=strategy), tf.data.Dataset)


def test_updates_are_consecutive_batches():
    single = indices(make().dataset(), 12).reshape(4, 3, 4)
    triple = indices(make().dataset(updates=3), 4)
    split = np.stack([np.stack(tf.split(x, 3)) for x in triple])
    np.testing.assert_array_equal(split, single)


def test_fewer_rows_than_a_batch():
    order = indices(make(rows=3, batch=7).dataset(), 3).reshape(7, 3)
    np.testing.assert_array_equal(np.sort(order), np.tile([0, 1, 2], (7, 1)))


def test_flips_are_a_function_of_the_step():
    stream = make(rows=100, batch=50, flip=True)

    def flipped(dataset, count):
        elements = dataset.take(count).as_numpy_iterator()
        return np.stack([x["image"][:, 0, 1, 0] == x["index"] for x in elements])

    plain = indices(make(rows=100, batch=50).dataset(), 40)
    np.testing.assert_array_equal(indices(stream.dataset(), 40), plain)
    first = flipped(stream.dataset(), 40)
    np.testing.assert_array_equal(flipped(stream.dataset(start=30), 10), first[30:])
    assert 0.45 < first.mean() < 0.55  # 2,000 draws: deviation 0.011
    # A row is not mirrored in every epoch or in none: pairs of draws are independent.
    by_row = np.zeros((20, 100), bool)
    np.put_along_axis(by_row, plain.reshape(20, 100), first.reshape(20, 100), axis=1)
    assert 0.45 < (by_row[1:] == by_row[:-1]).mean() < 0.55
    assert 0.45 < (first[:, 1:] == first[:, :-1]).mean() < 0.55


def test_rows_on_disk(tmp_path):
    memory = make(rows=10)
    arrays = {}
    for name, array in memory.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        arrays[name] = RowsOnDisk(np.load(tmp_path / f"{name}.npy", "r"))
    disk = Stream(arrays, memory.spec, batch=4, seed=3)
    assert disk.dataset().element_spec == memory.dataset().element_spec
    pairs = zip(disk.dataset().take(6), memory.dataset().take(6), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours["image"], theirs["image"])
    odd = arrays["image"].pick(np.arange(1, 10, 2))
    assert odd.shape == (5, 2, 2, 1)
    np.testing.assert_array_equal(odd[1:3][:, 0, 0, 0], [3, 5])
    np.testing.assert_array_equal(np.asarray(odd)[:, 0, 0, 0], [1, 3, 5, 7, 9])


def test_arrays_are_not_copied_twice():
    stream = make()
    before = stream.arrays["image"].copy()
    stream.dataset()
    stream.dataset(updates=2)
    view = np.asarray(memoryview(stream._tensors["image"]))
    assert np.shares_memory(view, stream.arrays["image"])
    np.testing.assert_array_equal(stream.arrays["image"], before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(batch=0), "batch is 0"),
        (lambda: make(seed=-1), "seed is -1"),
        (lambda: make(rows=0), "equally many rows"),
        (lambda: make().dataset(updates=0), "updates is 0"),
        (lambda: make().dataset(start=-1), "start -1"),
        (
            lambda: make(batch=10).for_pipeline(tf.distribute.InputContext(1, 0, 4)),
            "batch 10 does not divide by 4 replicas: try 8 or 12",
        ),
        (
            lambda: Stream({"x": np.zeros((2, 3))}, make().spec, batch=1),
            "but declares",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(BadInput, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
