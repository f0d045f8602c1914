"""Two parallel lines: where only the Wasserstein distance tells how far they are.

Real points are (0, Z), fake ones (t, Z), Z ~ U[0, 1]. For every t != 0 their
supports are disjoint. Arjovsky, Chintala and Bottou 2017, example 1.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from tfgen.losses import adversarial
from tfgen.theory import critics, training

BATCH = 256


def closed_forms(t):
    """Return {"kl", "jsd", "total_variation", "w1"} of the lines at distance t."""
    if t == 0:
        return dict.fromkeys(("kl", "jsd", "total_variation", "w1"), 0.0)
    return {
        "kl": math.inf,
        "jsd": math.log(2),
        "total_variation": 1.0,
        "w1": abs(t),
    }


def penalised_estimate(t, weight=10.0):
    """Return |t| + t^2 / (2 weight), what the best WGAN-GP critic reports.

    Between the lines its slope s maximises s |t| - weight (s - 1)^2, so it is
    1 + |t| / (2 weight): the penalty's bias, 5% of W1 at t = 1 and weight 10.
    """
    return abs(t) + t**2 / (2 * weight)


def even(t, points=512):
    """Return (real, fake) `[points, 2]` with the same evenly spaced Z.

    Independent second coordinates would only add noise to what a critic reports.
    """
    z = (np.arange(points, dtype="float32") + 0.5) / points
    real = np.stack([np.zeros_like(z), z], axis=1)
    return tf.constant(real), tf.constant(real + np.float32([t, 0]))


def pairs(t, seed=0):
    """Return `critics` pairs of the two lines; t may be a tensor."""

    def draw(number):
        z = training.uniform(seed, number, 1, [BATCH, 2])
        zero = tf.zeros([BATCH])
        return tf.stack([zero, z[:, 0]], 1), tf.stack([zero + t, z[:, 1]], 1)

    return draw


def learner(seed, decay_over=None):
    """Return a 2-64-64-1 ReLU network with Adam."""
    network = training.mlp(2, [64, 64], seed=seed)
    return training.Learner(network, decay_over=decay_over)


def exact_critic(t):
    """Return the 1-Lipschitz f(x) = -sign(t) x_1 that attains W1 = |t|."""
    return lambda x: -math.copysign(1.0, t) * x[:, :1]


def discriminator(t, steps=3000, seed=0):
    """Return a discriminator trained on the lines at distance t."""
    trained = learner(seed)
    step = critics.discriminator_step(trained, pairs(t, seed))
    return critics.train(step, trained, steps)


def critic(t, steps=2000, weight=10.0, seed=0):
    """Return a WGAN-GP critic trained on the lines at distance t."""
    trained = learner(seed, decay_over=steps)
    step = critics.critic_step(trained, pairs(t, seed), weight, seed)
    return critics.train(step, trained, steps)


def estimate(critic, t):
    """Return mean f(real) - mean f(fake) on the even points."""
    real, fake = even(t)
    return float(adversarial.wasserstein_estimate(critic(real), critic(fake)))


def value(discriminator, t):
    """Return V(D) on the even points, in nats."""
    return critics.value(discriminator, *even(t))


def gradient(generator_loss, network, t):
    """Return d/dt of generator_loss(network(fake)) at the fakes (t, Z), even Z."""
    t = tf.constant(float(t))
    real, _ = even(0.0)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = generator_loss(network(real + tf.stack([t, 0.0])))
    return float(tape.gradient(loss, t))


@dataclasses.dataclass
class Signal:
    """What a generator at t is told after some steps of the other network.

    Fields are lists over `steps`: |d loss / dt| of the minimax, the non-saturating
    and the Wasserstein generator loss.
    """

    steps: tuple
    minimax: list
    non_saturating: list
    wasserstein: list


def signal_over_training(t=1.0, at=(0, 25, 50, 100, 200, 500, 1000, 3000), seed=0):
    """Return the `Signal` while D and a WGAN-GP critic train at a fixed t.

    Minimax dies as D gets better, non-saturating grows, the critic's settles at
    1 + |t| / (2 weight). Arjovsky and Bottou 2017, theorem 2.4 and figure 2.
    """
    signal = Signal(tuple(at), [], [], [])
    judge, scorer = learner(seed), learner(seed)
    run_judge = training.loop(critics.discriminator_step(judge, pairs(t, seed)))
    run_scorer = training.loop(critics.critic_step(scorer, pairs(t, seed), seed=seed))
    d_state, c_state, done = judge.start(), scorer.start(), 0
    for steps in at:
        d_state = run_judge(d_state, done, steps - done)
        c_state = run_scorer(c_state, done, steps - done)
        done = steps
        for loss, network, kept in (
            (adversarial.minimax_generator_loss, judge.at(d_state), signal.minimax),
            (
                adversarial.non_saturating_generator_loss,
                judge.at(d_state),
                signal.non_saturating,
            ),
            (
                adversarial.wasserstein_generator_loss,
                scorer.at(c_state),
                signal.wasserstein,
            ),
        ):
            kept.append(abs(gradient(loss, network, t)))
    return signal


def learn_shift(kind, t=1.0, updates=40, rate=0.05, seed=0):
    """Train the generator (t, Z), one scalar, by plain descent; return every t.

    Args:
        kind: "minimax", against a discriminator trained 1,000 steps first and 50
            between updates; or "wasserstein", against a WGAN-GP critic trained the
            same way.
        t: Start.
        updates: Of t.
        rate: Step of t.
        seed: Of weights and noise.

    Returns:
        float32 `[updates + 1]`, from the start on.
    """
    other = learner(seed)
    loss, make = {
        "minimax": (adversarial.minimax_generator_loss, critics.discriminator_step),
        "wasserstein": (adversarial.wasserstein_generator_loss, critics.critic_step),
    }[kind]

    def step(number, state):
        t, opponent = state
        return t, make(other, pairs(t, seed))(number, opponent)

    run = training.loop(step)
    state = run((tf.constant(t), other.start()), 0, 1000)
    path = [t]
    for update in range(updates):
        path.append(path[-1] - rate * gradient(loss, other.at(state[1]), path[-1]))
        state = run((tf.constant(path[-1]), state[1]), 1000 + 50 * update, 50)
    return np.float32(path)
