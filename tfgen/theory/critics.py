"""Discriminators and critics trained between two fixed distributions.

`pairs(number)` returns the rows (real, fake) `[batch, n]` of a step, in TensorFlow.
A trained network is returned as a function `[rows, n] -> [rows, 1]`.
"""

import tensorflow as tf

from tfgen.losses import adversarial, penalties
from tfgen.theory import training


def discriminator_step(learner, pairs, gamma=0.0):
    """Return a step of `training.loop` down the minimax loss + gamma / 2 R1."""

    def step(number, state):
        real, fake = pairs(number)

        def loss(discriminator):
            logits = discriminator(tf.concat([real, fake], axis=0))
            loss = adversarial.minimax_discriminator_loss(*tf.split(logits, 2))
            if gamma:
                loss += gamma / 2 * penalties.r1(discriminator, real)
            return loss

        return learner.descend(loss, state)

    return step


def critic_step(learner, pairs, weight=10.0, seed=0):
    """Return a step of `training.loop` down the loss of a WGAN-GP critic.

    The penalty is `weight` times `penalties.gradient_penalty`.
    """

    def step(number, state):
        real, fake = pairs(number)
        mix = training.uniform(seed, number, 9, [real.shape[0], 1])

        def loss(critic):
            scores = tf.split(critic(tf.concat([real, fake], axis=0)), 2)
            estimate = adversarial.wasserstein_estimate(*scores)
            penalty = penalties.gradient_penalty(critic, real, fake, mix)
            return weight * penalty - estimate

        return learner.descend(loss, state)

    return step


def train(step, learner, steps):
    """Run `step` `steps` times from the learner's start; returns the network."""
    return learner.at(training.loop(step)(learner.start(), 0, steps))


def gaussian_pairs(t, batch, seed=0):
    """Return `pairs` of real N(0, 1) and fake N(t, 1), both `[batch, 1]`, fresh."""

    def pairs(number):
        real = training.normal(seed, number, 1, [batch, 1])
        return real, t + training.normal(seed, number, 2, [batch, 1])

    return pairs


def value(discriminator, real, fake):
    """Return V(D) = E log D(real) + E log(1 - D(fake)) on the given rows, in nats.

    Give rows that D was not trained on: on its own it reports too much.
    """
    loss = adversarial.minimax_discriminator_loss(
        discriminator(real), discriminator(fake)
    )
    return -float(loss)
