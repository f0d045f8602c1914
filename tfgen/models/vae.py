"""Variational auto-encoder (Kingma and Welling 2014) and its importance-weighted form.

    log p(x) >= ELBO = E_q(z|x) log p(x | z) - KL(q(z | x) || p(z))

p(z) = N(0, I), q(z | x) = N(mean(x), diag sigma^2(x)), z = mean + sigma * epsilon.
Likelihoods p(x | z): `models.latent`. Three classes differ in what they descend:

    vae               the paper's second estimator (eq. 10): analytic KL
    vae_monte_carlo   its first (eq. 6): log p(x, z) - log q(z | x) at the draws
    iwae              log 1/k sum_i p(x, z_i) / q(z_i | x)
                      (Burda, Grosse and Salakhutdinov 2016, eq. 8)

The first two may weigh the KL: beta (Higgins et al. 2017), a warm-up of it from 0
(Sonderby et al. 2016), free bits (Kingma et al. 2016). Whatever is descended, `elbo`
is reported with weight 1.

All quantities are nats per image: pixels and latents are summed, rows averaged.
Departures: Adam instead of Adagrad; Glorot initialisation, where `start_stddev=0.01` is
the paper's; the weight prior of its full objective is left out. `iwae` starts its
output bias at the data's log-odds, as in Burda's code; `bias_at_mean` says so of each
class.

Rows are independent, so N replicas of B rows equal one device with N * B rows, except
with free bits, whose maximum is over the means of a replica's rows.
"""

import dataclasses

import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import option
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.losses import divergences, health
from tfgen.models import latent


@dataclasses.dataclass(frozen=True)
class VAEConfig(latent.CodeConfig):
    """The defaults are the paper's MNIST experiment with 20 latents."""

    samples: int = option(1, "draws of z a row (L)", at_least=1)
    beta: float = option(1.0, "weight of the KL", above=0)
    warmup_steps: int = option(0, "of the KL's weight from 0 to beta", at_least=0)
    free_bits: float = option(
        0.0, "nats a latent that cost nothing more, 0 = off", at_least=0
    )


@dataclasses.dataclass(frozen=True)
class IWAEConfig(latent.CodeConfig):
    """The defaults are the one-layer network of Burda et al. with k = 5."""

    latent_size: int = option(50, "length of z", at_least=1)
    hidden: tuple[int, ...] = option((200, 200), "units of dense hidden layers")
    pixels: str = latent.pixels_option("binarised")
    adam_epsilon: float = option(1e-4, "of Adam", above=0)
    bias_at_mean: bool = latent.bias_option(True)
    samples: int = option(5, "draws of z a row (k)", at_least=1)


