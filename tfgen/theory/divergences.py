"""Divergences of two distributions, and what the best discriminator makes of them.

Everything is in float64 and in nats. A distribution is a vector of masses `[atoms]`
that sums to 1; a density is its masses on an even grid (`masses`): the grid's width
cancels in every ratio p / q, so one formula serves both.
"""

import numpy as np
import tensorflow as tf
from scipy.special import expit, log_expit, rel_entr
from scipy.stats import norm

from tfgen.losses import adversarial


def masses(density, x):
    """Return density(x) dx on the even grid x `[points]`: the trapezoid rule.

    For a smooth density that vanishes at both ends its error falls faster than any
    power of dx.
    """
    return density(x) * (x[1] - x[0])


def grid(t, points=4001):
    """Return a grid that holds N(0, 1) and N(t, 1) to 1e-16 of their mass."""
    return np.linspace(min(0.0, t) - 10, max(0.0, t) + 10, points)


def shifted_gaussians(t, points=4001):
    """Return x and the masses of p = N(0, 1) and q = N(t, 1) on it."""
    x = grid(t, points)
    return x, masses(norm.pdf, x), masses(norm(t).pdf, x)


def kl(p, q):
    """Return KL(p || q) = sum p log(p / q); infinite where q misses mass of p."""
    return float(np.sum(rel_entr(p, q)))


def jsd(p, q):
    """Return JSD(p, q) = (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2.

    Between 0 and log 2, which disjoint supports reach. Goodfellow et al. 2014, eq. 6.
    """
    middle = (np.asarray(p) + np.asarray(q)) / 2
    return (kl(p, middle) + kl(q, middle)) / 2


def total_variation(p, q):
    """Return sup over events |p(A) - q(A)| = sum |p - q| / 2, between 0 and 1."""
    return float(np.sum(np.abs(np.asarray(p) - np.asarray(q))) / 2)


def optimal_logits(p, q):
    """Return logit D* = log p - log q, i.e. D* = p / (p + q).

    p is the data's, q the generator's. Goodfellow et al. 2014, proposition 1.
    """
    return np.log(p) - np.log(q)


def value(p, q, logits):
    """Return V(D) = E_p log D + E_q log(1 - D), D = sigmoid(logits), in nats.

    At most V(D*) = 2 JSD(p, q) - 2 log 2, and -log 4 when p = q. From logits:
    log(sigmoid(-40)) would be computed as log 0. Goodfellow et al. 2014, eq. 1.
    """
    return float(np.sum(p * log_expit(logits)) + np.sum(q * log_expit(-logits)))


def optimal_value(p, q):
    """Return V(D*) = 2 JSD(p, q) - 2 log 2. Goodfellow et al. 2014, theorem 1."""
    return 2 * jsd(p, q) - 2 * np.log(2)


def jsd_of_value(value):
    """Return V / 2 + log 2: JSD at the best D, a lower bound of it at any other."""
    return value / 2 + np.log(2)


def gaussian_logits(t, x):
    """Return logit D*(x) = t^2 / 2 - t x of p = N(0, 1) and q = N(t, 1).

    Linear in x: logistic regression can represent it.
    """
    return t**2 / 2 - t * x


def shift_gradients(t):
    """Return d/dt of both generator losses for g(z) = z + t with D* frozen.

    With p = N(0, 1), q = N(t, 1) and D* as in `gaussian_logits`:

        minimax           E log(1 - D*)   t E_q D*         = d(2 JSD) / dt
        non-saturating   -E log D*        t (1 - E_q D*)   = d(KL(q || p) - 2 JSD) / dt

    Both point uphill, so descent shrinks t. Their sum is t. The second identity is
    Arjovsky and Bottou 2017, theorem 2.5.

    Returns:
        (minimax, non-saturating), per unit of x.
    """
    x, _, q = shifted_gaussians(t)
    accepted = float(np.sum(q * expit(gaussian_logits(t, x))))
    return t * accepted, t * (1 - accepted)


def tabular_discriminator(real_counts, fake_counts, steps=4000, rate=20.0):
    """Train one free logit an atom by full-batch descent on the library's loss.

    Args:
        real_counts: `[atoms]` integers > 0; p is their share.
        fake_counts: `[atoms]` integers > 0, of the same sum; q is their share.
        steps: Steps of plain gradient descent.
        rate: Its step; the loss's curvature is at most (p + q) / 4.

    Returns:
        (logits `[atoms]`, V of them in nats), float64.
    """
    atoms = np.arange(len(real_counts))
    real_rows = np.repeat(atoms, real_counts)
    fake_rows = np.repeat(atoms, fake_counts)

    @tf.function(autograph=False)
    def train():
        def loss(logits):
            return adversarial.minimax_discriminator_loss(
                tf.gather(logits, real_rows), tf.gather(logits, fake_rows)
            )

        def body(number, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                current = loss(logits)
            # `gather` gives IndexedSlices, one row a sample.
            slope = tf.convert_to_tensor(tape.gradient(current, logits))
            return number + 1, logits - rate * slope

        start = (tf.constant(0), tf.zeros([len(atoms)], tf.float64))
        logits = tf.while_loop(lambda number, _: number < steps, body, start)[1]
        return logits, -loss(logits)

    logits, found = train()
    return logits.numpy(), float(found)
