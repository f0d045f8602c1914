"""What models of images with latent codes share: hyperparameters, networks, likelihood.

The likelihood p(x | z) is Bernoulli, Gaussian with learned variance, or the fixed
N(f(z), c I).
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.spec import adapter
from tfgen.losses import likelihoods
from tfgen.networks import convolutional, dense

tfd = tfp.distributions


def pixels_option(default):
    """Return the field that says what of the images the likelihood sees."""
    return option(
        default,
        "grey: as they are; binarised: drawn anew from Bernoulli(grey) at each use; "
        "binarised_once: drawn once for each image of the data",
        choices=("grey", "binarised", "binarised_once"),
    )


def bias_option(default):
    """Return the field that says where the decoder's output bias starts."""
    return option(
        default, "output bias starts at the data's mean (its log-odds), not at 0"
    )


@dataclasses.dataclass(frozen=True)
class PixelConfig(Config):
    """What p(x | ...) is, and how its networks are trained."""

    likelihood: str = option(
        "bernoulli", "p(x | z)", choices=("bernoulli", "gaussian", "fixed_gaussian")
    )
    variance: float = option(1.0, "c of N(f(z), c I), pixels in [0, 1]", above=0)
    pixels: str = pixels_option("grey")
    learning_rate: float = option(1e-3, "Adam, at the start", above=0)
    adam_epsilon: float = option(1e-7, "of Adam", above=0)
    stages: int = option(
        1, "stage i lasts 3^i stage_steps at learning_rate 10^(-i/7)", at_least=1
    )
    stage_steps: int = option(3000, "of stage 0; the last stage never ends", at_least=1)
    bias_at_mean: bool = bias_option(False)


@dataclasses.dataclass(frozen=True)
class CodeConfig(PixelConfig):
    """Networks between images and one code; the paper's for MNIST, 20 latents."""

    latent_size: int = option(20, "length of z", at_least=1)
    networks: str = option("dense", "kind of both", choices=("dense", "convolutional"))
    hidden: tuple[int, ...] = option((500,), "units of dense hidden layers")
    activation: str = option(
        "tanh", "of hidden layers", choices=("tanh", "relu", "softplus")
    )
    start_stddev: float = option(
        0.0, "dense: of kernels drawn from N(0, its square), 0 = Glorot", at_least=0
    )
    channels: int = option(32, "convolutional: maps at half resolution", at_least=1)
    kernel: int = option(4, "convolutional: side in pixels", at_least=1)


def observe(model, batch):
    """Return what the likelihood sees: grey images, or a binarisation of them.

    Args:
        model: Whose `config.pixels` says which, and whose noise binarises.
        batch: Holds image `[rows, ...]` in [0, 1] and index `[rows]`.
    """
    images, shape = batch["image"], batch["image"].shape
    if model.config.pixels == "grey":
        return images
    if model.config.pixels == "binarised":
        draw = model.noise("pixels", shape[0], shape[1:], kind="uniform")
    else:
        draw = noise.uniform_of_rows(0, "pixels", batch["index"], shape[1:])
    return tf.cast(draw < images, tf.float32)


MEAN_OF = 2**23  # numbers at most, of rows evenly spaced: 10,000 digits


