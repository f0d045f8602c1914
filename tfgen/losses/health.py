"""What tells a healthy training from a lost one, of one batch.

Names start with "health/", under which they are logged.
"""

import tensorflow as tf

ACTIVE_VARIANCE = 0.01


def active_units(means):
    """Return how many latents have Var_x E[z | x] above `ACTIVE_VARIANCE`, a scalar.

    Burda, Grosse and Salakhutdinov 2016, section 5.2; here over one batch.

    Args:
        means: Posterior means, `[..., rows, latent_size]`; leading axes are draws. One
            row has no variance: NaN, which sounds no alarm.
    """
    if means.shape[-2] == 1:
        return tf.constant(float("nan"))
    while means.shape.rank > 2:
        means = tf.reduce_mean(means, axis=0)
    active = tf.math.reduce_variance(means, axis=0) > ACTIVE_VARIANCE
    return tf.reduce_sum(tf.cast(active, tf.float32))


def of_judgement(real_scores, fake_scores):
    """Return how the discriminator or critic judges; scores `[rows, 1]`.

    real_sign: mean sign of the scores of real rows, in [-1, 1] (Karras et al. 2020,
        ADA's r_t); near 1 says it has learned the training set by heart.
    real_accuracy, fake_accuracy: share of rows on the right side of 0. Of a critic,
        whose scores have no zero, only `ranking` says something.
    ranking: share of pairs of rows whose real one has the higher score.
    """

    def share(holds):
        return tf.reduce_mean(tf.cast(holds, tf.float32))

    return {
        "health/real_sign": tf.reduce_mean(tf.sign(real_scores)),
        "health/real_accuracy": share(real_scores > 0),
        "health/fake_accuracy": share(fake_scores < 0),
        "health/ranking": share(real_scores > fake_scores),
    }


def of_samples(real, fake):
    """Return the diversity of fake rows over that of real ones; `[rows, ...]`.

    diversity = mean |x_i - x_{i+1}| over rows taken in a ring; 0 when all samples
    are the same. Nothing of one row, which has no neighbour.
    """
    if fake.shape[0] == 1:
        return {}

    def spread(rows):
        return tf.reduce_mean(tf.abs(rows - tf.roll(rows, 1, axis=0)))

    return {"health/diversity": spread(fake) / (spread(real) + 1e-12)}


def of_motion(real, fake):
    """Return the motion of fake clips over that of real ones; `[rows, frames, ...]`.

    motion = mean |frame k + 1 - frame k|; 0 when samples stand still, far above 1 when
    they flicker.
    """

    def energy(clips):
        return tf.reduce_mean(tf.abs(clips[:, 1:] - clips[:, :-1]))

    return {"health/motion": energy(fake) / (energy(real) + 1e-12)}
