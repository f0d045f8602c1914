"""Clips from sentences by a conditional GAN: the baselines of Li et al. 2018.

    L_D = -log D(v, t) - log(1 - D(G, t))                                     dt2v
    L_D = -log D(v, t) - (log(1 - D(v, t')) + log(1 - D(G, t))) / 2           pt2v
    L_G = -log D(G, t),    G = G(t, n)

with a real clip v, its sentence t, another sentence t', noise n and the two-stream
generator of `video_gan`. Not in the paper, and 0 by default: in L_D R1, half of
`r1_weight` E ||grad_v D(v, t)||^2, and in L_G the video GAN's `mask_weight` times the
mean mask. `dt2v` never sees a wrong pair. `gt2v` and `text2video`, which
build on these, are in `text2video.py`; the departures noted there are these models'
too.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.losses import adversarial, health, penalties
from tfgen.models.captioned import Captioned, clips_with_sentences
from tfgen.networks import gist as networks


@dataclasses.dataclass(frozen=True)
class DirectConfig(Config):
    """Of the video GAN; the defaults are the paper's where it gives them."""

    image_size: int = option(64, "side in pixels, 0 = the data's", at_least=0)
    frames: int = option(32, "of a clip, 0 = the data's", at_least=0)
    sentence: str = option("gru", "its encoder", choices=("gru", "bigrams"))
    sentence_size: int = option(4800, "of the vector of bigrams", at_least=1)
    text_size: int = option(256, "of psi(t), even", at_least=2)
    code_size: int = option(512, "judged: features and psi; encoded gist", at_least=2)
    noise_size: int = option(100, "of n", at_least=1)
    channels: int = option(64, "generator's feature maps at half size", at_least=1)
    judge_channels: int = option(64, "discriminator's, likewise", at_least=1)
    mask_weight: float = option(
        0.0, "of the mean mask in the generator's loss, 0 as published", at_least=0
    )
    mask_logit: float = option(0.0, "of the mask at the start, 0 as published")
    r1_weight: float = option(0.0, "of E ||grad D(real, t)||^2 / 2", at_least=0)
    learning_rate: float = option(2e-4, "Adam, beta_1 0.5, of the GAN", above=0)
    average_decay: float = option(
        0.0, "of the generator's moving average a step, 0 = none", at_least=0, at_most=1
    )

    def __post_init__(self):
        super().__post_init__()
        if self.text_size % 2:
            raise BadInput(f"hparam text_size={self.text_size} must be even")


SMALL = {
    "image_size": 0,
    "frames": 0,
    "sentence": "bigrams",
    "sentence_size": 512,
    "text_size": 64,
    "code_size": 192,
    "noise_size": 32,
    "channels": 16,
    "judge_channels": 16,
    "mask_weight": 0.1,  # these two as the video GAN's
    "mask_logit": -3.0,
    "r1_weight": 4.0,  # without one the discriminator wins
    "learning_rate": 5e-4,
    "average_decay": 0.99,
}
TINY = {
    "image_size": 0,
    "frames": 0,
    "r1_weight": 0.1,
    "sentence": "bigrams",
    "sentence_size": 8,
    "text_size": 4,
    "code_size": 8,
    "noise_size": 4,
    "channels": 2,
    "judge_channels": 2,
    "learning_rate": 1e-3,
    "average_decay": 0.9,
}


