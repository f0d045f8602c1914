"""Deterministic auto-encoder: the contrast to `vae`.

    loss = -log p(x | z),  z = encoder(x)

Same networks, likelihood and optimizer as `vae`, less the head of log sigma^2; nothing
keeps the codes near N(0, I). There is no q(z | x), so no ELBO and no density: this
model cannot be measured by bounds. `sample` decodes N(0, I) all the same, to show what
that gives. `launch.sample --mode=latents` draws its codes beside those of a `vae`.
"""

import dataclasses

import tensorflow as tf

from tfgen.core import noise
from tfgen.core.model import SAMPLE_ARGUMENTS, GenerativeModel
from tfgen.models import latent


@dataclasses.dataclass(frozen=True)
class AEConfig(latent.CodeConfig):
    """The defaults are those of `vae`."""


class AE(GenerativeModel):
    """One step: one descent of the reconstruction loss for encoder and decoder.

    Args:
        config: `AEConfig`.
        spec: images `[h, w, c]` in [0, 1].
        encoder: images -> codes `[rows, latent_size]`.
        decoder: codes -> the likelihood's parameters; see `vae`.
    """

    Config = AEConfig
    PRESETS = {
        "paper": {},
        "small": {"hidden": (400,), "activation": "relu"},
        "tiny": {"hidden": (16,), "latent_size": 4, "channels": 4},
    }
    monitor = ("reconstruction_loss", "min")
    xla_on_cpu = True
    whole_steps = True

    def __init__(self, config, spec, encoder, decoder):
        super().__init__(config, spec, encoder=encoder, decoder=decoder)

    @classmethod
    def create(cls, config, spec):
        """Build encoder and decoder for the images of `spec`."""
        spec = spec.for_images("ae", low=0.0, high=1.0)
        return cls(
            config, spec, *latent.code_networks(config, spec.image.shape, heads=1)
        )

    def default_optimizers(self):
        """Adam for both networks together."""
        return {"optimizer": latent.adam(self.config)}

    def start_on(self, stream):
        """Move the output bias to the data's mean, if the config says so."""
        latent.start_bias(self, stream)

    def train_step(self, batch):
        """One descent of the reconstruction loss."""
        loss = self.descend(
            self.reconstruction_loss,
            (self.encoder, self.decoder),
            self.optimizer,
            latent.observe(self, batch),
        )
        return self.track(reconstruction_loss=loss)

    def test_step(self, batch):
        """Return the reconstruction loss on held-out images."""
        loss = self.reconstruction_loss(latent.observe(self, batch))
        return self.track(reconstruction_loss=loss)

    def reconstruction_loss(self, images):
        """Return mean -log p(x | encoder(x)), nats a row."""
        parameters = self.decoder(self.encoder(images))
        likelihood = latent.pixel_distribution(self.config, parameters)
        return -tf.reduce_mean(likelihood.log_prob(images))

    def sample(self, num, seed=0, first=0):
        """Return `num` decoded draws of N(0, I), which is not where the codes lie."""
        z = noise.normal(seed, 0, "sample", num, [self.config.latent_size], first)
        return self.decode(z)

    def decode(self, z):
        """Return E[x | z], `[rows, h, w, c]`."""
        return latent.pixel_distribution(self.config, self.decoder(z)).mean()

    def encode(self, images):
        """Return codes, `[rows, latent_size]`."""
        return self.encoder(images)

    def reconstruct(self, images):
        """Return the decoded codes of images."""
        return self.decode(self.encoder(images))

    def endpoints(self):
        """Return sample, decode, encode and reconstruct."""
        z = tf.TensorSpec([None, self.config.latent_size], name="z")
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "sample": (self.sample, SAMPLE_ARGUMENTS),
            "decode": (self.decode, [z]),
            "encode": (self.encode, [images]),
            "reconstruct": (self.reconstruct, [images]),
        }
