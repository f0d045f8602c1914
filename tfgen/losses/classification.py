"""Cross-entropy of classes, and what a classifier says."""

import tensorflow as tf


def cross_entropy(logits, labels):
    """Return the mean of -log softmax(logits)[label] in nats, and reports.

    Args:
        logits: `[rows, classes]`.
        labels: Integers `[rows]`.

    Returns:
        The loss; {"cross_entropy": the same, "accuracy": share of rows whose largest
        logit is the label's}.
    """
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    )
    hits = tf.argmax(logits, axis=-1) == tf.cast(labels, tf.int64)
    accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
    return loss, {"cross_entropy": loss, "accuracy": accuracy}


def answers(logits, features, likeliest="label"):
    """Return what a classifier says of each row, as its SavedModel returns it.

    Args:
        logits: `[rows, classes]`.
        features: `[rows, size]`, which the logits are a linear function of.
        likeliest: Name of the number of the likeliest class.
    """
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "features": features,
        likeliest: tf.argmax(logits, axis=-1),
    }
