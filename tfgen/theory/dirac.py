"""The Dirac-GAN: one weight a player, and why its equilibrium needs a penalty.

Data is a point at 0, the generator a point at theta, D(x) = psi x in logits. The
players follow the library's losses; near (0, 0) the game turns with angular speed 1/2
and only the R1 penalty pulls inwards. Mescheder, Geiger and Nowozin 2018, section 2
(their psi is -psi here: the library's D is positive on data).
"""

import numpy as np
import tensorflow as tf

from tfgen.losses import adversarial, penalties
from tfgen.theory import training

GENERATOR_LOSSES = {
    "minimax": adversarial.minimax_generator_loss,
    "non_saturating": adversarial.non_saturating_generator_loss,
}


def eigenvalues(gamma):
    """Return the closed form -gamma/2 +- sqrt(gamma^2/4 - 1/4), complex `[2]`.

    Of the gradient flow's Jacobian at (0, 0); gamma / 2 weighs R1.
    """
    root = np.sqrt(complex(gamma**2 / 4 - 0.25))
    return np.array([-gamma / 2 + root, -gamma / 2 - root])


def discriminator_loss(theta, psi, gamma):
    """Return minimax loss + gamma / 2 R1 of D(x) = psi x, a scalar."""

    def discriminator(x):
        return psi * x

    real = tf.zeros([1, 1], psi.dtype)
    loss = adversarial.minimax_discriminator_loss(
        discriminator(real), discriminator(tf.reshape(theta, [1, 1]))
    )
    penalty = penalties.r1(discriminator, real)
    return loss + tf.cast(gamma / 2 * penalty, loss.dtype)


def velocity(theta, psi, gamma, generator="minimax"):
    """Return (theta', psi') of the gradient flow: minus each player's gradient."""
    with tf.GradientTape() as tape:
        tape.watch(psi)
        loss = discriminator_loss(theta, psi, gamma)
    psi_velocity = -tape.gradient(loss, psi)
    with tf.GradientTape() as tape:
        tape.watch(theta)
        loss = GENERATOR_LOSSES[generator](psi * theta)
    return -tape.gradient(loss, theta), psi_velocity


def jacobian(gamma, generator="minimax"):
    """Return d velocity / d (theta, psi) at (0, 0) `[2, 2]` by autodiff."""
    point = tf.zeros([2])
    with tf.GradientTape() as tape:
        tape.watch(point)
        flow = tf.stack(velocity(point[0], point[1], gamma, generator))
    return tape.jacobian(flow, point).numpy()


def trajectory(gamma, update="simultaneous", steps=2000, size=0.1, generator="minimax"):
    """Return the players' way from (1, 1): `[steps + 1, 2]` of (theta, psi).

    Args:
        gamma: Twice R1's weight.
        update: "simultaneous" (Euler), "alternating" (psi first, and theta sees the
            new psi), or "flow" (Runge-Kutta 4, close to continuous time).
        steps: How many.
        size: Of a step.
        generator: "minimax" or "non_saturating".
    """

    def flow(point):
        return tf.stack(velocity(point[0], point[1], gamma, generator))

    def simultaneous(point):
        return point + size * flow(point)

    def alternating(point):
        point += tf.stack([0.0, size]) * flow(point)
        return point + tf.stack([size, 0.0]) * flow(point)

    def runge_kutta(point):
        first = flow(point)
        second = flow(point + size / 2 * first)
        third = flow(point + size / 2 * second)
        fourth = flow(point + size * third)
        return point + size / 6 * (first + 2 * second + 2 * third + fourth)

    move = {
        "simultaneous": simultaneous,
        "alternating": alternating,
        "flow": runge_kutta,
    }[update]

    def step(number, path):
        point = move(path[number])
        return tf.tensor_scatter_nd_update(path, [[number + 1]], [point])

    path = tf.concat([tf.ones([1, 2]), tf.zeros([steps, 2])], axis=0)
    return training.loop(step)(path, 0, steps).numpy()
