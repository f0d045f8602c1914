"""Deep latent Gaussian model (Rezende, Mohamed and Wierstra 2014).

    h_L = G_L xi_L,  h_l = T_l(h_{l+1}) + G_l xi_l,  xi_l ~ N(0, I),  x ~ p(x | h_1)
    free energy = -E_q log p(x | xi) + KL(q(xi | x) || N(0, I))

Inference is over the noise: q(xi | x) = prod_l N(mu_l(x), C_l(x)), all from one
deterministic network, with C_l of rank-one precision, C^-1 = D + u u'. With
s = u' D^-1 u and eta = 1 / (1 + s),

    C = D^-1 - eta D^-1 u u' D^-1,   log |C| = log eta - log |D|
    R = D^-1/2 - (1 - sqrt eta) / s  D^-1 u u' D^-1/2,   R R' = C,   xi = mu + R epsilon

and the KL is closed: sum_l (|mu_l|^2 + tr C_l - log |C_l| - K_l) / 2. All of it costs
O(K) a row.

Departures: Adam; no Gaussian prior of the weights; training images get no noise.
"""

import dataclasses
import math

import tensorflow as tf

from tfgen.core.config import option
from tfgen.core.errors import BadInput
from tfgen.losses import health
from tfgen.models import latent
from tfgen.models.vae import VAE
from tfgen.networks import dense


