"""The networks of Li et al. 2018: the gist of a clip, and filters made of a sentence.

Each function takes the Config of its model, the shape of a clip `(frames, side, side,
c)` and the `Feature` of its tokens. Widths that the paper does not give are ours.
"""

import math

import keras

from tfgen.layers.coordinates import AtCoordinates
from tfgen.layers.dynamic_filters import DynamicFilters
from tfgen.networks import convolutional, text, video

WINDOW = 5  # side of the text's filters, pixels


def posterior(config, shape, tokens):
    """Return [first frames `[rows, side, side, c]`, tokens] -> [mean, log variance]."""
    images = keras.Input(shape[1:], name="images")
    sentence, psi = _read(config, tokens)
    look = convolutional.encoder(
        shape[1:],
        [[config.code_size]],
        config.gist_channels,
        kernel=4,
        activation="leaky_relu",
        name="look",
    )
    x = keras.layers.Concatenate()([look(images), psi])
    x = keras.layers.Dense(config.code_size, "leaky_relu")(x)
    heads = [keras.layers.Dense(config.gist_size, dtype="float32")(x) for _ in range(2)]
    return keras.Model([images, sentence], heads, name="posterior")


def decoder(config, shape, tokens):
    """Return [z_g `[rows, gist_size]`, tokens] -> gists `[rows, side, side, c]`.

    A code of both stands beside its coordinates at each pixel of half the side, as in
    the spatial broadcast decoder (Watters et al. 2019); the last layer is a
    deconvolution, as in the paper. Deconvolutions from a dense layer draw prior samples
    in two places, or as smears between them.

    Pixels are not bounded to [-1, 1]: a tanh that many black pixels have saturated
    never learned the rarer colours.
    """
    side, width = shape[1] // 2, config.gist_channels
    z = keras.Input([config.gist_size], name="z")
    sentence, psi = _read(config, tokens)
    x = keras.layers.Concatenate()([z, psi])
    x = keras.layers.Dense(4 * width, "leaky_relu")(x)
    x = keras.layers.LeakyReLU(0.2)(AtCoordinates(2 * width, side)(x))
    how = {"padding": "same", "activation": "leaky_relu"}
    for maps, kernel in ((2 * width, 1), (width, 3), (width, 3)):
        x = keras.layers.Conv2D(maps, kernel, **how)(x)
    x = keras.layers.Conv2DTranspose(shape[-1], 4, 2, "same")(x)
    gists = keras.layers.Activation("linear", dtype="float32")(x)
    return keras.Model([z, sentence], gists, name="decoder")


def direct_generator(config, shape, tokens):
    """Return [tokens, noise] -> streams of [psi; noise]; see `video.generator`."""
    sentence, psi = _read(config, tokens)
    return _generator(config, shape, [sentence], [psi])


def joined_generator(config, shape, tokens):
    """Return [tokens, gists, noise] -> streams of [encoded gist; psi; noise]."""
    sentence, psi = _read(config, tokens)
    gists = keras.Input(shape[1:], name="gists")
    code = _encoded(config, gists)
    return _generator(config, shape, [sentence, gists], [code, psi])


def filtered_generator(config, shape, tokens):
    """Return [tokens, gists, noise] -> streams of [encoded filtered gist; noise].

    A deconvolution turns psi into `filters` filters of 5 x 5 for each row, which its
    gist is convolved with: the sentence enters in no other way.
    """
    channels, count = shape[-1], config.filters
    sentence, psi = _read(config, tokens)
    gists = keras.Input(shape[1:], name="gists")
    x = keras.layers.Dense(
        4 * 4 * config.filter_channels, "relu", kernel_initializer="he_normal"
    )(psi)
    x = keras.layers.Reshape([4, 4, config.filter_channels])(x)
    # The mean square of the filters is psi's: of the kernel's 4 x 4 offsets each entry
    # of the window sees 2 x 2. Keras calls "fan_out" what goes in.
    start = keras.initializers.VarianceScaling(4.0, "fan_out")
    window = keras.layers.Conv2DTranspose(
        channels * count, 4, 2, "same", kernel_initializer=start, dtype="float32"
    )(x)
    window = keras.layers.Cropping2D([[1, 2], [1, 2]], dtype="float32")(window)
    window = window / math.sqrt(WINDOW**2 * channels)
    filters = keras.layers.Reshape(
        [1, WINDOW, WINDOW, channels, count], dtype="float32", name="filters"
    )(window)
    still = keras.layers.Reshape([1, *shape[1:]])(gists)
    filtered = DynamicFilters()([still, filters])
    filtered = keras.layers.Reshape([*shape[1:-1], count])(filtered)
    code = _encoded(config, filtered)
    return _generator(config, shape, [sentence, gists], [code])


def judge(config, shape, tokens):
    """Return the `Judge` of clips, [features; psi] -> logit `[rows, 1]`."""
    trunk = video.discriminator(
        shape, config.judge_channels, outputs=config.code_size - config.text_size
    )
    features = keras.Input(trunk.output.shape[1:], name="features")
    sentence, psi = _read(config, tokens)
    x = keras.layers.Concatenate()([keras.layers.LeakyReLU(0.2)(features), psi])
    x = keras.layers.Dense(config.code_size)(x)
    logits = keras.layers.Dense(1, dtype="float32")(keras.layers.LeakyReLU(0.2)(x))
    head = keras.Model([features, sentence], logits, name="head")
    return text.Judge(trunk, head, "discriminator")


def _generator(config, shape, inputs, parts):
    noise = keras.Input([config.noise_size], name="noise")
    code = keras.layers.Concatenate()([*parts, noise])
    streams = video.generator(
        code.shape[-1], shape, config.channels, mask_logit=config.mask_logit
    )
    return keras.Model([*inputs, noise], streams(code), name="generator")


def _encoded(config, images):
    """Three convolutions of stride 2 and a dense layer, `[rows, code_size]`.

    From a start that keeps the mean square: the code stands beside noise N(0, I).
    """
    x, start = images, {"kernel_initializer": "he_normal"}
    for depth in range(3):
        x = keras.layers.Conv2D(config.channels * 2**depth, 4, 2, "same", **start)(x)
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.Dense(config.code_size, **start)(keras.layers.Flatten()(x))
    return keras.layers.LeakyReLU(0.2, name="code")(x)


def _read(config, tokens):
    """Return an input of tokens, and psi `[rows, text_size]` of it."""
    sentence = keras.Input(tokens.shape, dtype="int64", name="tokens")
    return sentence, text.sentence(config, tokens)(sentence)
