"""Video generation from text (Li, Min, Shen, Carlson and Carin 2018).

A conditional VAE draws the gist g of a clip, its first frame, from the sentence t; a
convolution of g with filters made of t (Text2Filter) then says where the two-stream
generator of `video_gan` starts from, beside noise n:

    gist:   L_g = -E_q log N(v_1; g(z, t), s^2 I) + KL(q(z | v_1, t) || N(0, I))
    video:  L_D = -log D(v, t) - (log(1 - D(v, t')) + log(1 - D(G, t))) / 2
            L_G = -log D(G, t) + w mean |G_1 - g|,    G = G(g * W(t), n)
    joint:  L_D, and L_g + L_G by the gist's networks too

with the likelihood summed over pixels, v a real clip, t' another sentence and g of a z
from the prior. Stage `gist` trains the VAE, `video` the GAN on its gists, `joint` all.
The paper's baselines lack one thing each: `gt2v` joins gist and sentence by
concatenation in the place of filters, `pt2v` has no gist and `dt2v` no wrong pairs
either (both in `direct_text2video.py`).

Departures: each network that reads sentences has an encoder of its own, in the place
of pretrained sentence vectors: learned (`sentence=gru`), or frozen random vectors of
words and pairs of words below a learned layer (`sentence=bigrams`). Widths that the
paper does not give are in `networks/gist.py`; gists are drawn at coordinates and pass
no tanh; weights start as the video GAN's do, N(0, 0.01), and elsewhere as Keras has
it. The first frame is what w ties to g.

Batch normalisation is of a replica's rows, real and generated ones apart.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import option
from tfgen.losses import divergences, health, likelihoods
from tfgen.models import latent
from tfgen.models.direct_text2video import (
    SMALL,
    TINY,
    DirectConfig,
    PairedText2Video,
)
from tfgen.networks import gist as networks


@dataclasses.dataclass(frozen=True)
class GistConfig(DirectConfig):
    """With the gist's VAE."""

    gist_size: int = option(100, "of z_g", at_least=1)
    gist_channels: int = option(64, "the VAE's maps at half size", at_least=1)
    deviation: float = option(0.1, "s, of pixels in [-1, 1]", above=0)
    gist_learning_rate: float = option(2e-4, "Adam, of the VAE", above=0)
    gist_beta_1: float = option(0.5, "Adam, of the VAE", at_least=0, at_most=1)
    frame_weight: float = option(0.1, "w, of the first frame's distance", at_least=0)
    gist_steps: int = option(20_000, "of stage gist", at_least=0)
    video_steps: int = option(50_000, "of stage video", at_least=0)


@dataclasses.dataclass(frozen=True)
class Text2VideoConfig(GistConfig):
    """With the text's filters."""

    filters: int = option(16, "of each sentence", at_least=1)
    filter_channels: int = option(128, "of the 4 x 4 they are made from", at_least=1)


SMALL_GIST = {
    **SMALL,
    "gist_size": 16,
    "gist_channels": 32,
    "deviation": 1.0,  # with 0.2 the posteriors left the prior: samples were faint
    "gist_learning_rate": 1e-3,
    "gist_beta_1": 0.9,
    "frame_weight": 100.0,  # with 10 all clips of a sentence were the same one
    "gist_steps": 3000,
    "video_steps": 4000,
}
TINY_GIST = {
    **TINY,
    "gist_size": 4,
    "gist_channels": 2,
    "gist_learning_rate": 1e-3,
    "gist_steps": 1,
    "video_steps": 1,
}


