"""A table of values for every row of the data, read and written by row number."""

import keras
import tensorflow as tf


class RowTable(keras.layers.Layer):
    """Several values a row of the data, each `[rows, size]`, zeros at the start.

    A batch reads and writes its own rows only; the rest of the table is not touched.

    Args:
        rows: Of the data.
        sizes: {name: values a row}.
    """

    def __init__(self, rows, sizes, **kwargs):
        super().__init__(**kwargs)
        self.columns = [
            self.add_weight(shape=[rows, size], initializer="zeros", name=name)
            for name, size in sizes.items()
        ]
        self.built = True

    def read(self, index):
        """Return the rows of numbers `index` `[n]`: a list of `[n, size]`."""
        return [tf.gather(column.value, index) for column in self.columns]

    def write(self, index, values):
        """Set rows; of a number that occurs twice, to the first of its values.

        Args:
            index: Row numbers `[n]`: on every replica those of all.
            values: A list of `[n, size]`.
        """
        # A scatter of two values to one row leaves either.
        same = tf.cast(index[:, None] == index[None], tf.int32)
        first = tf.argmax(same, axis=1)
        for column, value in zip(self.columns, values, strict=True):
            slices = tf.IndexedSlices(tf.gather(value, first), index)
            column.value.scatter_update(slices)
