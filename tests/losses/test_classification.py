import numpy as np
import tensorflow as tf

from tfgen.losses import classification


def test_cross_entropy_and_accuracy():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    loss, reports = classification.cross_entropy(
        tf.constant(logits, tf.float32), tf.constant([0, 1])
    )
    # -(log 0.5 + log 0.2) / 2; the second row says 2.
    np.testing.assert_allclose(loss, -np.log([0.5, 0.2]).mean(), rtol=1e-6)
    assert reports["cross_entropy"] == loss
    assert reports["accuracy"] == 0.5


def test_answers():
    logits = tf.math.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    found = classification.answers(logits, tf.ones([2, 4]), "pitch")
    np.testing.assert_allclose(found["probabilities"][1], [0.1, 0.2, 0.7], rtol=1e-6)
    assert found["pitch"].numpy().tolist() == [0, 2]
    assert set(found) == {"logits", "probabilities", "features", "pitch"}
