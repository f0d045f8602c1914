"""CycleGAN: unpaired image-to-image translation (Zhu, Park, Isola and Efros 2017).

G maps domain A, the source, to B, the target; F maps B to A; D_B and D_A judge:

    min_{G, F}  E (D_B(G(a)) - 1)^2 + E (D_A(F(b)) - 1)^2
                + w (E |F(G(a)) - a| + E |G(F(b)) - b|)
                + w v (E |G(b) - b| + E |F(a) - a|)
    min_D       (E (D(x) - 1)^2 + E D(x')^2) / 2

with x' from a history of 50 generated images and all norms L1 a pixel. Both generators
take one step together, then both discriminators, as in the authors' PyTorch code, whose
settings are the default; in their Torch code, the paper's, each network takes a step of
its own, which starts from the same gradients at equal parameters. Preset `torch` has
its other points: discriminators padded by 2, scaled normalisation, no biases. Its
discriminators' loss lacks the half, which Adam all but cancels.

Losses are means over rows and normalisation is of each image, so N replicas of B rows
equal one device with N * B, as long as the pools are not full: each replica has pools
of its own, and N replicas remember N times as many images.

Of an image that is paler a generator knows nothing: G(c x + d) = G(x) for numbers c > 0
and d, as its first norm takes both away. It guesses the contrast of what it makes, and
the colour of what fills an image. Not published: with `norm` layer, its norms are of
all channels at once, and it knows both.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import GenerativeModel
from tfgen.core.schedules import ConstantThenLinear
from tfgen.layers.image_pool import ImagePool
from tfgen.layers.instance_norm import InstanceNorm
from tfgen.layers.narrow_conv import NarrowConv2D
from tfgen.layers.views import random_view
from tfgen.losses import adversarial, cycle, health

TORCH = {"padding": 2, "norm_scale": True, "bias": False}


@dataclasses.dataclass(frozen=True)
class CycleGANConfig(Config):
    """The defaults are those for images of 256 pixels and horse2zebra's epochs."""

    image_size: int = option(286, "side in pixels, 0 = the data's", at_least=0)
    crop: int = option(256, "side of random squares, 0 = whole images", at_least=0)
    flip: bool = option(True, "mirror training images with probability 1/2")
    channels: int = option(64, "generators' feature maps at full size", at_least=1)
    blocks: int = option(9, "residual blocks, 6 for 128 pixels", at_least=0)
    norm: str = option(
        "instance",
        "of generators; layer: of all channels at once",
        choices=("instance", "layer"),
    )
    judge_channels: int = option(64, "discriminators' first feature maps", at_least=1)
    judge_layers: int = option(3, "convolutions of stride 2; 3: 70 pixels", at_least=1)
    padding: int = option(1, "of the discriminators' convolutions", at_least=0)
    norm_scale: bool = option(False, "normalisation with learned factor and offset")
    bias: bool = option(True, "convolutions with biases")
    cycle_weight: float = option(10.0, "w, of the cycle losses", at_least=0)
    identity_weight: float = option(0.5, "v, of the identity losses, in w", at_least=0)
    pool_size: int = option(50, "images of each history", at_least=1)
    learning_rate: float = option(2e-4, "Adam, beta_1 0.5", above=0)
    constant_steps: int = option(133_400, "updates at that rate", at_least=0)
    decay_steps: int = option(133_400, "further updates, down to 0", at_least=1)


