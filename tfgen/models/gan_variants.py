"""Adversarial nets with the losses that followed Goodfellow et al. 2014.

Each takes the networks and hyperparameters of `gan` and changes what discriminator
and generator minimise; the formulas are in `losses/adversarial.py` and
`losses/penalties.py`.
"""

import tensorflow as tf

from tfgen.losses import adversarial, penalties
from tfgen.models.gan import GAN, AdversarialConfig


class HingeGAN(GAN):
    """Margins instead of probabilities (Lim and Ye 2017; Miyato et al. 2018)."""

    Config = AdversarialConfig

    def separation(self, real_logits, fake_logits):
        """Return the hinge loss."""
        return adversarial.hinge_discriminator_loss(real_logits, fake_logits)

    def deception(self, fake_logits):
        """Return -mean D(fake)."""
        return adversarial.wasserstein_generator_loss(fake_logits)


class LeastSquaresGAN(GAN):
    """Squared distance to 1 and 0 (Mao et al. 2017)."""

    Config = AdversarialConfig

    def reports(self, loss, logits, real, fake):
        """As of logits: the side of 1/2 decides."""
        return super().reports(loss, [2.0 * x - 1.0 for x in logits], real, fake)

    def separation(self, real_logits, fake_logits):
        """Return the squared distances to the targets 1 and 0, halved."""
        return adversarial.least_squares_discriminator_loss(real_logits, fake_logits)

    def deception(self, fake_logits):
        """Return the squared distance to 1, halved."""
        return adversarial.least_squares_generator_loss(fake_logits)


class RelativisticGAN(GAN):
    """How much more real than a fake (Jolicoeur-Martineau 2019, RSGAN).

    The generator's loss needs real rows too: those of its last opponent.
    """

    Config = AdversarialConfig

    def train_step(self, batch):
        """Algorithm 1, the generator seeing reals."""
        updates = tf.split(batch["image"], self.updates_per_step)
        rows = updates[0].shape[0]
        for number, real in enumerate(updates):
            z = self.latents(f"discriminator_z/{number}", rows)
            drops = self.uniforms(f"discriminator/{number}", rows)
            _, reports = self.descend(
                self.discriminator_loss,
                self.discriminator,
                self.discriminator_optimizer,
                real,
                z,
                *drops,
            )
        z, drops = self.latents("z", rows), self.uniforms("generator", rows)
        generator = self.descend(
            self.pair_loss, self.generator, self.generator_optimizer, real, z, *drops
        )
        return self.track(**reports, generator_loss=generator)

    def reports(self, loss, logits, real, fake):
        """Leave out what tells sides of 0: only differences are trained."""
        found = super().reports(loss, logits, real, fake)
        sides = ("health/real_sign", "health/real_accuracy", "health/fake_accuracy")
        return {name: value for name, value in found.items() if name not in sides}

    def separation(self, real_logits, fake_logits):
        """Return the loss of reals that should win."""
        return adversarial.relativistic_loss(real_logits, fake_logits)

    def pair_loss(self, real, z, for_real, for_fake):
        """Return the loss of fakes that should win."""
        fake = self.judge(self.generator(z, training=True), for_fake)
        return adversarial.relativistic_loss(fake, self.judge(real, for_real))


class DRAGAN(GAN):
    """Gradient penalty around the reals (Kodali et al. 2017).

        weight * E (||grad D(x)|| - 1)^2 at x = real + u * std(real) / 2,
        u uniform on [0, 1) a pixel

    `r1_weight` and `r2_weight` may be set besides; the weight here is 10. std(real) is
    that of a replica's rows: N replicas of B rows equal one device with N shards.
    """

    PRESETS = {**GAN.PRESETS, "small": {**GAN.PRESETS["small"], "r1_weight": 0.0}}

    def train_step(self, batch):
        """Algorithm 1, with noise around the reals."""
        updates = tf.split(batch["image"], self.updates_per_step)
        rows, *shape = updates[0].shape
        for number, real in enumerate(updates):
            z = self.latents(f"discriminator_z/{number}", rows)
            drops = self.uniforms(f"discriminator/{number}", rows)
            around = self.noise(f"around/{number}", rows, shape, "uniform")
            _, reports = self.descend(
                self.penalised_loss,
                self.discriminator,
                self.discriminator_optimizer,
                real,
                z,
                *drops,
                around,
            )
        z, (drops, _) = self.latents("z", rows), self.uniforms("generator", rows)
        generator = self.descend(
            self.generator_loss, self.generator, self.generator_optimizer, z, drops
        )
        return self.track(**reports, generator_loss=generator)

    def penalised_loss(self, real, z, for_real, for_fake, around):
        """Return the discriminator's loss with the penalty, and reports."""
        loss, reports = self.discriminator_loss(real, z, for_real, for_fake)
        near = real + 0.5 * tf.math.reduce_std(real) * around
        penalty = penalties.unit_gradient(lambda x: self.judge(x, for_real), near)
        return loss + 10.0 * penalty, {**reports, "gradient_penalty": penalty}
