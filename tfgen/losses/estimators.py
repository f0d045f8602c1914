"""Two ways to differentiate E_{z ~ N(mean, diag sigma^2)} f(z) by the distribution.

Each function returns a value for every draw, whose gradient by mean and sigma has the
gradient of the expectation as its mean; the values themselves mean nothing.
"""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def reparameterised(f, mean, stddev, epsilon):
    """Return f(mean + stddev * epsilon), `[draws]`: the gradient passes through z.

    Kingma and Welling 2014, section 2.4.

    Args:
        f: z `[draws, size]` -> `[draws]`, differentiable.
        mean: `[draws, size]`.
        stddev: `[draws, size]`.
        epsilon: Standard normal, `[draws, size]`.
    """
    return f(mean + stddev * epsilon)


def score_function(f, mean, stddev, epsilon, baseline=0.0):
    """Return (f(z) - baseline) log q(z), `[draws]`, f(z) and z taken as constants.

    Needs no gradient of f. Any baseline that does not depend on the draw leaves the
    mean of the gradient, not its variance. Williams 1992; Paisley et al. 2012.

    Args: as of `reparameterised`, and baseline: a number or `[draws]`.
    """
    z = tf.stop_gradient(mean + stddev * epsilon)
    advantage = tf.stop_gradient(f(z) - baseline)
    return advantage * tfd.MultivariateNormalDiag(mean, stddev).log_prob(z)