class CycleGAN(GenerativeModel):
    """One step: both generators, then both discriminators.

    Args:
        config: `CycleGANConfig`.
        spec: `source` and `target` images `[h, w, c]` in [-1, 1], h and w multiples
            of 4 and at least 8.
        generator_ab: G, images of A `[rows, h, w, c]` of any such size -> of B.
        generator_ba: F, the other way.
        discriminator_a: images of A -> scores `[rows, p, q, 1]`, one a patch.
        discriminator_b: of B.
    """

    Config = CycleGANConfig
    PRESETS = {
        "paper": {},
        "torch": TORCH,
        "small": {
            "image_size": 0,
            "crop": 0,
            "channels": 24,
            "blocks": 3,
            "judge_channels": 32,
            "judge_layers": 2,
            "constant_steps": 1000,
            "decay_steps": 1000,
        },
        "tiny": {
            "image_size": 0,
            "crop": 0,
            "channels": 2,
            "blocks": 1,
            "judge_channels": 2,
            "judge_layers": 1,
            "learning_rate": 1e-3,
            "constant_steps": 4,
            "decay_steps": 4,
        },
    }
    reports_health = True

    def __init__(
        self,
        config,
        spec,
        generator_ab,
        generator_ba,
        discriminator_a,
        discriminator_b,
    ):
        height, width, channels = spec.image.shape
        shape = (config.crop or height, config.crop or width, channels)
        super().__init__(
            config,
            spec,
            generators=_both(generator_ab, generator_ba, "generators"),
            discriminators=_both(discriminator_a, discriminator_b, "discriminators"),
            pool_a=ImagePool(config.pool_size, shape),
            pool_b=ImagePool(config.pool_size, shape),
        )
        self.generator_ab, self.generator_ba = generator_ab, generator_ba
        self.discriminator_a = discriminator_a
        self.discriminator_b = discriminator_b

    @classmethod
    def create(cls, config, spec):
        """Build the four networks for two domains of images of one kind."""
        data = spec
        spec = spec.for_domains("cyclegan", low=-1.0, high=1.0, size=config.image_size)
        if config.crop:
            _check_growth(config, data)
        height, width, channels = spec.image.shape
        _check_sizes(config, height, width)
        return cls(
            config,
            spec,
            generator(config, channels),
            generator(config, channels),
            discriminator(config, channels),
            discriminator(config, channels),
        )

    @property
    def endpoint_spec(self):
        """Whole images, of the size that training cuts from larger ones."""
        return self.spec.for_domains(
            self.spec.name, low=-1.0, high=1.0, size=self.config.crop
        )

    def default_optimizers(self):
        """Adam, its rate constant and then falling to 0."""
        config = self.config

        def adam():
            rate = ConstantThenLinear(
                config.learning_rate, config.constant_steps, config.decay_steps
            )
            return keras.optimizers.Adam(rate, beta_1=0.5)

        return {"generators_optimizer": adam(), "discriminators_optimizer": adam()}

    def train_step(self, batch):
        """Both generators, then both discriminators on images of the history."""
        a, b = self.view(batch["source"], "a"), self.view(batch["target"], "b")
        _, (reports, fake_a, fake_b) = self.descend(
            self.generators_loss, self.generators, self.generators_optimizer, a, b
        )
        coins = [self.noise(f"pool_{x}", a.shape[0], [2], "uniform") for x in "ab"]
        _, judgement = self.descend(
            self.discriminators_loss,
            self.discriminators,
            self.discriminators_optimizer,
            a,
            b,
            self.pool_a.exchange(fake_a, coins[0]),
            self.pool_b.exchange(fake_b, coins[1]),
        )
        return self.track(**reports, **judgement, **health.of_samples(b, fake_b))

    def test_step(self, batch):
        """Return the generators' losses on held-out images, cut at random too."""
        a, b = self.view(batch["source"], "a"), self.view(batch["target"], "b")
        _, (reports, _, _) = self.generators_loss(a, b)
        return self.track(**reports)

    def view(self, images, domain):
        """Return random squares of the images, some of them mirrored."""
        uniforms = self.noise(f"view_{domain}", images.shape[0], [3], "uniform")
        return random_view(images, uniforms, self.config.crop, self.config.flip)

    def generators_loss(self, a, b):
        """Return the generators' loss, and (reports, F(b), G(a))."""
        share = self.config.identity_weight
        if share:  # Rows do not meet in a network: one pass of two batches costs less.
            fake_b, same_b = _together(self.generator_ab, a, b)
            fake_a, same_a = _together(self.generator_ba, b, a)
        else:
            fake_b, fake_a = self.generator_ab(a), self.generator_ba(b)
        parts = {
            # (D - 1)^2, without the half of Mao et al.
            "adversarial_loss": 2.0
            * (
                adversarial.least_squares_generator_loss(self.discriminator_b(fake_b))
                + adversarial.least_squares_generator_loss(self.discriminator_a(fake_a))
            ),
            "cycle_loss": cycle.cycle_loss(a, self.generator_ba(fake_b))
            + cycle.cycle_loss(b, self.generator_ab(fake_a)),
        }
        weight = self.config.cycle_weight
        loss = parts["adversarial_loss"] + weight * parts["cycle_loss"]
        if share:
            parts["identity_loss"] = cycle.cycle_loss(b, same_b) + cycle.cycle_loss(
                a, same_a
            )
            loss += weight * share * parts["identity_loss"]
        return loss, ({"generator_loss": loss, **parts}, fake_a, fake_b)

    def discriminators_loss(self, a, b, fake_a, fake_b):
        """Return the sum of the discriminators' losses, and reports."""
        scores_a = _together(self.discriminator_a, a, fake_a)
        scores_b = _together(self.discriminator_b, b, fake_b)
        loss_a, loss_b = (
            adversarial.least_squares_discriminator_loss(*scores)
            for scores in (scores_a, scores_b)
        )
        # Real is 1 and fake 0: the side of 1/2 decides.
        logits = [
            tf.concat([tf.reshape(2.0 * x - 1.0, [-1]) for x in scores], axis=0)
            for scores in zip(scores_a, scores_b, strict=True)
        ]
        reports = {
            "discriminator_loss": 0.5 * (loss_a + loss_b),
            "discriminator_a_loss": loss_a,
            "discriminator_b_loss": loss_b,
        }
        return loss_a + loss_b, {**reports, **health.of_judgement(*logits)}

    def translate_ab(self, images):
        """Return {"images": G(images)}; sides are any multiples of 4 from 8 on."""
        return {"images": self.generator_ab(images)}

    def translate_ba(self, images):
        """Return {"images": F(images)}."""
        return {"images": self.generator_ba(images)}

    def cycle(self, images):
        """Return there and back again of images of A: G(a) and F(G(a))."""
        translated = self.generator_ab(images)
        return {"translated": translated, "cycled": self.generator_ba(translated)}

    def endpoints(self):
        """Return translate_ab, translate_ba and cycle, each of images."""
        channels = self.spec.image.shape[-1]
        images = [tf.TensorSpec([None, None, None, channels], name="images")]
        return {
            "translate_ab": (self.translate_ab, images),
            "translate_ba": (self.translate_ba, images),
            "cycle": (self.cycle, images),
        }


