"""Losses of a critic or discriminator and of its generator.

Each function takes the network's outputs for this replica's rows, `[rows]` or
`[rows, 1]`, and returns the scalar to minimise.
"""

import tensorflow as tf


def wasserstein_estimate(real_scores, fake_scores):
    """Return mean f(real) - mean f(fake), which the critic maximises.

    For a K-Lipschitz f its supremum is K * W1(real, fake), so it is >= 0 near the
    optimum; a negative value says the critic is not there. Arjovsky, Chintala and
    Bottou 2017, eq. 2.
    """
    return tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)


def wasserstein_generator_loss(fake_scores):
    """Return -mean f(fake): the generator's side of `wasserstein_estimate`."""
    return -tf.reduce_mean(fake_scores)


def minimax_discriminator_loss(real_logits, fake_logits):
    """Return mean softplus(-real) + mean softplus(fake) = -V(D, G).

    V = E log D(real) + E log(1 - D(fake)) with D = sigmoid(logit); its largest value
    is 2 JSD - 2 log 2. Goodfellow et al. 2014, eq. 1.
    """
    real = tf.reduce_mean(tf.nn.softplus(-real_logits))
    return real + tf.reduce_mean(tf.nn.softplus(fake_logits))


def minimax_generator_loss(fake_logits):
    """Return mean log(1 - D(fake)) = -mean softplus(fake): the generator's side of V.

    Its gradient by a logit is -sigmoid(logit) / rows: none where a fake is rejected.
    """
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


def non_saturating_generator_loss(fake_logits):
    """Return -mean log D(fake) = mean softplus(-fake).

    Its gradient by a logit is -(1 - sigmoid(logit)) / rows: largest where a fake is
    rejected. Goodfellow et al. 2014, section 3.
    """
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def hinge_discriminator_loss(real_logits, fake_logits):
    """Return mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)).

    Rows beyond the margin give no gradient. Lim and Ye 2017; Miyato et al. 2018,
    eq. 16. Its generator's side is `wasserstein_generator_loss`.
    """
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(
        tf.nn.relu(1.0 + fake_logits)
    )


def least_squares_discriminator_loss(real_logits, fake_logits):
    """Return (mean (D(real) - 1)^2 + mean D(fake)^2) / 2. Mao et al. 2017, eq. 9."""
    real = tf.reduce_mean(tf.square(real_logits - 1.0))
    return 0.5 * (real + tf.reduce_mean(tf.square(fake_logits)))


def least_squares_generator_loss(fake_logits):
    """Return mean (D(fake) - 1)^2 / 2: the other side of the above."""
    return 0.5 * tf.reduce_mean(tf.square(fake_logits - 1.0))


def relativistic_loss(winning_logits, losing_logits):
    """Return mean softplus(losing - winning), the rows taken in pairs.

    The discriminator's loss has the real rows win, the generator's the fake ones.
    Jolicoeur-Martineau 2019, RSGAN.
    """
    return tf.reduce_mean(tf.nn.softplus(losing_logits - winning_logits))
