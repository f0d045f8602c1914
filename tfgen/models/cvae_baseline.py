"""Deterministic prediction of the missing quadrants of images.

    y^(x) = sigmoid(network(x)),    loss = -sum_i log Bernoulli(y_i; y^_i(x))

over the missing pixels alone: the network that a conditional VAE has to beat, and that
`cvae_guided` shows its prior (Sohn, Lee and Yan 2015). Nats per row.

Rows are independent, so N replicas of B rows equal one device with N * B rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.model import GenerativeModel
from tfgen.layers.quadrants import Quadrants
from tfgen.losses import likelihoods
from tfgen.models import latent
from tfgen.networks import dense


@dataclasses.dataclass(frozen=True)
class PredictionConfig(Config):
    """What all of them have; the defaults are those of the MNIST experiment."""

    hidden: tuple[int, ...] = option((500, 500), "units of the hidden layers")
    pixels: str = option(
        "grey",
        "grey: as they are; binarised: drawn anew from Bernoulli(grey) at each use",
        choices=("grey", "binarised"),
    )
    learning_rate: float = option(1e-3, "Adam", above=0)


@dataclasses.dataclass(frozen=True)
class BaselineConfig(PredictionConfig):
    """Of the deterministic prediction of the missing quadrants."""

    quadrants: int = option(
        1,
        "observed: 1 bottom left, 2 left half, 3 all but bottom right",
        at_least=1,
        at_most=3,
    )


class Prediction(GenerativeModel):
    """What trains p(y | x) of images: reading x and y off a batch."""

    xla_on_cpu = True

    def default_optimizers(self):
        """Adam for all networks together."""
        return {"optimizer": keras.optimizers.Adam(self.config.learning_rate)}

    def split(self, batch):
        """Return the condition x and the target y of a batch, `[rows, size]` each."""
        return self.quadrants.split(batch["image"])

    def observe(self, batch):
        """Return the batch with grey images, or with a fresh binarisation of them."""
        return {**batch, "image": latent.observe(self, batch)}


class Baseline(Prediction):
    """The deterministic network y^(x). One step: one descent of its cross-entropy.

    Args:
        config: `BaselineConfig`.
        spec: images `[h, w, c]` in [0, 1].
        baseline: x -> logits of y.
    """

    Config = BaselineConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (256, 256)},
        "tiny": {"hidden": (16,)},
    }
    monitor = ("cll", "max")

    def __init__(self, config, spec, baseline):
        super().__init__(config, spec, baseline=baseline)
        self.quadrants = Quadrants(self.spec.image.shape, config.quadrants)

    @classmethod
    def create(cls, config, spec):
        """Build the network for the images of `spec`."""
        spec = spec.for_images("cvae_baseline", low=0.0, high=1.0)
        return cls(config, spec, baseline_network(config, spec.image.shape))

    def train_step(self, batch):
        """One descent of the target's cross-entropy."""
        x, y = self.split(self.observe(batch))
        loss = self.descend(self.cross_entropy, self.baseline, self.optimizer, x, y)
        return self.track(cll=-loss)

    def test_step(self, batch):
        """Return log p(y | x) of held-out images."""
        x, y = self.split(self.observe(batch))
        return self.track(cll=-self.cross_entropy(x, y))

    def cross_entropy(self, x, y):
        """Return the mean of -log p(y | x) over rows, nats."""
        return -tf.reduce_mean(self.conditional_log_prob(x, y))

    def conditional_log_prob(self, x, y):
        """Return log p(y | x), `[rows]`, nats."""
        return likelihoods.bernoulli(self.baseline(x)).log_prob(y)

    def reconstruct(self, images):
        """Return images whose missing quadrants are the prediction."""
        x, _ = self.quadrants.split(images)
        return self.quadrants.join(x, tf.sigmoid(self.baseline(x)))

    def endpoints(self):
        """Return reconstruct(images): what it does not use of them is predicted."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {"reconstruct": (self.reconstruct, [images])}


def baseline_network(config, shape):
    """Return x -> logits of y, for images of `shape`."""
    quadrants = Quadrants(shape, config.quadrants)
    sizes = [len(quadrants.observed)], [[len(quadrants.missing)]]
    return dense.mlp(*sizes, config.hidden, "relu", name="baseline")