class GistText2Video(PairedText2Video):
    """`gt2v`: the generator sees a gist, and the sentence beside it.

    Args:
        config: `GistConfig`.
        spec: As of `DirectText2Video`.
        generator: [tokens, gists, noise] -> [clips, foreground, mask, background].
        judge: `text.Judge` of clips.
        posterior: q: [first frames, tokens] -> [mean, log variance].
        decoder: g: [z_g, tokens] -> gists.
    """

    Config = GistConfig
    GENERATOR = staticmethod(networks.joined_generator)
    PRESETS = {"paper": {}, "small": SMALL_GIST, "tiny": TINY_GIST}

    def __init__(self, config, spec, generator, judge, posterior, decoder):
        images, tokens = posterior.inputs
        both = [images, tokens, decoder.inputs[0]]
        outputs = [*posterior.outputs, decoder([both[2], tokens])]
        gist = keras.Model(both, outputs, name="gist")
        super().__init__(config, spec, generator, judge, gist=gist)
        self.posterior, self.decoder = posterior, decoder

    @classmethod
    def further(cls, config, shape, tokens):
        """Return the networks of the gist's VAE."""
        sizes = config, shape, tokens
        return {
            "posterior": networks.posterior(*sizes),
            "decoder": networks.decoder(*sizes),
        }

    def default_optimizers(self):
        """Adam for the GAN and for the gist's VAE."""
        config = self.config
        gist = keras.optimizers.Adam(config.gist_learning_rate, config.gist_beta_1)
        return {**super().default_optimizers(), "gist_optimizer": gist}

    def stages(self):
        """The gist alone, the video on its gists, both."""
        config = self.config
        return {"gist": config.gist_steps, "video": config.video_steps, "joint": None}

    def gist_step(self, batch):
        """One descent of the gist's bound."""
        _, reports = self.descend(
            self.gist_loss, self.gist, self.gist_optimizer, *self.observed(batch)
        )
        return self.track(**reports)

    def video_step(self, batch):
        """One update of discriminator and generator; the gist's VAE stays."""
        return super().train_step(batch)

    def joint_step(self, batch):
        """The discriminator, then generator and gist by the sum of their losses."""
        judgement = self.judgement_step(batch)
        networks = self.generator, self.gist
        (_, reports), gradients = self.gradients(
            self.joint_loss,
            networks,
            *self.observed(batch),
            *self.latents("generator", batch),
        )
        count = len(self.generator.trainable_variables)
        self.apply(self.generator_optimizer, self.generator, gradients[:count])
        self.apply(self.gist_optimizer, self.gist, gradients[count:])
        return self.track(**judgement, **reports)

    def observed(self, batch):
        """Return what infers a gist: first frames, tokens, the posterior's noise."""
        rows, size = batch["tokens"].shape[0], [self.config.gist_size]
        epsilon = self.noise("posterior", rows, size)
        return batch["video"][:, 0], batch["tokens"], epsilon

    def latent_sizes(self):
        """Return {latent: its length}."""
        return {"gist": self.config.gist_size, **super().latent_sizes()}

    def gist_loss(self, images, tokens, epsilon):
        """Return the negative bound of first frames in nats, and reports."""
        mean, log_variance = self.posterior([images, tokens])
        q = latent.diagonal([mean, log_variance])
        z = q.bijector.forward(epsilon)
        decoded = self.decoder([z, tokens])
        likelihood = likelihoods.fixed_gaussian(decoded, self.config.deviation**2)
        prior = latent.standard_normal(self.config.gist_size)
        kl = tf.reduce_mean(divergences.kl(q, prior))
        loss = kl - tf.reduce_mean(likelihood.log_prob(images))
        return loss, {
            "gist_loss": loss,
            "gist_kl": kl,
            "gist_error": tf.reduce_mean(tf.square(decoded - images)),
            "health/active_units": health.active_units(mean),
        }

    def generator_loss(self, tokens, *latents):
        """Return the generator's loss, of a first frame near the gist, and reports."""
        made = self.make(tokens, latents, training=True)
        loss, reports = self.deception(tokens, made)
        distance = tf.reduce_mean(tf.abs(made["videos"][:, 0] - made["gist"]))
        loss += self.config.frame_weight * distance
        return loss, {**reports, "generator_loss": loss, "first_frame": distance}

    def joint_loss(self, images, tokens, epsilon, *latents):
        """Return the sum of both losses, and reports."""
        gist, reports = self.gist_loss(images, tokens, epsilon)
        loss, others = self.generator_loss(tokens, *latents)
        return gist + loss, {**reports, **others}

    def make(self, tokens, latents, training):
        """Return the generator's outputs and the "gist" they start from."""
        z, rest = latents
        gist = self.decoder([z, tokens])
        return {**self.streams_of([tokens, gist, rest], training), "gist": gist}


class Text2Video(GistText2Video):
    """`text2video`: the sentence filters the gist."""

    Config = Text2VideoConfig
    GENERATOR = staticmethod(networks.filtered_generator)
    PRESETS = {
        "paper": {},
        "small": {**SMALL_GIST, "filter_channels": 32},
        "tiny": {**TINY_GIST, "filters": 2, "filter_channels": 2},
    }
