"""Three ways to a posterior for one generative model p(z) p(x | z).

    vae                 amortised: an encoder says q(z | x)
    vae_table           every image of the data has a Gaussian of its own, in a table
    vae_semi_amortised  the encoder's Gaussian, then K gradient steps on the bound

`vae_table` (stochastic variational inference, Hoffman et al. 2013) raises the bound in
the Gaussians of a batch, then moves the decoder. An image that is not of the data has
none: one is found from 0 by `test_steps` steps. `vae_semi_amortised` (Kim et al. 2018)
trains encoder and decoder through the steps, exactly; `vae_semi_amortised_stopped`
takes the steps for constants, so that the encoder moves as if it had made the refined
Gaussian itself.

Departures: gradients through the steps are exact, not finite differences; slopes are
clipped by row. K = 5 steps of 0.03 where the paper takes 20 of 1.0. Outside training
the steps' noise is one fixed table for all rows.

Rows are independent, so N replicas of B rows equal one device with N * B rows.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.layers.row_table import RowTable
from tfgen.losses import divergences, local
from tfgen.models import latent
from tfgen.models.vae import VAE
from tfgen.networks import dense


@dataclasses.dataclass(frozen=True)
class LocalConfig(Config):
    """What all have; the defaults are those of the studies of the amortisation gap."""

    latent_size: int = option(50, "length of z", at_least=1)
    hidden: tuple[int, ...] = option((200, 200), "units of the hidden layers")
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
    learning_rate: float = option(1e-3, "Adam, networks", above=0)
    bias_at_mean: bool = latent.bias_option(False)


@dataclasses.dataclass(frozen=True)
class TableConfig(LocalConfig):
    """Of Gaussians in a table."""

    row_steps: int = option(5, "of a row's Gaussian before the decoder's", at_least=1)
    row_rate: float = option(0.03, "Adam, of each row", above=0)
    test_steps: int = option(200, "from 0, of images not in the table", at_least=1)


@dataclasses.dataclass(frozen=True)
class SemiConfig(LocalConfig):
    """Of refined Gaussians."""

    refinement_steps: int = option(5, "K", at_least=1)
    refinement_rate: float = option(0.03, "of a step, momentum 0.5", above=0)


class LocalVAE(VAE):
    """A VAE whose posterior is found, at least in part, by gradient steps."""

    def bound(self, images, parameters, epsilon):
        """Return each row's ELBO at one draw, `[rows]`; see `losses.local.bound`."""
        return local.bound(
            self.likelihood, self.prior, images, parameters, epsilon[None]
        )

    def bound_and_parts(self, images, parameters, epsilon):
        """Return the mean ELBO and {elbo, log_likelihood, kl}, nats."""
        elbo = tf.reduce_mean(self.bound(images, parameters, epsilon))
        posterior = local.gaussian(parameters)
        kl = tf.reduce_mean(divergences.kl(posterior, self.prior))
        return elbo, {"elbo": elbo, "log_likelihood": elbo + kl, "kl": kl}

    def test_step(self, batch):
        """Return the bound and its parts on held-out images."""
        images = latent.observe(self, batch)
        epsilon = self.noise("epsilon", images.shape[0], [self.config.latent_size])
        parameters = local.parameters_of(self.posterior(images))
        _, parts = self.bound_and_parts(images, parameters, epsilon)
        return self.track(**parts)

    def draw_steps(self, images, steps):
        """Draw noise of some steps and of the bound after them, rows first."""
        size = [steps + 1, self.config.latent_size]
        return self.noise("epsilon", images.shape[0], size)


