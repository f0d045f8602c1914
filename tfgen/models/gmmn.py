"""Generative moment matching networks (Li, Swersky and Zemel 2015).

    min_G sqrt(MMD^2(G(z), x) / 2),    z uniform on [-1, 1]

MMD^2 is biased (pairs of a row with itself included) under a sum of Gaussian kernels
k(a, b) = sum_s exp(-|a - b|^2 / (2 s)); the published list of "sigma" holds these
variances s. The half is the published code's scale, on which its learning rate of 2
rests. `objective=biased` and `unbiased` minimise MMD^2 itself.

`gmmn` matches pixels. `gmmn_code` matches codes of an autoencoder that was trained
before (`gmmn_autoencoder`, given as --init_from) and stays as it is: data are encoded
without dropout, samples are decoded to be looked at, no gradient passes the decoder.

Departures: Glorot initialisation; the autoencoder is trained with Adam and without
layer-wise pretraining.

Under replicas the discrepancy is that of all rows: its average over shards would be
larger. N replicas of B rows equal one device with N * B rows.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.core.momentum import GrowingMomentum
from tfgen.layers.dropout import Drops
from tfgen.losses import likelihoods, mmd
from tfgen.networks import dense

MNIST_SIZE = 784  # values of a row that the published variances are for


@dataclasses.dataclass(frozen=True)
class GMMNConfig(Config):
    """The defaults are the published MNIST experiment on pixels."""

    latent_size: int = option(10, "length of z", at_least=1)
    hidden: tuple[int, ...] = option((64, 256, 256, 1024), "units, generator")
    variances: tuple[float, ...] = option(
        (2.0, 5.0, 10.0, 20.0, 40.0, 80.0),
        "s of the kernels, for 784 pixels in [0, 1]; others in proportion",
    )
    objective: str = option(
        "root",
        "root: sqrt(MMD^2 / 2) with MMD^2 biased; biased, unbiased: MMD^2",
        choices=("root", "biased", "unbiased"),
    )
    optimizer: str = option(
        "momentum", "momentum: as published", choices=("momentum", "adam")
    )
    learning_rate: float = option(2.0, "momentum: a tenth from step 10,000", above=0)


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig(Config):
    """The defaults are those of the published MNIST experiment on codes."""

    code_size: int = option(32, "length of the code", at_least=1)
    hidden: int = option(1024, "units, of encoder and decoder", at_least=1)
    keep_input: float = option(0.8, "dropout keeps, pixels", above=0, at_most=1)
    keep_hidden: float = option(0.5, "dropout keeps, encoder", above=0, at_most=1)
    learning_rate: float = option(1e-3, "Adam", above=0)


@dataclasses.dataclass(frozen=True)
class CodeGMMNConfig(GMMNConfig):
    """The defaults are the published MNIST experiment on codes."""

    variances: tuple[float, ...] = option((1.0,), "s of the kernels, of codes")
    code_size: int = option(32, "length of the autoencoder's code", at_least=1)
    autoencoder_hidden: int = option(1024, "units of the autoencoder", at_least=1)


class GMMN(GenerativeModel):
    """One step: one descent of the discrepancy between fresh samples and a batch.

    Few rows have few moments: the published batch is 1,000.

    Args:
        config: `GMMNConfig`.
        spec: images `[h, w, c]` in [0, 1].
        generator: z `[rows, latent_size]` -> images.
    """

    Config = GMMNConfig
    PRESETS = {
        "paper": {},
        "small": {"optimizer": "adam", "learning_rate": 1e-3},
        "tiny": {"latent_size": 4, "hidden": (16,), "learning_rate": 0.1},
    }
    xla_on_cpu = True
    monitor = ("mmd", "min")

    def __init__(self, config, spec, **networks):
        super().__init__(config, spec, **networks)
        if not config.variances or min(config.variances) <= 0:
            raise BadInput(f"hparam variances={config.variances}: each above 0")
        self.variances = config.variances

    @classmethod
    def create(cls, config, spec):
        """Build the generator for the images of `spec`."""
        spec = spec.for_images("gmmn", low=0.0, high=1.0)
        shape = spec.image.shape
        model = cls(config, spec, generator=_generator(config, shape))
        share = math.prod(shape) / MNIST_SIZE
        model.variances = [share * variance for variance in config.variances]
        return model

    def default_optimizers(self):
        """SGD whose rate falls and whose momentum rises at 10,000 steps, or Adam."""
        rate = self.config.learning_rate
        if self.config.optimizer == "adam":
            return {"generator_optimizer": keras.optimizers.Adam(rate)}
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            # The update of a boundary still has the rate before it.
            [9_999],
            [rate, rate / 10],
        )
        optimizer = GrowingMomentum(schedule, 0.9, 0.99, start=9_999, end=10_000)
        return {"generator_optimizer": optimizer}

    def train_step(self, batch):
        """One descent of the discrepancy, over the rows of all replicas."""
        real = self.observe(batch["image"])
        z = self.latents("z", real.shape[0])
        _, parts = self.descend(
            self.loss_and_parts,
            self.generator,
            self.generator_optimizer,
            z,
            real,
            self.other_rows(z),
            self.other_rows(real),
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the unbiased MMD^2 between held-out images and fresh samples."""
        real = self.observe(batch["image"])
        fake = self.generate(self.latents("test_z", real.shape[0]))
        return self.track(
            mmd=mmd.gaussian_mmd(fake, real, self.variances, unbiased=True)
        )

    def latents(self, purpose, rows):
        """Draw z uniform on [-1, 1], `[rows, latent_size]`."""
        drawn = self.noise(purpose, rows, [self.config.latent_size], "uniform")
        return 2.0 * drawn - 1.0

    def loss_and_parts(self, z, real, other_z, other_real):
        """Return the objective and {generator_loss, mmd}, of all replicas' rows.

        Args:
            z: This replica's latents.
            real: This replica's data, as `observe` returns them.
            other_z: Latents of the other replicas: none on one device.
            other_real: Their data.
        """
        others = tf.stop_gradient(self.generate(other_z))
        fake = tf.concat([self.generate(z), others], axis=0)
        real = tf.concat([real, other_real], axis=0)
        unbiased = self.config.objective == "unbiased"
        squared = mmd.gaussian_mmd(fake, real, self.variances, unbiased=unbiased)
        loss = mmd.root(squared / 2) if self.config.objective == "root" else squared
        return self.of_all_rows(loss), {"generator_loss": loss, "mmd": squared}

    def observe(self, images):
        """Return what is matched of images, `[rows, size]`: their pixels."""
        return tf.reshape(images, [images.shape[0], -1])

    def generate(self, z):
        """Return what the generator makes of z, `[rows, size]`."""
        made = self.generator(z)
        return tf.reshape(made, [made.shape[0], math.prod(made.shape[1:])])

    def sample(self, num, seed=0, first=0):
        """Return `num` images; row i is a function of (seed, first + i)."""
        return self.decode(self.prior(num, seed, first))

    def prior(self, num, seed=0, first=0):
        """Return the latents z `[num, latent_size]` that `sample` decodes."""
        size = [self.config.latent_size]
        return 2.0 * noise.uniform(seed, 0, "sample", num, size, first) - 1.0

    def decode(self, z):
        """Return the images of latents z `[rows, latent_size]`."""
        return self.generator(z)

    def endpoints(self):
        """Return sample(num, seed), prior(num, seed) and decode(z)."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "prior": (self.prior, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
        }


class CodeGMMN(GMMN):
    """Matches codes. One step: as `GMMN`; the autoencoder stays as it is.

    Args:
        config: `CodeGMMNConfig`.
        spec: images `[h, w, c]` in [0, 1].
        generator: z `[rows, latent_size]` -> codes in [0, 1].
        encoder: images -> codes.
        decoder: codes -> logits of images.
    """

    Config = CodeGMMNConfig
    PRESETS = {
        "paper": {},
        "small": {"optimizer": "adam", "learning_rate": 1e-3},
        "tiny": {
            "latent_size": 4,
            "hidden": (16,),
            "learning_rate": 0.1,
            "code_size": 4,
            "autoencoder_hidden": 8,
        },
    }
    starts_from = ("encoder", "decoder")
    made_by = "gmmn_autoencoder"

    @classmethod
    def create(cls, config, spec):
        """Build the generator, and an autoencoder whose weights are yet to come."""
        spec = spec.for_images("gmmn_code", low=0.0, high=1.0)
        shape, code = spec.image.shape, [config.code_size]
        return cls(
            config,
            spec,
            generator=_generator(config, code),
            encoder=_encoder(shape, config.autoencoder_hidden, config.code_size),
            decoder=_decoder(shape, config.autoencoder_hidden, config.code_size),
        )

    def observe(self, images):
        """Return the codes of images, `[rows, code_size]`."""
        return self.encoder(images)

    def encode(self, images):
        """Return the codes of images, `[rows, code_size]`."""
        return self.encoder(images)

    def decode(self, z):
        """Return the images of latents z: decoded codes."""
        return tf.sigmoid(self.decoder(self.generator(z)))

    def endpoints(self):
        """Return those of `gmmn` and encode(images)."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")

        def encode(images):
            # Not "z": `decode` takes latents, not codes.
            return {"codes": self.encode(images)}

        return super().endpoints() | {"encode": (encode, [images])}


