"""Pure functions with a closed form: losses, penalties, likelihoods, divergences."""
