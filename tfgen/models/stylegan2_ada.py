"""StyleGAN2 for few images: augmentation of all that the discriminator sees.

`stylegan2_ada` is adaptive discriminator augmentation (Karras et al. 2020, "Training
Generative Adversarial Networks with Limited Data"). T_p, which is
`augment.ada_augment`, each step with probability p, stands before the discriminator
wherever it looks:

    min_G  E softplus(-D(T_p(G(z))))
    min_D  E softplus(D(T_p(G(z)))) + E softplus(-D(T_p(x)))
           + gamma / 2 E |grad_x D(T_p(x))|^2

with fresh draws each time and the gradient by x before T_p. As long as p < 1 keeps the
images themselves the most frequent, equal distributions of T_p(G(z)) and T_p(x) mean
equal ones of G(z) and x, so that augmentations do not show in samples. p follows how
much the discriminator has learned by heart, which r_t = E sign D(T_p(x)) shows:

    every 4 steps   p <- p + sign(r_t - 0.6) * images since / 500 000,   0 <= p <= 1

with r_t the mean over these steps and over the rows of all replicas; p is the same on
all of them, and a part of what a run restores. Added up is r_t - 0.6, whose sign needs
no count: a step that --on_nan=skip undoes takes its term with it.
`stylegan2_diffaugment` has the fixed augmentation of Zhao et al. 2020 in place of T_p,
and no p.

Departures: p ends at 1, where a larger one would change nothing but the way back. The
settings of `paper` are those the authors' code chooses for 256 pixels ("auto"). Its
"cifar" network, without residual connections in the discriminator, is not here.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core.config import option
from tfgen.layers import augment
from tfgen.models.stylegan2 import SIDES, StyleGAN2, StyleGAN2Config


@dataclasses.dataclass(frozen=True)
class StyleGAN2ADAConfig(StyleGAN2Config):
    """Of `stylegan2_ada`."""

    pipeline: str = option("bgc", "steps of T_p", choices=tuple(augment.PIPELINES))
    p_target: float = option(0.6, "r_t above which p grows", at_least=-1, at_most=1)
    p_images: float = option(500_000.0, "images that take p from 0 to 1", above=0)
    p_every: int = option(4, "steps between moves of p", at_least=1)


def _auto(side, batch=32):
    """The authors' choice by side, for 32 images a step whatever the side."""
    return {
        "image_size": side,
        "mapping_layers": 2,
        "channel_base": 8192 if side < 512 else 16384,
        "learning_rate": 0.0025 if side < 1024 else 0.002,
        "r1_weight": 0.0002 * side**2 / batch,
        "average_images": 1000.0 * batch * 10 / 32,
        "average_ramp": 0.05,
    }


class StyleGAN2ADA(StyleGAN2):
    """The steps of `StyleGAN2`; p moves after the discriminator.

    Arguments as of `StyleGAN2`, with `StyleGAN2ADAConfig`.
    """

    Config = StyleGAN2ADAConfig
    PRESETS = {
        "paper": _auto(256),
        **{str(side): _auto(side) for side in SIDES},
        "small": StyleGAN2.PRESETS["small"] | {"p_images": 50_000.0},
        "tiny": StyleGAN2.PRESETS["tiny"]
        | {"p_target": -0.5, "p_images": 100.0, "p_every": 1},
    }

    def __init__(self, config, spec, generator, discriminator):
        super().__init__(config, spec, generator, discriminator)
        self.p = keras.Variable(0.0, trainable=False, name="p")
        self.signs = keras.Variable(0.0, trainable=False, name="signs")

    def state(self):
        """Return what `StyleGAN2` restores, p, and the sum that moves it next."""
        return {**super().state(), "augment/p": self.p, "augment/signs": self.signs}

    def discriminator_update(self, batch):
        """Move the discriminator, then p."""
        reports = super().discriminator_update(batch)
        p = self.move_p(reports["health/real_sign"], self.rows_of(batch))
        return {**reports, "augment_p": p}

    def move_p(self, sign, rows):
        """Add up r_t - p_target, and move p when that is due; returns p.

        Args:
            sign: Mean sign of D over this replica's real rows.
            rows: Their number.
        """
        config, replicas = self.config, self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            sign = context.all_reduce(tf.distribute.ReduceOp.MEAN, sign)
        signs = self.signs.value + (sign - config.p_target)
        is_due = (self.step.value + 1) % config.p_every == 0
        images = rows * replicas * config.p_every
        moved = self.p.value + tf.sign(signs) * (images / config.p_images)
        p = tf.where(is_due, tf.clip_by_value(moved, 0.0, 1.0), self.p.value)
        self.p.assign(p)
        self.signs.assign(tf.where(is_due, 0.0, signs))
        return p

    def augment_noise(self, purpose, rows):
        """Return the uniform and the normal draws of `augment.ada_augment`."""
        return (
            self.noise(f"augment_{purpose}", rows, [augment.UNIFORMS], "uniform"),
            self.noise(f"augment_{purpose}_normal", rows, [augment.NORMALS]),
        )

    def augment(self, images, drawn, p):
        """Return T_p(images)."""
        return augment.ada_augment(
            images, *drawn, tf.fill([images.shape[0]], p.value), self.config.pipeline
        )


class StyleGAN2DiffAugment(StyleGAN2):
    """The steps of `StyleGAN2`, with colour, shift and cutout of every image."""

    PRESETS = {
        **StyleGAN2ADA.PRESETS,
        "small": StyleGAN2.PRESETS["small"],
        "tiny": StyleGAN2.PRESETS["tiny"],
    }

    def augment_noise(self, purpose, rows):
        """Return the draws of `augment.diff_augment`."""
        shape = [augment.DIFF_UNIFORMS]
        return (self.noise(f"augment_{purpose}", rows, shape, "uniform"),)

    def augment(self, images, drawn, p):
        """Return the images in other colours, shifted, with a part cut out."""
        return augment.diff_augment(images, *drawn)
