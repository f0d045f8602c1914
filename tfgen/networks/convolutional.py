"""Convolutional generator and critic for images of any size, DCGAN's shape.

Sizes are halved, rounding up, until at most 4: 64 -> 32 -> 16 -> 8 -> 4, and
28 -> 14 -> 7 -> 4. Going up, a doubling that overshoots (8 for 7) is cropped, as
in the published MNIST network of Gulrajani et al. 2017. Channels double with each
halving.
"""

import keras

from tfgen.core.errors import BadInput


def generator(latent_size, image_shape, channels, *, kernel, norm, initializer):
    """Return z `[rows, latent_size]` -> images `[rows, h, w, c]` in [-1, 1].

    Args:
        latent_size: Length of z.
        image_shape: (height, width, channels) of the images, height = width.
        channels: Feature maps at half resolution; 64 in DCGAN.
        kernel: Side of the transposed convolutions.
        norm: "batch" or "none", after every layer but the last.
        initializer: Of every kernel.
    """
    sizes = _halvings(image_shape)
    width = channels * 2 ** (len(sizes) - 2)
    layer = _layer(norm, initializer)
    z = keras.Input([latent_size], name="z")
    x = keras.layers.Dense(sizes[-1] ** 2 * width, **layer())(z)
    x = keras.layers.Reshape([sizes[-1], sizes[-1], width])(x)
    for size in reversed(sizes[1:-1]):
        x = keras.layers.ReLU()(_normalise(x, norm))
        width //= 2
        x = _double(x, width, kernel, size, layer)
    x = keras.layers.ReLU()(_normalise(x, norm))
    x = _double(x, image_shape[-1], kernel, sizes[0], layer)
    images = keras.layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(z, images, name="generator")


def critic(image_shape, channels, *, kernel, norm, initializer, name="critic"):
    """Return images `[rows, h, w, c]` in [-1, 1] -> scores `[rows, 1]`.

    No sigmoid; as a discriminator its output is the logit. `norm` ("batch",
    "layer" or "none") follows every convolution but the first.
    """
    sizes = _halvings(image_shape)
    layer = _layer(norm, initializer)
    images = x = keras.Input(image_shape, name="images")
    for depth in range(len(sizes) - 1):
        x = keras.layers.Conv2D(
            channels * 2**depth, kernel, strides=2, padding="same", **layer()
        )(x)
        x = _normalise(x, norm) if depth else x
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.Flatten()(x)
    scores = keras.layers.Dense(1, dtype="float32", **layer())(x)
    return keras.Model(images, scores, name=name)


def _layer(norm, initializer):
    """Return a function making one layer's arguments.

    An initialiser object used for two layers gives both the same numbers.
    """
    initializer = keras.initializers.get(initializer)
    return lambda: {
        "use_bias": norm == "none",
        "kernel_initializer": initializer.clone(),
    }


def _halvings(image_shape):
    height, width = image_shape[:2]
    if height != width or height < 8:
        raise BadInput(
            f"images of {height}x{width} do not fit: this network takes square "
            "images of 8 pixels or more (set --hparam image_size=32, say)"
        )
    sizes = [height]
    while sizes[-1] > 4:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def _double(x, channels, kernel, size, layer):
    x = keras.layers.Conv2DTranspose(
        channels, kernel, strides=2, padding="same", **layer()
    )(x)
    excess = x.shape[1] - size
    return keras.layers.Cropping2D([[0, excess]] * 2)(x) if excess else x


def _normalise(x, norm):
    if norm == "batch":
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    if norm == "layer":
        return keras.layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5)(x)
    return x
