"""Variational auto-encoders with L stochastic layers.

    p(x, h) = p(x | h1) p(h1 | h2) ... p(hL),   p(hL) = N(0, I)
    log w   = log p(x, h) - log q(h | x)  at h drawn from q

Every conditional is a Gaussian of independent latents whose mean and log sigma^2 a
dense network computes from the layer it depends on; x depends on h1 alone. The bound
is the Monte Carlo one throughout: only the top KL has a closed form.

    hierarchical_vae    q climbs: q(h1 | x) q(h2 | h1) ...; descends -E log w
    hierarchical_iwae   the same networks; -log 1/k sum_i w_i
                        (Burda, Grosse and Salakhutdinov 2016, section 5.1)
    ladder_vae          q comes down: a deterministic climb proposes moments of each
                        layer, which are merged with the prior's on the way down
                        (Sonderby et al. 2016)

Noise epsilon `[..., rows, sum of latents]` holds all layers, h1 first; a row of it is
one path. With one layer the networks, their names and log w are those of `vae`.

The output bias of the first two classes starts at the log-odds of the data, as in the
code of Burda et al.: from 0, h1 falls silent while the mean is learned, and h2 too.

Departures: log sigma^2 heads in all (the code of Burda et al. takes exp of a head as
sigma, that of Sonderby et al. a softplus as sigma^2); `ladder_vae` normalises hidden
layers over a row, not hidden layers and heads over a batch, so that rows stay
independent, and does not clamp each entry of the clipped gradients to 0.9.
"""

import dataclasses

import tensorflow as tf

from tfgen.core.config import option
from tfgen.core.errors import BadInput
from tfgen.losses import divergences, health
from tfgen.models import latent
from tfgen.models.vae import IWAE, VAE
from tfgen.networks import dense


@dataclasses.dataclass(frozen=True)
class LayersConfig(latent.PixelConfig):
    """The defaults are the two-layer network of Burda et al."""

    pixels: str = latent.pixels_option("binarised")
    adam_epsilon: float = option(1e-4, "of Adam", above=0)
    bias_at_mean: bool = latent.bias_option(True)
    latents: tuple[int, ...] = option((100, 50), "sizes of the layers, h1 first")
    hidden: tuple[int, ...] = option(
        (200, 100), "units of the networks between h_{l-1} and h_l, x first"
    )
    depth: int = option(2, "hidden layers of each such network", at_least=1)
    activation: str = option(
        "tanh", "of hidden layers", choices=("tanh", "relu", "leaky_relu")
    )
    norm: str = option(
        "none", "of hidden layers, over a row", choices=("none", "layer")
    )
    samples: int = option(1, "paths a row", at_least=1)

    def __post_init__(self):
        super().__post_init__()
        if not self.latents or len(self.latents) != len(self.hidden):
            raise BadInput(
                f"hparams latents={self.latents} and hidden={self.hidden} must have "
                "one number a layer each"
            )
        if min(*self.latents, *self.hidden) < 1:
            raise BadInput(
                f"hparams latents={self.latents} and hidden={self.hidden} must be at "
                "least 1"
            )

    @property
    def latent_size(self):
        """Length of the noise of all layers."""
        return sum(self.latents)


@dataclasses.dataclass(frozen=True)
class HierarchicalVAEConfig(LayersConfig):
    """The defaults are the two-layer network of Burda et al."""

    beta: float = option(1.0, "weight of the rates", above=0)
    warmup_steps: int = option(0, "of their weight from 0 to beta", at_least=0)
    free_bits: float = option(
        0.0, "nats a latent that cost nothing more, 0 = off", at_least=0
    )


@dataclasses.dataclass(frozen=True)
class LadderVAEConfig(HierarchicalVAEConfig):
    """The defaults are those published with the code; warm-up in steps of batch 256."""

    latents: tuple[int, ...] = option((64, 32, 16), "sizes of the layers, h1 first")
    hidden: tuple[int, ...] = option(
        (512, 256, 128), "units of the networks between h_{l-1} and h_l, x first"
    )
    activation: str = option(
        "leaky_relu", "of hidden layers", choices=("tanh", "relu", "leaky_relu")
    )
    norm: str = option(
        "layer", "of hidden layers, over a row", choices=("none", "layer")
    )
    bias_at_mean: bool = latent.bias_option(False)
    learning_rate: float = option(2e-4, "Adam, at the start", above=0)
    gradient_norm: float = option(4.0, "greatest, of all gradients", above=0)
    warmup_steps: int = option(46875, "of the rates' weight from 0 to beta", at_least=0)


TINY = {"latents": (4, 3), "hidden": (16, 8), "depth": 1}