class DirectText2Video(Captioned):
    """`dt2v`: a conditional GAN. One step: the discriminator, then the generator.

    Args:
        config: `DirectConfig`.
        spec: `video` `[frames, side, side, c]` in [-1, 1], `tokens`, `sentence`.
        generator: [tokens, noise] -> [clips, foreground, mask, background].
        judge: `text.Judge` of clips.
        **others: Further networks.
    """

    Config = DirectConfig
    GENERATOR = staticmethod(networks.direct_generator)
    PRESETS = {"paper": {}, "small": SMALL, "tiny": TINY}

    def __init__(self, config, spec, generator, judge, **others):
        super().__init__(
            config, spec, generator=generator, discriminator=judge.network, **others
        )
        self._judge = judge

    @classmethod
    def create(cls, config, spec):
        """Build all networks for the clips and sentences of `spec`."""
        spec = clips_with_sentences(
            spec, "text2video", config.image_size, config.frames
        )
        sizes = config, spec.video.shape, spec.features["tokens"]
        model = cls(
            config,
            spec,
            cls.GENERATOR(*sizes),
            networks.judge(*sizes),
            **cls.further(*sizes),
        )
        if config.average_decay:
            model.average("generator", cls.GENERATOR(*sizes), config.average_decay)
        return model

    @classmethod
    def further(cls, config, shape, tokens):
        """Return networks beside generator and judge, by name."""
        return {}

    def default_optimizers(self):
        """Adam of beta_1 = 0.5 for both."""
        rate = self.config.learning_rate
        return {
            f"{name}_optimizer": keras.optimizers.Adam(rate, beta_1=0.5)
            for name in ("discriminator", "generator")
        }

    def train_step(self, batch):
        """One update of each."""
        judgement = self.judgement_step(batch)
        _, reports = self.descend(
            self.generator_loss,
            self.generator,
            self.generator_optimizer,
            batch["tokens"],
            *self.latents("generator", batch),
        )
        return self.track(**judgement, **reports)

    def judgement_step(self, batch):
        """The discriminator's update; returns reports."""
        _, judgement = self.descend(
            self.discriminator_loss,
            self.discriminator,
            self.discriminator_optimizer,
            batch["video"],
            batch["tokens"],
            self.other_sentences("other", batch["sentence"]),
            *self.latents("discriminator", batch),
        )
        return judgement

    def test_step(self, batch):
        """Return the discriminator's loss on held-out clips."""
        others = self.other_sentences("test_other", batch["sentence"])
        made = self.latents("test", batch)
        _, reports = self.discriminator_loss(
            batch["video"], batch["tokens"], others, *made, training=False
        )
        return self.track(discriminator_loss=reports["discriminator_loss"])

    def latents(self, purpose, batch):
        """Draw all latents of this step's clips."""
        return [
            self.noise(f"{purpose}/{name}", batch["tokens"].shape[0], [size])
            for name, size in self.latent_sizes().items()
        ]

    def latent_sizes(self):
        """Return {latent: its length}."""
        return {"noise": self.config.noise_size}

    def discriminator_loss(self, clips, tokens, others, *latents, training=True):
        """Return the discriminator's loss with its penalty, and reports."""
        made = self.make(tokens, latents, training)["videos"]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(clips)
            seen = self._judge.features(clips, training=training)
            real = self._judge.judge(seen, [tokens], training=training)
        imagined = self._judge.features(made, training=training)
        fake = self._judge.judge(imagined, [tokens], training=training)
        other = self._judge.judge(seen, [others], training=training)
        loss = self.separation(real, other, fake)
        refused = tf.reduce_mean(tf.cast(other < 0, tf.float32))
        reports = {
            "discriminator_loss": loss,
            "health/other_accuracy": refused,
            **health.of_judgement(real, fake),
            **health.of_samples(clips, made),
        }
        if weight := self.config.r1_weight:
            reports["r1"] = penalties.mean_squared_norm(tape.gradient(real, clips))
            loss += 0.5 * weight * reports["r1"]
        return loss, reports

    def separation(self, real, other, fake):
        """Return the cross-entropy of real pairs against generated ones."""
        return adversarial.minimax_discriminator_loss(real, fake)

    def generator_loss(self, tokens, *latents):
        """Return the generator's loss, and reports."""
        return self.deception(tokens, self.make(tokens, latents, training=True))

    def deception(self, tokens, made):
        """Return the loss of clips that `make` made, with the mask's, and reports."""
        features = self._judge.features(made["videos"])
        logits = self._judge.judge(features, [tokens])
        mask = tf.reduce_mean(made["mask"])
        loss = adversarial.non_saturating_generator_loss(logits)
        loss += self.config.mask_weight * mask
        return loss, {"generator_loss": loss, "mask": mask}

    def make(self, tokens, latents, training):
        """Return {"videos", "foreground", "mask", "background"} of sentences."""
        return self.streams_of([tokens, *latents], training)

    def streams_of(self, inputs, training):
        """Return the generator's outputs by name."""
        network = self.generator if training else self._sampler
        names = ("videos", "foreground", "mask", "background")
        return dict(zip(names, network(inputs, training=training), strict=True))

    def generate(self, tokens, seed=0, first=0):
        """Return clips of sentences, tokens `[rows, words]`, in [-1, 1].

        The noise of row i is a function of (seed, first + i).
        """
        return self.parts(tokens, seed, first)["videos"]

    def sample_parts(self, num, seed=0, first=0):
        """Return the clips of `sample` and what they are made of."""
        return self.parts(self.in_turn(num, first), seed, first)

    def parts(self, tokens, seed=0, first=0):
        """Return the clips of `generate` and what they are made of."""
        tokens = tf.convert_to_tensor(tokens)
        latents = [
            noise.normal(seed, 0, f"sample/{name}", tf.shape(tokens)[0], [size], first)
            for name, size in self.latent_sizes().items()
        ]
        return self.make(tokens, latents, training=False)

    @property
    def _sampler(self):
        return getattr(self, "generator_ema", self.generator)


class PairedText2Video(DirectText2Video):
    """`pt2v`: the discriminator sees real clips with other sentences too."""

    def separation(self, real, other, fake):
        """Return the cross-entropy of real pairs against both kinds of wrong ones."""
        wrong = tf.concat([other, fake], axis=0)  # of equal number: the mean of both
        return adversarial.minimax_discriminator_loss(real, wrong)
