"""Convolutional networks for square images of any size, DCGAN's shape.

Sizes are halved, rounding up, until at most 4: 64 -> 32 -> 16 -> 8 -> 4, and
28 -> 14 -> 7 -> 4. Going up, a doubling that overshoots (8 for 7) is cropped, as
in the published MNIST network of Gulrajani et al. 2017. Channels double with each
halving.
"""

import math

import keras

from tfgen.core.errors import BadInput
from tfgen.layers.batch_norm import BatchNormalization
from tfgen.layers.spectral import SpectralConv2D, SpectralDense

# Kernels N(0, 0.02), scales N(1, 0.02): Radford, Metz and Chintala 2015 and their code.
DCGAN_START = {
    "initializer": keras.initializers.RandomNormal(0.0, 0.02),
    "scale_initializer": keras.initializers.RandomNormal(1.0, 0.02),
}


def generator(
    latent_size,
    image_shape,
    channels,
    *,
    kernel,
    norm,
    initializer,
    scale_initializer="ones",
    first_norm="channels",
):
    """Return z `[rows, latent_size]` -> images `[rows, h, w, c]` in [-1, 1].

    Args:
        latent_size: Length of z.
        image_shape: (height, width, channels) of the images, height = width.
        channels: Feature maps at half resolution; 64 in DCGAN.
        kernel: Side of the transposed convolutions.
        norm: "batch" or "none", after every layer but the last.
        initializer: Of every kernel.
        scale_initializer: Of the factors of batch normalisation.
        first_norm: "channels" or "features": whether the first normalisation has
            statistics a channel, or one for each of its 4 x 4 x channels units, as in
            DCGAN's own code.
    """
    sizes = _halvings(image_shape)
    width = channels * 2 ** (len(sizes) - 2)
    layer = _layer(norm, initializer)
    normalise = _normaliser(norm, scale_initializer)
    z = keras.Input([latent_size], name="z")
    x = keras.layers.Dense(sizes[-1] ** 2 * width, **layer())(z)
    if first_norm == "features":
        x = normalise(x)
    x = keras.layers.Reshape([sizes[-1], sizes[-1], width])(x)
    if first_norm == "channels":
        x = normalise(x)
    for size in reversed(sizes[1:-1]):
        x = keras.layers.ReLU()(x)
        width //= 2
        x = normalise(_double(x, width, kernel, size, layer))
    x = keras.layers.ReLU()(x)
    x = _double(x, image_shape[-1], kernel, sizes[0], layer)
    images = keras.layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(z, images, name="generator")


def critic(
    image_shape,
    channels,
    *,
    kernel,
    norm,
    initializer,
    scale_initializer="ones",
    name="critic",
):
    """Return images `[rows, h, w, c]` in [-1, 1] -> scores `[rows, 1]`.

    No sigmoid; as a discriminator its output is the logit. `norm` "batch" or "layer"
    follows every convolution but the first, "spectral" is of every kernel, or "none".
    """
    sizes = _halvings(image_shape)
    layer = _layer(norm, initializer)
    normalise = _normaliser(norm, scale_initializer)
    convolution, affine = keras.layers.Conv2D, keras.layers.Dense
    if norm == "spectral":
        convolution, affine = SpectralConv2D, SpectralDense
    images = x = keras.Input(image_shape, name="images")
    for depth in range(len(sizes) - 1):
        x = convolution(
            channels * 2**depth, kernel, strides=2, padding="same", **layer()
        )(x)
        x = normalise(x) if depth else x
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.Flatten()(x)
    scores = affine(1, dtype="float32", **layer())(x)
    return keras.Model(images, scores, name=name)


def encoder(image_shape, out_shapes, channels, *, kernel, activation, name):
    """Return images `[rows, h, w, c]` -> `[rows, *out_shapes[i]]`, linear heads.

    Strided convolutions, as of `critic` but with any activation, then one dense layer
    a head. The network returns a list when there are several.
    """
    sizes = _halvings(image_shape)
    images = x = keras.Input(image_shape, name="images")
    for depth in range(len(sizes) - 1):
        x = keras.layers.Conv2D(
            channels * 2**depth, kernel, 2, "same", activation=activation
        )(x)
    x = keras.layers.Flatten()(x)
    heads = [
        keras.layers.Reshape(shape, dtype="float32")(
            keras.layers.Dense(math.prod(shape), dtype="float32")(x)
        )
        for shape in out_shapes
    ]
    return keras.Model(images, heads if len(heads) > 1 else heads[0], name=name)


def decoder(latent_size, image_shape, outputs, channels, *, kernel, activation, name):
    """Return z `[rows, latent_size]` -> `outputs` linear images of `image_shape`.

    The mirror of `encoder`, with transposed convolutions; a list when there are
    several outputs.
    """
    sizes = _halvings(image_shape)
    width = channels * 2 ** (len(sizes) - 2)
    z = keras.Input([latent_size], name="z")
    x = keras.layers.Dense(sizes[-1] ** 2 * width, activation)(z)
    x = keras.layers.Reshape([sizes[-1], sizes[-1], width])(x)
    for size in reversed(sizes[1:-1]):
        width //= 2
        x = _double(x, width, kernel, size, dict)
        x = keras.layers.Activation(activation)(x)
    heads = []
    for _ in range(outputs):
        image = _double(x, image_shape[-1], kernel, sizes[0], dict)
        heads.append(keras.layers.Activation("linear", dtype="float32")(image))
    return keras.Model(z, heads if len(heads) > 1 else heads[0], name=name)


def _layer(norm, initializer):
    """Return a function making one layer's arguments.

    An initialiser object used for two layers gives both the same numbers.
    """
    initializer = keras.initializers.get(initializer)
    return lambda: {
        "use_bias": norm != "batch",
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


def _normaliser(norm, scale_initializer):
    """Return a function x -> x normalised."""
    scale = keras.initializers.get(scale_initializer)

    def normalise(x):
        if norm == "batch":
            layer = BatchNormalization(
                momentum=0.9, epsilon=1e-5, gamma_initializer=scale.clone()
            )
        elif norm == "layer":
            layer = keras.layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5)
        else:
            return x
        return layer(x)

    return normalise
