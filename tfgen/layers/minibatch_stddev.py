"""How much a batch varies, as a map for a discriminator (Karras et al. 2018)."""

import keras


class MinibatchStddev(keras.layers.Layer):
    """Append a map that holds the standard deviation within a group of rows.

    For each group the deviation over its rows, sqrt(variance + epsilon), is averaged
    over pixels and channels: one number, the same in every pixel of the group's rows.
    Row n is in group n modulo the number of groups. `[rows, h, w, c] -> [rows, h, w,
    c + 1]`. A replica's rows are grouped among themselves: N replicas of B rows are
    one device with N shards of B rows.

    Args:
        group: Rows of a group, at most; fewer where they do not divide the batch.
            None: all rows.
        epsilon: Added to the variance.
    """

    def __init__(self, group=4, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.group, self.epsilon = group, epsilon

    def compute_output_shape(self, shape):
        """Return the shape with one channel more."""
        return (*shape[:-1], shape[-1] + 1)

    def compute_output_spec(self, x):
        """Return the output of rows yet unknown, which `call` could not group."""
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def call(self, x):
        """Return x and the map; the number of rows must be static."""
        rows, *shape = x.shape
        if rows is None:
            raise ValueError(f"{self.name}: groups need a static number of rows")
        most = min(self.group or rows, rows)
        group = next(size for size in range(most, 0, -1) if rows % size == 0)
        wide = keras.ops.cast(x, "float32")
        members = keras.ops.reshape(wide, [group, rows // group, *shape])
        centred = members - keras.ops.mean(members, axis=0, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centred), axis=0)
        deviation = keras.ops.mean(
            keras.ops.sqrt(variance + self.epsilon), axis=[1, 2, 3]
        )
        of_rows = keras.ops.reshape(keras.ops.tile(deviation, [group]), [rows, 1, 1, 1])
        maps = keras.ops.broadcast_to(of_rows, [rows, *shape[:-1], 1])
        return keras.ops.concatenate([x, keras.ops.cast(maps, x.dtype)], axis=-1)
