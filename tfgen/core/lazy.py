"""Updates that come at some steps only (Karras et al. 2020, section 3)."""

import keras


def adam(rate, beta_1, beta_2, every):
    """Return Adam for a network that has an update more at every `every`th step.

    Its learning rate and the logarithms of its betas are scaled by k / (k + 1), k =
    `every`, so that its k + 1 updates of k steps go as far, and remember as long, as k
    would. The loss of the further update is to be multiplied by k. epsilon is 1e-8.

    Args:
        rate: Learning rate of an optimizer with one update a step.
        beta_1: Likewise.
        beta_2: Likewise.
        every: In steps; 0: never.
    """
    share = every / (every + 1) if every else 1.0
    return keras.optimizers.Adam(
        rate * share, beta_1**share, beta_2**share, epsilon=1e-8
    )
