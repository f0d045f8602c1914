"""Generating videos with scene dynamics (Vondrick, Pirsiavash and Torralba 2016).

    G(z) = m(z) * f(z) + (1 - m(z)) * b(z),     z ~ N(0, I)

A clip is a moving foreground f before one still image b, mixed by a mask m in (0, 1)
for every pixel and frame. The discriminator has two logits, of real and of fake, under
a softmax; with s their difference its cross-entropies are

    D:  E softplus(-s(x)) + E softplus(s(G(z)))
    G:  E softplus(-s(G(z))) + w mean |m(z)|

the last a mean over all values of the mask, so that what can stand still does.
`video_gan_one_stream` is f alone, without mask and penalty. `video_gan_future` sees the
first frame x_0 in the place of z, as the released code does (the paper says that it
encodes the frame into z): no penalty, but w_0 mean |G(x_0)_0 - x_0|.

Departures: the generator's update sees the discriminator after its own (the code
reuses scores from before it); moving averages of batch statistics, with momentum 0.9,
serve sampling. Both updates use the same z, as in the code, and batch statistics, real
and fake rows apart. The generator's statistics move in both updates. Not published, and
0 by default: R1, half of `r1_weight` E ||grad_x s(x)||^2 in the discriminator's loss.

Under replicas statistics are those of a replica's rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.losses import adversarial, health, penalties
from tfgen.networks import video


@dataclasses.dataclass(frozen=True)
class ClipConfig(Config):
    """The defaults are the published sizes and settings."""

    image_size: int = option(64, "side in pixels, 0 = the data's", at_least=0)
    frames: int = option(32, "of a clip, 0 = the data's", at_least=0)
    channels: int = option(64, "generator's feature maps at half size", at_least=1)
    judge_channels: int = option(64, "discriminator's, likewise", at_least=1)
    r1_weight: float = option(0.0, "of E ||grad D(real)||^2 / 2", at_least=0)
    learning_rate: float = option(2e-4, "Adam, both networks", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )


@dataclasses.dataclass(frozen=True)
class OneStreamConfig(ClipConfig):
    """Of a generator that starts from noise."""

    latent_size: int = option(100, "length of z", at_least=1)


@dataclasses.dataclass(frozen=True)
class VideoGANConfig(OneStreamConfig):
    """And has two streams."""

    mask_weight: float = option(0.1, "w, of the mean mask", at_least=0)
    mask_logit: float = option(0.0, "of the mask at the start, 0 as published")


@dataclasses.dataclass(frozen=True)
class FutureConfig(ClipConfig):
    """Of a generator that starts from a frame."""

    channels: int = option(128, "generator's feature maps at half size", at_least=1)
    judge_channels: int = option(128, "discriminator's, likewise", at_least=1)
    frame_weight: float = option(10.0, "w_0, of the first frame's error", at_least=0)


SMALL = {
    "image_size": 0,
    "frames": 0,
    "channels": 16,
    "judge_channels": 16,
    "r1_weight": 2.0,  # without one the discriminator wins within 1,000 steps
    "learning_rate": 1e-3,
    "average_decay": 0.99,
}
TINY = {
    "image_size": 0,
    "frames": 0,
    "r1_weight": 0.1,
    "channels": 2,
    "judge_channels": 2,
    "learning_rate": 1e-3,
    "average_decay": 0.9,
}
OF_NOISE = {"paper": {}, "small": SMALL, "tiny": {**TINY, "latent_size": 4}}


class ClipGAN(GenerativeModel):
    """One step: the discriminator, then the generator, from what both are `given`.

    Args:
        config: `ClipConfig`.
        spec: clips `video` `[frames, side, side, c]` in [-1, 1].
        generator: what is given `[rows, ...]` -> clips, or a list that starts with
            them.
        discriminator: clips -> logits of real and of fake `[rows, 2]`.
    """

    reports_health = True

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator=generator, discriminator=discriminator)

    @classmethod
    def create(cls, config, spec):
        """Build both networks for the clips of `spec`."""
        spec = spec.for_videos(
            "video_gan",
            low=-1.0,
            high=1.0,
            size=config.image_size,
            frames=config.frames,
        )
        shape = spec.video.shape
        judge = video.discriminator(shape, config.judge_channels)
        model = cls(config, spec, cls.make_generator(config, shape), judge)
        if config.average_decay:
            twin = cls.make_generator(config, shape)
            model.average("generator", twin, config.average_decay)
        return model

    @staticmethod
    def make_generator(config, shape):
        """Return the generator of clips of `shape`."""
        raise NotImplementedError

    def default_optimizers(self):
        """Adam(2e-4, beta_1 = 0.5) for both."""
        rate = self.config.learning_rate
        return {
            f"{name}_optimizer": keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)
            for name in ("discriminator", "generator")
        }

    def train_step(self, batch):
        """One update of each."""
        real = batch["video"]
        given = self.given(real, "z")
        _, judgement = self.descend(
            self.discriminator_loss,
            self.discriminator,
            self.discriminator_optimizer,
            real,
            given,
        )
        _, reports = self.descend(
            self.generator_loss, self.generator, self.generator_optimizer, given
        )
        return self.track(**judgement, **reports)

    def test_step(self, batch):
        """Return the discriminator's loss on held-out clips."""
        real = batch["video"]
        fake = self.decode(self.given(real, "test_z"))
        logits = self.judge(real, training=False), self.judge(fake, training=False)
        loss = adversarial.minimax_discriminator_loss(*logits)
        return self.track(discriminator_loss=loss)

    def given(self, real, purpose):
        """Return what the generator starts from, for as many rows."""
        raise NotImplementedError

    def make(self, given):
        """Return clips and {part: tensor} in training."""
        found = self.generator(given, training=True)
        return _clips_and_parts(found)

    def judge(self, clips, training=True):
        """Return s = logit of real - logit of fake, `[rows, 1]`."""
        logits = self.discriminator(clips, training=training)
        return logits[:, :1] - logits[:, 1:]

    def discriminator_loss(self, real, given):
        """Return the sum of both cross-entropies with the penalty, and reports."""
        fake, _ = self.make(given)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(real)
            of_real = self.judge(real)
        logits = of_real, self.judge(fake)
        loss = adversarial.minimax_discriminator_loss(*logits)
        reports = {
            "discriminator_loss": loss,
            **health.of_judgement(*logits),
            **health.of_samples(real, fake),
            **health.of_motion(real, fake),
        }
        if weight := self.config.r1_weight:
            slope = tape.gradient(of_real, real)
            reports["r1"] = penalties.mean_squared_norm(slope)
            loss += 0.5 * weight * reports["r1"]
        return loss, reports

    def generator_loss(self, given):
        """Return what the generator minimises, and reports."""
        clips, parts = self.make(given)
        loss = adversarial.non_saturating_generator_loss(self.judge(clips))
        reports = self.penalties(given, clips, parts)
        loss += sum(weight * value for weight, value in reports.values())
        values = {name: value for name, (_, value) in reports.items()}
        return loss, {"generator_loss": loss, **values}

    def penalties(self, given, clips, parts):
        """Return {name: (weight, value)} that the generator minimises besides."""
        return {}

    def decode(self, given):
        """Return the clips of latents, or of first frames, `[rows, ...]`."""
        return _clips_and_parts(self._sampler(given, training=False))[0]

    def score(self, videos):
        """Return s of clips, `[rows]`: above 0 they look real."""
        return self.judge(videos, training=False)[:, 0]

    def endpoints(self):
        """Return score(videos)."""
        videos = tf.TensorSpec([None, *self.spec.video.shape], name="videos")
        return {"score": (self.score, [videos])}

    @property
    def _sampler(self):
        return getattr(self, "generator_ema", self.generator)


