"""A history of generated images (Shrivastava et al. 2017), as CycleGAN uses it."""

import keras
import tensorflow as tf


class ImagePool(keras.layers.Layer):
    """Up to `size` images seen before, which new ones are exchanged for.

    Until it is full it stores each image and returns it. Then, for each image in
    turn: with probability 1/2 the image is returned and the pool left alone; else it
    takes the place of a stored one, uniformly chosen, which is returned.

    The content are variables, so that it is saved with a run and no graph holds it
    fast. Each replica has its own: N replicas remember N * size images.

    Args:
        size: Images it holds.
        shape: [h, w, c] of one.
    """

    def __init__(self, size, shape, **kwargs):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.size = size
        self.images = self.add_weight(
            shape=[size, *shape], initializer="zeros", trainable=False, name="images"
        )
        self.count = self.add_weight(
            shape=[], initializer="zeros", dtype="int64", trainable=False, name="count"
        )
        self.built = True

    def exchange(self, images, uniforms):
        """Return what the images are exchanged for, `[rows, h, w, c]`.

        Args:
            images: `[rows, h, w, c]`, rows static; each meets the pool the one before
                has left.
            uniforms: `[rows, 2]` on [0, 1): whether to exchange, and for which.
        """
        handle = self.images.value.handle  # in place: the pool is never copied
        count, returned = tf.identity(self.count.value), []
        for image, uniform in zip(
            tf.unstack(images), tf.unstack(uniforms), strict=True
        ):
            full = count >= self.size
            chosen = tf.cast(uniform[1] * self.size, tf.int64)
            slot = tf.where(full, chosen, count)
            stored = tf.raw_ops.ResourceGather(
                resource=handle, indices=slot, dtype=tf.float32
            )
            swap = uniform[0] < 0.5
            returned.append(tf.where(full & swap, stored, image))
            kept = tf.where(full & ~swap, stored, image)
            tf.raw_ops.ResourceScatterUpdate(
                resource=handle, indices=slot, updates=kept
            )
            count = tf.minimum(count + 1, self.size)
        self.count.assign(count)
        return tf.stack(returned)
