"""Conditional VAE with a learned prior (Sohn, Lee and Yan 2015).

Of a target y given a condition x:

    log p(y | x) >= E_q log p(y | x, z) - KL(q(z | x, y) || p(z | x))       (bound)

with a prior p(z | x) that is learned, a recognition q(z | x, y), both diagonal
Gaussians, and a generation p(y | x, z), independent Bernoulli pixels. Prediction draws
z from the prior, which the bound trains only through q; the stochastic network (GSNN)

    E_{p(z|x)} log p(y | x, z)

has no such mismatch. What is maximised is alpha * bound + (1 - alpha) * GSNN: 1 is the
CVAE, 0 the GSNN, between them the hybrid. All in nats per row, summed over the target's
pixels alone.

`cvae` completes images: x is one, two or three quadrants, y the other pixels.
`cvae_guided` also shows the prior what a deterministic network predicts of y (the
paper's recurrent connection); that network is trained before (`cvae_baseline`, given
as --init_from) and stays as it is. `cvae_label` draws whole images of a label.

Departures: networks see x and y as the vectors of their pixels rather than as images
whose unknown pixels are -1, which is the same but for the first layer's start.

Latents z of the endpoints are in units of the prior: z -> mean(x) + stddev(x) * z.
Rows are independent, so N replicas of B rows equal one device with N * B rows.
"""

import dataclasses
import math

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.core import noise
from tfgen.core.config import option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS
from tfgen.layers.quadrants import Quadrants
from tfgen.losses import divergences, likelihoods
from tfgen.models.cvae_baseline import (
    BaselineConfig,
    Prediction,
    PredictionConfig,
    baseline_network,
)
from tfgen.networks import dense

tfd = tfp.distributions


@dataclasses.dataclass(frozen=True)
class LabelCVAEConfig(PredictionConfig):
    """Of images given their label."""

    latent_size: int = option(200, "length of z", at_least=1)
    alpha: float = option(
        1.0, "1: the bound, 0: GSNN, between: hybrid", at_least=0, at_most=1
    )
    condition_generator: bool = option(True, "p(y | x, z); false: p(y | z)")


@dataclasses.dataclass(frozen=True)
class CVAEConfig(LabelCVAEConfig, BaselineConfig):
    """Of the missing quadrants given the others."""


