"""Networks that take a label: y is one-hot, `[rows, classes]`.

Each function takes the Config of its model, the shape of an image and the number of
classes. Inputs named uniform_<n> decide dropout (`layers.dropout`).
"""

import math

import keras

from tfgen.core.errors import BadInput
from tfgen.layers.batch_norm import BatchNormalization
from tfgen.layers.dropout import Drops
from tfgen.layers.maxout import Maxout
from tfgen.networks.convolutional import DCGAN_START


def dense_generator(config, shape, classes):
    """Return z `[rows, latent_size]`, y, uniforms -> images in [0, 1]."""
    z = keras.Input([config.latent_size], name="z")
    y = keras.Input([classes], name="y")
    drop, keep = Drops(), config.keep_hidden
    of_z = drop(keras.layers.Dense(config.latent_units, "relu")(z), keep)
    of_y = drop(keras.layers.Dense(config.label_units, "relu")(y), keep)
    both = keras.layers.Concatenate()([of_z, of_y])
    both = drop(keras.layers.Dense(config.hidden, "relu")(both), keep)
    pixels = keras.layers.Dense(math.prod(shape), "sigmoid", dtype="float32")(both)
    images = keras.layers.Reshape(shape, dtype="float32")(pixels)
    return keras.Model([z, y, *drop.uniforms], images, name="generator")


def dense_judge(config, shape, classes):
    """Return images, y, uniforms -> logits `[rows, 1]`."""
    images = keras.Input(shape, name="images")
    y = keras.Input([classes], name="y")
    drop, keep = Drops(), config.keep_hidden
    flat = keras.layers.Flatten()(images)
    of_images = drop(Maxout(*config.image_maxout)(flat), keep)
    of_y = drop(Maxout(*config.label_maxout)(y), keep)
    both = keras.layers.Concatenate()([of_images, of_y])
    both = drop(Maxout(*config.joint_maxout)(both), keep)
    logits = keras.layers.Dense(1, dtype="float32")(both)
    return keras.Model([images, y, *drop.uniforms], logits, name="discriminator")


def convolutional_generator(config, shape, classes):
    """Return z `[rows, latent_size]`, y -> images in [-1, 1]."""
    side, channels = _quarter(shape), config.channels
    z = keras.Input([config.latent_size], name="z")
    y = keras.Input([classes], name="y")
    x = keras.layers.ReLU()(_norm(_dense(config.hidden)(_beside(z, y))))
    x = _norm(_dense(side**2 * 2 * channels)(_beside(x, y)))
    x = keras.layers.Reshape([side, side, 2 * channels])(keras.layers.ReLU()(x))
    x = _norm(_transposed(channels, config.kernel)(_beside(x, y)))
    x = _beside(keras.layers.ReLU()(x), y)
    x = _transposed(shape[-1], config.kernel)(x)
    images = keras.layers.Activation("tanh", dtype="float32")(x)
    return keras.Model([z, y], images, name="generator")


def convolutional_judge(config, shape, classes):
    """Return images, y -> logits `[rows, 1]`."""
    _quarter(shape)
    images = keras.Input(shape, name="images")
    y = keras.Input([classes], name="y")

    def active(x):
        return _beside(keras.layers.LeakyReLU(0.2)(x), y)

    x = active(_strided(config.channels, config.kernel)(_beside(images, y)))
    x = keras.layers.LeakyReLU(0.2)(
        _norm(_strided(2 * config.channels, config.kernel)(x))
    )
    x = _beside(keras.layers.Flatten()(x), y)
    x = active(_norm(_dense(config.hidden)(x)))
    logits = _dense(1, dtype="float32")(x)
    return keras.Model([images, y], logits, name="discriminator")


class _Beside(keras.layers.Layer):
    """Joins y to features, or to every pixel of maps, as further channels."""

    def call(self, inputs):
        x, y = inputs
        y = keras.ops.cast(y, x.dtype)
        if len(x.shape) == 4:
            y = keras.ops.broadcast_to(
                y[:, None, None], [keras.ops.shape(x)[0], *x.shape[1:3], y.shape[-1]]
            )
        return keras.ops.concatenate([x, y], axis=-1)


def _beside(x, y):
    return _Beside()([x, y])


def _norm(x):
    # Without scale and shift, as published.
    return BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, scale=False)(x)


def _start():
    # An initialiser object used for two layers gives both the same numbers.
    kernel = DCGAN_START["initializer"].clone()
    return {"use_bias": False, "kernel_initializer": kernel}


def _dense(units, **options):
    return keras.layers.Dense(units, **_start(), **options)


def _strided(channels, kernel):
    return keras.layers.Conv2D(channels, kernel, 2, "same", **_start())


def _transposed(channels, kernel):
    return keras.layers.Conv2DTranspose(channels, kernel, 2, "same", **_start())


def _quarter(shape):
    height, width = shape[:2]
    if height != width or height % 4:
        raise BadInput(
            f"images of {height}x{width} do not fit: this network takes square images "
            "with a side that is a multiple of 4 (set --hparam image_size=28, say)"
        )
    return height // 4
