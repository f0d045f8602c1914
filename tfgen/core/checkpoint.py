"""Exact, strict, atomic save and restore of everything a run consists of.

One file a save: an uncompressed .npz of every variable in `model.state()`, with a
JSON header. It is written beside its final name, flushed to disk, then renamed, so
a name that exists is whole; a zip's checksums tell a file damaged later.

Noise and data order are functions of (seed, step), so the variables are all there
is to save. Values that may differ between replicas (batch statistics, seeds of
layers) are kept for every replica; all others are equal by construction and kept
once. On another replica count, replica r takes copy r modulo the saved count.
"""

import hashlib
import json
import os
import pathlib

import numpy as np

from tfgen.core.errors import BadInput

FORMAT = 1
_HEADER = "header.json"


class Damaged(Exception):
    """A checkpoint file is truncated or altered."""


def collect(model):
    """Return {name: array} of `model.state()`; a collective over workers.

    Replica-local values have a leading axis of all replicas.
    """
    strategy, local = model.distribute_strategy, model.replica_local()
    arrays = {}
    for name, variable in model.state().items():
        copies = strategy.experimental_local_results(variable.value)
        if name not in local:
            arrays[name] = copies[0].numpy()
        elif is_multi_worker(strategy):
            arrays[name] = _gather(strategy, variable)
        else:
            arrays[name] = np.stack([copy.numpy() for copy in copies])
    return arrays


def _gather(strategy, variable):
    import tensorflow as tf

    @tf.function(autograph=False)
    def all_copies():
        copies = strategy.run(lambda: tf.identity(variable.value)[tf.newaxis])
        return strategy.gather(copies, axis=0)

    return all_copies().numpy()


def digest(model):
    """Return the SHA-256 of every copy of every variable, in a fixed order."""
    strategy, local = model.distribute_strategy, model.replica_local()
    sha = hashlib.sha256()
    arrays = collect(model)
    for name, variable in model.state().items():
        copies = strategy.experimental_local_results(variable.value)
        values = [arrays[name]] if name in local else [c.numpy() for c in copies]
        for value in values:
            sha.update(f"{name} {value.dtype} {value.shape}".encode())
            sha.update(np.ascontiguousarray(value).tobytes())
    return sha.hexdigest()


def save(model, folder, keep=3, keep_also=()):
    """Write `folder/step_<n>.npz`, then delete all but the newest `keep`.

    Args:
        model: Whose `state()` is saved. Every worker calls; the chief writes.
        folder: Where; it exists.
        keep: How many of the newest stay.
        keep_also: Steps that stay however old.

    Returns:
        The step saved.
    """
    step = model.steps_done
    arrays = collect(model)
    if not is_chief(model.distribute_strategy):
        return step
    header = {
        "format": FORMAT,
        "step": step,
        "replicas": model.distribute_strategy.num_replicas_in_sync,
        "local": sorted(model.replica_local()),
        "names": sorted(arrays),
        "pending_logs": model.pending_logs,
    }
    final = path_of(folder, step)
    partial = final.with_suffix(".partial")
    with open(partial, "wb") as file:
        _write(file, header, arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, final)
    _flush_folder(folder)
    for killed in pathlib.Path(folder).glob("step_*.partial"):
        killed.unlink(missing_ok=True)
    # Later ones are damaged, or this step would not have been reached from before.
    earlier = [saved for saved in steps(folder) if saved <= step]
    for old in steps(folder):
        if old not in earlier[-keep:] and old not in keep_also:
            path_of(folder, old).unlink(missing_ok=True)
    return step


def _write(file, header, arrays):
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(file, **{_HEADER: text}, **arrays)


def _flush_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def path_of(folder, step):
    """Return the file of a step."""
    return pathlib.Path(folder) / f"step_{step:09d}.npz"