class OneStreamVideoGAN(ClipGAN):
    """The baseline: every pixel of every frame comes from one stream."""

    Config = OneStreamConfig
    PRESETS = OF_NOISE

    @staticmethod
    def make_generator(config, shape):
        """Return z -> clips."""
        return video.generator(config.latent_size, shape, config.channels, streams=1)

    def given(self, real, purpose):
        """Draw z of this step, `[rows, latent_size]`."""
        return self.noise(purpose, real.shape[0], [self.config.latent_size])

    def sample(self, num, seed=0, first=0):
        """Return `num` clips; row i is a function of (seed, first + i)."""
        return self.decode(self.prior(num, seed, first))

    def prior(self, num, seed=0, first=0):
        """Return the latents z `[num, latent_size]` that `sample` decodes."""
        size = [self.config.latent_size]
        return noise.normal(seed, 0, "sample", num, size, first)

    def endpoints(self):
        """Return sample(num, seed), prior(num, seed), decode(z), score(videos)."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "prior": (self.prior, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
            **super().endpoints(),
        }


class VideoGAN(OneStreamVideoGAN):
    """Two streams and a mask.

    Args:
        config: `VideoGANConfig`.
        spec: clips `video` `[frames, side, side, c]` in [-1, 1].
        generator: z -> [clips, foreground, mask, background].
        discriminator: clips -> logits of real and of fake `[rows, 2]`.
    """

    Config = VideoGANConfig
    PRESETS = {
        **OF_NOISE,
        # Little training: a mask that starts nearly shut leaves still parts to b.
        "small": {**SMALL, "mask_logit": -3.0},
    }

    @staticmethod
    def make_generator(config, shape):
        """Return z -> [clips, foreground, mask, background]."""
        return video.generator(
            config.latent_size, shape, config.channels, mask_logit=config.mask_logit
        )

    def penalties(self, given, clips, parts):
        """Return the mean of the mask, over all its values, with its weight."""
        mean = tf.reduce_mean(tf.abs(parts["mask"]))
        return {"mask": (self.config.mask_weight, mean)}

    def streams(self, z):
        """Return clips and their parts: foreground, mask, background."""
        clips, parts = _clips_and_parts(self._sampler(z, training=False))
        return {"videos": clips, **parts}

    def endpoints(self):
        """Return those of one stream and streams(z)."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        return {**super().endpoints(), "streams": (self.streams, [z])}


