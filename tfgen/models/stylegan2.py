"""StyleGAN2, config F (Karras et al. 2020, "Analyzing and improving ...").

    min_G  E softplus(-D(G(z)))  +  weight E (|J_w^T y| - a)^2
    min_D  E softplus(D(G(z))) + E softplus(-D(x))  +  gamma / 2 E |grad_x D(x)|^2

A mapping turns z into w, of which every layer of the synthesis gets a copy; with
probability 0.9 the copies from a random layer on are of a second z (style mixing). J is
the derivative of the image by the copies, y normal, a the running mean of the lengths.
The regularisers are lazy: path length at every 4th step and R1 at every 16th, as
updates of their own whose loss is multiplied by the interval k; Adam's rate and betas
are those of c = k / (k + 1) updates, lr c and beta^c. Order: generator, path length,
moving average, discriminator, R1.

Departures: the layer where the second w takes over is drawn for each row, not for each
device's batch; the means of w and of the path lengths are of the rows of all replicas,
once a step (the code keeps one a device), so that no state is a replica's own; the
penalty takes the mean that its own replica's rows lead to. Fixed noise, of images that
should depend on w alone, is drawn from seed 0 and not stored. The minibatch deviation
is of a replica's rows: N replicas equal one device with N shards.
"""

import dataclasses
import functools

import keras
import tensorflow as tf

from tfgen.core import ema, lazy, noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.layers.views import random_view
from tfgen.losses import adversarial, health, penalties
from tfgen.networks import style

SIDES = (1024, 512, 256, 128, 64, 32)
_W_DECAY, _PATH_DECAY = 0.995, 0.99  # of the means of w and of the path lengths


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config(Config):
    """The defaults are config F's for FFHQ."""

    image_size: int = option(1024, "side, a power of 2; 0 = the data's", at_least=0)
    labels: bool = option(False, "condition both networks on the data's label")
    mirror: bool = option(False, "mirror training images with probability 1/2")
    latent_size: int = option(512, "length of z and w", at_least=1)
    mapping_layers: int = option(8, "dense layers from z to w", at_least=1)
    mapping_rate: float = option(0.01, "learning rate multiplier of these", above=0)
    channel_base: int = option(16384, "maps at 2^r pixels: base / 2^(r-1)", at_least=1)
    channel_max: int = option(512, "most feature maps", at_least=1)
    pixel_noise: bool = option(True, "layers add noise, they learn how much")
    group: int = option(4, "most rows of a minibatch deviation", at_least=1)
    mixing: float = option(0.9, "probability of two styles", at_least=0, at_most=1)
    r1_weight: float = option(10.0, "gamma; of small: 32 pixels'", at_least=0)
    r1_every: int = option(16, "steps between R1 updates, 0 = none", at_least=0)
    path_weight: float = option(2.0, "of the path length penalty", at_least=0)
    path_every: int = option(4, "steps between its updates, 0 = none", at_least=0)
    learning_rate: float = option(0.002, "Adam, both networks", above=0)
    beta_2: float = option(0.99, "Adam; beta_1 is 0", at_least=0, at_most=1)
    average_images: float = option(10_000.0, "half-life of EMA, images", above=0)
    average_ramp: float = option(
        0.0, "most of the half-life, of the images seen; 0 = no limit", at_least=0
    )


def _at(side):
    """Config F for another side, with R1 as in the authors' later code, batch 32."""
    changes = {"image_size": side}
    return changes | ({"r1_weight": 0.0002 * side**2 / 32} if side < 1024 else {})


_REDUCED = {
    "image_size": 0,
    "mapping_layers": 4,
    "path_every": 0,
    "pixel_noise": False,  # it grains the images of few maps
    "r1_weight": 0.0064,
    "average_ramp": 0.05,
}


