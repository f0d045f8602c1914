"""Generative adversarial nets (Goodfellow et al. 2014).

    min_G max_D  V = E log D(x) + E log(1 - D(G(z)))

on logits s = logit D: the discriminator's loss is mean softplus(-s_real) + mean
softplus(s_fake) = -V. The generator minimises mean softplus(-s_fake), which the paper
recommends and its code trains, or with `loss=minimax` the printed -mean
softplus(s_fake), whose gradient vanishes when fakes are rejected.

Departures: no factor 1/2 on the discriminator's loss (the released code has one); the
generator's last bias starts at 0 rather than at the pixels' marginals; real and fake
rows pass the discriminator apart, so that batch statistics do not mix them.

Under replicas every term is a mean over rows, so N replicas of B rows equal one device
with N * B rows; with `norm=batch` statistics are those of a replica's rows.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.core.momentum import GrowingMomentum, Shrinking
from tfgen.losses import adversarial, health, penalties
from tfgen.networks import convolutional, dense


@dataclasses.dataclass(frozen=True)
class AdversarialConfig(Config):
    """The defaults are those of the published MNIST experiment."""

    network: str = option(
        "maxout", "of both", choices=("maxout", "mlp", "convolutional")
    )
    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    latent_size: int = option(100, "length of z", at_least=1)
    latent: str = option(
        "uniform", "z, of unit variance", choices=("uniform", "normal")
    )
    hidden: int = option(1200, "units a layer, of maxout the generator's", at_least=1)
    units: int = option(240, "a maxout layer of the discriminator", at_least=1)
    pieces: int = option(5, "affine maps a maxout unit", at_least=1)
    channels: int = option(64, "feature maps at half resolution", at_least=1)
    kernel: int = option(4, "side of the convolutions, pixels", at_least=1)
    norm: str = option("batch", "of convolutions, generator", choices=("batch", "none"))
    discriminator_norm: str = option(
        "batch",
        "of convolutions, discriminator",
        choices=("batch", "layer", "spectral", "none"),
    )
    keep_input: float = option(
        0.8, "dropout keeps, input of dense discriminators", above=0, at_most=1
    )
    keep_hidden: float = option(0.5, "dropout keeps, hidden layers", above=0, at_most=1)
    discriminator_steps: int = option(1, "k, updates a generator update", at_least=1)
    r1_weight: float = option(0.0, "of E ||grad D(real)||^2 / 2", at_least=0)
    r2_weight: float = option(0.0, "of E ||grad D(fake)||^2 / 2", at_least=0)
    optimizer: str = option(
        "momentum", "momentum: the paper's SGD", choices=("momentum", "adam")
    )
    learning_rate: float = option(0.1, "both networks", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class GANConfig(AdversarialConfig):
    """With the choice between the two losses of Goodfellow et al."""

    loss: str = option(
        "non_saturating", "of the generator", choices=("non_saturating", "minimax")
    )


class GAN(GenerativeModel):
    """Algorithm 1. One step: k discriminator updates, then one of the generator.

    Args:
        config: `GANConfig`.
        spec: images `[h, w, c]`, in [0, 1] for `network=maxout`, else in [-1, 1].
        generator: z `[rows, latent_size]` -> images.
        discriminator: images, and a uniform for each unit that dropout may take
            -> logits `[rows, 1]`.
    """

    Config = GANConfig
    PRESETS = {
        "paper": {},
        "small": {
            "network": "mlp",
            "hidden": 512,
            "latent": "normal",
            "keep_input": 1.0,
            "keep_hidden": 1.0,
            "r1_weight": 0.1,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "average_decay": 0.99,
        },
        "tiny": {
            "network": "mlp",
            "hidden": 16,
            "latent_size": 8,
            "discriminator_steps": 2,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }
    reports_health = True

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator=generator, discriminator=discriminator)
        self.updates_per_step = config.discriminator_steps

    @classmethod
    def create(cls, config, spec):
        """Build both networks for the images of `spec`."""
        low = 0.0 if config.network == "maxout" else -1.0
        spec = spec.for_images("gan", low=low, high=1.0, size=config.image_size)
        shape = spec.image.shape
        model = cls(
            config, spec, _generator(config, shape), _discriminator(config, shape)
        )
        if config.average_decay:
            twin = _generator(config, shape)
            model.average("generator", twin, config.average_decay)
        return model

    def default_optimizers(self):
        """SGD with growing momentum (section 5 and released settings), or Adam."""
        rate = self.config.learning_rate

        def optimizer():
            if self.config.optimizer == "adam":
                return keras.optimizers.Adam(rate, beta_1=0.5)
            # Epochs 1 to 250 of 500 batches of 100.
            shrinking = Shrinking(rate, 1.000004)
            return GrowingMomentum(shrinking, 0.5, 0.7, start=500, end=125_000)

        return {
            "discriminator_optimizer": optimizer(),
            "generator_optimizer": optimizer(),
        }

    def train_step(self, batch):
        """Algorithm 1: fresh reals and fresh noise for every update."""
        updates = tf.split(batch["image"], self.updates_per_step)
        rows = updates[0].shape[0]
        for number, real in enumerate(updates):
            z = self.latents(f"discriminator_z/{number}", rows)
            drops = self.uniforms(f"discriminator/{number}", rows)
            _, reports = self.descend(
                self.discriminator_loss,
                self.discriminator,
                self.discriminator_optimizer,
                real,
                z,
                *drops,
            )
        z, (drops, _) = self.latents("z", rows), self.uniforms("generator", rows)
        generator = self.descend(
            self.generator_loss, self.generator, self.generator_optimizer, z, drops
        )
        return self.track(**reports, generator_loss=generator)

    def test_step(self, batch):
        """Return the discriminator's loss on held-out images, without dropout."""
        z = self.latents("test_z", batch["image"].shape[0])
        logits = self.judge(batch["image"]), self.judge(self.decode(z))
        return self.track(discriminator_loss=self.separation(*logits))

    def latents(self, purpose, rows):
        """Draw z of this step, `[rows, latent_size]`."""
        size, uniform = [self.config.latent_size], self.config.latent == "uniform"
        kind = "uniform" if uniform else "normal"
        return self.stretch(self.noise(purpose, rows, size, kind))

    def stretch(self, drawn):
        """Return z of a uniform on [0, 1), or of a normal, with unit variance."""
        uniform = self.config.latent == "uniform"
        return math.sqrt(12.0) * (drawn - 0.5) if uniform else drawn

    def uniforms(self, purpose, rows):
        """Draw what decides the discriminator's dropout: of real and of fake rows."""
        return [
            self.draw_drops(self.discriminator, f"{purpose}/{kind}", rows)
            for kind in ("real", "fake")
        ]

    def draw_drops(self, network, purpose, rows):
        """Draw a uniform for each unit of a network that dropout may take."""
        return [
            self.noise(f"dropout/{purpose}/{number}", rows, shape, "uniform")
            for number, shape in enumerate(_drop_shapes(network))
        ]

    def judge(self, images, drops=None):
        """Return logits `[rows, 1]`; `drops`: uniforms of dropout, in training."""
        training = drops is not None
        images = tf.convert_to_tensor(images)
        drops = no_drops(self.discriminator, images) if drops is None else drops
        inputs = [images, *drops] if drops else images
        return self.discriminator(inputs, training=training)

    def discriminator_loss(self, real, z, for_real, for_fake):
        """Return the discriminator's loss with its penalties, and reports."""
        fake = self.generator(z, training=True)
        logits = self.judge(real, for_real), self.judge(fake, for_fake)
        loss = self.separation(*logits)
        reports = self.reports(loss, logits, real, fake)
        if weight := self.config.r1_weight:
            reports["r1"] = penalties.r1(lambda x: self.judge(x, for_real), real)
            loss += 0.5 * weight * reports["r1"]
        if weight := self.config.r2_weight:
            reports["r2"] = penalties.r2(lambda x: self.judge(x, for_fake), fake)
            loss += 0.5 * weight * reports["r2"]
        return loss, reports

    def reports(self, loss, logits, real, fake):
        """Return what a discriminator update logs."""
        return {
            "discriminator_loss": loss,
            **health.of_judgement(*logits),
            **health.of_samples(real, fake),
        }

    def separation(self, real_logits, fake_logits):
        """Return what the discriminator minimises, of its logits."""
        return adversarial.minimax_discriminator_loss(real_logits, fake_logits)

    def generator_loss(self, z, drops):
        """Return what the generator minimises; the discriminator drops units too."""
        return self.deception(self.judge(self.generator(z, training=True), drops))

    def deception(self, fake_logits):
        """Return the generator's loss, of the discriminator's logits."""
        if self.config.loss == "minimax":
            return adversarial.minimax_generator_loss(fake_logits)
        return adversarial.non_saturating_generator_loss(fake_logits)

    def sample(self, num, seed=0, first=0):
        """Return `num` images; row i is a function of (seed, first + i)."""
        return self.decode(self.prior(num, seed, first))

    def prior(self, num, seed=0, first=0):
        """Return the latents z `[num, latent_size]` that `sample` decodes."""
        draw = noise.uniform if self.config.latent == "uniform" else noise.normal
        size = [self.config.latent_size]
        return self.stretch(draw(seed, 0, "sample", num, size, first))

    def decode(self, z):
        """Return the images of latents z `[rows, latent_size]`."""
        return self._sampler(z, training=False)

    def score(self, images):
        """Return the discriminator's logits `[rows]`."""
        return self.judge(images)[:, 0]

    def endpoints(self):
        """Return sample(num, seed), prior(num, seed), decode(z), score(images)."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "prior": (self.prior, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
            "score": (self.score, [images]),
        }

    @property
    def _sampler(self):
        return getattr(self, "generator_ema", self.generator)


@dataclasses.dataclass(frozen=True)
class SimultaneousGANConfig(GANConfig):
    """Adds the factor that halves the step of the discriminator's SGD."""

    discriminator_weight: float = option(
        0.5, "of the discriminator's loss, as released; as published: 1", above=0
    )