class HierarchicalVAE(VAE):
    """q climbs. One step: one descent of -E log w, all networks together.

    Args:
        config: `HierarchicalVAEConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoders: For each layer h_{l-1} -> [mean, log sigma^2] of h_l; h_0 the images.
            They become `encoder`, `encoder_2`, ...
        decoders: h1 -> the likelihood's parameters; then for each further layer
            h_l -> [mean, log sigma^2] of h_{l-1}. `decoder`, `decoder_2`, ...
    """

    one_code = False
    Config = HierarchicalVAEConfig
    PRESETS = {
        "paper": {},
        "small": {"activation": "relu"},
        "tiny": TINY,
    }

    def __init__(self, config, spec, encoders, decoders):
        further = zip(encoders[1:], decoders[1:], strict=True)
        others = {}
        for number, (encoder, decoder) in enumerate(further, start=2):
            others |= {f"encoder_{number}": encoder, f"decoder_{number}": decoder}
        super().__init__(config, spec, encoders[0], decoders[0], **others)
        self.prior = latent.standard_normal(config.latents[-1])
        self.encoders, self.decoders = list(encoders), list(decoders)

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the images of `spec`."""
        spec = spec.for_images("hierarchical_vae", low=0.0, high=1.0)
        return cls(config, spec, *layer_networks(config, spec.image.shape))

    # The conditionals -------------------------------------------------------------

    def inference(self, number, below):
        """Return q(h_number | h_{number - 1}); `below` is the images for layer 1."""
        network = self.encoders[number - 1]
        if number == 1:
            return latent.diagonal(network(below))
        return latent.diagonal(latent.by_rows(network, below))

    def generative(self, number, above):
        """Return p(h_number | h_{number + 1}), for 1 <= number < L."""
        return latent.diagonal(latent.by_rows(self.decoders[number], above))

    # Paths ------------------------------------------------------------------------

    def infer(self, images, epsilon):
        """Draw h from q(h | images).

        Args:
            images: `[rows, h, w, c]`.
            epsilon: `[..., rows, sum of latents]`.

        Returns:
            [(h_l, q(h_l | ...), p(h_l | h_{l+1})), ...] for l = 1 ... L; each h_l
            `[..., rows, size]`.
        """
        path, posteriors, below = [], [], images
        layers = latent.split_layers(epsilon, self.config.latents)
        for number, noise in enumerate(layers, start=1):
            posteriors.append(self.inference(number, below))
            below = posteriors[-1].bijector.forward(noise)
            path.append(below)
        return list(zip(path, posteriors, self.priors(path), strict=True))

    def priors(self, path):
        """Return p(h_l | h_{l+1}) for l = 1 ... L along a path [h1, ..., hL]."""
        lower = [self.generative(n, above) for n, above in enumerate(path[1:], start=1)]
        return [*lower, self.prior]

    def log_joint(self, images, path):
        """Return log p(x, h) of a path [h1, ..., hL], `[..., rows]`, nats."""
        total = self.likelihood(path[0]).log_prob(images)
        for h, prior in zip(path, self.priors(path), strict=True):
            total += prior.log_prob(h)
        return total

    def log_weights(self, images, epsilon):
        """Return log p(x, h) - log q(h | x) of one path a row, `[..., rows]`, nats."""
        layers = self.infer(images, epsilon)
        total = self.likelihood(layers[0][0]).log_prob(images)
        for h, _, prior in layers:
            total += prior.log_prob(h)
        for h, posterior, _ in layers:
            total -= posterior.log_prob(h)
        return total

    def terms(self, images, epsilon):
        """As `VAE.terms`: rates and means of all layers side by side, h1 first."""
        layers = self.infer(images, epsilon)
        rates, means = [], []
        for h, posterior, prior in layers:
            rates.append(divergences.log_ratio_by_latent(posterior, prior, h))
            # The mean of a layer above another differs from draw to draw.
            means.append(tf.broadcast_to(posterior.mean(), h.shape))
        log_likelihood = self.likelihood(layers[0][0]).log_prob(images)
        return log_likelihood, tf.concat(rates, -1), tf.concat(means, -1)

    @property
    def layer_sizes(self):
        """Latents of each stochastic layer, the one next to the data first."""
        return self.config.latents

    def layer_parts(self, rates, means):
        """Return each layer's rate; active units of h1, which alone sees x, and all."""
        sizes, parts = self.config.latents, {}
        layers = zip(
            latent.split_layers(rates, sizes),
            latent.split_layers(means, sizes),
            strict=True,
        )
        for number, (rate, mean) in enumerate(layers, start=1):
            active = health.active_units(mean)
            parts[f"kl_{number}"] = tf.reduce_sum(rate)
            parts[f"health/active_units_{number}"] = active
        return {"health/active_units": parts["health/active_units_1"], **parts}

    # Use --------------------------------------------------------------------------

    def decode(self, z):
        """Return E[x | h1] along the path of noise z, `[rows, sum of latents]`."""
        *lower, top = latent.split_layers(z, self.config.latents)
        h = self.prior.bijector.forward(top)
        for number in range(len(lower), 0, -1):
            h = self.generative(number, h).bijector.forward(lower[number - 1])
        return self.likelihood(h).mean()

    def encode(self, images):
        """Return mean_l and stddev_l of each layer, along the path of means."""
        found = {}
        layers = self.infer(images, self._no_noise(images))
        for number, (_, posterior, _) in enumerate(layers, start=1):
            found[f"mean_{number}"] = posterior.mean()
            found[f"stddev_{number}"] = posterior.stddev()
        return found

    def reconstruct(self, images):
        """Return E[x | h1] at the path of means."""
        (h, *_), *_ = self.infer(images, self._no_noise(images))
        return self.likelihood(h).mean()

    def _no_noise(self, images):
        return tf.zeros([tf.shape(images)[0], self.config.latent_size])


