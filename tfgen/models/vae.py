"""Variational auto-encoder (Kingma and Welling 2014).

    log p(x) >= ELBO = E_q(z|x) log p(x | z) - KL(q(z | x) || p(z))

p(z) = N(0, I), q(z | x) = N(mean(x), diag sigma^2(x)); the loss is -ELBO by the
second estimator of the paper (eq. 10): analytic KL, reconstruction by one draw
z = mean + sigma * epsilon. The likelihood p(x | z) is Bernoulli, Gaussian with
learned variance, or the fixed N(f(z), c I).

All quantities are nats per image: pixels and latents are summed, rows averaged.
Departures: Adam and Glorot initialisation instead of Adagrad and N(0, 0.01); the
weight prior of the paper's full objective is left out.

Rows are independent, so N replicas of B rows equal one device with N * B rows.
"""

import dataclasses

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.losses import divergences, likelihoods
from tfgen.networks import dense

tfd = tfp.distributions


@dataclasses.dataclass(frozen=True)
class VAEConfig(Config):
    """The defaults are the paper's MNIST experiment with 20 latents."""

    latent_size: int = option(20, "length of z", at_least=1)
    hidden: tuple[int, ...] = option((500,), "units of the hidden layers")
    activation: str = option("tanh", "of them", choices=("tanh", "relu", "softplus"))
    likelihood: str = option(
        "bernoulli", "p(x | z)", choices=("bernoulli", "gaussian", "fixed_gaussian")
    )
    variance: float = option(1.0, "c of N(f(z), c I), pixels in [0, 1]", above=0)
    pixels: str = option(
        "grey",
        "grey: as they are; binarised: drawn anew from Bernoulli(grey) at each use",
        choices=("grey", "binarised"),
    )
    learning_rate: float = option(1e-3, "Adam", above=0)


class VAE(GenerativeModel):
    """Estimator B. One step: one descent of -ELBO for encoder and decoder.

    Args:
        config: `VAEConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: images -> [mean, log sigma^2], each `[rows, latent_size]`.
        decoder: z -> the likelihood's parameters, each like the images: Bernoulli
            logits; a mean through a sigmoid and log sigma^2; or the mean alone.
    """

    Config = VAEConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (400,), "activation": "relu"},
        "tiny": {"hidden": (16,), "latent_size": 4},
    }
    monitor = ("elbo", "max")
    xla_on_cpu = True

    def __init__(self, config, spec, encoder, decoder):
        super().__init__(config, spec, encoder=encoder, decoder=decoder)
        zeros = tf.zeros([config.latent_size])
        self.prior = tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    @classmethod
    def create(cls, config, spec):
        """Build encoder and decoder for the images of `spec`."""
        spec = spec.for_images("vae", low=0.0, high=1.0)
        shape, latent = spec.image.shape, [config.latent_size]
        outputs = [shape] * (2 if config.likelihood == "gaussian" else 1)
        activation = config.activation
        return cls(
            config,
            spec,
            dense.mlp(shape, [latent] * 2, config.hidden, activation, name="encoder"),
            dense.mlp(latent, outputs, config.hidden[::-1], activation, name="decoder"),
        )

    def default_optimizers(self):
        """Adam for both networks together."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of -ELBO."""
        images = self.observe(batch["image"])
        epsilon = self.noise("epsilon", images.shape[0], [self.config.latent_size])
        _, parts = self.descend(
            self.loss_and_parts,
            (self.encoder, self.decoder),
            self.optimizer,
            images,
            epsilon,
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the ELBO and its parts on held-out images."""
        images = self.observe(batch["image"])
        epsilon = self.noise("epsilon", images.shape[0], [self.config.latent_size])
        _, parts = self.loss_and_parts(images, epsilon)
        return self.track(**parts)

    def loss_and_parts(self, images, epsilon):
        """Return -ELBO and {elbo, log_likelihood, kl}, means over rows, nats."""
        posterior = self.posterior(images)
        # Written through the bijector so that epsilon is an argument, not drawn here.
        z = posterior.bijector.forward(epsilon)
        log_likelihood = tf.reduce_mean(self.likelihood(z).log_prob(images))
        kl = tf.reduce_mean(divergences.kl(posterior, self.prior))
        elbo = log_likelihood - kl
        return -elbo, {"elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}

    def observe(self, images):
        """Return what the likelihood sees: grey images, or a fresh binarisation."""
        if self.config.pixels == "grey":
            return images
        draw = self.noise("pixels", images.shape[0], images.shape[1:], kind="uniform")
        return tf.cast(draw < images, tf.float32)

    def posterior(self, images):
        """Return q(z | images), a TFP distribution over `[rows, latent_size]`."""
        mean, log_variance = self.encoder(images)
        return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))

    def likelihood(self, z):
        """Return p(x | z), a TFP distribution over images."""
        parameters = self.decoder(z)
        if self.config.likelihood == "bernoulli":
            return likelihoods.bernoulli(parameters)
        if self.config.likelihood == "gaussian":
            mean, log_variance = parameters
            return likelihoods.gaussian(tf.sigmoid(mean), log_variance)
        return likelihoods.fixed_gaussian(parameters, self.config.variance)

    def log_weights(self, images, epsilon):
        """Return log p(x, z) - log q(z | x) at z of noise epsilon, `[rows]`, nats.

        Its mean is the paper's first estimator of the ELBO (eq. 6), and
        `importance_weighted_bound` of k of them is the IWAE bound.
        """
        posterior = self.posterior(images)
        z = posterior.bijector.forward(epsilon)
        joint = self.likelihood(z).log_prob(images) + self.prior.log_prob(z)
        return joint - posterior.log_prob(z)

    def log_prob(self, images, samples=100):
        """Return the IWAE bound of log p(x), `[rows]`, nats, with fixed noise.

        Images are taken as they come: with `pixels=binarised` give binary ones.
        """
        rows = tf.shape(images)[0]

        def add(number, total):
            epsilon = noise.normal(
                self.seed, number, "log_prob", rows, [self.config.latent_size]
            )
            return number + 1, tf.reduce_logsumexp(
                [total, self.log_weights(images, epsilon)], axis=0
            )

        _, total = tf.while_loop(
            lambda number, _: number < samples,
            add,
            (0, tf.fill([rows], -float("inf"))),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        )
        return total - tf.math.log(float(samples))

    def sample(self, num, seed=0, first=0):
        """Return `num` images of mean pixels; row i is of (seed, first + i)."""
        z = noise.normal(seed, 0, "sample", num, [self.config.latent_size], first)
        return self.decode(z)

    def decode(self, z):
        """Return E[x | z], `[rows, h, w, c]`."""
        return self.likelihood(z).mean()

    def encode(self, images):
        """Return the posterior's mean and standard deviation, `[rows, latent_size]`."""
        posterior = self.posterior(images)
        return {"mean": posterior.mean(), "stddev": posterior.stddev()}

    def reconstruct(self, images):
        """Return E[x | z] at the posterior's mean."""
        return self.decode(self.posterior(images).mean())

    def endpoints(self):
        """Return sample, decode, encode, reconstruct and log_prob."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
            "encode": (self.encode, [images]),
            "reconstruct": (self.reconstruct, [images]),
            "log_prob": (self.log_prob, [images]),
        }
