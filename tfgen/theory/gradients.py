"""The generator's gradient: why a perfect discriminator teaches nothing.

g(z) = z + t moves fakes; a gradient is d loss / dt, positive where descent shrinks t.
"""

import numpy as np
import tensorflow as tf
from scipy.special import expit
from scipy.stats import norm


def of_shift(generator_loss, logits, t, z):
    """Return d/dt of generator_loss(logits(z + t)), the discriminator frozen.

    Args:
        generator_loss: Of `tfgen.losses.adversarial`.
        logits: The discriminator, a function `[rows] -> [rows]` in TensorFlow.
        t: The shift, a number.
        z: `[rows]`.
    """
    t = tf.constant(t, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = generator_loss(logits(tf.constant(z, tf.float64) + t))
    return float(tape.gradient(loss, t))


def even_normal(rows=2**16):
    """Return N(0, 1)'s quantiles `[rows]`: a sample without sampling error."""
    return norm.ppf((np.arange(rows) + 0.5) / rows)


def point_mass_gradients(slope, offset, t):
    """Return |d/dt| of the minimax and the non-saturating loss for point masses.

    Real at 0, fake at t, D(x) = sigmoid(offset - slope x):

        minimax          slope sigmoid(offset - slope t)
        non-saturating   slope (1 - sigmoid(offset - slope t))

    With offset = slope t / 2 the first is 0 for a D that knows nothing (slope 0),
    largest at slope t / 2 = 1.278, and 0 again for a D that is sure; the second
    grows with slope. Their ratio is exp(offset - slope t).
    """
    accepted = expit(offset - slope * t)
    return slope * accepted, slope * expit(slope * t - offset)


def best_slope(t):
    """Return the slope at which `point_mass_gradients`' minimax is largest.

    u = slope t / 2 solves u (1 - sigmoid(-u)) = 1, i.e. u = 1 + W(1/e), W Lambert's.
    """
    from scipy.special import lambertw

    return float(2 * (1 + lambertw(np.exp(-1)).real) / t)


def perturbed_non_saturating(rows, spread=0.1, slope_spread=0.1, seed=0):
    """Return gradients -D'(x) / D(x) `[rows]` of -log D at fakes, D near a perfect D*.

    On disjoint supports D* and its gradient are 0 at every fake. With independent
    errors N(0, spread^2) of D and N(0, slope_spread^2) of D' the gradient is a ratio
    of centred Gaussians: Cauchy with scale slope_spread / spread, without mean or
    variance. Arjovsky and Bottou 2017, theorem 2.6.
    """
    rng = np.random.default_rng(seed)
    errors = spread * rng.normal(size=rows)
    return -slope_spread * rng.normal(size=rows) / errors


def bound_of_good_discriminator(error, jacobian=1.0):
    """Return jacobian error / (1 - error) >= |grad of E log(1 - D(g))|.

    For D within `error` of a perfect D* in sup |D - D*| + sup |grad (D - D*)|, and
    E |J g|^2 <= jacobian^2. Arjovsky and Bottou 2017, theorem 2.4.
    """
    return jacobian * error / (1 - error)
