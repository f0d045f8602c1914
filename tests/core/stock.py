"""A model with every kind of state: stock layers, two optimizers, an average."""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.model import GenerativeModel


@dataclasses.dataclass(frozen=True)
class StockConfig(Config):
    units: int = option(6, "of the hidden layers", at_least=1)


def network(inputs, units, outputs, *middle, name):
    layers = [keras.layers.Dense(units), *middle, keras.layers.Dense(outputs)]
    return keras.Sequential([keras.Input([inputs]), *layers], name=name)


class Stock(GenerativeModel):
    """Maps noise to rows of 64 pixels and scores them; no sense beyond that."""

    Config = StockConfig
    PRESETS = {"tiny": {}}

    @classmethod
    def create(cls, config, spec):
        spec = spec.for_images("stock", low=-1.0, high=1.0)

        def generator():
            norm = keras.layers.BatchNormalization(momentum=0.5)
            return network(3, config.units, 64, norm, name="generator")

        dropout = keras.layers.Dropout(0.5)
        critic = network(64, config.units, 1, dropout, name="critic")
        model = cls(config, spec, generator=generator(), critic=critic)
        model.average("generator", generator(), 0.9)
        return model

    def default_optimizers(self):
        return {
            "critic_optimizer": keras.optimizers.SGD(0.01, momentum=0.9),
            "generator_optimizer": keras.optimizers.Adam(0.01),
        }

    def train_step(self, batch):
        real = tf.reshape(batch["image"], [batch["image"].shape[0], 64])
        z = self.noise("z", real.shape[0], [3])
        critic = self.descend(
            self.critic_loss, self.critic, self.critic_optimizer, real, z
        )
        maker = self.descend(
            self.maker_loss, self.generator, self.generator_optimizer, z
        )
        return self.track(critic=critic, generator=maker)

    def test_step(self, batch):
        return self.track(pixel=tf.reduce_mean(batch["image"]))

    def critic_loss(self, real, z):
        fake = self.critic(self.generator(z, training=True), training=True)
        square = tf.reduce_mean(tf.square(self.critic(real, training=True) - 1.0))
        return square + tf.reduce_mean(tf.square(fake))

    def maker_loss(self, z):
        fake = self.critic(self.generator(z, training=True), training=True)
        return tf.reduce_mean(tf.square(fake - 1.0))
