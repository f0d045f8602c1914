"""Wasserstein GAN: weight clipping, and the gradient penalty.

    W1(P, Q) = sup over 1-Lipschitz f of  E_P f - E_Q f

The critic f maximises mean f(real) - mean f(fake), the generator minimises
-mean f(fake). `wgan` keeps f Lipschitz by clipping every weight to [-c, c]
(Arjovsky, Chintala and Bottou 2017, Algorithm 1), so it estimates K * W1 with a K
that depends on the network; `wgan_gp` adds weight * E (||grad f|| - 1)^2 between
real and fake (Gulrajani et al. 2017, Algorithm 1).

Departures: clipping follows the critic's update, as in the paper (the released
code clips before it); images are in [-1, 1], with a tanh at the end of convolutional
generators (the released MNIST script uses [0, 1] and a sigmoid, which halves the
penalty's unit of length), while `mlp` ends linear.

Under replicas every term is a mean over rows, so N replicas of B rows equal one
device with N * B rows; with `norm=batch` statistics are those of a replica's rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.losses import adversarial, health, penalties
from tfgen.networks import convolutional, dense

_WARM = (
    "steps of the critic alone before each of the first 25 generator updates and "
    "every 500th"
)


@dataclasses.dataclass(frozen=True)
class WGANConfig(Config):
    """Of `wgan`; the defaults are the paper's, its critic without a norm."""

    network: str = option("convolutional", "of both", choices=("convolutional", "mlp"))
    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    latent_size: int = option(100, "length of z", at_least=1)
    channels: int = option(64, "feature maps at half resolution", at_least=1)
    hidden: int = option(512, "units a layer of the mlp networks", at_least=1)
    kernel: int = option(4, "side of the convolutions, pixels", at_least=1)
    norm: str = option("batch", "in the generator", choices=("batch", "none"))
    critic_norm: str = option("none", "in the critic", choices=("batch", "none"))
    critic_steps: int = option(5, "critic updates a generator update", at_least=1)
    warm_steps: int = option(0, _WARM, at_least=0)
    clip: float = option(0.01, "largest |weight| of the critic", above=0)
    learning_rate: float = option(5e-5, "RMSProp, both networks", above=0)
    epsilon: float = option(1e-8, "RMSProp's, beside the root", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class WGANGPConfig(Config):
    """Of `wgan_gp`; the defaults are those of the published MNIST network."""

    network: str = option("convolutional", "of both", choices=("convolutional", "mlp"))
    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    latent_size: int = option(128, "length of z", at_least=1)
    channels: int = option(64, "feature maps at half resolution", at_least=1)
    hidden: int = option(512, "units a layer of the mlp networks", at_least=1)
    kernel: int = option(5, "side of the convolutions, pixels", at_least=1)
    norm: str = option("none", "in the generator", choices=("batch", "none"))
    # Batch normalisation would tie a row's score to the other rows'.
    critic_norm: str = option("none", "in the critic", choices=("layer", "none"))
    critic_steps: int = option(5, "critic updates a generator update", at_least=1)
    warm_steps: int = option(0, _WARM, at_least=0)
    penalty_weight: float = option(10.0, "of the gradient penalty", at_least=0)
    learning_rate: float = option(1e-4, "Adam, both networks", above=0)
    beta_1: float = option(0.5, "Adam", at_least=0, at_most=1)
    beta_2: float = option(0.9, "Adam", at_least=0, at_most=1)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


class WGAN(GenerativeModel):
    """Weight clipping. One step: `critic_steps` critic updates, one of the generator.

    With `warm_steps` some generator updates are preceded by steps of the critic alone,
    so that early gradients come from a trained critic: 19 of them and five updates a
    step are the 100 updates of the released code.

    Args:
        config: `WGANConfig`.
        spec: images `[h, w, c]` in [-1, 1].
        generator: z `[rows, latent_size]` -> images.
        critic: images -> scores `[rows, 1]`.
    """

    Config = WGANConfig
    PRESETS = {
        "paper": {"image_size": 64, "critic_norm": "batch"},
        # At this rate samples with the published epsilon became one shape.
        "small": {
            "channels": 32,
            "critic_steps": 3,
            "learning_rate": 2e-4,
            "epsilon": 1e-4,
        },
        "tiny": {
            "network": "mlp",
            "hidden": 16,
            "latent_size": 8,
            "critic_steps": 2,
            "clip": 0.1,
            "learning_rate": 1e-3,
        },
    }

    reports_health = True

    def __init__(self, config, spec, generator, critic):
        super().__init__(config, spec, generator=generator, critic=critic)
        self.updates_per_step = config.critic_steps

    @classmethod
    def create(cls, config, spec):
        """Build both networks for the images of `spec`."""
        spec = _images(config, spec)
        model = cls(config, spec, _generator(config, spec), _critic(config, spec))
        if config.average_decay:
            model.average("generator", _generator(config, spec), config.average_decay)
        return model

    def default_optimizers(self):
        """RMSProp for both: momentum destabilises a clipped critic (section 3)."""

        def rmsprop():
            # As published g / (sqrt(v) + epsilon); Keras has its own under the root.
            return keras.optimizers.RMSprop(
                self.config.learning_rate, rho=0.99, epsilon=self.config.epsilon**2
            )

        return {"critic_optimizer": rmsprop(), "generator_optimizer": rmsprop()}

    def step_method(self, step):
        """Return "critic_step" while the critic is warmed, "train_step" otherwise."""
        warming = _is_warming(step, self.config.warm_steps)
        return "critic_step" if warming else "train_step"

    def train_step(self, batch):
        """Algorithm 1: fresh reals and fresh noise for every update."""
        critic = self.critic_step(batch)
        rows = batch["image"].shape[0] // self.updates_per_step
        z = self.noise("z", rows, [self.config.latent_size])
        generator = self.descend(
            self.generator_loss, self.generator, self.generator_optimizer, z
        )
        return {**critic, **self.track(generator_loss=generator)}

    def critic_step(self, batch):
        """Only the critic's updates of a step."""
        updates = tf.split(batch["image"], self.updates_per_step)
        for number, real in enumerate(updates):
            shape = [self.config.latent_size]
            z = self.noise(f"critic_z/{number}", real.shape[0], shape)
            _, critic = self.descend(
                self.critic_loss, self.critic, self.critic_optimizer, real, z
            )
            self.clip_critic()
        return self.track(**critic)

    def test_step(self, batch):
        """Return the estimate on held-out images."""
        real = batch["image"]
        z = self.noise("test_z", real.shape[0], [self.config.latent_size])
        fake = self._sampler(z, training=False)
        real, fake = (self.critic(x, training=False) for x in (real, fake))
        estimate = adversarial.wasserstein_estimate(real, fake)
        return self.track(wasserstein_estimate=estimate)

    def critic_loss(self, real, z):
        """Return mean f(fake) - mean f(real), and reports."""
        fake = self.generator(z, training=True)
        scores = self.critic(real, training=True), self.critic(fake, training=True)
        reports = self.reports(scores, real, fake)
        return -reports["wasserstein_estimate"], reports

    def reports(self, scores, real, fake):
        """Return what a critic update logs."""
        return {
            "wasserstein_estimate": adversarial.wasserstein_estimate(*scores),
            **health.of_judgement(*scores),
            **health.of_samples(real, fake),
        }

    def generator_loss(self, z):
        """Return -mean f(fake)."""
        scores = self.critic(self.generator(z, training=True), training=True)
        return adversarial.wasserstein_generator_loss(scores)

    def clip_critic(self):
        """Clip every weight of the critic, biases and scales included."""
        for weight in self.critic.trainable_variables:
            clip = self.config.clip
            weight.assign(tf.clip_by_value(weight.value, -clip, clip))

    def sample(self, num, seed=0, first=0):
        """Return `num` images in [-1, 1]; row i is a function of (seed, first + i)."""
        z = noise.normal(seed, 0, "sample", num, [self.config.latent_size], first)
        return self.decode(z)

    def decode(self, z):
        """Return the images of latents z `[rows, latent_size]`."""
        return self._sampler(z, training=False)

    def score(self, images):
        """Return the critic's scores `[rows]` of images in [-1, 1]."""
        return self.critic(images, training=False)[:, 0]

    def endpoints(self):
        """Return sample(num, seed), decode(z) and score(images)."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
            "score": (self.score, [images]),
        }

    @property
    def _sampler(self):
        return getattr(self, "generator_ema", self.generator)


class WGANGP(WGAN):
    """Gradient penalty instead of clipping; the update order is the same."""

    Config = WGANGPConfig
    PRESETS = {
        "paper": {},
        "small": {
            "critic_steps": 2,
            "learning_rate": 5e-4,
            "average_decay": 0.995,
            "channels": 32,
            "kernel": 4,
            "norm": "batch",
        },
        "tiny": {
            "network": "mlp",
            "hidden": 16,
            "latent_size": 8,
            "critic_steps": 2,
            "learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }

    def default_optimizers(self):
        """Adam for both."""

        def adam():
            return keras.optimizers.Adam(
                self.config.learning_rate, self.config.beta_1, self.config.beta_2
            )

        return {"critic_optimizer": adam(), "generator_optimizer": adam()}

    def critic_step(self, batch):
        """As of `WGAN`, with fresh mixing coefficients; nothing is clipped."""
        updates = tf.split(batch["image"], self.updates_per_step)
        for number, real in enumerate(updates):
            rows, shape = real.shape[0], [self.config.latent_size]
            z = self.noise(f"critic_z/{number}", rows, shape)
            mix = self.noise(f"mix/{number}", rows, [1, 1, 1], kind="uniform")
            _, critic = self.descend(
                self.critic_loss, self.critic, self.critic_optimizer, real, z, mix
            )
        return self.track(**critic)

    def critic_loss(self, real, z, mix):
        """Return mean f(fake) - mean f(real) + weight * penalty, and reports."""
        fake = self.generator(z, training=True)
        scores = self.critic(tf.concat([real, fake], axis=0), training=True)
        reports = self.reports(tf.split(scores, 2), real, fake)
        penalty = penalties.gradient_penalty(self.critic, real, fake, mix)
        loss = self.config.penalty_weight * penalty - reports["wasserstein_estimate"]
        return loss, {**reports, "gradient_penalty": penalty}


def _is_warming(step, warm):
    """Return whether a step belongs to the critic alone.

    A warmed generator update takes `warm` such steps and then its own. The first 25
    updates are warmed, then those whose number is a multiple of 500.
    """
    if step < 25 * (warm + 1):
        return step % (warm + 1) < warm
    # Updates 25 to 499 take a step each; 500 is the first of a block that repeats.
    past = step - 25 * (warm + 1) - (500 - 25)
    return past >= 0 and past % (warm + 500) < warm


def _images(config, spec):
    """Return the spec the networks take: size as configured, range [-1, 1]."""
    return spec.for_images("wgan", low=-1.0, high=1.0, size=config.image_size)


def _generator(config, spec):
    shape = spec.image.shape
    if config.network == "mlp":
        hidden = [config.hidden] * 3
        return dense.mlp(
            [config.latent_size], [shape], hidden, "relu", name="generator"
        )
    return convolutional.generator(
        config.latent_size,
        shape,
        config.channels,
        kernel=config.kernel,
        norm=config.norm,
        **_start(config),
    )


def _critic(config, spec):
    shape = spec.image.shape
    if config.network == "mlp":
        return dense.mlp(shape, [[1]], [config.hidden] * 3, "relu", name="critic")
    return convolutional.critic(
        shape,
        config.channels,
        kernel=config.kernel,
        norm=config.critic_norm,
        **_start(config),
    )


def _start(config):
    if isinstance(config, WGANConfig):
        return convolutional.DCGAN_START
    return {"initializer": "he_normal"}
