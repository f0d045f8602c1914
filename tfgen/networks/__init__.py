"""Networks used by two models or more."""