class GMMNAutoencoder(GenerativeModel):
    """The autoencoder of `gmmn_code`: sigmoid units, dropout in the encoder.

    One step: one descent of the cross-entropy between pixels and reconstruction,
    summed over pixels.

    Args:
        config: `AutoencoderConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: images, a uniform for each unit that dropout may take -> codes.
        decoder: codes -> logits of images.
    """

    Config = AutoencoderConfig
    PRESETS = {
        "paper": {},
        "small": {"keep_input": 0.9, "keep_hidden": 0.9},
        "tiny": {"code_size": 4, "hidden": 8},
    }
    monitor = ("cross_entropy", "min")

    @classmethod
    def create(cls, config, spec):
        """Build encoder and decoder for the images of `spec`."""
        spec = spec.for_images("gmmn_autoencoder", low=0.0, high=1.0)
        shape, sizes = spec.image.shape, (config.hidden, config.code_size)
        keep = config.keep_input, config.keep_hidden
        return cls(
            config,
            spec,
            encoder=_encoder(shape, *sizes, keep),
            decoder=_decoder(shape, *sizes),
        )

    def default_optimizers(self):
        """Adam for both networks together."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of the cross-entropy, with dropout."""
        images = batch["image"]
        drops = [
            self.noise(f"dropout/{number}", images.shape[0], x.shape[1:], "uniform")
            for number, x in enumerate(self._drop_inputs)
        ]
        networks = self.encoder, self.decoder
        loss = self.descend(
            self.cross_entropy, networks, self.optimizer, images, *drops
        )
        return self.track(cross_entropy=loss)

    def test_step(self, batch):
        """Return the cross-entropy on held-out images, without dropout."""
        logits = self.decoder(self.encode(batch["image"]))
        return self.track(cross_entropy=_cross_entropy(batch["image"], logits))

    def cross_entropy(self, images, *drops):
        """Return what is minimised, nats per image; `drops`: uniforms of dropout."""
        code = self.encoder([images, *drops] if drops else images, training=True)
        return _cross_entropy(images, self.decoder(code))

    def encode(self, images):
        """Return the codes of images, `[rows, code_size]`, without dropout."""
        images = tf.convert_to_tensor(images)
        rows = tf.shape(images)[0]
        drops = [tf.zeros([rows, *x.shape[1:]]) for x in self._drop_inputs]
        return self.encoder([images, *drops] if drops else images, training=False)

    def decode(self, z):
        """Return the images of codes `[rows, code_size]`."""
        return tf.sigmoid(self.decoder(z))

    def reconstruct(self, images):
        """Return images, encoded and decoded."""
        return self.decode(self.encode(images))

    def endpoints(self):
        """Return encode(images), decode(z) and reconstruct(images)."""
        z = tf.TensorSpec([None, self.config.code_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "encode": (self.encode, [images]),
            "decode": (self.decode, [z]),
            "reconstruct": (self.reconstruct, [images]),
        }

    @property
    def _drop_inputs(self):
        return self.encoder.inputs[1:]


def _cross_entropy(images, logits):
    """Return the mean over rows of the pixels' summed cross-entropy, nats."""
    return -tf.reduce_mean(likelihoods.bernoulli(logits).log_prob(images))


def _generator(config, shape):
    return dense.mlp(
        [config.latent_size],
        [shape],
        config.hidden,
        "relu",
        name="generator",
        output="sigmoid",
    )


def _encoder(shape, hidden, size, keep=(1, 1)):
    """Return images, uniforms of dropout -> codes `[rows, size]`."""
    images = keras.Input(shape, name="images")
    drop = Drops()
    x = drop(keras.layers.Flatten()(images), keep[0])
    x = drop(keras.layers.Dense(hidden, "sigmoid")(x), keep[1])
    code = keras.layers.Dense(size, "sigmoid", dtype="float32")(x)
    inputs = [images, *drop.uniforms] if drop.uniforms else images
    return keras.Model(inputs, code, name="encoder")


def _decoder(shape, hidden, size):
    """Return codes `[rows, size]` -> logits of images."""
    return dense.mlp([size], [shape], [hidden], "sigmoid", name="decoder")