class HierarchicalIWAE(HierarchicalVAE):
    """k whole paths a row, one bound; see `IWAE`."""

    Config = LayersConfig
    PRESETS = {
        "paper": {"samples": 5},
        "small": {"samples": 5, "activation": "relu"},
        "tiny": {**TINY, "samples": 3},
    }
    monitor = IWAE.monitor
    loss_inputs = IWAE.loss_inputs
    loss_and_parts = IWAE.loss_and_parts


class LadderVAE(HierarchicalVAE):
    """q comes down through the prior. One step: as `hierarchical_vae`, with warm-up.

    Going up, h_{l-1}'s proposed mean feeds layer l. Coming down, layer l's posterior is
    the product of its proposal and p(h_l | h_{l+1}) at the draw above.
    """

    Config = LadderVAEConfig
    PRESETS = {
        "paper": {},
        "small": {"latents": (32, 16), "hidden": (256, 128), "warmup_steps": 2000},
        "tiny": {**TINY, "warmup_steps": 2},
    }

    def train_step(self, batch):
        """One descent of the loss, its gradients scaled to `gradient_norm` at most."""
        _, parts = self.descend(
            self.loss_and_parts,
            tuple(self.networks.values()),
            self.optimizer,
            *self.loss_inputs(batch),
            clip=self.config.gradient_norm,
        )
        return self.track(**parts)

    def infer(self, images, epsilon):
        """Draw h from q(h | images); see `HierarchicalVAE.infer`."""
        proposals, below = [], images
        for number in range(1, len(self.config.latents) + 1):
            proposals.append(self.inference(number, below))
            below = proposals[-1].mean()
        noises = latent.split_layers(epsilon, self.config.latents)
        posterior, prior, found = proposals[-1], self.prior, []
        for number in range(len(noises), 0, -1):
            if found:
                prior = self.generative(number, found[0][0])
                posterior = merge(proposals[number - 1], prior)
            h = posterior.bijector.forward(noises[number - 1])
            found.insert(0, (h, posterior, prior))
        return found


def merge(one, other):
    """Return the normalised product of two Gaussians of independent latents.

    1 / var = 1 / var_1 + 1 / var_2 and mean = var (mean_1 / var_1 + mean_2 / var_2).
    Sonderby et al. 2016, eqs. 17 and 18.
    """
    precisions = [1.0 / tf.square(each.stddev()) for each in (one, other)]
    variance = 1.0 / sum(precisions)
    mean = variance * (precisions[0] * one.mean() + precisions[1] * other.mean())
    return latent.diagonal([mean, tf.math.log(variance)])


def layer_networks(config, shape):
    """Return (encoders, decoders) as `HierarchicalVAE` wants them."""
    options = {"activation": config.activation, "norm": config.norm}
    outputs = [shape] * latent.pixel_parameters(config)
    encoders, decoders, below = [], [], list(shape)
    for number, (size, units) in enumerate(
        zip(config.latents, config.hidden, strict=True), start=1
    ):
        suffix = "" if number == 1 else f"_{number}"
        hidden = [units] * config.depth
        encoders.append(
            dense.mlp(below, [[size]] * 2, hidden, **options, name=f"encoder{suffix}")
        )
        decoders.append(
            dense.mlp([size], outputs, hidden, **options, name=f"decoder{suffix}")
        )
        below, outputs = [size], [[size]] * 2
    return encoders, decoders
