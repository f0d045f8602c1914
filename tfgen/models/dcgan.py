"""Deep convolutional GAN (Radford, Metz and Chintala 2015).

The losses and order of updates are those of `gan` with the non-saturating generator
loss; the networks are strided convolutions with batch normalisation, everywhere but
at the generator's output and the discriminator's input.

    64 x 64, 5 x 5 kernels, 128 channels at half resolution:
    z -> 4 x 4 x 1024 -> 8 x 8 x 512 -> 16 x 16 x 256 -> 32 x 32 x 128 -> images
    images -> 32 x 32 x 128 -> 16 x 16 x 256 -> 8 x 8 x 512 -> 4 x 4 x 1024 -> logit

Departures: both networks learn on every minibatch (the authors' code alternates
minibatches); no weight decay (the code has 1e-5, the paper none); moving averages of
batch statistics with momentum 0.9 serve sampling, where the code used those of the
batch. The generator's statistics also move during the discriminator's updates.

Under replicas statistics are those of a replica's rows.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.models.gan import GAN
from tfgen.networks import convolutional


@dataclasses.dataclass(frozen=True)
class DCGANConfig(Config):
    """The defaults are the published 64 x 64 network and its settings."""

    image_size: int = option(64, "side in pixels, 0 = the data's", at_least=0)
    latent_size: int = option(100, "length of z", at_least=1)
    latent: str = option(
        "uniform", "z on (-1, 1), or normal", choices=("uniform", "normal")
    )
    channels: int = option(128, "feature maps at half resolution", at_least=1)
    kernel: int = option(5, "side of the convolutions, pixels", at_least=1)
    discriminator_norm: str = option(
        "batch", "in the discriminator", choices=("batch", "layer", "spectral", "none")
    )
    discriminator_steps: int = option(1, "updates a generator update", at_least=1)
    r1_weight: float = option(0.0, "of E ||grad D(real)||^2 / 2", at_least=0)
    r2_weight: float = option(0.0, "of E ||grad D(fake)||^2 / 2", at_least=0)
    loss: str = option(
        "non_saturating", "of the generator", choices=("non_saturating", "minimax")
    )
    learning_rate: float = option(2e-4, "Adam, both networks", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


class DCGAN(GAN):
    """Algorithm 1 with convolutions.

    Args:
        config: `DCGANConfig`.
        spec: images `[h, w, c]` in [-1, 1].
        generator: z `[rows, latent_size]` -> images.
        discriminator: images -> logits `[rows, 1]`.
    """

    Config = DCGANConfig
    PRESETS = {
        "paper": {},
        "small": {
            "image_size": 0,
            "channels": 32,
            "kernel": 4,
            "latent": "normal",
            "average_decay": 0.99,
        },
        "tiny": {
            "image_size": 0,
            "channels": 4,
            "kernel": 3,
            "latent_size": 8,
            "learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }

    @classmethod
    def create(cls, config, spec):
        """Build both networks for the images of `spec`."""
        spec = spec.for_images("dcgan", low=-1.0, high=1.0, size=config.image_size)
        discriminator = convolutional.critic(
            spec.image.shape,
            config.channels,
            kernel=config.kernel,
            norm=config.discriminator_norm,
            name="discriminator",
            **convolutional.DCGAN_START,
        )
        model = cls(config, spec, _generator(config, spec.image.shape), discriminator)
        if config.average_decay:
            twin = _generator(config, spec.image.shape)
            model.average("generator", twin, config.average_decay)
        return model

    def default_optimizers(self):
        """Adam(2e-4, beta_1 = 0.5) for both (section 4)."""

        def adam():
            rate = self.config.learning_rate
            return keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)

        return {"discriminator_optimizer": adam(), "generator_optimizer": adam()}

    def stretch(self, drawn):
        """Return z of a uniform on [0, 1), or of a normal."""
        return 2.0 * drawn - 1.0 if self.config.latent == "uniform" else drawn

    def features(self, images):
        """Return the discriminator's features for a linear classifier, `[rows, n]`.

        The activations of all its convolutions, each max-pooled to 4 x 4 and
        flattened (section 5.1).
        """
        outputs = [
            layer.output
            for layer in self.discriminator.layers
            if isinstance(layer, keras.layers.LeakyReLU)
        ]
        network = keras.Model(self.discriminator.inputs, outputs)
        maps = [_pool(x, 4) for x in tf.nest.flatten(network(images))]
        rows = tf.shape(images)[0]
        return tf.concat(
            [tf.reshape(x, [rows, math.prod(x.shape[1:])]) for x in maps], axis=1
        )

    def endpoints(self):
        """Return those of `gan` and features(images)."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {**super().endpoints(), "features": (self.features, [images])}


def _pool(maps, side):
    """Return the largest of each of side x side windows of `[rows, h, w, c]`."""
    window = -(-maps.shape[1] // side)
    return tf.nn.max_pool2d(tf.cast(maps, tf.float32), window, window, "SAME")


def _generator(config, shape):
    return convolutional.generator(
        config.latent_size,
        shape,
        config.channels,
        kernel=config.kernel,
        norm="batch",
        first_norm="features",
        **convolutional.DCGAN_START,
    )
