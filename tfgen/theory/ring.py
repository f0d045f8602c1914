"""A ring of eight Gaussians: which modes a generator finds, and which it drops."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfgen.data.ring import CENTRES, MODES, SPREAD
from tfgen.losses import adversarial
from tfgen.theory import critics, training


def draw(seed, number, rows):
    """Return `[rows, 2]` of the ring, a function of (seed, number)."""
    mode = training.uniform(seed, number, 1, [rows]) * MODES
    centre = tf.gather(CENTRES, tf.cast(mode, tf.int32))
    return centre + SPREAD * training.normal(seed, number, 2, [rows, 2])


def modes_found(samples, least=20, radius=3 * SPREAD):
    """Return how many of the modes hold `least` samples within `radius` of them.

    Args:
        samples: `[rows, 2]`; 2,500 are meant.
        least: Samples a mode needs.
        radius: In the units of x, 3 standard deviations.
    """
    distances = np.linalg.norm(np.asarray(samples)[:, None] - CENTRES, axis=2)
    return int(np.sum(np.sum(distances < radius, axis=0) >= least))


@dataclasses.dataclass
class Snapshot:
    """Generated points `[rows, 2]` after a number of updates."""

    step: int
    samples: np.ndarray


class Game:
    """A GAN on the ring: 2-128-128-2 against 2-128-128-1, alternating, Adam."""

    def __init__(self, seed=0, batch=256, rate=1e-3):
        self.seed, self.batch = seed, batch
        generator = training.mlp(2, [128, 128], 2, seed=seed)
        self.generator = training.Learner(generator, rate)
        discriminator = training.mlp(2, [128, 128], seed=seed + 50)
        self.discriminator = training.Learner(discriminator, rate)
        self.start = (self.generator.start(), self.discriminator.start())

    def z(self, number, purpose):
        """Return this step's noise `[batch, 2]`."""
        return training.normal(self.seed, number, purpose, [self.batch, 2])

    def train_discriminator(self, number, state):
        """Return the state after an update of D only; a step of `training.loop`."""

        def pairs(number):
            fake = self.generator.at(state[0])(self.z(number, 3))
            return draw(self.seed, number, self.batch), fake

        step = critics.discriminator_step(self.discriminator, pairs)
        return state[0], step(number, state[1])

    def train_both(self, number, state):
        """Return the state after an update of D, then of a non-saturating G."""
        state = self.train_discriminator(number, state)
        discriminator = self.discriminator.at(state[1])

        def loss(generator):
            fake = generator(self.z(number, 4))
            return adversarial.non_saturating_generator_loss(discriminator(fake))

        return self.generator.descend(loss, state[0]), state[1]

    def sample(self, state, rows=2500):
        """Return `[rows, 2]` of the generator, the same noise every time."""
        z = training.normal(self.seed, 0, 5, [rows, 2])
        return self.generator.at(state[0])(z).numpy()

    def gradient_norm(self, generator_loss, state):
        """Return the norm of d generator_loss / d G's weights, a number."""
        weights = state[0][0]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            fake = self.generator.at(state[0])(self.z(0, 6))
            loss = generator_loss(self.discriminator.at(state[1])(fake))
        return float(tf.linalg.global_norm(tape.gradient(loss, weights)))


def play(at=(0, 250, 1000, 4000), seed=0):
    """Train on the ring; returns a `Snapshot` after each number of updates in `at`."""
    game = Game(seed)
    run, state, done, snapshots = training.loop(game.train_both), game.start, 0, []
    for step in at:
        state, done = run(state, done, step - done), step
        snapshots.append(Snapshot(step, game.sample(state)))
    return snapshots


def signal_of_sure_discriminator(steps=500, seed=0):
    """Return G's gradient norms (minimax, non-saturating) after `steps` of D alone."""
    game = Game(seed)
    state = training.loop(game.train_discriminator)(game.start, 0, steps)
    return (
        game.gradient_norm(adversarial.minimax_generator_loss, state),
        game.gradient_norm(adversarial.non_saturating_generator_loss, state),
    )