class FutureVideoGAN(ClipGAN):
    """What comes next: the clip of a first frame.

    Args:
        config: `FutureConfig`.
        spec: clips `video` `[frames, side, side, c]` in [-1, 1].
        generator: first frames -> [clips, foreground, mask, background].
        discriminator: clips -> logits of real and of fake `[rows, 2]`.
    """

    Config = FutureConfig
    PRESETS = {
        "paper": {},
        # At a faster rate the first frame is lost again.
        "small": {**SMALL, "channels": 32, "learning_rate": 2e-4},
        "tiny": TINY,
    }

    @staticmethod
    def make_generator(config, shape):
        """Return first frames -> [clips, foreground, mask, background]."""
        return video.future_generator(shape, config.channels)

    def given(self, real, purpose):
        """Return the first frames."""
        return real[:, 0]

    def penalties(self, given, clips, parts):
        """Return the mean absolute error of the first frame, with its weight."""
        error = tf.reduce_mean(tf.abs(clips[:, 0] - given))
        return {"first_frame": (self.config.frame_weight, error)}

    def predict_clips(self, images):
        """Return the clips that first frames `[rows, side, side, c]` begin.

        `predict` is Keras' own.
        """
        return self.decode(images)

    def streams(self, images):
        """Return clips and their parts: foreground, mask, background."""
        clips, parts = _clips_and_parts(self._sampler(images, training=False))
        return {"videos": clips, **parts}

    def endpoints(self):
        """Return predict(images), streams(images), score(videos)."""
        images = tf.TensorSpec([None, *self.spec.video.shape[1:]], name="images")
        return {
            "predict": (self.predict_clips, [images]),
            "streams": (self.streams, [images]),
            **super().endpoints(),
        }


def _clips_and_parts(outputs):
    """Return clips and {part: tensor} of what a generator returns."""
    if not isinstance(outputs, list):
        return outputs, {}
    clips, *parts = outputs
    return clips, dict(zip(("foreground", "mask", "background"), parts, strict=True))
