"""Variational inference of single rows: a Gaussian of its own for every x.

Row n has parameters lambda_n = (mean, log sigma^2), `[2 * latent_size]`, and the bound

    ELBO(x_n; lambda_n) = E_{N(z; lambda_n)} log p(x_n | z) - KL(N(lambda_n) || p(z))

The functions here raise it by gradient steps in which rows know nothing of each other:
every mean is over draws of z, none over rows. Hoffman et al. 2013; Kim et al. 2018.
"""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


def gaussian(parameters):
    """Return N(mean, diag sigma^2) of mean beside log sigma^2, `[rows, 2 * size]`."""
    mean, log_variance = tf.split(parameters, 2, axis=-1)
    return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))


def parameters_of(posterior):
    """Return mean beside log sigma^2 of a diagonal Gaussian, `[rows, 2 * size]`."""
    log_variance = 2.0 * tf.math.log(posterior.stddev())
    return tf.concat([posterior.mean(), log_variance], axis=-1)


def bound(likelihood, prior, images, parameters, epsilon):
    """Return the ELBO of each row, `[rows]`, nats; the KL is analytic.

    Args:
        likelihood: z `[n, size]` -> p(x | z), a TFP distribution over n images.
        prior: p(z).
        images: `[rows, ...]`.
        parameters: `[rows, 2 * size]`.
        epsilon: Noise of z, `[draws, rows, size]`; the draws are averaged.
    """
    posterior = gaussian(parameters)
    z = posterior.bijector.forward(epsilon)
    draws, size = epsilon.shape[0], epsilon.shape[-1]
    images = tf.convert_to_tensor(images)
    several = tf.tile(images, [draws] + [1] * (images.shape.rank - 1))
    log_likelihood = likelihood(tf.reshape(z, [-1, size])).log_prob(several)
    log_likelihood = tf.reduce_mean(tf.reshape(log_likelihood, [draws, -1]), axis=0)
    return log_likelihood - tfd.kl_divergence(posterior, prior)


def slope(bound_of, parameters):
    """Return d bound_of(parameters) / d parameters, `[rows, 2 * size]`."""
    parameters = tf.convert_to_tensor(parameters)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        total = tf.reduce_sum(bound_of(parameters))
    return tape.gradient(total, parameters)


def refine(bound_of, parameters, epsilons, rate, *, through, momentum=0.5, clip=5.0):
    """Raise the bound by steps v <- momentum v + slope, lambda <- lambda + rate v.

    Each row's slope is scaled to length `clip` where it is longer. Kim et al. 2018,
    section 3, whose released code clips over the batch, for each tensor.

    Args:
        bound_of: (parameters, epsilon) -> bounds `[rows]`.
        parameters: Start, `[rows, 2 * size]`.
        epsilons: Noise of each step, a list: its length is the number of steps.
        rate: Of a step.
        through: What the slopes pass before they are used: `tf.identity`, and the
            result is differentiated through the steps; `tf.stop_gradient`, and it
            moves as its start does.
        momentum: Share of the last step that is made again.
        clip: Nats per unit of a parameter.

    Returns:
        The refined parameters.
    """
    velocity = tf.zeros_like(parameters)
    for epsilon in epsilons:
        gradient = slope(lambda at, e=epsilon: bound_of(at, e), parameters)
        squared = tf.reduce_sum(gradient**2, axis=-1, keepdims=True)
        gradient *= tf.minimum(1.0, clip * tf.math.rsqrt(squared + 1e-12))
        velocity = momentum * velocity + through(gradient)
        parameters += rate * velocity
    return parameters


def adam_start(parameters):
    """Return the state of `adam_step` of rows that were never visited."""
    return [
        tf.zeros_like(parameters),
        tf.zeros_like(parameters),
        tf.zeros_like(parameters[:, :1]),
    ]


def adam_step(gradient, state, rate):
    """Return how Adam moves each row up its gradient, and the rows' new state.

    A row's moments and its count of visits are its own: Adam over a whole table would
    let the moments of rows that a batch does not hold decay.

    Args:
        gradient: `[rows, size]`.
        state: [mean, mean square] `[rows, size]` and visits `[rows, 1]`.
        rate: Of a step.
    """
    first, second, visits = state
    visits = visits + 1.0
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    unbiased = first / (1.0 - 0.9**visits)
    spread = tf.sqrt(second / (1.0 - 0.999**visits))
    return rate * unbiased / (spread + 1e-8), [first, second, visits]