class VAE(GenerativeModel):
    """Estimator B. One step: one descent of -ELBO for encoder and decoder.

    Args:
        config: `VAEConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: images -> [mean, log sigma^2], each `[rows, latent_size]`.
        decoder: z -> the likelihood's parameters, each like the images: Bernoulli
            logits; a mean through a sigmoid and log sigma^2; or the mean alone.
        **others: Further networks of a subclass, by name.
    """

    Config = VAEConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (400,), "activation": "relu"},
        "tiny": {"hidden": (16,), "latent_size": 4, "channels": 4},
    }
    monitor = ("elbo", "max")
    xla_on_cpu = True
    whole_steps = True
    has_alarms = True
    one_code = True  # `posterior(images)` is of the one z that the decoder reads

    def __init__(self, config, spec, encoder, decoder, **others):
        super().__init__(config, spec, encoder=encoder, decoder=decoder, **others)
        self.prior = latent.standard_normal(config.latent_size)

    @classmethod
    def create(cls, config, spec):
        """Build encoder and decoder for the images of `spec`."""
        spec = spec.for_images("vae", low=0.0, high=1.0)
        return cls(
            config, spec, *latent.code_networks(config, spec.image.shape, heads=2)
        )

    def default_optimizers(self):
        """Adam for all networks together."""
        return {"optimizer": latent.adam(self.config)}

    def start_on(self, stream):
        """Move the output bias to the data's mean, if the config says so."""
        latent.start_bias(self, stream)

    def train_step(self, batch):
        """One descent of the loss."""
        _, parts = self.descend(
            self.loss_and_parts,
            tuple(self.networks.values()),
            self.optimizer,
            *self.loss_inputs(batch),
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the bound and its parts on held-out images."""
        _, parts = self.loss_and_parts(*self.loss_inputs(batch))
        return self.track(**parts)

    def loss_inputs(self, batch):
        """Return images, noise as `loss_and_parts` wants it, the KL's weight."""
        images = latent.observe(self, batch)
        rows, config = images.shape[0], self.config
        draws = [config.samples] if config.samples > 1 else []
        epsilon = self.noise("epsilon", rows, [*draws, config.latent_size])
        weight = config.beta
        if config.warmup_steps:
            done = tf.cast(self.step.value, tf.float32)
            weight *= tf.minimum(1.0, done / config.warmup_steps)
        return images, epsilon, tf.fill([rows], weight)

    def loss_and_parts(self, images, epsilon, kl_weight=1.0):
        """Return -(log_likelihood - kl_weight * kl), its parts; means over rows, nats.

        Args:
            images: `[rows, h, w, c]`.
            epsilon: `[rows, latent_size]`, or `[rows, samples, latent_size]`.
            kl_weight: A number, or it for each row.
        """
        log_likelihood, rates, means = self.terms(images, latent.draws_first(epsilon))
        log_likelihood = tf.reduce_mean(log_likelihood)
        rates = tf.reduce_mean(rates, axis=list(range(rates.shape.rank - 1)))
        kl = charged = tf.reduce_sum(rates)
        if self.config.free_bits:
            charged = divergences.free_bits(rates, self.config.free_bits)
        parts = {
            "elbo": log_likelihood - kl,
            "log_likelihood": log_likelihood,
            "kl": kl,
            **self.layer_parts(rates, means),
        }
        return tf.reduce_mean(kl_weight) * charged - log_likelihood, parts

    def layer_parts(self, rates, means):
        """Return what is reported of the code: mean rates `[latents]`, means."""
        return {"health/active_units": health.active_units(means)}

    def terms(self, images, epsilon):
        """Return log p(x | z), the latents' rates and the posterior's means.

        Args:
            images: `[rows, h, w, c]`.
            epsilon: Noise of z, `[..., rows, latent_size]`.

        Returns:
            log-likelihood `[..., rows]`; rates, whose sum is what a row's code costs,
            `[..., rows, latent_size]`; means `[..., rows, latent_size]`. All in nats.
        """
        posterior = self.posterior(images)
        # Written through the bijector so that epsilon is an argument, not drawn here.
        z = posterior.bijector.forward(epsilon)
        log_likelihood = self.likelihood(z).log_prob(images)
        return log_likelihood, self.rates(posterior, z), posterior.mean()

    def rates(self, posterior, z):
        """Return KL(q_j || p_j) of each latent, `[rows, latent_size]`."""
        return divergences.kl_by_latent(posterior, self.prior)

    @property
    def layer_sizes(self):
        """Latents of each stochastic layer, the one next to the data first."""
        return (self.config.latent_size,)

    def posterior(self, images):
        """Return q(z | images), a TFP distribution over `[rows, latent_size]`."""
        return latent.diagonal(self.encoder(images))

    def likelihood(self, z):
        """Return p(x | z), a TFP distribution over images; z `[..., rows, size]`."""
        z = tf.convert_to_tensor(z)
        parameters = latent.by_rows(self.decoder, z)
        return latent.pixel_distribution(self.config, parameters, z.shape.rank - 1)

    def log_weights(self, images, epsilon):
        """Return log p(x, z) - log q(z | x) at z of noise epsilon, `[..., rows]`, nats.

        Its mean is the paper's first estimator of the ELBO (eq. 6), and
        `importance_weighted_bound` of k of them is the IWAE bound.

        Args:
            images: `[rows, h, w, c]`.
            epsilon: `[..., rows, latent_size]`.
        """
        posterior = self.posterior(images)
        z = posterior.bijector.forward(epsilon)
        joint = self.likelihood(z).log_prob(images) + self.prior.log_prob(z)
        return joint - posterior.log_prob(z)

    def log_prob(self, images, samples=100):
        """Return the IWAE bound of log p(x), `[rows]`, nats, with fixed noise.

        Images are taken as they come: with binarised `pixels` give binary ones.
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
        return self.likelihood(tf.convert_to_tensor(z)).mean()

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


class MonteCarloVAE(VAE):
    """Estimator A: every term of the bound at the draws.

    Where q is the exact posterior every draw gives log p(x); elsewhere its variance is
    usually above estimator B's.
    """

    def rates(self, posterior, z):
        """Return log q_j(z_j) - log p_j(z_j) of each latent, `[..., rows, size]`."""
        return divergences.log_ratio_by_latent(posterior, self.prior, z)


class IWAE(VAE):
    """k draws, one bound. One step: one descent of -log 1/k sum_i w_i.

    Autodiff of the bound weighs each draw's gradient by its normalised weight, as
    published. Its `elbo` is the mean of the log weights, so k = 1 is `vae_monte_carlo`.
    """

    Config = IWAEConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (200,), "activation": "relu"},
        "tiny": {"hidden": (16,), "latent_size": 4, "channels": 4, "samples": 3},
    }
    rates = MonteCarloVAE.rates
    monitor = ("iwae", "max")

    def loss_inputs(self, batch):
        """Return images and noise `[rows, samples, latent_size]`."""
        images = latent.observe(self, batch)
        shape = [self.config.samples, self.config.latent_size]
        return images, self.noise("epsilon", images.shape[0], shape)

    def loss_and_parts(self, images, epsilon):
        """Return -bound and {iwae, elbo, ...}, means over rows, nats."""
        log_likelihood, rates, means = self.terms(images, latent.draws_first(epsilon))
        log_weights = log_likelihood - tf.reduce_sum(rates, axis=-1)
        bound = tf.reduce_mean(divergences.importance_weighted_bound(log_weights))
        mean_rates = tf.reduce_mean(rates, axis=[0, 1])
        parts = {"iwae": bound, "elbo": tf.reduce_mean(log_weights)}
        return -bound, parts | self.layer_parts(mean_rates, means)
