"""Conditional GAN (Mirza and Osindero 2014).

    min_G max_D  E log D(x | y) + E log(1 - D(G(z | y) | y))

The label y, one-hot, enters both networks, and fakes carry the labels of the batch's
real rows. `cgan` has the published MNIST networks, in which y and the images or z
first pass layers of their own; `cgan_convolutional` those of the appendix of DCGAN's
code, in which y joins the input of every layer.

Departures: the generator minimises -log D; dropout is on hidden layers, of both
networks, and off when sampling; in `cgan_convolutional` images are in [-1, 1] with a
tanh (the code: [0, 1] and a sigmoid), both networks learn of every batch (the code:
of alternate ones), the rate is constant (the code: falling over the last half) and
there is no weight decay.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.momentum import GrowingMomentum, Shrinking
from tfgen.models.gan import GAN, no_drops
from tfgen.networks import conditional


@dataclasses.dataclass(frozen=True)
class CGANConfig(Config):
    """The defaults are those of the published MNIST experiment."""

    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    latent_size: int = option(100, "length of z", at_least=1)
    latent: str = option(
        "uniform", "z on [0, 1), or normal", choices=("uniform", "normal")
    )
    latent_units: int = option(200, "generator's layer of z alone", at_least=1)
    label_units: int = option(1000, "generator's layer of y alone", at_least=1)
    hidden: int = option(1200, "generator's layer of both", at_least=1)
    image_maxout: tuple[int, ...] = option((240, 5), "units, pieces; of images")
    label_maxout: tuple[int, ...] = option((50, 5), "units, pieces; of y")
    joint_maxout: tuple[int, ...] = option((240, 4), "units, pieces; of both")
    keep_hidden: float = option(0.5, "dropout keeps, hidden layers", above=0, at_most=1)
    loss: str = option(
        "non_saturating", "of the generator", choices=("non_saturating", "minimax")
    )
    discriminator_steps: int = option(1, "updates a generator update", at_least=1)
    optimizer: str = option(
        "momentum", "momentum: the paper's SGD", choices=("momentum", "adam")
    )
    learning_rate: float = option(0.1, "both networks", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class ConvolutionalCGANConfig(Config):
    """The defaults are those of the appendix of DCGAN's code, for 28 x 28."""

    image_size: int = option(28, "side in pixels, a multiple of 4", at_least=8)
    latent_size: int = option(100, "length of z", at_least=1)
    latent: str = option(
        "uniform", "z on (-1, 1), or normal", choices=("uniform", "normal")
    )
    channels: int = option(64, "feature maps at half resolution", at_least=1)
    kernel: int = option(5, "side of the convolutions, pixels", at_least=1)
    hidden: int = option(1024, "units of the dense layers", at_least=1)
    loss: str = option(
        "non_saturating", "of the generator", choices=("non_saturating", "minimax")
    )
    discriminator_steps: int = option(1, "updates a generator update", at_least=1)
    learning_rate: float = option(2e-4, "Adam, both networks", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


class CGAN(GAN):
    """Algorithm 1 with labels.

    Args:
        config: `CGANConfig`.
        spec: images `[h, w, c]` in [0, 1] and a label with its classes.
        generator: z, y, uniforms of dropout -> images.
        discriminator: images, y, uniforms of dropout -> logits `[rows, 1]`.
    """

    Config = CGANConfig
    LOW = 0.0  # of the images
    NETWORKS = conditional.dense_generator, conditional.dense_judge
    PRESETS = {
        "paper": {},
        "small": {
            "optimizer": "adam",
            "learning_rate": 2e-4,
            "latent": "normal",
            "average_decay": 0.99,
        },
        "tiny": {
            "latent_size": 8,
            "latent_units": 8,
            "label_units": 8,
            "hidden": 16,
            "image_maxout": (8, 2),
            "label_maxout": (4, 2),
            "joint_maxout": (8, 2),
            "discriminator_steps": 2,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }

    @classmethod
    def create(cls, config, spec):
        """Build both networks for the images and classes of `spec`."""
        if not spec.num_classes:
            raise BadInput(f"cgan needs labelled data; {spec.name} has no label")
        size = config.image_size
        spec = spec.for_images("cgan", low=cls.LOW, high=1.0, size=size, also=["label"])
        sizes = config, spec.image.shape, spec.num_classes
        generator, judge = cls.NETWORKS
        model = cls(config, spec, generator(*sizes), judge(*sizes))
        if config.average_decay:
            model.average("generator", generator(*sizes), config.average_decay)
        return model

    def default_optimizers(self):
        """SGD with growing momentum (section 4.1), or Adam."""

        def optimizer():
            rate = self.config.learning_rate
            if self.config.optimizer == "adam":
                return keras.optimizers.Adam(rate, beta_1=0.5)
            shrinking = Shrinking(rate, 1.00004)
            return GrowingMomentum(shrinking, 0.5, 0.7, start=500, end=125_000)

        return {
            "discriminator_optimizer": optimizer(),
            "generator_optimizer": optimizer(),
        }

    def train_step(self, batch):
        """Algorithm 1; fakes take the labels of the real rows beside them."""
        k = self.updates_per_step
        updates = zip(
            tf.split(batch["image"], k), tf.split(batch["label"], k), strict=True
        )
        for number, (real, label) in enumerate(updates):
            rows, y = real.shape[0], self.one_hot(label)
            z = self.latents(f"discriminator_z/{number}", rows)
            drops = self.uniforms(f"discriminator/{number}", rows)
            made = self.draw_drops(self.generator, f"fakes/{number}", rows)
            _, reports = self.descend(
                self.discriminator_loss,
                self.discriminator,
                self.discriminator_optimizer,
                real,
                y,
                z,
                *drops,
                made,
            )
        z, (drops, _) = self.latents("z", rows), self.uniforms("generator", rows)
        made = self.draw_drops(self.generator, "samples", rows)
        generator = self.descend(
            self.generator_loss,
            self.generator,
            self.generator_optimizer,
            y,
            z,
            drops,
            made,
        )
        return self.track(**reports, generator_loss=generator)

    def test_step(self, batch):
        """Return the discriminator's loss on held-out pairs, without dropout."""
        real, y = batch["image"], self.one_hot(batch["label"])
        fake = self.decode(self.latents("test_z", real.shape[0]), batch["label"])
        logits = self.judge_pair(real, y), self.judge_pair(fake, y)
        return self.track(discriminator_loss=self.separation(*logits))

    def one_hot(self, label):
        """Return y `[rows, classes]`, float32."""
        return tf.one_hot(label, self.spec.num_classes)

    def stretch(self, drawn):
        """Return z of a uniform on [0, 1), or of a normal: as drawn."""
        return drawn

    def make(self, z, y, drops=None):
        """Return images of z and y; `drops`: uniforms of dropout, in training."""
        training = drops is not None
        network = self.generator if training else self._sampler
        drops = no_drops(network, z) if drops is None else drops
        z = tf.convert_to_tensor(z)  # Keras takes no mixture of arrays and tensors
        return network([z, y, *drops], training=training)

    def judge_pair(self, images, y, drops=None):
        """Return logits `[rows, 1]` of pairs; `drops` as in `make`."""
        training = drops is not None
        drops = no_drops(self.discriminator, images) if drops is None else drops
        images = tf.convert_to_tensor(images)
        return self.discriminator([images, y, *drops], training=training)

    def discriminator_loss(self, real, y, z, for_real, for_fake, made):
        """Return the discriminator's loss on pairs of one y, and reports."""
        fake = self.make(z, y, made)
        logits = self.judge_pair(real, y, for_real), self.judge_pair(fake, y, for_fake)
        loss = self.separation(*logits)
        return loss, self.reports(loss, logits, real, fake)

    def generator_loss(self, y, z, drops, made):
        """Return what the generator minimises."""
        return self.deception(self.judge_pair(self.make(z, y, made), y, drops))

    def sample(self, num, seed=0, first=0):
        """Return `num` images, of the classes that `sample_labels` says."""
        label = self.sample_labels(num, first)
        return self.decode(self.prior(num, seed, first), label)

    def sample_labels(self, num, first=0):
        """Return the classes of `sample`: row i is of first + i, modulo the classes."""
        return (first + tf.range(num)) % self.spec.num_classes

    def decode(self, z, label):
        """Return the images of latents z and labels `[rows]`."""
        return self.make(z, self.one_hot(label))

    def score(self, images, label):
        """Return the discriminator's logits `[rows]` of pairs."""
        return self.judge_pair(images, self.one_hot(label))[:, 0]

    def endpoints(self):
        """Return those of `gan`; decode and score take a label too."""
        label = tf.TensorSpec([None], tf.int64, name="label")
        endpoints = super().endpoints()
        for name in ("decode", "score"):
            function, arguments = endpoints[name]
            endpoints[name] = function, [*arguments, label]
        return endpoints


class ConvolutionalCGAN(CGAN):
    """Convolutions with y beside the input of every layer.

    Args:
        config: `ConvolutionalCGANConfig`.
        spec: images `[h, w, c]` in [-1, 1] and a label with its classes.
        generator: z, y -> images.
        discriminator: images, y -> logits `[rows, 1]`.
    """

    Config = ConvolutionalCGANConfig
    LOW = -1.0
    NETWORKS = conditional.convolutional_generator, conditional.convolutional_judge
    PRESETS = {
        "paper": {},
        "small": {
            "channels": 32,
            "kernel": 4,
            "hidden": 256,
            "latent": "normal",
            "average_decay": 0.99,
        },
        "tiny": {
            "image_size": 8,
            "channels": 4,
            "kernel": 3,
            "hidden": 8,
            "latent_size": 8,
            "learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }

    def default_optimizers(self):
        """Adam(2e-4, beta_1 = 0.5) for both."""

        def adam():
            rate = self.config.learning_rate
            return keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)

        return {"discriminator_optimizer": adam(), "generator_optimizer": adam()}

    def stretch(self, drawn):
        """Return z of a uniform on [0, 1), or of a normal."""
        return 2.0 * drawn - 1.0 if self.config.latent == "uniform" else drawn