class CVAE(Prediction):
    """One step: one descent of -(alpha * bound + (1 - alpha) * GSNN), all networks.

    Args:
        config: `CVAEConfig`.
        spec: images `[h, w, c]` in [0, 1].
        recognition: x beside y -> [mean, log sigma^2], each `[rows, latent_size]`.
        prior: what `foresee` gives of x -> the same.
        generation: z, beside it x if `condition_generator` -> logits of y.
        **kept: Networks that this training does not move.
    """

    Config = CVAEConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (256, 256), "latent_size": 50},
        "tiny": {"hidden": (16,), "latent_size": 4, "alpha": 0.5},
    }
    monitor = ("elbo", "max")
    NAME = "cvae"

    def __init__(self, config, spec, recognition, prior, generation, **kept):
        super().__init__(
            config,
            spec,
            recognition=recognition,
            prior=prior,
            generation=generation,
            **kept,
        )
        self.trained = recognition, prior, generation
        if config.alpha == 0:  # the recognition network is not trained
            self.monitor = ("gsnn", "max")
        if hasattr(config, "quadrants"):
            self.quadrants = Quadrants(spec.image.shape, config.quadrants)

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the images of `spec`."""
        spec = spec.for_images(cls.NAME, low=0.0, high=1.0)
        quadrants = Quadrants(spec.image.shape, config.quadrants)
        seen, missing = len(quadrants.observed), len(quadrants.missing)
        return cls(config, spec, *_networks(config, seen, seen, missing))

    def train_step(self, batch):
        """One descent for all networks."""
        x, y = self.split(self.observe(batch))
        recognised, foreseen = self._draws(x.shape[0])
        _, parts = self.descend(
            self.loss_and_parts,
            self.trained,
            self.optimizer,
            x,
            y,
            recognised,
            foreseen,
        )
        return self.track(**parts)

    def test_step(self, batch):
        """Return the bound and its parts on held-out images."""
        x, y = self.split(self.observe(batch))
        _, parts = self.loss_and_parts(x, y, *self._draws(x.shape[0]))
        return self.track(**parts)

    def loss_and_parts(self, x, y, recognised, foreseen):
        """Return the loss and {elbo, log_likelihood, kl, gsnn}, means over rows.

        Args:
            x: Condition.
            y: Target.
            recognised: Noise of z under q, `[rows, latent_size]`.
            foreseen: Noise of z under the prior.
        """
        prior, posterior = self.conditional_prior(x), self.posterior(x, y)
        z = posterior.bijector.forward(recognised)
        log_likelihood = tf.reduce_mean(self.likelihood(z, x).log_prob(y))
        kl = tf.reduce_mean(divergences.kl(posterior, prior))
        gsnn = tf.reduce_mean(self.prior_log_likelihood(x, y, foreseen))
        parts = {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood}
        parts |= {"kl": kl, "gsnn": gsnn}
        alpha = self.config.alpha
        # A weight of 0 spares the gradient: the term is then only logged.
        terms = [(alpha, parts["elbo"]), (1.0 - alpha, gsnn)]
        return -tf.add_n([weight * term for weight, term in terms if weight]), parts

    def foresee(self, x):
        """Return what the prior sees of x."""
        return x

    def conditional_prior(self, x):
        """Return p(z | x), a TFP distribution over `[rows, latent_size]`."""
        return _gaussian(self.prior(self.foresee(x)))

    def posterior(self, x, y):
        """Return q(z | x, y), likewise."""
        return _gaussian(self.recognition(tf.concat([x, y], axis=1)))

    def likelihood(self, z, x):
        """Return p(y | x, z), a TFP distribution over `[rows, size of y]`."""
        inputs = tf.concat([z, x], axis=1) if self.config.condition_generator else z
        return likelihoods.bernoulli(self.generation(inputs))

    def prior_log_likelihood(self, x, y, epsilon):
        """Return log p(y | x, z) at z of noise epsilon under the prior, `[rows]`."""
        z = self.conditional_prior(x).bijector.forward(epsilon)
        return self.likelihood(z, x).log_prob(y)

    def importance_log_weight(self, x, y, epsilon):
        """Return log p(y, z | x) - log q(z | x, y) at z of noise under q, `[rows]`.

        The mean of its exponential over draws estimates p(y | x) without bias.
        """
        prior, posterior = self.conditional_prior(x), self.posterior(x, y)
        z = posterior.bijector.forward(epsilon)
        joint = self.likelihood(z, x).log_prob(y) + prior.log_prob(z)
        return joint - posterior.log_prob(z)

    def encode(self, images):
        """Return q's mean and standard deviation, in units of the prior."""
        return self._recognise(*self.quadrants.split(images))

    def decode(self, z, images):
        """Return images completed at latents z: E[y | x, z] beside their own x."""
        x, _ = self.quadrants.split(images)
        return self.quadrants.join(x, self._expect(z, x))

    def reconstruct(self, images):
        """Return images completed at the prior's mean: the prediction."""
        size = [tf.shape(images)[0], self.config.latent_size]
        return self.decode(tf.zeros(size), images)

    def observed(self, images):
        """Return images whose missing quadrants are grey."""
        x, y = self.quadrants.split(images)
        return self.quadrants.join(x, tf.fill(tf.shape(y), 0.5))

    def log_prob(self, images, samples=100):
        """Return log p(y | x) by importance sampling, `[rows]`, with fixed noise."""
        return self._log_prob(*self.quadrants.split(images), samples)

    def endpoints(self):
        """Return encode, decode, reconstruct, observed and log_prob of images."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "encode": (self.encode, [images]),
            "decode": (self.decode, [z, images]),
            "reconstruct": (self.reconstruct, [images]),
            "observed": (self.observed, [images]),
            "log_prob": (self.log_prob, [images]),
        }

    def _draws(self, rows):
        size = [self.config.latent_size]
        return self.noise("recognised", rows, size), self.noise("foreseen", rows, size)

    def _recognise(self, x, y):
        prior, posterior = self.conditional_prior(x), self.posterior(x, y)
        mean = (posterior.mean() - prior.mean()) / prior.stddev()
        return {"mean": mean, "stddev": posterior.stddev() / prior.stddev()}

    def _expect(self, z, x):
        latents = self.conditional_prior(x).bijector.forward(tf.convert_to_tensor(z))
        return self.likelihood(latents, x).mean()

    def _log_prob(self, x, y, samples):
        rows, size = tf.shape(x)[0], [self.config.latent_size]

        def add(number, total):
            epsilon = noise.normal(self.seed, number, "log_prob", rows, size)
            weight = self.importance_log_weight(x, y, epsilon)
            return number + 1, tf.reduce_logsumexp([total, weight], axis=0)

        _, total = tf.while_loop(
            lambda number, _: number < samples,
            add,
            (0, tf.fill([rows], -float("inf"))),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        )
        return total - tf.math.log(float(samples))


class GuidedCVAE(CVAE):
    """The prior sees x beside the frozen baseline's prediction of y.

    Args:
        baseline: x -> logits of y, as `cvae_baseline` has trained it; the others as
            of `CVAE`.
    """

    NAME = "cvae_guided"
    starts_from = ("baseline",)
    made_by = "cvae_baseline"

    @classmethod
    def create(cls, config, spec):
        """Build the networks, and a baseline whose weights are yet to come."""
        spec = spec.for_images(cls.NAME, low=0.0, high=1.0)
        shape = spec.image.shape
        quadrants = Quadrants(shape, config.quadrants)
        seen, missing = len(quadrants.observed), len(quadrants.missing)
        networks = _networks(config, seen, seen + missing, missing)
        return cls(config, spec, *networks, baseline=baseline_network(config, shape))

    def foresee(self, x):
        """Return x beside the predicted y."""
        return tf.concat([x, tf.sigmoid(self.baseline(x))], axis=1)


class LabelCVAE(CVAE):
    """Images given their label: x is the label, one-hot, y all pixels.

    Args: as of `CVAE`.
    """

    Config = LabelCVAEConfig
    NAME = "cvae_label"

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the images and classes of `spec`."""
        if not spec.num_classes:
            raise BadInput(f"cvae_label needs labelled data; {spec.name} has no label")
        spec = spec.for_images(cls.NAME, low=0.0, high=1.0, also=["label"])
        classes, size = spec.num_classes, math.prod(spec.image.shape)
        return cls(config, spec, *_networks(config, classes, classes, size))

    def split(self, batch):
        """Return one-hot labels and the pixels."""
        images = batch["image"]
        flat = tf.reshape(images, [-1, math.prod(self.spec.image.shape)])
        return tf.one_hot(batch["label"], self.spec.num_classes), flat

    def sample(self, num, seed=0, first=0):
        """Return `num` images; row i is of class (first + i) modulo the classes."""
        z = noise.normal(seed, 0, "sample", num, [self.config.latent_size], first)
        return self.decode(z, (first + tf.range(num)) % self.spec.num_classes)

    def encode(self, images, label):
        """Return q's mean and standard deviation, in units of the prior."""
        return self._recognise(*self.split({"image": images, "label": label}))

    def decode(self, z, label):
        """Return E[y | label, z], images, of latents z and labels `[rows]`."""
        pixels = self._expect(z, tf.one_hot(label, self.spec.num_classes))
        return tf.reshape(pixels, [-1, *self.spec.image.shape])

    def log_prob(self, images, label, samples=100):
        """Return log p(image | label) by importance sampling, `[rows]`."""
        return self._log_prob(*self.split({"image": images, "label": label}), samples)

    def endpoints(self):
        """Return sample, encode, decode and log_prob."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        label = tf.TensorSpec([None], tf.int64, name="label")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "encode": (self.encode, [images, label]),
            "decode": (self.decode, [z, label]),
            "log_prob": (self.log_prob, [images, label]),
        }


def _gaussian(parameters):
    mean, log_variance = parameters
    return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))


def _networks(config, condition, foreseen, target):
    """Return recognition, prior and generation, of the sizes of their inputs."""
    latent, hidden = config.latent_size, config.hidden

    def gaussian(size, name):
        return dense.mlp([size], [[latent]] * 2, hidden, "relu", name=name)

    seen = latent + (condition if config.condition_generator else 0)
    return (
        gaussian(condition + target, "recognition"),
        gaussian(foreseen, "prior"),
        dense.mlp([seen], [[target]], hidden, "relu", name="generation"),
    )