class TableVAE(LocalVAE):
    """One step: `row_steps` ascents of the batch's Gaussians, one descent of theta.

    Args:
        config: `TableConfig`.
        spec: images `[h, w, c]` in [0, 1]; its `examples` are the table's rows.
        table: `RowTable` of parameters and of their optimizer's state.
        decoder: As of `VAE`.
    """

    Config = TableConfig
    PRESETS = {
        "paper": {},
        "small": {"latent_size": 20},
        "tiny": {"hidden": (16,), "latent_size": 4, "row_steps": 2, "test_steps": 5},
    }

    def __init__(self, config, spec, table, decoder):
        super(VAE, self).__init__(config, spec, table=table, decoder=decoder)
        self.prior = latent.standard_normal(config.latent_size)
        self.test_noise = _fixed_noise(config.test_steps, config.latent_size)

    @classmethod
    def create(cls, config, spec):
        """Build the decoder for the images of `spec`, and a row for each of them."""
        spec = spec.for_images("vae_table", low=0.0, high=1.0)
        size = 2 * config.latent_size
        sizes = {"parameters": size, "mean": size, "mean_square": size, "visits": 1}
        table = RowTable(spec.examples, sizes, name="table")
        return cls(config, spec, table, _decoder(config, spec.image.shape))

    def default_optimizers(self):
        """Adam for the decoder; the table's rows have their own."""
        rate = self.config.learning_rate
        return {"decoder_optimizer": keras.optimizers.Adam(rate)}

    def train_step(self, batch):
        """Find the batch's Gaussians, descend in the decoder, store the Gaussians."""
        images = latent.observe(self, batch)
        _, parts, rows = self.descend(
            self.loss_parts_and_rows,
            self.decoder,
            self.decoder_optimizer,
            images,
            self.draw_steps(images, self.config.row_steps),
            *self.table.read(batch["index"]),
        )
        # Each replica holds the whole table, so it needs all replicas' rows.
        self.table.write(
            self.gather(batch["index"]), [self.gather(row) for row in rows]
        )
        return self.track(**parts)

    def loss_parts_and_rows(self, images, epsilon, parameters, *state):
        """Return -ELBO after the rows' steps, its parts, and the rows as they are now.

        Args:
            images: `[rows, h, w, c]`.
            epsilon: Noise `[rows, row_steps + 1, latent_size]`.
            parameters: The rows' Gaussians, `[rows, 2 * latent_size]`.
            *state: Of their optimizer; see `losses.local.adam_step`.
        """
        *steps, last = tf.unstack(epsilon, axis=1)
        state = list(state)
        for step in steps:
            parameters, state = self._ascend(images, parameters, state, step)
        parameters = tf.stop_gradient(parameters)
        elbo, parts = self.bound_and_parts(images, parameters, last)
        return -elbo, parts, [parameters, *map(tf.stop_gradient, state)]

    def posterior(self, images):
        """Return q(z | x) of images that have no row: found from 0."""
        steps, size = self.config.test_steps, self.config.latent_size
        noise = tf.constant(self.test_noise)
        images = tf.convert_to_tensor(images)
        start = tf.zeros([tf.shape(images)[0], 2 * size])

        def step(number, parameters, *state):
            epsilon = tf.broadcast_to(noise[number], tf.shape(parameters[:, :size]))
            parameters, state = self._ascend(images, parameters, list(state), epsilon)
            return number + 1, parameters, *state

        _, parameters, *_ = tf.while_loop(
            lambda number, *_: number < steps,
            step,
            (0, start, *local.adam_start(start)),
        )
        return local.gaussian(tf.stop_gradient(parameters))

    def _ascend(self, images, parameters, state, epsilon):
        slope = local.slope(lambda at: self.bound(images, at, epsilon), parameters)
        move, state = local.adam_step(slope, state, self.config.row_rate)
        return parameters + move, state


class SemiAmortisedVAE(LocalVAE):
    """One step: one descent of -ELBO at the refined Gaussians, through the steps.

    Args:
        config: `SemiConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: As of `VAE`.
        decoder: As of `VAE`.
    """

    Config = SemiConfig
    PRESETS = {
        "paper": {},
        "small": {"latent_size": 20},
        "tiny": {"hidden": (16,), "latent_size": 4, "refinement_steps": 2},
    }
    through = staticmethod(tf.identity)

    @classmethod
    def create(cls, config, spec):
        """Build encoder and decoder for the images of `spec`."""
        spec = spec.for_images("vae_semi_amortised", low=0.0, high=1.0)
        shape, outputs = spec.image.shape, [[config.latent_size]] * 2
        encoder = dense.mlp(
            shape, outputs, config.hidden, config.activation, name="encoder"
        )
        return cls(config, spec, encoder, _decoder(config, shape))

    def default_optimizers(self):
        """Adam for both networks together."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def train_step(self, batch):
        """One descent of -ELBO at the refined Gaussians."""
        images = latent.observe(self, batch)
        epsilon = self.draw_steps(images, self.config.refinement_steps)
        networks = self.encoder, self.decoder
        _, parts = self.descend(
            self.refined_loss_and_parts, networks, self.optimizer, images, epsilon
        )
        return self.track(**parts)

    def refined_loss_and_parts(self, images, epsilon):
        """Return -ELBO after the steps, its parts, and what the steps have gained.

        Args:
            images: `[rows, h, w, c]`.
            epsilon: Noise `[rows, refinement_steps + 1, latent_size]`.
        """
        *steps, last = tf.unstack(epsilon, axis=1)
        start = self.encoded(images)
        elbo, parts = self.bound_and_parts(images, self.refined(images, steps), last)
        before = tf.reduce_mean(self.bound(images, tf.stop_gradient(start), last))
        return -elbo, parts | {"refinement_gain": elbo - before}

    def encoded(self, images):
        """Return the encoder's mean beside log sigma^2, `[rows, 2 * latent_size]`."""
        return tf.concat(self.encoder(images), axis=1)

    def refined(self, images, steps):
        """Return the encoder's Gaussians after steps with noise of the list `steps`."""
        return local.refine(
            lambda at, epsilon: self.bound(images, at, epsilon),
            self.encoded(images),
            steps,
            self.config.refinement_rate,
            through=self.through,
        )

    def posterior(self, images):
        """Return q(z | images): the encoder's Gaussian, refined."""
        images = tf.convert_to_tensor(images)
        rows, size = tf.shape(images)[0], self.config.latent_size
        steps = [
            tf.broadcast_to(epsilon, [rows, size])
            for epsilon in _fixed_noise(self.config.refinement_steps, size)
        ]
        return local.gaussian(self.refined(images, steps))


class StoppedSemiAmortisedVAE(SemiAmortisedVAE):
    """The steps are constants to the gradient: one backward pass fewer each."""

    through = staticmethod(tf.stop_gradient)


def _fixed_noise(steps, size):
    draws = np.random.default_rng(0).normal(size=[steps, size])
    return draws.astype("float32")


def _decoder(config, shape):
    outputs = [shape] * (2 if config.likelihood == "gaussian" else 1)
    hidden = config.hidden[::-1]
    codes = [config.latent_size]
    return dense.mlp(codes, outputs, hidden, config.activation, name="decoder")
