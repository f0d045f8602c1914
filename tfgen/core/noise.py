"""Stateless randomness: every draw is a function of (seed, step, row, purpose).

A draw names its purpose ("z", "mix", ...), the training step, and which global
rows of the batch it is for. Row g therefore sees the same noise whether the batch
is held by one replica or by eight, and a resumed run has no generator to restore.

How: Philox is a counter-based generator. (seed, purpose, step) give the key and
the upper half of the counter; the lower half is the row's position. One counter
block yields four 32-bit numbers, so each row owns ceil(size / 4) blocks and a
replica computes its own rows only.

Draw outside XLA-compiled functions and pass the result in: the same key gives
other numbers inside XLA (tensorflow/tensorflow#117644).
"""

import math
import numbers
import zlib

import tensorflow as tf

from tfgen.core.errors import BadInput

_PHILOX = 1
_PER_BLOCK = 4


def check_seed(seed):
    """Return a model's seed as an int; BadInput if it is none in [0, 2**31)."""
    if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**31:
        raise BadInput(f"seed is {seed!r}; it must be an integer in [0, 2**31)")
    return int(seed)


def _key_and_counter(seed, step, purpose):
    # 31 bits of seed, 32 of purpose, 64 of step: distinct triples stay distinct.
    high = tf.cast(seed, tf.int64) * 2**32 + zlib.crc32(purpose.encode())
    pair = tf.stack([high, tf.cast(step, tf.int64)])
    return tf.raw_ops.StatelessRandomGetKeyCounter(seed=pair)


def _rows(draw, seed, step, purpose, rows, shape, first_row):
    shape = tuple(int(size) for size in shape)
    size = math.prod(shape)
    blocks = -(-size // _PER_BLOCK)
    key, counter = _key_and_counter(seed, step, purpose)
    offset = tf.cast(first_row, tf.int64) * blocks
    counter += tf.cast(tf.stack([offset, tf.zeros_like(offset)]), tf.uint64)
    flat = draw([rows, blocks * _PER_BLOCK], key, counter)
    return tf.reshape(flat[:, :size], (rows, *shape))


def normal(seed, step, purpose, rows, shape, first_row=0):
    """Draw standard normal noise for a range of global rows.

    Args:
        seed: Integer in [0, 2**31), Python or tensor.
        step: Scalar integer, Python or tensor.
        purpose: What the noise is for; draws with other names are independent.
        rows: How many rows, an int or a scalar int32 tensor.
        shape: Shape of one row, Python ints.
        first_row: Global number of the first row, int or scalar tensor.

    Returns:
        float32 `[rows, *shape]`.
    """

    def draw(shape, key, counter):
        return tf.raw_ops.StatelessRandomNormalV2(
            shape=shape, key=key, counter=counter, alg=_PHILOX
        )

    return _rows(draw, seed, step, purpose, rows, shape, first_row)


def uniform(seed, step, purpose, rows, shape, first_row=0):
    """Draw noise uniform on [0, 1) for a range of global rows; see `normal`."""

    def draw(shape, key, counter):
        return tf.raw_ops.StatelessRandomUniformV2(
            shape=shape, key=key, counter=counter, alg=_PHILOX
        )

    return _rows(draw, seed, step, purpose, rows, shape, first_row)


def uniform_of_rows(seed, purpose, index, shape):
    """Draw noise uniform on [0, 1) that belongs to rows of the data, not to a step.

    Row i of the data sees the same numbers whenever and wherever it comes up. Philox
    would need a call a row; this is a hash of (seed, purpose, row, position) by the
    finaliser of MurmurHash3, on 24 bits.

    Args:
        seed: Integer, Python.
        purpose: What the noise is for.
        index: Numbers of the rows in the data, integers `[rows]`.
        shape: Shape of one row, Python ints.

    Returns:
        float32 `[rows, *shape]`.
    """
    start = zlib.crc32(f"{seed} {purpose}".encode())
    index = tf.cast(index, tf.int64)
    low, high = tf.cast(index % 2**32, tf.uint32), tf.cast(index // 2**32, tf.uint32)
    rows = _mixed(_mixed(high) + low + tf.constant(start, tf.uint32))
    positions = tf.range(math.prod(shape), dtype=tf.int64) * 0x9E3779B9 % 2**32
    bits = _mixed(rows[:, None] + tf.cast(positions, tf.uint32))
    found = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)
    return tf.reshape(found * 2.0**-24, [-1, *shape])


def _mixed(bits):
    """Bring each uint32's bits into disorder, one to one."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))
        bits = tf.bitwise.bitwise_xor(bits, shifted) * tf.constant(factor, tf.uint32)
    return bits