class StyleGAN2(GenerativeModel):
    """One step: the generator, then the discriminator, each perhaps regularised.

    Args:
        config: `StyleGAN2Config`.
        spec: images `[h, w, c]` in [-1, 1], with `labels` a label.
        generator: `style.Generator`.
        discriminator: images, or (images, y) -> logits `[rows, 1]`.
    """

    Config = StyleGAN2Config
    PRESETS = {
        "paper": {},
        **{str(side): _at(side) for side in SIDES},
        "small": {**_REDUCED, "latent_size": 32, "channel_max": 32},
        "tiny": {
            **_REDUCED,
            "image_size": 8,
            "latent_size": 8,
            "channel_max": 4,
            "mapping_layers": 2,
            "path_every": 2,
            "pixel_noise": True,
            "r1_every": 4,
            "r1_weight": 1.0,
            "average_ramp": 0.5,
        },
    }
    reports_health = True
    p = 0.0  # probability of an augmentation; see `augment`

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator=generator, discriminator=discriminator)
        self.path_length = keras.Variable(0.0, trainable=False, name="path_length")
        if config.labels:  # who has it is measured by class
            self.sample_labels = self._labels_of_samples

    @classmethod
    def create(cls, config, spec):
        """Build the networks for the images, with `labels` the classes, of `spec`."""
        classes = spec.num_classes if config.labels else 0
        if config.labels and not classes:
            raise BadInput(f"hparam labels: {spec.name} has no label")
        also = ["label"] if classes else []
        size = config.image_size
        spec = spec.for_images("stylegan2", low=-1.0, high=1.0, size=size, also=also)
        sizes = config, spec.image.shape, classes
        model = cls(config, spec, style.generator(*sizes), style.discriminator(*sizes))
        model.average("generator", style.generator(*sizes), model.average_decay)
        return model

    def default_optimizers(self):
        """Adam for both, corrected for the updates that regularise."""
        rate, betas = self.config.learning_rate, (0.0, self.config.beta_2)
        return {
            "generator_optimizer": lazy.adam(rate, *betas, self.config.path_every),
            "discriminator_optimizer": lazy.adam(rate, *betas, self.config.r1_every),
        }

    def state(self):
        """Return what all models restore, and the mean path length."""
        return {**super().state(), "path_length": self.path_length}

    def replica_local(self):
        """Return nothing: both means are of all replicas' rows."""
        return set()

    def step_method(self, step):
        """Return which regularisers a step has."""
        every = {"path_length": self.config.path_every, "r1": self.config.r1_every}
        due = [name for name, steps in every.items() if steps and step % steps == 0]
        return "_and_".join(due or ["train"]) + "_step"

    def train_step(self, batch, path_length=False, r1=False):
        """The generator, then the discriminator; regularised at the steps that are."""
        batch = self.mirrored(batch)
        generator = self.generator_update(batch, average=not path_length)
        path_length = self.path_length_update(batch) if path_length else {}
        discriminator = self.discriminator_update(batch)
        r1 = self.r1_update(batch) if r1 else {}
        return self.track(**generator, **path_length, **discriminator, **r1)

    path_length_step = functools.partialmethod(train_step, path_length=True)
    r1_step = functools.partialmethod(train_step, r1=True)
    path_length_and_r1_step = functools.partialmethod(
        train_step, path_length=True, r1=True
    )

    def generator_update(self, batch, average=True):
        """Move the generator, its average unless it moves again, and the mean of w."""
        rows = self.rows_of(batch)
        loss, w = self.descend(
            self.generator_loss,
            self.generator,
            self.generator_optimizer,
            self.draw("generator", rows),
            self.one_hot(batch),
            self.augment_noise("generator", rows),
            average=average,
        )
        mean = tf.reduce_mean(self.gather(w), axis=0)
        for network in (self.generator, self.generator_ema):
            network.w_average.assign(mean + _W_DECAY * (network.w_average.value - mean))
        return {"generator_loss": loss}

    def path_length_update(self, batch):
        """Regularise the generator, on half as many images; move its average."""
        rows = max(1, self.rows_of(batch) // 2)
        y = [y[:rows] for y in self.one_hot(batch)]
        pixels = self.noise("path_length_pixels", rows, self.spec.image.shape)
        _, (penalty, lengths) = self.descend(
            self.path_length_loss,
            self.generator,
            self.generator_optimizer,
            self.draw("path_length", rows),
            y,
            pixels,
        )
        self.path_length.assign(self.mean_path_length(self.gather(lengths)))
        return {"path_length": self.path_length.value, "path_length_penalty": penalty}

    def discriminator_update(self, batch):
        """Move the discriminator."""
        rows = self.rows_of(batch)
        _, reports = self.descend(
            self.discriminator_loss,
            self.discriminator,
            self.discriminator_optimizer,
            batch["image"],
            self.draw("discriminator", rows),
            self.one_hot(batch),
            self.augment_noise("real", rows),
            self.augment_noise("fake", rows),
        )
        return reports

    def r1_update(self, batch):
        """Regularise the discriminator, on the same images."""
        rows = self.rows_of(batch)
        _, r1 = self.descend(
            self.r1_loss,
            self.discriminator,
            self.discriminator_optimizer,
            batch["image"],
            self.one_hot(batch),
            self.augment_noise("r1", rows),
        )
        return {"r1": r1}

    def generator_loss(self, drawn, y, augmentation):
        """Return E softplus(-D(G(z))), and w `[rows, latent_size]`."""
        w, fake = self.make(drawn, y)
        logits = self.judge(self.augment(fake, augmentation, self.p), y)
        return adversarial.non_saturating_generator_loss(logits), w

    def discriminator_loss(self, real, drawn, y, for_real, for_fake):
        """Return E softplus(D(G(z))) + E softplus(-D(x)), and reports."""
        _, fake = self.make(drawn, y)
        logits = (
            self.judge(self.augment(real, for_real, self.p), y),
            self.judge(self.augment(fake, for_fake, self.p), y),
        )
        loss = adversarial.minimax_discriminator_loss(*logits)
        return loss, {
            "discriminator_loss": loss,
            **health.of_judgement(*logits),
            **health.of_samples(real, fake),
        }

    def path_length_loss(self, drawn, y, pixels):
        """Return interval * weight * E (length - a)^2, (that mean, the lengths)."""
        _, w = self.styles(drawn, y)
        lengths = penalties.path_lengths(
            lambda w: self.generator.synthesis([w, drawn[2]]), w, pixels
        )
        penalty = tf.reduce_mean(tf.square(lengths - self.mean_path_length(lengths)))
        weight = self.config.path_every * self.config.path_weight
        return weight * penalty, (penalty, lengths)

    def r1_loss(self, real, y, augmentation):
        """Return interval * gamma / 2 * E |grad_x D(x)|^2, and that mean."""
        r1 = penalties.r1(
            lambda x: self.judge(self.augment(x, augmentation, self.p), y), real
        )
        return 0.5 * self.config.r1_every * self.config.r1_weight * r1, r1

    def mean_path_length(self, lengths):
        """Return a after an update of these lengths."""
        mean = tf.reduce_mean(lengths)
        return mean + _PATH_DECAY * (self.path_length.value - mean)

    def augment(self, images, drawn, p):
        """Return what the discriminator sees of images; here: the images."""
        return images

    def augment_noise(self, purpose, rows):
        """Return the randomness of `augment`, tensors `[rows, ...]`; here: none."""
        return ()

    def mirrored(self, batch):
        """Return the batch, with `mirror` some of its images mirrored."""
        if not self.config.mirror:
            return batch
        uniforms = self.noise("mirror", batch["image"].shape[0], [3], "uniform")
        return {**batch, "image": random_view(batch["image"], uniforms, flip=True)}

    def rows_of(self, batch):
        """Return a replica's rows; remembers the images of a step, for the average."""
        rows = batch["image"].shape[0]
        self.images_per_step = rows * self.distribute_strategy.num_replicas_in_sync
        return rows

    def average_decay(self):
        """Return the weight of the past in the generator's moving average."""
        half_life, ramp = self.config.average_images, self.config.average_ramp
        return ema.decay(self.images_per_step, half_life, ramp, self.step.value)

    def draw(self, purpose, rows):
        """Draw what images are made of: two z, where the second takes over, noise."""
        return (
            self.noise(f"{purpose}_z", rows, [2, self.generator.latent_size]),
            self.noise(f"{purpose}_mixing", rows, [2], "uniform"),
            self.noise(f"{purpose}_noise", rows, [self.generator.noise_size]),
        )

    def one_hot(self, batch):
        """Return [y], or [] without labels."""
        labels = [batch["label"]] if self.config.labels else []
        return [tf.one_hot(label, self.spec.num_classes) for label in labels]

    def judge(self, images, y):
        """Return logits `[rows, 1]`."""
        return self.discriminator([images, *y] if y else images, training=True)

    def make(self, drawn, y):
        """Return w of the first z `[rows, latent_size]`, and images."""
        first, w = self.styles(drawn, y)
        return first, self.generator.synthesis([w, drawn[2]], training=True)

    def styles(self, drawn, y):
        """Return w of the first z, and the copies of both w."""
        z, mixing, _ = drawn
        first, second = (self.generator.to_w(z[:, n], y) for n in (0, 1))
        return first, self.generator.mix(first, second, mixing, self.config.mixing)

    def sample(self, num, seed=0, first=0, truncation=1.0):
        """Return `num` images in [-1, 1]; row i is a function of (seed, first + i).

        With `labels` of the classes in turn, as `sample_labels(num, first)` says.

        Args:
            num: Images.
            seed: Of latents and noise.
            first: Number of the first row.
            truncation: psi of `style.Generator.truncate`.
        """
        generator = self.generator_ema
        z, drawn = (
            noise.normal(seed, 0, purpose, num, [size], first)
            for purpose, size in (
                ("sample", generator.latent_size),
                ("sample_noise", generator.noise_size),
            )
        )
        label = [self._labels_of_samples(num, first)] if self.config.labels else []
        w = self.generator_ema.truncate(self.map(z, *label), truncation)
        return self.synthesize(w, drawn)

    def _labels_of_samples(self, num, first=0):
        return (first + tf.range(num)) % self.spec.num_classes

    def generate(self, z, truncation=1.0, label=None):
        """Return images of z `[rows, latent_size]`, with fixed noise."""
        w = self.map(z) if label is None else self.map(z, label)
        return self.synthesize(self.generator_ema.truncate(w, truncation))

    def map(self, z, label=None):
        """Return w of z, a copy for each layer: `[rows, copies, latent_size]`.

        Rows of two z, the copies up to a layer of one and from there on of the other,
        make a mixture of styles.
        """
        y = [] if label is None else [tf.one_hot(label, self.spec.num_classes)]
        w = self.generator_ema.to_w(tf.convert_to_tensor(z), y)
        return tf.tile(w[:, tf.newaxis], [1, self.generator_ema.copies, 1])

    def synthesize(self, w, drawn=None):
        """Return images of w `[rows, copies, latent_size]`.

        Args:
            w: What `map` returns, or copies that differ.
            drawn: Standard normal noise `[rows, noise_size]`; None: the same fixed
                one for all.
        """
        generator = self.generator_ema
        w = tf.convert_to_tensor(w)
        if drawn is None:
            fixed = noise.normal(0, 0, "fixed_noise", 1, [generator.noise_size])
            drawn = tf.tile(fixed, [tf.shape(w)[0], 1])
        return generator.synthesis([w, drawn], training=False)

    def endpoints(self):
        """Return sample(num, seed, truncation), generate, map, synthesize."""
        size, copies = self.generator_ema.latent_size, self.generator_ema.copies
        psi = tf.TensorSpec([], name="truncation")
        z = tf.TensorSpec([None, size], name="z")
        w = tf.TensorSpec([None, copies, size], name="w")
        label = [tf.TensorSpec([None], tf.int64, name="label")] * self.config.labels
        return {
            "sample": (
                lambda num, seed, psi: self.sample(num, seed, truncation=psi),
                [*SAMPLE_ARGUMENTS, psi],
            ),
            "generate": (self.generate, [z, psi, *label]),
            "map": (self.map, [z, *label]),
            "synthesize": (self.synthesize, [w]),
        }
