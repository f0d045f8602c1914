"""A GAN in one dimension: data, generated density and D(x) as both are trained.

Data is N(0, 1), the generator starts elsewhere; at the end p_g = p_data and
D(x) = 1/2 where the mass is. Goodfellow et al. 2014, figure 1.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfgen.losses import adversarial
from tfgen.theory import critics, training


@dataclasses.dataclass
class Snapshot:
    """The game after `step` updates.

    Attributes:
        step: Updates of both players.
        samples: Generated, `[rows]`.
        x: Where D is shown, `[points]`.
        d: D(x), probabilities `[points]`.
    """

    step: int
    samples: np.ndarray
    x: np.ndarray
    d: np.ndarray


def play(at=(0, 200, 1000, 5000), batch=512, seed=0):
    """Train a GAN on N(0, 1) from U[-1, 1] noise; returns a `Snapshot` for each.

    Both networks are 1-32-32-1 with tanh; the non-saturating loss, alternating, and a
    D that learns faster, with R1's weight 0: the plain game of the paper.
    """
    last = at[-1]
    generator = training.Learner(
        training.mlp(1, [32, 32], activation="tanh", seed=seed),
        decay_over=last,
    )
    discriminator = training.Learner(
        training.mlp(1, [32, 32], activation="tanh", seed=seed + 50),
        rate=2e-3,
        decay_over=last,
    )

    def noise(number, purpose, rows):
        return 2 * training.uniform(seed, number, purpose, [rows, 1]) - 1

    def shifted(generator, z):
        # Starts right of the data, as the figure does.
        return generator(z) + 2.0

    def step(number, state):
        g_state, d_state = state

        def pairs(number):
            real = training.normal(seed, number, 1, [batch, 1])
            return real, shifted(generator.at(g_state), noise(number, 2, batch))

        d_state = critics.discriminator_step(discriminator, pairs)(number, d_state)

        def loss(generator):
            fake = shifted(generator, noise(number, 3, batch))
            logits = discriminator.at(d_state)(fake)
            return adversarial.non_saturating_generator_loss(logits)

        return generator.descend(loss, g_state), d_state

    run, state, done, snapshots = training.loop(step), None, 0, []
    state = (generator.start(), discriminator.start())
    x = np.linspace(-4, 5, 361, dtype="float32")
    for updates in at:
        state, done = run(state, done, updates - done), updates
        samples = shifted(generator.at(state[0]), noise(0, 4, 20000)).numpy()[:, 0]
        d = tf.sigmoid(discriminator.at(state[1])(x[:, None])).numpy()[:, 0]
        snapshots.append(Snapshot(updates, samples, x, d))
    return snapshots