def start_bias(model, stream):
    """Move the decoder's output bias from 0 to the mean of the images of a stream.

    log-odds of means clipped to [0.001, 0.999], where a sigmoid follows, so that before
    any step the model of independent pixels is there and the code is not made silent
    while it is learned. A bias of convolutions is of a channel, and of its mean. A bias
    that is not 0 has been trained and stays. Burda et al. 2016, released code.

    Args:
        model: With `config.bias_at_mean`, and a decoder whose last layers with a bias
            are its outputs, the mean first.
        stream: Rows that the model is about to train on.
    """
    if not model.config.bias_at_mean:
        return
    heads = [layer for layer in model.decoder.layers if hasattr(layer, "bias")]
    bias = heads[-pixel_parameters(model.config)].bias
    if tf.reduce_any(bias.value != 0.0):
        return
    most = max(1, MEAN_OF // math.prod(model.spec.image.shape))
    rows = np.arange(0, len(stream), -(-len(stream) // most))
    adapt, _ = adapter(stream.spec, model.spec)
    images = adapt({"image": tf.constant(stream.arrays["image"][rows])})["image"]
    mean = tf.reduce_mean(tf.reshape(images, [-1, *bias.shape]), axis=0)
    if model.config.likelihood != "fixed_gaussian":
        mean = tf.clip_by_value(mean, 1e-3, 1.0 - 1e-3)
        mean = tf.math.log(mean) - tf.math.log1p(-mean)
    bias.assign(mean)


def standard_normal(size):
    """Return N(0, I) over `[size]`."""
    return tfd.MultivariateNormalDiag(tf.zeros([size]), tf.ones([size]))


def diagonal(parameters):
    """Return N(mean, diag sigma^2) of [mean, log sigma^2], each `[..., size]`."""
    mean, log_variance = parameters
    return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))


def draws_first(epsilon):
    """Return `[rows, samples, size]` as `[samples, rows, size]`, others as they are."""
    return tf.transpose(epsilon, [1, 0, 2]) if epsilon.shape.rank == 3 else epsilon


def by_rows(network, inputs):
    """Return `network` of vectors `[..., size]`, each output `[..., *its shape]`."""
    if inputs.shape.rank == 2:
        return network(inputs)
    outputs = network(tf.reshape(inputs, [-1, inputs.shape[-1]]))
    leading = inputs.shape[:-1]
    return tf.nest.map_structure(
        lambda output: tf.reshape(output, [*leading, *output.shape[1:]]), outputs
    )


def split_layers(values, sizes):
    """Return parts of `[..., sum(sizes)]`, one a layer."""
    return tf.split(values, list(sizes), axis=-1)


def code_networks(config, shape, heads):
    """Return encoder and decoder between images of `shape` and codes.

    Args:
        config: `CodeConfig`.
        shape: Of an image.
        heads: Outputs `[latent_size]` of the encoder.
    """
    codes, activation = [[config.latent_size]] * heads, config.activation
    if config.networks == "convolutional":
        sizes = {"kernel": config.kernel, "activation": activation}
        return (
            convolutional.encoder(
                shape, codes, config.channels, **sizes, name="encoder"
            ),
            convolutional.decoder(
                config.latent_size,
                shape,
                pixel_parameters(config),
                config.channels,
                **sizes,
                name="decoder",
            ),
        )
    start = "glorot_uniform"
    if config.start_stddev:
        start = keras.initializers.RandomNormal(stddev=config.start_stddev)
    same = {"activation": activation, "initializer": start}
    outputs = [shape] * pixel_parameters(config)
    return (
        dense.mlp(shape, codes, config.hidden, **same, name="encoder"),
        dense.mlp(codes[0], outputs, config.hidden[::-1], **same, name="decoder"),
    )


def pixel_parameters(config):
    """Return how many images the likelihood of a `PixelConfig` is made of."""
    return 2 if config.likelihood == "gaussian" else 1


def pixel_distribution(config, parameters, row_axes=1):
    """Return the likelihood of a `PixelConfig` from its decoder's output."""
    if config.likelihood == "bernoulli":
        return likelihoods.bernoulli(parameters, row_axes)
    if config.likelihood == "gaussian":
        mean, log_variance = parameters
        return likelihoods.gaussian(tf.sigmoid(mean), log_variance, row_axes)
    return likelihoods.fixed_gaussian(parameters, config.variance, row_axes)


def adam(config):
    """Return Adam of a `PixelConfig`; its rate falls at the end of each stage."""
    rate, first = config.learning_rate, config.stage_steps
    lengths = [first * 3**stage for stage in range(config.stages - 1)]
    if lengths:
        # Numbers of the last updates: that of a boundary has the rate before it.
        ends = [sum(lengths[: stage + 1]) - 1 for stage in range(len(lengths))]
        rates = [rate * 10 ** (-stage / 7) for stage in range(config.stages)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates)
    return keras.optimizers.Adam(rate, epsilon=config.adam_epsilon)
