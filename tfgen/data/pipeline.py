"""Rows in memory, served in an order that is a function of (seed, step).

Nothing here has a position: element n of a dataset is computed from n alone. Resuming
is starting at n, and which worker or replica asks makes no difference to the rows that
a step sees.
"""

import numbers

import numpy as np
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec

# Rounds of the block cipher that orders the rows. `tf.random.experimental
# .index_shuffle` fixes it at 4, which is visibly not random: on 60,000 rows the means
# of batches vary half as much as they should and successive epochs are correlated; at
# 6 rounds more so, from 8 on no longer.
SHUFFLE_ROUNDS = 12
FLIP_SALT = 1 << 31  # keeps the flips' keys apart from the epochs' keys
PREFETCH = 2  # elements made ahead of the training step


class RowsOnDisk:
    """Rows of an array that stays in a file, read when they are asked for.

    Args:
        array: a memory-mapped array `[n, ...]`.
        rows: numbers of the rows that count, `[m]`; None for all.
    """

    def __init__(self, array: np.memmap, rows: np.ndarray | None = None):
        self._array = array
        self._rows = np.arange(len(array)) if rows is None else rows
        self.shape = (len(self._rows), *array.shape[1:])
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows) -> np.ndarray:
        return np.asarray(self._array[self._rows[rows]])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def pick(self, rows: np.ndarray | slice) -> "RowsOnDisk":
        """Some of these rows, still on disk."""
        return RowsOnDisk(self._array, self._rows[rows])


def pick(array, rows):
    """Some rows of an array, without reading those that lie on disk."""
    return array.pick(rows) if isinstance(array, RowsOnDisk) else array[rows]


class Served:
    """What `fit` draws from: elements that are a function of (seed, step).

    A subclass has `batch` and `for_pipeline`.
    """

    def dataset(
        self,
        *,
        strategy: tf.distribute.Strategy | None = None,
        updates: int = 1,
        start: int = 0,
    ):
        """Endless training elements, from step `start` on.

        An element is a dict of the features and `index` (int64 row numbers), each
        `[updates * rows, ...]` where rows = batch / replicas. Rows are ordered by
        update, so `tf.split(x, updates)` gives the batch of each update. Row g of
        update j of step s, counted over all replicas, is example number
        `(s * updates + j) * batch + g`; replica r holds rows `r * rows` to
        `(r + 1) * rows` of each update.

        Args:
            strategy: what the model was made under; None for one device.
            updates: batches of fresh rows in one element.
            start: step of the first element.

        Returns:
            A `tf.data.Dataset`, or a distributed dataset where `strategy` has more than
            one replica.

        Raises:
            BadInput: the batch does not divide by the number of replicas.
        """

        def pipeline(context):
            return self.for_pipeline(context, updates=updates, start=start)

        if strategy is None or strategy.num_replicas_in_sync == 1:
            return pipeline(tf.distribute.InputContext())
        rows_per_replica(self.batch, strategy.num_replicas_in_sync)
        return strategy.distribute_datasets_from_function(pipeline)