class SimultaneousGAN(GAN):
    """Both networks move at once, by gradients taken before either has moved.

    The released code's MNIST run: one minibatch of fakes serves both losses.

    Args:
        config: `SimultaneousGANConfig` of one discriminator update a step.
        spec: As of `GAN`.
        generator: As of `GAN`.
        discriminator: As of `GAN`.

    Raises:
        BadInput: `discriminator_steps` is not 1.
    """

    Config = SimultaneousGANConfig
    PRESETS = {
        name: {**preset, "discriminator_steps": 1}
        for name, preset in GAN.PRESETS.items()
    }

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator, discriminator)
        if config.discriminator_steps != 1:
            raise BadInput("gan_simultaneous takes hparam discriminator_steps=1 only")

    def train_step(self, batch):
        """One descent of each, of the same z."""
        real = batch["image"]
        z = self.latents("z", real.shape[0])
        drops = self.uniforms("both", real.shape[0])
        (_, reports), down = self.gradients(
            self.discriminator_loss, self.discriminator, real, z, *drops
        )
        generator, up = self.gradients(self.generator_loss, self.generator, z, drops[1])
        self.apply(self.discriminator_optimizer, self.discriminator, down)
        self.apply(self.generator_optimizer, self.generator, up)
        return self.track(**reports, generator_loss=generator)

    def discriminator_loss(self, real, z, for_real, for_fake):
        """As of `GAN`, times `discriminator_weight`; reports the loss itself."""
        loss, reports = super().discriminator_loss(real, z, for_real, for_fake)
        return self.config.discriminator_weight * loss, reports


