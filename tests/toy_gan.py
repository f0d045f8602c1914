"""A whole adversarial model, as an author outside the package would write it."""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.networks import dense


@dataclasses.dataclass(frozen=True)
class ToyConfig(Config):
    latent_size: int = option(8, "length of z", at_least=1)
    hidden: int = option(32, "units", at_least=1)
    learning_rate: float = option(2e-3, "Adam", above=0)


class ToyGAN(GenerativeModel):
    Config = ToyConfig
    PRESETS = {"paper": {}, "tiny": {"hidden": 8, "latent_size": 4}}

    @classmethod
    def create(cls, config, spec):
        spec = spec.for_images("toy_gan", low=-1.0, high=1.0)
        shape, z, hidden = spec.image.shape, [config.latent_size], [config.hidden]
        generator = dense.mlp(z, [shape], hidden, "relu", name="generator")
        judge = dense.mlp(shape, [[1]], hidden, "relu", name="discriminator")
        return cls(config, spec, generator=generator, discriminator=judge)

    def default_optimizers(self):
        names = ("discriminator_optimizer", "generator_optimizer")
        return {n: keras.optimizers.Adam(self.config.learning_rate) for n in names}

    def train_step(self, batch):
        z = self.noise("z", batch["image"].shape[0], [self.config.latent_size])
        judge, optimizer = self.discriminator, self.discriminator_optimizer
        loss = self.descend(self.judge_loss, judge, optimizer, batch["image"], z)
        maker, optimizer = self.generator, self.generator_optimizer
        maker_loss = self.descend(self.generator_loss, maker, optimizer, z)
        return self.track(discriminator_loss=loss, generator_loss=maker_loss)

    def judge_loss(self, real, z):
        real, fake = self.discriminator(real), self.discriminator(self.generator(z))
        return tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake))

    def generator_loss(self, z):
        fake = self.discriminator(self.generator(z))
        return tf.reduce_mean(tf.nn.softplus(-fake))

    def sample(self, num, seed=0, first=0):
        size = [self.config.latent_size]
        z = noise.normal(seed, 0, "sample", num, size, first)
        return tf.tanh(self.generator(z))

    def endpoints(self):
        return {"sample": (self.sample, SAMPLE_ARGUMENTS)}