class Stream(Served):
    """The rows of one split, endlessly shuffled for training or in order.

    Global example number k, counted over all steps, is a row of epoch `k // n`, where n
    is the number of rows; each epoch is its own permutation of the rows. A split with
    fewer rows than a batch wraps into the next epoch within the batch.

    Args:
        arrays: feature name -> array `[n, ...]`, kept in memory, or `RowsOnDisk`.
        spec: what the rows look like; names the same features.
        batch: global number of rows per update, over all replicas.
        seed: with the step, determines order and flips; 0 <= seed < 2**64.
        flip: mirror each image left to right with probability 1/2, drawn anew each
            epoch.

    Raises:
        BadInput: no rows, impossible batch or seed, or flips without images.
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        spec: DataSpec,
        *,
        batch: int,
        seed: int = 0,
        flip: bool = False,
    ):
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise BadInput(f"data {spec.name!r} needs equally many rows in each array")
        held = {name: array.shape[1:] for name, array in arrays.items()}
        declared = {name: feature.shape for name, feature in spec.features.items()}
        if held != declared or "index" in held:
            raise BadInput(f"data {spec.name!r} holds {held} but declares {declared}")
        check_batch_and_seed(batch, seed)
        if flip and len(spec.image.shape) != 3:
            raise BadInput(f"flips need images [h, w, c], not {list(spec.image.shape)}")
        self.arrays = dict(arrays)
        self.spec = spec
        self.batch = batch
        self.seed = seed
        self.flip = flip
        self._rows = lengths.pop()
        self._tensors = {}

    def __len__(self) -> int:
        return self._rows

    def for_pipeline(
        self, context: tf.distribute.InputContext, *, updates: int = 1, start: int = 0
    ) -> tf.data.Dataset:
        """The elements of the replicas that one input pipeline feeds, in turn.

        A pipeline serves the replicas of one worker: each step it yields one element
        for each of them. Arguments and elements are those of `dataset`.
        """
        replicas = context.num_replicas_in_sync
        rows = rows_per_replica(self.batch, replicas)
        if updates < 1 or start < 0:
            raise BadInput(f"updates is {updates}, start {start}; at least 1 and 0")
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        update = np.repeat(np.arange(updates), rows)
        row = np.tile(np.arange(rows), updates)

        @tf.autograph.experimental.do_not_convert  # loading autograph takes a second
        def element(count):
            step, replica = count // local, first + count % local
            offsets = tf.constant(update * self.batch + row)
            return self._examples(
                step * (updates * self.batch) + replica * rows + offsets
            )

        self._hold()
        options = tf.data.Options()
        options.deterministic = True
        # One thread keeps well ahead of a training step and leaves the cores to it.
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        options.threading.max_intra_op_parallelism = 1
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.OFF
        )
        numbers = tf.data.Dataset.range(start * local, np.iinfo(np.int64).max)
        return numbers.map(element).prefetch(PREFETCH).with_options(options)

    def _hold(self):
        """Makes each in-memory array one tensor, which all datasets then share.

        Not done in the constructor: some strategies must exist before any tensor does.
        The array becomes a view of the tensor, so that the bytes exist once.
        """
        if self._tensors:
            return
        with tf.init_scope(), tf.device("CPU:0"):
            for name, array in self.arrays.items():
                if isinstance(array, RowsOnDisk):
                    continue
                self._tensors[name] = tf.constant(array)
                if self.spec.features[name].dtype != "string":
                    self.arrays[name] = np.asarray(memoryview(self._tensors[name]))

    def _examples(self, number: tf.Tensor) -> dict[str, tf.Tensor]:
        """Features of the examples with these global numbers, int64 `[m]`."""
        index = self._shuffled(number % len(self), number // len(self), len(self))
        batch = {name: self._gather(name, index) for name in self.spec.features}
        if self.flip:
            bits = 30  # any range much larger than a batch will do
            mixed = self._shuffled(
                number % 2**bits, number // 2**bits + FLIP_SALT, 2**bits
            )
            # Picking from both kinds is four times as fast here as tf.where.
            image, count = batch["image"], number.shape[0]
            rows = tf.range(count, dtype=tf.int64)
            both = tf.concat([image, tf.reverse(image, [2])], axis=0)
            batch["image"] = tf.gather(both, rows + mixed % 2 * count)
        return {**batch, "index": index}

    def _shuffled(self, position, key, count: int):
        """Where a permutation of [0, count), chosen by seed and key, puts position."""
        seed = tf.constant([self.seed % 2**32, self.seed // 2**32], tf.int64)
        keys = tf.stack([tf.fill(key.shape, part) for part in tf.unstack(seed)] + [key])
        return tf.raw_ops.RandomIndexShuffle(
            index=position,
            seed=tf.transpose(keys),
            max_index=tf.constant(count - 1, tf.int64),
            rounds=SHUFFLE_ROUNDS,
        )

    def _gather(self, name: str, index: tf.Tensor) -> tf.Tensor:
        """Rows `index` of one feature, `[m, ...]`."""
        if name in self._tensors:
            return tf.gather(self._tensors[name], index)
        array = self.arrays[name]
        rows = tf.numpy_function(lambda i: array[i], [index], array.dtype)
        return tf.ensure_shape(rows, index.shape + array.shape[1:])


def check_batch_and_seed(batch: int, seed: int):
    """Refuses what cannot determine an order."""
    for name, value in (("batch", batch), ("seed", seed)):
        if not isinstance(value, numbers.Integral):
            raise BadInput(f"{name} is {value!r}; it must be an integer")
    if batch < 1:
        raise BadInput(f"batch is {batch}; it must be at least 1")
    if not 0 <= seed < 2**64:
        raise BadInput(f"seed is {seed}; it must be at least 0 and below 2**64")


def rows_per_replica(batch: int, replicas: int) -> int:
    """Rows of each replica; BadInput if the batch does not divide evenly."""
    if batch % replicas:
        below = batch // replicas * replicas
        near = " or ".join(str(n) for n in (below, below + replicas) if n)
        raise BadInput(
            f"batch {batch} does not divide by {replicas} replicas: try {near}"
        )
    return batch // replicas