@dataclasses.dataclass(frozen=True)
class DLGMConfig(latent.PixelConfig):
    """The defaults are the paper's MNIST model."""

    pixels: str = latent.pixels_option("binarised")
    latents: tuple[int, ...] = option((200,), "sizes of xi and h, h1 first")
    hidden: tuple[int, ...] = option((400, 400), "units of every network's layers")
    activation: str = option("relu", "of them", choices=("tanh", "relu", "softplus"))
    samples: int = option(1, "draws a row", at_least=1)
    beta: float = option(1.0, "weight of the KL", above=0)
    warmup_steps: int = option(0, "of the KL's weight from 0 to beta", at_least=0)
    free_bits: float = option(
        0.0, "nats a layer that cost nothing more, 0 = off", at_least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.latents or min(self.latents) < 1:
            raise BadInput(f"hparam latents={self.latents} must be numbers from 1")

    @property
    def latent_size(self):
        """Length of the noise of all layers."""
        return sum(self.latents)


class DLGM(VAE):
    """One step: one descent of the free energy, all networks together.

    Args:
        config: `DLGMConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: images -> [mu, log D, u] of all layers, each `[rows, latent_size]`.
        decoder: h1 -> the likelihood's parameters.
        gains: G_l, xi_l -> `[rows, size]` linear, h1 first: `gain_1`, ...
        transforms: T_l, h_{l+1} -> `[rows, size of h_l]`: `transform_1`, ...
    """

    one_code = False
    Config = DLGMConfig
    PRESETS = {
        "paper": {},
        "small": {"latents": (50,), "hidden": (200, 200)},
        "tiny": {"latents": (4, 3), "hidden": (16,)},
    }

    def __init__(self, config, spec, encoder, decoder, gains, transforms):
        others = {f"gain_{n}": net for n, net in enumerate(gains, start=1)}
        others |= {f"transform_{n}": net for n, net in enumerate(transforms, start=1)}
        super().__init__(config, spec, encoder, decoder, **others)
        self.gains, self.transforms = list(gains), list(transforms)

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the images of `spec`."""
        spec = spec.for_images("dlgm", low=0.0, high=1.0)
        shape, sizes = spec.image.shape, config.latents
        hidden, activation = config.hidden, config.activation
        heads = [[config.latent_size]] * 3
        outputs = [shape] * latent.pixel_parameters(config)
        gains = [
            dense.mlp([size], [[size]], [], activation, name=f"gain_{n}")
            for n, size in enumerate(sizes, start=1)
        ]
        transforms = [
            dense.mlp([above], [[size]], hidden, activation, name=f"transform_{n}")
            for n, (size, above) in enumerate(
                zip(sizes[:-1], sizes[1:], strict=True), start=1
            )
        ]
        return cls(
            config,
            spec,
            dense.mlp(shape, heads, hidden, activation, name="encoder"),
            dense.mlp([sizes[0]], outputs, hidden, activation, name="decoder"),
            gains,
            transforms,
        )

    def posterior(self, images):
        """Return q(xi_l | images) of each layer, a list of `RankOne`."""
        parts = [
            latent.split_layers(part, self.config.latents)
            for part in self.encoder(images)
        ]
        return [
            RankOne(mean, log_precision, direction)
            for mean, log_precision, direction in zip(*parts, strict=True)
        ]

    def likelihood(self, z):
        """Return p(x | xi) for the noise of all layers, `[..., rows, latent_size]`."""
        noises = latent.split_layers(z, self.config.latents)
        h = latent.by_rows(self.gains[-1], noises[-1])
        for number in range(len(noises) - 2, -1, -1):
            h = latent.by_rows(self.transforms[number], h) + latent.by_rows(
                self.gains[number], noises[number]
            )
        parameters = latent.by_rows(self.decoder, h)
        return latent.pixel_distribution(self.config, parameters, z.shape.rank - 1)

    def terms(self, images, epsilon):
        """As `VAE.terms`, with one rate a layer: its latents' costs do not separate."""
        posteriors = self.posterior(images)
        rates = tf.stack([q.rate() for q in posteriors], axis=-1)
        means = tf.concat([q.mean for q in posteriors], axis=-1)
        xi, _ = self._draw(posteriors, epsilon)
        return self.likelihood(xi).log_prob(images), rates, means

    def log_weights(self, images, epsilon):
        """Return log p(x, xi) - log q(xi | x), `[..., rows]`, nats."""
        xi, log_q = self._draw(self.posterior(images), epsilon)
        joint = self.likelihood(xi).log_prob(images) + self.prior.log_prob(xi)
        return joint - log_q

    @property
    def layer_sizes(self):
        """Latents of each stochastic layer, the one next to the data first."""
        return self.config.latents

    def layer_parts(self, rates, means):
        """Return each layer's rate and active units."""
        layers = latent.split_layers(means, self.config.latents)
        parts = {"health/active_units": health.active_units(means)}
        for number, mean in enumerate(layers, start=1):
            parts[f"kl_{number}"] = rates[number - 1]
            parts[f"health/active_units_{number}"] = health.active_units(mean)
        return parts

    def encode(self, images):
        """Return the posterior's mean and standard deviation of xi."""
        posteriors = self.posterior(images)
        return {
            "mean": tf.concat([q.mean for q in posteriors], axis=-1),
            "stddev": tf.concat([tf.sqrt(q.variance()) for q in posteriors], axis=-1),
        }

    def reconstruct(self, images):
        """Return E[x | xi] at the posterior's mean."""
        return self.decode(self.encode(images)["mean"])

    def _draw(self, posteriors, epsilon):
        """Return xi of noise epsilon, and log q(xi | x)."""
        layers = latent.split_layers(epsilon, self.config.latents)
        pairs = list(zip(posteriors, layers, strict=True))
        xi = tf.concat([q.draw(noise) for q, noise in pairs], axis=-1)
        return xi, tf.add_n([q.log_prob_of_draw(noise) for q, noise in pairs])


class RankOne:
    """N(mean, C) with C^-1 = diag(exp(log_precision)) + u u'; see the module.

    Args:
        mean: `[rows, size]`.
        log_precision: log of the diagonal D, `[rows, size]`.
        direction: u, `[rows, size]`.
    """

    def __init__(self, mean, log_precision, direction):
        self.mean, self.log_precision, self.direction = mean, log_precision, direction
        self._variance = tf.exp(-log_precision)  # D^-1
        square = tf.square(direction) * self._variance
        self._s = tf.reduce_sum(square, axis=-1, keepdims=True)

    def draw(self, epsilon):
        """Return mean + R epsilon, `[..., rows, size]`."""
        root = tf.sqrt(1.0 + self._s)
        # (1 - 1 / root) / s = 1 / (root (1 + root)), which has no 0 / 0 at u = 0.
        scaled = tf.exp(-0.5 * self.log_precision) * epsilon
        along = tf.reduce_sum(self.direction * scaled, axis=-1, keepdims=True)
        shift = self._variance * self.direction * along / (root * (1.0 + root))
        return self.mean + scaled - shift

    def log_determinant(self):
        """Return log |C|, `[rows]`."""
        return -tf.math.log1p(self._s[..., 0]) - tf.reduce_sum(
            self.log_precision, axis=-1
        )

    def log_prob_of_draw(self, epsilon):
        """Return log q(draw(epsilon)), `[..., rows]`: R^-1 takes it back to epsilon."""
        size = epsilon.shape[-1]
        squares = tf.reduce_sum(tf.square(epsilon), axis=-1)
        return -0.5 * (size * math.log(2 * math.pi) + self.log_determinant() + squares)

    def variance(self):
        """Return the diagonal of C, `[rows, size]`."""
        reduction = tf.square(self._variance * self.direction) / (1.0 + self._s)
        return self._variance - reduction

    def rate(self):
        """Return KL(q || N(0, I)), `[rows]`, nats."""
        moments = tf.reduce_sum(tf.square(self.mean) + self.variance() - 1.0, axis=-1)
        return 0.5 * (moments - self.log_determinant())
