"""A GAN in one dimension: data, generated density and D(x) as both are trained.

Data is N(0, 1) and the generator starts elsewhere; at the end p_g = p_data and
D(x) = 1/2 where the mass is. Goodfellow et al. 2014, figure 1.

The plain game circles its goal, as `dirac` says it must: with Adam the samples'
standard deviation still swung between 0.4 and 1.4 after 1,000 updates. So D has R1's
penalty, and the noise is N(0, 1): bounded noise left D sure of the tails.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfgen.losses import adversarial
from tfgen.theory import critics, training

GAMMA = 0.3  # twice R1's weight
START = 2.0  # the generator begins as a point on the right, as in the figure


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


def play(at=(0, 50, 100, 3000), batch=512, seed=0):
    """Train a non-saturating GAN, alternating; returns a `Snapshot` for each of `at`.

    Both networks are 1-32-32-1 with tanh, Adam; their rates fall to 0 at the end.
    """

    def learner(seed, rate):
        network = training.mlp(1, [32, 32], activation="tanh", seed=seed)
        return training.Learner(network, rate, decay_over=at[-1])

    generator, discriminator = learner(seed, 1e-3), learner(seed + 50, 2e-3)

    def fakes(generator, number, purpose, rows):
        return START + generator(training.normal(seed, number, purpose, [rows, 1]))

    def step(number, state):
        g_state, d_state = state

        def pairs(number):
            real = training.normal(seed, number, 1, [batch, 1])
            return real, fakes(generator.at(g_state), number, 2, batch)

        judge = critics.discriminator_step(discriminator, pairs, GAMMA)
        d_state = judge(number, d_state)

        def loss(generator):
            logits = discriminator.at(d_state)(fakes(generator, number, 3, batch))
            return adversarial.non_saturating_generator_loss(logits)

        return generator.descend(loss, g_state), d_state

    run, done, snapshots = training.loop(step), 0, []
    state = (generator.start(), discriminator.start())
    x = np.linspace(-4, 5, 361, dtype="float32")
    for updates in at:
        state, done = run(state, done, updates - done), updates
        samples = fakes(generator.at(state[0]), 0, 4, 20000).numpy()[:, 0]
        d = tf.sigmoid(discriminator.at(state[1])(x[:, None])).numpy()[:, 0]
        snapshots.append(Snapshot(updates, samples, x, d))
    return snapshots
