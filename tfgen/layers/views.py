"""Random views of images, their randomness an argument."""

import tensorflow as tf


def random_view(images, uniforms, crop=0, flip=False):
    """Return each image cut at a random place and perhaps mirrored.

    Args:
        images: `[rows, h, w, c]`, static but for the rows.
        uniforms: `[rows, 3]` on [0, 1): top, left, and below 1/2 a mirror.
        crop: Side of the square cut out, in pixels; 0: the whole image.
        flip: Whether to mirror left to right with probability 1/2.

    Returns:
        `[rows, crop, crop, c]`.
    """
    if crop:
        for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
            places = float(size - crop + 1)
            first = tf.cast(uniforms[:, axis - 1 : axis] * places, tf.int32)
            images = tf.gather(
                images, first + tf.range(crop)[None], axis=axis, batch_dims=1
            )
    if flip:
        mirrored = tf.reverse(images, [2])
        images = tf.where(uniforms[:, 2, None, None, None] < 0.5, mirrored, images)
    return images
