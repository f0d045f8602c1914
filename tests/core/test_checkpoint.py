"""Save and restore: exact, strict, atomic."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.core import killed_save
from tests.core.killed_save import FakeModel
from tests.core.stock import StockConfig
from tests.synthetic import stream
from tfgen import models
from tfgen.core import checkpoint
from tfgen.core.errors import BadInput


def build(strategy=None, units=6):
    return models.build(
        "tests.core.stock:Stock",
        config=StockConfig(units=units),
        spec=stream(8).spec,
        strategy=strategy,
        xla="off",
    )


def train(model, steps):
    model.fit(stream(8), steps_per_epoch=steps, verbose=0)
    return model


@pytest.fixture(scope="module")
def pair():
    """A model on two replicas after two steps, and its checkpoint's folder."""
    from tfgen.core.strategy import make_strategy

    return train(build(make_strategy("mirrored", 2)), 2)


@pytest.fixture(scope="module")
def saved(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    assert checkpoint.save(pair, folder) == 2
    return folder


@pytest.fixture(autouse=True)
def _leave_as_it_was(request):
    """Put the shared model back as the file says."""
    yield
    if {"pair", "saved"} <= set(request.fixturenames):
        folder = request.getfixturevalue("saved")
        checkpoint.restore(request.getfixturevalue("pair"), path(folder))


def path(folder, step=2):
    return checkpoint.path_of(folder, step)


def copies(model):
    """{name: list of one array a replica} of every variable."""
    local = model.distribute_strategy.experimental_local_results
    return {
        name: [copy.numpy() for copy in local(variable.value)]
        for name, variable in model.state().items()
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        for value, twin in zip(values, other[name], strict=True):
            assert value.dtype == twin.dtype
            np.testing.assert_array_equal(value, twin, err_msg=name)


def perturb(model):
    """Change every copy of every variable, each to something else."""
    local = model.distribute_strategy.experimental_local_results
    for number, variable in enumerate(model.state().values()):
        for replica, copy in enumerate(local(variable.value)):
            copy.assign(copy + np.asarray(1 + number + 100 * replica, copy.dtype.name))


def rewrite(folder, target, change):
    """Write a checkpoint whose content went through `change(header, arrays)`."""
    header, arrays = checkpoint.read(path(folder))
    change(header, arrays)
    header["names"] = sorted(arrays)
    with open(target, "wb") as file:
        checkpoint._write(file, header, arrays)


# What is saved ----------------------------------------------------------------


def test_the_state_is_everything(pair):
    names = set(pair.state())
    every = {id(v) for n in pair.networks.values() for v in n.variables}
    every |= {id(v) for o in pair.optimizers.values() for v in o.variables}
    assert every | {id(pair.step)} == {id(v) for v in pair.state().values()}
    for part in (
        "generator_ema/000.kernel",
        "generator/004.moving_mean",
        "critic/002.seed_generator_state",
        "critic_optimizer/000.iteration",
    ):
        assert any(part == name for name in names), (part, sorted(names))
    assert sum("momentum" in name for name in names) > 4
    assert sum("velocity" in name for name in names) == 6
    # Nor does anything that Keras itself tracks escape.
    assert {id(v) for v in pair.variables} <= {id(v) for v in pair.state().values()}


def test_names_do_not_depend_on_what_was_built_before(pair):
    assert list(build().state()) == list(build().state()) == list(pair.state())


def test_names_do_not_depend_on_what_networks_are_called(pair, tmp_path):
    earlier = train(build(), 1)
    # As when a twin kept the name that the network has, too.
    earlier.generator_ema.name = "generator"
    checkpoint.save(earlier, tmp_path)
    _, arrays = checkpoint.read(path(tmp_path, 1))
    assert [name for name in arrays if name.startswith("generator_ema/")] == [
        "generator_ema/000.kernel",
        "generator_ema/001.bias",
        "generator_ema/002.gamma",
        "generator_ema/003.beta",
        "generator_ema/004.moving_mean",
        "generator_ema/005.moving_variance",
        "generator_ema/006.kernel",
        "generator_ema/007.bias",
    ]
    model = build()
    assert model.generator_ema.name == "generator_ema"
    checkpoint.restore(model, path(tmp_path, 1))
    assert_same(copies(model), copies(earlier))


def test_restore_sets_every_copy(pair, saved):
    before, digest = copies(pair), checkpoint.digest(pair)
    # Their copies really differ, or this would show nothing.
    for name in ("generator/004.moving_mean", "critic/002.seed_generator_state"):
        assert not np.array_equal(*before[name])
        assert name in pair.replica_local()
    perturb(pair)
    after = copies(pair)
    for name, values in before.items():
        for value, other in zip(values, after[name], strict=True):
            assert np.any(value != other), name
    checkpoint.restore(pair, path(saved))
    assert_same(before, copies(pair))
    assert checkpoint.digest(pair) == digest


def test_training_goes_on_bitwise_in_another_model(pair, saved):
    other = build(pair.distribute_strategy)
    checkpoint.restore(other, path(saved))
    assert checkpoint.digest(train(other, 2)) == checkpoint.digest(train(pair, 2))
    assert pair.steps_done == 4


def test_the_digest_covers_every_copy(pair, saved):
    digest, seen = checkpoint.digest(pair), set()
    local = pair.distribute_strategy.experimental_local_results
    for variable in pair.state().values():
        for copy in local(variable.value):
            before = copy.numpy()
            changed = before.copy().reshape(-1)
            changed[-1] += 1
            copy.assign(changed.reshape(before.shape))
            seen.add(checkpoint.digest(pair))
            copy.assign(before)
    assert len(seen) == 2 * len(pair.state())
    assert digest not in seen
    assert checkpoint.digest(pair) == digest


def test_two_replicas_to_one_and_back(pair, saved, tmp_path):
    one = build()
    checkpoint.restore(one, path(saved))
    wanted = copies(pair)
    for name, (value,) in copies(one).items():
        np.testing.assert_array_equal(value, wanted[name][0], err_msg=name)

    checkpoint.save(one, tmp_path)
    two = build(pair.distribute_strategy)
    checkpoint.restore(two, path(tmp_path))
    for name, (first, second) in copies(two).items():
        np.testing.assert_array_equal(first, wanted[name][0], err_msg=name)
        if "seed_generator" in name:  # two replicas, two streams
            assert not np.array_equal(first, second)
        else:
            np.testing.assert_array_equal(first, second, err_msg=name)
    train(two, 1)


def test_networks_alone(pair, saved):
    other = build(pair.distribute_strategy)
    fresh = copies(other)
    checkpoint.restore_networks(other, path(saved))
    wanted = copies(pair)
    for name, values in copies(other).items():
        if name.split("/")[0] not in other.networks:
            assert_same({name: fresh[name]}, {name: values})
        elif "seed_generator" in name:
            assert not np.array_equal(*values)
        else:
            for value in values:
                np.testing.assert_array_equal(value, wanted[name][0], err_msg=name)
    wider = build(units=7)
    before = copies(wider)
    with pytest.raises(BadInput, match="generator/000.kernel is .*wanted"):
        checkpoint.restore_networks(wider, path(saved))
    assert_same(before, copies(wider))


# What is refused --------------------------------------------------------------


def drop(name):
    return lambda header, arrays: arrays.pop(name)


def add(name):
    return lambda header, arrays: arrays.update({name: np.zeros(3)})


def put(name, shape):
    return lambda header, arrays: arrays.update({name: np.zeros(shape, "f")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("critic/000.kernel"), r"missing critic/000.kernel$"),
        (drop("critic_optimizer/000.iteration"), "missing critic_optimizer/000.iter"),
        (add("critic/009.kernel"), r"extra critic/009.kernel$"),
        (
            put("critic/000.kernel", [64, 5]),
            r"critic/000.kernel is \(64, 5\), wanted \(64, 6\)",
        ),
        (
            put("generator/004.moving_mean", [2, 7]),
            r"generator/004.moving_mean is \(7,\), wanted \(6,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(pair, saved, tmp_path, change, message):
    rewrite(saved, path(tmp_path), change)
    before = copies(pair)
    with pytest.raises(BadInput, match=message):
        checkpoint.restore(pair, path(tmp_path))
    assert_same(before, copies(pair))


def test_many_missing_values_are_counted(pair, saved, tmp_path):
    def change(header, arrays):
        for name in [name for name in arrays if name.startswith("generator/")]:
            del arrays[name]

    rewrite(saved, path(tmp_path), change)
    with pytest.raises(BadInput, match="missing .*generator/002.gamma and 5 more"):
        checkpoint.restore(pair, path(tmp_path))


def test_a_model_of_another_size_is_refused(saved):
    with pytest.raises(BadInput, match="wanted") as error:
        checkpoint.restore(build(units=7), path(saved))
    named = re.findall(r"(\S+) is \(", str(error.value))
    assert len(named) > 20 and named == sorted(named)


def test_another_format_is_refused(pair, saved, tmp_path):
    rewrite(saved, path(tmp_path), lambda header, arrays: header.update(format=99))
    with pytest.raises(BadInput, match="has format 99; this version reads 1"):
        checkpoint.restore(pair, path(tmp_path))


@pytest.mark.parametrize("field", ["names", "local", "replicas", "step"])
def test_a_header_without_a_field_is_refused(pair, saved, tmp_path, field):
    header, arrays = checkpoint.read(path(saved))
    del header[field]
    with open(path(tmp_path), "wb") as file:
        checkpoint._write(file, header, arrays)
    with pytest.raises(BadInput, match="its header lacks fields"):
        checkpoint.restore(pair, path(tmp_path))


def test_a_foreign_archive_is_refused(pair, tmp_path):
    np.savez(path(tmp_path), image=np.zeros(3))
    with pytest.raises(BadInput, match="is not a tfgen checkpoint"):
        checkpoint.restore(pair, path(tmp_path))


def test_a_missing_file_is_not_a_damaged_one(pair, tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.restore(pair, path(tmp_path))


class Bomb:
    def __reduce__(self):
        return os._exit, (3,)


def pickled_npz(file):
    np.savez(file, bomb=np.array([Bomb()], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "write",
    [
        pickled_npz,
        lambda file: pickle.dump(Bomb(), file),
        lambda file: np.save(file, np.zeros(3)),
        lambda file: file.write(b"not a zip"),
        lambda file: file.write(b""),
    ],
    ids=["pickled npz", "pickle", "npy", "text", "empty"],
)
def test_what_is_no_checkpoint_is_damaged_and_not_run(pair, tmp_path, write):
    with open(path(tmp_path), "wb") as file:
        write(file)
    with pytest.raises(checkpoint.Damaged, match="is damaged"):
        checkpoint.restore(pair, path(tmp_path))


def test_truncation_and_flipped_bits_are_seen(tmp_path):
    # A small file, so that every byte of it can be hit.
    arrays = {"step": np.int64(1), "a/000.kernel": np.arange(6, dtype="f4")}
    header = {"format": checkpoint.FORMAT, "step": 1, "replicas": 1, "local": []}
    header["names"] = sorted(arrays)
    file = path(tmp_path)
    with open(file, "wb") as opened:
        checkpoint._write(opened, header, arrays)
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(checkpoint.Damaged):
            checkpoint.read(file)
    seen = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        try:
            found_header, found = checkpoint.read(file)
        except checkpoint.Damaged:
            seen += 1
            continue
        # A date, say: nothing that is read.
        assert found_header == header
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert seen > len(content) / 2


# Several files ----------------------------------------------------------------


def save_three(pair, folder):
    for _ in range(3):
        pair.step.assign_add(1)
        checkpoint.save(pair, folder)
    return [3, 4, 5]


def test_a_damaged_newest_falls_back(pair, saved, tmp_path):
    save_three(pair, tmp_path)
    for step, content in ((5, b"text"), (4, path(tmp_path, 4).read_bytes()[:-10])):
        path(tmp_path, step).write_bytes(content)
        warnings = []
        assert checkpoint.restore_newest(pair, tmp_path, warnings.append) == step - 1
        assert pair.steps_done == step - 1
        assert len(warnings) == 6 - step
        assert "step_000000005.npz is damaged" in warnings[0]
        assert "falling back to an earlier one" in warnings[-1]


def test_a_newest_that_does_not_fit_is_not_passed_over(pair, saved, tmp_path):
    save_three(pair, tmp_path)
    rewrite(saved, path(tmp_path, 5), drop("critic/000.kernel"))
    with pytest.raises(BadInput, match="missing critic/000.kernel"):
        checkpoint.restore_newest(pair, tmp_path, pytest.fail)


def test_no_file_and_no_whole_file(pair, tmp_path):
    assert checkpoint.restore_newest(pair, tmp_path, pytest.fail) is None
    path(tmp_path, 1).write_bytes(b"")
    warnings = []
    with pytest.raises(
        BadInput, match="all checkpoints in .* are damaged; remove them"
    ):
        checkpoint.restore_newest(pair, tmp_path, warnings.append)
    assert len(warnings) == 1


def test_the_newest_are_kept_and_those_asked_for(tmp_path):
    for step in range(1, 7):
        checkpoint.save(FakeModel(step), tmp_path, keep=2, keep_also={1, 3})
    assert checkpoint.steps(tmp_path) == [1, 3, 5, 6]


def test_only_checkpoints_are_counted(tmp_path):
    for name in ("step_x.partial", "step_x.npz", "step_.npz", "best.json"):
        (tmp_path / name).write_text("")
    assert checkpoint.steps(tmp_path) == []
    path(tmp_path, 10**9).write_text("")  # more digits than usual
    path(tmp_path, 8).write_text("")
    assert checkpoint.steps(tmp_path) == [8, 10**9]


# Interrupted saves ------------------------------------------------------------

BEFORE_THE_RENAME = (
    "before the write",
    "mid-file",
    "before the flush",
    "before the rename",
)
AFTER_THE_RENAME = ("after the rename", "before the folder's flush")


def newest_content(folder):
    step = checkpoint.steps(folder)[-1]
    _, arrays = checkpoint.read(path(folder, step))
    assert np.all(arrays["step"] == step)
    return step


@pytest.mark.parametrize("moment", [*BEFORE_THE_RENAME, *AFTER_THE_RENAME])
def test_a_kill_leaves_a_whole_newest(tmp_path, moment):
    checkpoint.save(FakeModel(1), tmp_path)
    killed = subprocess.run(
        [sys.executable, killed_save.__file__, str(tmp_path), moment],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    wanted = 2 if moment in AFTER_THE_RENAME else 1
    assert newest_content(tmp_path) == wanted
    # What the killed process left is cleared by the next save, whatever its step.
    checkpoint.save(FakeModel(3), tmp_path, keep=1)
    assert newest_content(tmp_path) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step_000000003.npz"]


@pytest.mark.parametrize("moment", BEFORE_THE_RENAME)
def test_a_failing_save_leaves_a_whole_newest(tmp_path, moment):
    checkpoint.save(FakeModel(1), tmp_path)
    with mock.patch.object(killed_save, "die", killed_save.refuse):
        half = mock.patch.object(
            killed_save.half, "__defaults__", (checkpoint._write, killed_save.refuse)
        )
        with half, killed_save.at(moment), pytest.raises(OSError, match="No space"):
            checkpoint.save(FakeModel(2), tmp_path, keep=1)
    assert newest_content(tmp_path) == 1
    assert checkpoint.steps(tmp_path) == [1]


def test_the_header_says_what_is_inside(pair, saved):
    header, arrays = checkpoint.read(path(saved))
    assert header["step"] == 2
    assert header["replicas"] == 2
    assert set(header["local"]) == pair.replica_local()
    assert json.loads(json.dumps(header)) == header
    assert arrays["critic/002.seed_generator_state"].shape == (2, 2)


# Clusters ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "task", "workers", "first"),
    [
        ({"worker": 2}, ("worker", 1), 2, 1),
        ({"chief": 1, "worker": 1}, ("chief", 0), 2, 0),
        ({"chief": 1, "worker": 1}, ("worker", 0), 2, 1),
        ({"chief": 1, "worker": 2, "evaluator": 1}, ("worker", 1), 3, 2),
        ({"worker": 1}, ("worker", 0), 1, 0),
    ],
)
def test_which_replicas_are_a_task_s_own(hosts, task, workers, first):
    addresses = {k: [f"127.0.0.1:{i}" for i in range(n)] for k, n in hosts.items()}
    kind, number = task
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(addresses), task_type=kind, task_id=number
    )
    strategy = types.SimpleNamespace(
        cluster_resolver=resolver, num_replicas_in_sync=workers
    )
    assert checkpoint.is_multi_worker(strategy) == (workers > 1)
    assert checkpoint._first_replica(strategy) == first