def steps(folder):
    """Return the steps saved in `folder`, oldest first."""
    names = [path.stem for path in pathlib.Path(folder).glob("step_*.npz")]
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def read(path):
    """Return (header, {name: array}) of a checkpoint file.

    Raises:
        Damaged: It is truncated or altered.
        BadInput: It is whole, but not a checkpoint of this format.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files}
        except Exception as error:  # a flipped bit surfaces as nearly anything
            raise Damaged(f"{path} is damaged ({error})") from error
    try:
        header = json.loads(arrays.pop(_HEADER).tobytes())
        written_as = header["format"]
        complete = {"step", "replicas", "local", "names"} <= header.keys()
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadInput(f"{path} is not a tfgen checkpoint") from None
    if written_as != FORMAT:
        raise BadInput(f"{path} has format {written_as}; this version reads {FORMAT}")
    if not complete:
        raise BadInput(f"{path} is not a tfgen checkpoint: its header lacks fields")
    if header["names"] != sorted(arrays):  # the zip's directory has no checksum
        raise Damaged(f"{path} is damaged (its values are not those it lists)")
    return header, arrays


def restore(model, path):
    """Set every variable of `model.state()` from a checkpoint file.

    Raises:
        Damaged: The file is truncated or altered.
        BadInput: It lacks values of this model, has others, or other shapes.
    """
    header, arrays = read(path)
    state, local = model.state(), model.replica_local()
    shapes = {
        name: tuple(variable.shape) if name not in local else (..., *variable.shape)
        for name, variable in state.items()
    }
    problems = _differences(shapes, arrays, set(header["local"]))
    if problems:
        raise BadInput(f"{path} does not fit this model: {problems}")
    strategy = model.distribute_strategy
    first = _first_replica(strategy)
    with strategy.scope():
        for name, variable in state.items():
            if name not in local:
                variable.assign(arrays[name])
                continue
            copies = strategy.experimental_local_results(variable.value)
            for number, copy in enumerate(copies, start=first):
                copy.assign(arrays[name][number % len(arrays[name])])
    if header["replicas"] < strategy.num_replicas_in_sync:
        model.separate_seeds(header["replicas"])
    model.pending_logs = header.get("pending_logs", {})
    return header


def restore_newest(model, folder, warn):
    """Restore the newest whole checkpoint; returns its step, None if there is none.

    A damaged file is passed over with `warn(message)`.

    Raises:
        BadInput: All are damaged, or one does not fit: starting anew would delete
            what is left of the run. Or workers have found different steps.
    """
    step = _restore_newest(model, folder, warn)
    if is_multi_worker(model.distribute_strategy):
        _require_agreement(model, folder)
    return step


def _restore_newest(model, folder, warn):
    saved = steps(folder)
    for step in reversed(saved):
        try:
            restore(model, path_of(folder, step))
        except Damaged as error:
            warn(f"{error}; falling back to an earlier one")
        else:
            return step
    if saved:
        raise BadInput(
            f"all checkpoints in {folder} are damaged; remove them to start anew"
        )
    return None


def _require_agreement(model, folder):
    """Refuse to train on where one worker has restored what another has not."""
    import tensorflow as tf

    strategy, own = model.distribute_strategy, model.steps_done

    @tf.function(autograph=False)
    def total():
        standing = strategy.run(lambda: tf.constant(own, tf.int64))
        return strategy.reduce("SUM", standing, axis=None)

    if int(total()) != own * strategy.num_replicas_in_sync:
        raise BadInput(
            f"workers stand at different steps, this one at {own}: all need the same "
            f"folder {folder}"
        )


def restore_networks(model, path):
    """Set the networks, not optimizers or step, from a checkpoint of any run.

    Of a model that `starts_from` some of its networks, those.

    Raises:
        BadInput: The file is damaged, or lacks a network of this model, or has it
            with other shapes.
    """
    try:
        header, arrays = read(path)
    except Damaged as error:
        raise BadInput(str(error)) from None
    state = {
        name: variable
        for name, variable in model.state().items()
        if name.split("/")[0] in (model.starts_from or model.networks)
    }
    values = {name: arrays[name] for name in state.keys() & arrays.keys()}
    for name in values.keys() & set(header["local"]):
        values[name] = values[name][0]
    shapes = {name: tuple(variable.shape) for name, variable in state.items()}
    if problems := _differences(shapes, values, set()):
        raise BadInput(f"{path} does not fit this model: {problems}")
    with model.distribute_strategy.scope():
        for name, variable in state.items():
            variable.assign(values[name])
    model.separate_seeds(1)  # all replicas have just got the same


def _differences(shapes, arrays, saved_local):
    """Say in words how the saved values differ from the model's, "" if not at all."""
    problems = []
    for word, names in (
        ("missing", shapes.keys() - arrays.keys()),
        ("extra", arrays.keys() - shapes.keys()),
    ):
        if names:
            shown = sorted(names)[:3]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{word} {', '.join(shown)}{more}")
    for name in sorted(shapes.keys() & arrays.keys()):
        wanted = shapes[name]
        is_local = wanted[:1] == (...,)
        found = arrays[name].shape[1:] if name in saved_local else arrays[name].shape
        if is_local != (name in saved_local) or found != wanted[is_local:]:
            problems.append(f"{name} is {found}, wanted {wanted[is_local:]}")
    return "; ".join(problems)


def is_chief(strategy):
    """Return whether this process writes files."""
    return strategy.extended.should_checkpoint


def is_multi_worker(strategy):
    """Return whether the strategy spans several processes."""
    return _workers(strategy) > 1


def _workers(strategy):
    return sum(_tasks(strategy).values()) or 1


def _tasks(strategy):
    """Return {"chief": 0 or 1, "worker": number}, which train, in the order they count.

    Evaluators and parameter servers do not.
    """
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return {kind: len(cluster.get(kind, [])) for kind in ("chief", "worker")}


def _first_replica(strategy):
    """Return the global number of this process's first replica."""
    if not is_multi_worker(strategy):
        return 0
    local = strategy.num_replicas_in_sync // _workers(strategy)
    resolver = strategy.cluster_resolver
    before = _tasks(strategy)["chief"] if resolver.task_type == "worker" else 0
    return (before + resolver.task_id) * local