def no_drops(network, rows):
    """Return what a network takes for uniforms when nothing is dropped."""
    return [tf.zeros([tf.shape(rows)[0], *shape]) for shape in _drop_shapes(network)]


def _drop_shapes(network):
    return [x.shape[1:] for x in network.inputs if x.name.startswith("uniform")]


def _generator(config, shape):
    if config.network == "convolutional":
        return convolutional.generator(
            config.latent_size,
            shape,
            config.channels,
            kernel=config.kernel,
            norm=config.norm,
            **convolutional.DCGAN_START,
        )
    paper = config.network == "maxout"
    return dense.mlp(
        [config.latent_size],
        [shape],
        [config.hidden] * (2 if paper else 3),
        "relu",
        name="generator",
        output="sigmoid" if paper else "tanh",
        initializer=_uniform(0.05) if paper else "glorot_uniform",
    )


def _discriminator(config, shape):
    if config.network == "convolutional":
        return convolutional.critic(
            shape,
            config.channels,
            kernel=config.kernel,
            norm=config.discriminator_norm,
            **convolutional.DCGAN_START,
            name="discriminator",
        )
    paper = config.network == "maxout"
    return dense.judge(
        shape,
        [(config.units, config.pieces)] * 2 if paper else [config.hidden] * 2,
        keep_input=config.keep_input,
        keep_hidden=config.keep_hidden,
        initializer=_uniform(0.005) if paper else "glorot_uniform",
        name="discriminator",
    )


def _uniform(limit):
    return keras.initializers.RandomUniform(-limit, limit)
