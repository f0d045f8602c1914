"""Text-filter GAN: clips from sentences (Balaji, Min, Bai, Chellappa, Graf 2019).

A generator makes frames from noise, a sentence t and a GRU's code of each frame; one
discriminator judges frames, one the clip. Each convolves its own features, at two
depths, with filters that a network reads off the sentence. With a real clip v, its
sentence t, another sentence t' and a made clip G(t), each discriminator minimises

    BCE(D(v, t), 1) + (BCE(D(v, t'), 0) + BCE(D(G(t), t), 0)) / 2
        + w E ||grad_v D(v, t)||^2                        w = 10, without a half

and the generator BCE(D_frame(G(t), t), 1) + BCE(D_clip(G(t), t), 1). The penalty on
frames is of the sum of a clip's logits, by the whole clip. Sampling is by the moving
averages of the generator and of both text encoders.

The text encoder has two branches that share nothing: what a frame shows (content), read
by the frame discriminator, and how it moves. Each is trained by the discriminator that
reads it, with an optimizer of its own; the generator's update leaves both alone.

`small` departs from the paper: the frames' w falls exponentially, over the first steps,
to a twelfth; the generator's first maps are made at coordinates, a quarter of the side;
Adam has momentum, and discriminators the larger rate.

Departures: frozen random word vectors stand for GloVe's; weights start as is Keras'
habit, but for filters, which keep the variance of what they filter, and frames, which
are nearly grey. t' is another sentence, never the same one. Of longer clips `frames`
takes the same frames each time, evenly spaced in the middle, where the paper starts
anywhere. The paper averages the generator alone, and samples by encoders as they are.
Every term is a mean over rows, so N replicas of B rows equal one device with N * B
rows.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import SAMPLE_ARGUMENTS
from tfgen.losses import adversarial, health, penalties
from tfgen.models.captioned import Captioned, clips_with_sentences
from tfgen.networks import filtered, text

DEQUANTISATION = 1 / 128  # width of the uniform noise on real pixels
BRANCHES = {"frame": "content", "clip": "motion"}  # of the text, by who reads it


@dataclasses.dataclass(frozen=True)
class ConcatConfig(Config):
    """The defaults are those of the published Moving Shapes experiment."""

    image_size: int = option(0, "side in pixels, 0 = the data's", at_least=0)
    frames: int = option(0, "of a clip, 0 = the data's", at_least=0)
    latent_size: int = option(256, "of each noise, and of the GRU", at_least=1)
    channels: int = option(32, "discriminators' feature maps at full size", at_least=1)
    generator_channels: int = option(32, "generator's, likewise", at_least=1)
    clip_patch: int = option(
        1, "side of the squares the clip judge sees as pixels", at_least=1, at_most=2
    )
    coordinates: bool = option(False, "the generator's first maps are of coordinates")
    judge_size: int = option(128, "what each stage of a judge ends in", at_least=1)
    word_size: int = option(300, "of a word's vector", at_least=1)
    text_channels: int = option(512, "of the convolutions over words", at_least=1)
    text_size: int = option(256, "of a sentence's vector, each branch", at_least=1)
    frame_r1_weight: float = option(
        10.0, "of E ||grad D(real)||^2, frame discriminator", at_least=0
    )
    frame_r1_fall: float = option(1.0, "share that weight falls to", above=0, at_most=1)
    frame_r1_steps: int = option(1, "of that fall, exponential", at_least=1)
    clip_r1_weight: float = option(10.0, "clip discriminator's, likewise", at_least=0)
    learning_rate: float = option(1e-4, "Adam, generator", above=0)
    judge_learning_rate: float = option(1e-4, "Adam, all other networks", above=0)
    beta_1: float = option(0.0, "Adam", at_least=0, at_most=1)
    beta_2: float = option(0.99, "Adam", at_least=0, at_most=1)
    average_decay: float = option(0.999, "of averages, a step", at_least=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class TextFilterGANConfig(ConcatConfig):
    """And has filters."""

    filters: int = option(32, "into and out of a bank of filters, even", at_least=2)

    def __post_init__(self):
        super().__post_init__()
        if self.filters % 2:
            raise BadInput(f"hparam filters={self.filters} must be even")


class TextFilterGAN(Captioned):
    """One step: frame discriminator, clip discriminator, generator.

    Args:
        config: `TextFilterGANConfig`.
        spec: `video` `[frames, size, size, c]` in [-1, 1], `tokens`, `sentence`.
        generator: see `filtered.generator`.
        frame_judge: `text.Judge` of frames.
        clip_judge: `text.Judge` of clips.
        content_encoder: tokens -> [*filters, y_content].
        motion_encoder: tokens -> [*filters, y_motion].
    """

    Config = TextFilterGANConfig
    FILTERED = True
    PRESETS = {
        "paper": {},
        "small": {
            "latent_size": 64,
            "channels": 8,
            "generator_channels": 16,
            "filters": 8,
            "clip_patch": 2,
            "judge_size": 64,
            "word_size": 64,
            "text_channels": 64,
            "text_size": 64,
            "coordinates": True,
            # A clip of 1/8 of the values has the larger gradients. With ten times the
            # frames' weight outlines do not come; with the end's from the start all
            # clips stay in one place.
            "frame_r1_weight": 0.03,
            "frame_r1_fall": 1 / 12,
            "frame_r1_steps": 3000,
            "clip_r1_weight": 1.0,
            "learning_rate": 4e-4,
            "judge_learning_rate": 1e-3,
            "beta_1": 0.5,
            "average_decay": 0.99,
        },
        "tiny": {
            "image_size": 16,
            "latent_size": 4,
            "channels": 2,
            "generator_channels": 2,
            "filters": 2,
            "judge_size": 4,
            "word_size": 8,
            "text_channels": 8,
            "text_size": 4,
            "learning_rate": 1e-3,
            "judge_learning_rate": 1e-3,
            "average_decay": 0.9,
        },
    }

    def __init__(
        self,
        config,
        spec,
        generator,
        frame_judge,
        clip_judge,
        content_encoder,
        motion_encoder,
    ):
        super().__init__(
            config,
            spec,
            generator=generator,
            frame_discriminator=frame_judge.network,
            clip_discriminator=clip_judge.network,
            content_encoder=content_encoder,
            motion_encoder=motion_encoder,
        )
        self._judges = {"frame": frame_judge, "clip": clip_judge}

    @classmethod
    def create(cls, config, spec):
        """Build all networks for the clips and sentences of `spec`."""
        spec = clips_with_sentences(
            spec, "text_filter_gan", config.image_size, config.frames
        )
        shape, tokens = spec.video.shape, spec.features["tokens"]
        kernels = ((1, 5, 5), (3, 5, 5)) if cls.FILTERED else ((), ())

        def sampled():
            yield filtered.generator(config, shape)
            for kernel, branch in zip(kernels, BRANCHES.values(), strict=True):
                yield text.branch(config, tokens, kernel, name=branch)

        generator, *encoders = sampled()
        judges = (
            judge(config, shape, filtered=cls.FILTERED)
            for judge in (filtered.frame_judge, filtered.clip_judge)
        )
        model = cls(config, spec, generator, *judges, *encoders)
        names = "generator", "content_encoder", "motion_encoder"
        for name, twin in zip(names, sampled(), strict=True):
            model.average(name, twin, config.average_decay)
        return model

    def default_optimizers(self):
        """Adam, one a network."""
        config = self.config
        rates = dict.fromkeys(self._network_names, config.judge_learning_rate)
        rates["generator"] = config.learning_rate
        betas = {"beta_1": config.beta_1, "beta_2": config.beta_2}
        return {
            f"{name}_optimizer": keras.optimizers.Adam(rate, **betas, epsilon=1e-8)
            for name, rate in rates.items()
        }

    def train_step(self, batch):
        """Each discriminator with its branch of the text, then the generator."""
        frame = self.judge_step("frame", self.frame_loss, batch)
        clip = self.judge_step("clip", self.clip_loss, batch)
        generator = self.descend(
            self.generator_loss,
            self.generator,
            self.generator_optimizer,
            batch["tokens"],
            *self.latents("generator", batch),
        )
        return self.track(**frame, **clip, generator_loss=generator)

    def judge_step(self, kind, loss, batch):
        """Move a discriminator and the branch it reads down one loss; returns reports.

        Each by its own optimizer, of gradients taken before either has moved.
        """
        names = f"{kind}_discriminator", f"{BRANCHES[kind]}_encoder"
        judge, encoder = (self.networks[name] for name in names)
        (_, reports), gradients = self.gradients(
            loss, (judge, encoder), *self.observed(kind, batch)
        )
        count = len(judge.trainable_variables)
        optimizers = [self.optimizers[f"{name}_optimizer"] for name in names]
        self.apply(optimizers[0], judge, gradients[:count])
        self.apply(optimizers[1], encoder, gradients[count:])
        return reports

    def test_step(self, batch):
        """Return both discriminators' losses on held-out clips."""
        return self.track(
            **{
                f"{kind}_discriminator_loss": self.judgement(
                    kind, *self.observed(kind, batch)
                )[1]["discriminator_loss"]
                for kind in BRANCHES
            }
        )

    def observed(self, kind, batch):
        """Return what a discriminator's loss takes: clips, sentences, others, noise."""
        return [
            self.dequantised(batch["video"], kind),
            batch["tokens"],
            self.other_sentences(f"{kind}/other", batch["sentence"]),
            *self.latents(kind, batch),
        ]

    def dequantised(self, clips, purpose):
        """Return real clips with uniform noise on each pixel."""
        uniform = self.noise(
            f"{purpose}/pixels", clips.shape[0], clips.shape[1:], "uniform"
        )
        return clips + DEQUANTISATION * uniform

    def latents(self, purpose, batch):
        """Draw content z, the GRU's start and its noise of each frame."""
        return [
            self.noise(f"{purpose}/{name}", batch["tokens"].shape[0], shape)
            for name, shape in self.latent_shapes().items()
        ]

    def latent_shapes(self):
        """Return {noise: shape of a row}."""
        size, frames = self.config.latent_size, self.spec.video.shape[0]
        return {"content": [size], "start": [size], "steps": [frames, size]}

    def frame_loss(self, clips, tokens, others, *latents):
        """Return the frame discriminator's loss, and reports."""
        loss, reports, _ = self.judgement("frame", clips, tokens, others, *latents)
        return loss, {f"frame_{name}": value for name, value in reports.items()}

    def clip_loss(self, clips, tokens, others, *latents):
        """Return the clip discriminator's loss, and reports with those for alarms."""
        loss, reports, (real, other, fake, made) = self.judgement(
            "clip", clips, tokens, others, *latents
        )
        refused = tf.reduce_mean(tf.cast(other < 0, tf.float32))
        return loss, {
            **{f"clip_{name}": value for name, value in reports.items()},
            "discriminator_loss": reports["discriminator_loss"],
            "health/other_accuracy": refused,
            **health.of_judgement(real, fake),
            **health.of_samples(clips, made),
        }

    def judgement(self, kind, clips, tokens, others, *latents):
        """Return a discriminator's loss with its penalty, reports, and what they tell.

        The last are logits of real clips with their sentences, with other sentences, of
        made clips, and the made clips.
        """
        judge = self._judges[kind]
        encoder = self.networks[f"{BRANCHES[kind]}_encoder"]
        sentence, other = (text.listed(encoder(x)) for x in (tokens, others))
        made = tf.stop_gradient(self.make(tokens, latents))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(clips)
            features = judge.features(clips)
            real = judge.judge(features, sentence)
        penalty = penalties.mean_squared_norm(tape.gradient(real, clips))
        other = judge.judge(features, other)
        fake = judge.judge(judge.features(made), sentence)
        loss = self.separation(real, other, fake)
        reports = {"discriminator_loss": loss, "r1": penalty}
        loss += self.r1_weights()[kind] * penalty
        return loss, reports, (real, other, fake, made)

    def r1_weights(self):
        """Return the penalties' weights at this step."""
        config = self.config
        done = tf.cast(self.step.value, tf.float32) / config.frame_r1_steps
        fall = config.frame_r1_fall ** tf.minimum(done, 1.0)
        return {"frame": config.frame_r1_weight * fall, "clip": config.clip_r1_weight}

    def separation(self, real, other, fake):
        """Return the cross-entropy of real pairs against both kinds of wrong ones."""
        wrong = tf.concat([other, fake], axis=0)  # of equal number: the mean of both
        return adversarial.minimax_discriminator_loss(real, wrong)

    def generator_loss(self, tokens, *latents):
        """Return both discriminators' cross-entropies of made clips called real."""
        made, losses = self.make(tokens, latents), []
        for kind, branch in BRANCHES.items():
            judge = self._judges[kind]
            sentence = text.listed(self.networks[f"{branch}_encoder"](tokens))
            logits = judge.judge(judge.features(made), sentence)
            losses.append(adversarial.non_saturating_generator_loss(logits))
        return tf.add_n(losses)

    def make(self, tokens, latents):
        """Return the generator's clips of sentences, in training."""
        vectors = self.read(tokens, averaged=False)
        return self.generator([*latents, *vectors], training=True)

    def read(self, tokens, averaged=True):
        """Return both vectors of sentences for each frame, `[rows, frames, size]`.

        Args:
            tokens: `[rows, words]`.
            averaged: By the moving averages of the encoders, as for sampling.
        """
        frames, ending = self.spec.video.shape[0], "_ema" if averaged else ""
        encoders = (
            self.networks[f"{name}_encoder{ending}"] for name in BRANCHES.values()
        )
        return [
            tf.tile(text.listed(encoder(tokens))[-1][:, None], [1, frames, 1])
            for encoder in encoders
        ]

    def generate(self, tokens, seed=0, first=0):
        """Return clips of sentences, tokens `[rows, words]`, in [-1, 1].

        The noise of row i is a function of (seed, first + i).
        """
        return self._decode(self.read(tokens), seed, first)

    def morph(self, tokens, ends, seed=0):
        """Return clips whose sentence turns from `tokens` into `ends`.

        Both vectors are interpolated linearly, frame by frame.
        """
        frames = self.spec.video.shape[0]
        share = tf.linspace(0.0, 1.0, frames)[:, None]
        vectors = [
            (1.0 - share) * one + share * other
            for one, other in zip(self.read(tokens), self.read(ends), strict=True)
        ]
        return self._decode(vectors, seed, 0)

    def morph_text(self, text, ends, seed=0):
        """Return `morph` of sentences, string tensors `[rows]`."""
        return self.morph(self.tokens(text), self.tokens(ends), seed)

    def endpoints(self):
        """Return sample(num, seed), generate(text, seed), morph(text, ends, seed)."""
        text, ends = (
            tf.TensorSpec([None], tf.string, name=name) for name in ("text", "ends")
        )
        morph = self.morph_text, [text, ends, SAMPLE_ARGUMENTS[1]]
        return {**super().endpoints(), "morph": morph}

    def _decode(self, vectors, seed, first):
        rows = tf.shape(vectors[0])[0]
        latents = [
            noise.normal(seed, 0, f"sample/{name}", rows, shape, first)
            for name, shape in self.latent_shapes().items()
        ]
        return self.generator_ema([*latents, *vectors], training=False)