def generator(config, channels):
    """Return the residual translator, images `[rows, h, w, channels]` of any size."""
    layer = _layers(config)
    images = keras.Input([None, None, channels], name="images")
    x = layer(keras.layers.Conv2D, config.channels, 7)(_reflect(images, 3))
    x = _normalised(config, x)
    for depth in (2, 4):
        x = keras.layers.ZeroPadding2D(1)(x)
        x = layer(keras.layers.Conv2D, depth * config.channels, 3, strides=2)(x)
        x = _normalised(config, x)
    for _ in range(config.blocks):
        y = layer(keras.layers.Conv2D, 4 * config.channels, 3)(_reflect(x, 1))
        y = _normalised(config, y)
        y = layer(keras.layers.Conv2D, 4 * config.channels, 3)(_reflect(y, 1))
        x = x + _norm(config)(y)
    for depth in (2, 1):
        deconvolution = keras.layers.Conv2DTranspose
        x = layer(deconvolution, depth * config.channels, 3, strides=2)(x)
        # 2 n + 1 pixels less the first: PyTorch's padding and output padding of 1.
        x = _normalised(config, keras.layers.Cropping2D([[1, 0], [1, 0]])(x))
    x = layer(NarrowConv2D, channels, 7)(_reflect(x, 3))
    images_out = keras.layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(images, images_out)


def discriminator(config, channels):
    """Return the PatchGAN: images -> scores of overlapping patches."""
    layer = _layers(config)
    images = x = keras.Input([None, None, channels], name="images")
    strides = [2] * config.judge_layers + [1]
    for depth, stride in enumerate(strides):
        width = config.judge_channels * min(2**depth, 8)
        x = keras.layers.ZeroPadding2D(config.padding)(x)
        x = layer(keras.layers.Conv2D, width, 4, strides=stride)(x)
        x = InstanceNorm(config.norm_scale)(x) if depth else x
        x = keras.layers.LeakyReLU(0.2)(x)
    x = keras.layers.ZeroPadding2D(config.padding)(x)
    scores = layer(keras.layers.Conv2D, 1, 4, dtype="float32")(x)
    return keras.Model(images, scores)


def _layers(config):
    """Return a function making a layer with the paper's start, N(0, 0.02)."""

    def layer(kind, *args, **kwargs):
        start = keras.initializers.RandomNormal(0.0, 0.02)
        return kind(*args, use_bias=config.bias, kernel_initializer=start, **kwargs)

    return layer


def _reflect(x, pixels):
    around = [pixels, pixels]
    return keras.ops.pad(x, [[0, 0], around, around, [0, 0]], mode="reflect")


def _normalised(config, x):
    return keras.layers.ReLU()(_norm(config)(x))


def _norm(config):
    return InstanceNorm(config.norm_scale, whole=config.norm == "layer")


def _together(network, *batches):
    """Return the network's results of equal batches, of one pass."""
    return tf.split(network(tf.concat(batches, axis=0)), len(batches), axis=0)


def _both(one, other, name):
    """Return two networks as one, which one optimizer trains."""
    inputs = [keras.Input(network.input.shape[1:]) for network in (one, other)]
    return keras.Model(inputs, [one(inputs[0]), other(inputs[1])], name=name)


def _check_growth(config, data):
    """Refuse images that would be padded to the size of which squares are cut."""
    for name in ("source", "target"):
        height, width, _ = data.features[name].shape
        if min(height, width) < config.image_size:
            raise BadInput(
                f"hparam crop={config.crop} cuts squares of images of image_size="
                f"{config.image_size}, but those of the {name} are {height}x{width}: "
                f"load the data with image_size={config.image_size}"
            )


def _check_sizes(config, height, width):
    crop_height, crop_width = config.crop or height, config.crop or width
    if crop_height > height or crop_width > width:
        raise BadInput(
            f"hparam crop={config.crop} is larger than the images, {height}x{width}"
        )
    size = f"{crop_height}x{crop_width}"
    # A quarter of 4 is a single pixel, which cannot be padded by reflection.
    if crop_height % 4 or crop_width % 4 or min(crop_height, crop_width) < 8:
        raise BadInput(
            f"images of {size} do not fit: height and width must be multiples of 4 "
            "from 8 on (set --hparam image_size=64, say)"
        )
    scores = min(crop_height, crop_width)
    for stride in [2] * config.judge_layers + [1, 1]:
        scores = (scores + 2 * config.padding - 4) // stride + 1
    if scores < 1:
        raise BadInput(
            f"images of {size} are too small for hparam judge_layers="
            f"{config.judge_layers}: it leaves no score"
        )
