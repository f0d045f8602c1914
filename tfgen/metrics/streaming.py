"""Keras metrics that add up over batches and replicas, in float64."""

import keras
import numpy as np
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.metrics.frechet import covariance_factor
from tfgen.metrics.moments import Moments


class _SummedMetric(keras.metrics.Metric):
    """A metric whose float64 state is summed over replicas when it is read."""

    def __init__(self, name: str):
        super().__init__(name=name, dtype="float64")

    def add_sum(self, shape, name):
        return self.add_variable(
            shape, "zeros", dtype="float64", aggregation="sum", name=name
        )

    def refuse_weights(self, sample_weight):
        if sample_weight is not None:
            raise BadInput(f"{self.name} has no form with sample weights")


class FrechetDistance(_SummedMetric):
    """Frechet distance of streamed features to fixed reference moments.

    State: count, `sum (x - c)` and `sum (x - c)(x - c)^T` in float64, each SUMMED
    over replicas when read; c is the reference mean. Plain sums are what adds up
    over replicas; shifting them by c keeps the digits that
    `sum xx^T - n mean mean^T` would cancel for features far from 0.

    Args:
      reference: moments of the real features, of size d.
      name: of the metric.

    `update_state` takes features `[rows, d]`; `result` is the distance in squared
    feature units, NaN below two rows. See `tfgen.metrics.frechet_distance`.
    """

    def __init__(self, reference: Moments, name: str = "frechet_distance"):
        super().__init__(name)
        size = reference.mean.size
        covariance = reference.covariance
        self.centre = tf.constant(reference.mean, tf.float64)
        self.reference_factor = tf.constant(covariance_factor(covariance), tf.float64)
        self.reference_trace = float(np.trace(covariance))
        self.count = self.add_sum((), "count")
        self.total = self.add_sum((size,), "total")
        self.products = self.add_sum((size, size), "products")

    def update_state(self, features, sample_weight=None):
        """Add the rows of `features`, `[rows, d]`; weights are refused.

        Raises:
          BadInput: sample weights were given.
        """
        self.refuse_weights(sample_weight)
        rows = tf.cast(features, tf.float64) - self.centre
        self.count.assign_add(tf.cast(tf.shape(rows)[0], tf.float64))
        self.total.assign_add(tf.reduce_sum(rows, axis=0))
        self.products.assign_add(tf.matmul(rows, rows, transpose_a=True))

    def result(self):
        """Distance to the reference: a float64 scalar."""
        count = tf.convert_to_tensor(self.count)
        gap = tf.convert_to_tensor(self.total) / count
        products = tf.convert_to_tensor(self.products)
        scatter = products - count * gap[:, None] * gap[None, :]
        covariance = scatter / (count - 1)

        def distance():
            eigenvalues, eigenvectors = tf.linalg.eigh(covariance)
            factor = eigenvectors * tf.sqrt(tf.maximum(eigenvalues, 0.0))
            cross = tf.matmul(self.reference_factor, factor, transpose_a=True)
            root = tf.reduce_sum(tf.linalg.svd(cross, compute_uv=False))
            traces = self.reference_trace + tf.linalg.trace(covariance)
            return tf.reduce_sum(gap**2) + traces - 2 * root

        # Eigenvectors of a matrix of NaN do not return: decide before.
        return tf.cond(
            count > 1, distance, lambda: tf.constant(float("nan"), tf.float64)
        )

    def moments(self) -> Moments:
        """What was seen so far, to save, merge or compare elsewhere."""
        # Through a tensor: on replicas this reads the sum of their copies.
        count = tf.convert_to_tensor(self.count).numpy()
        if count == 0:
            return Moments.empty(self.centre.shape[0])
        gap = tf.convert_to_tensor(self.total).numpy() / count
        products = tf.convert_to_tensor(self.products).numpy()
        scatter = products - count * np.outer(gap, gap)
        return Moments(round(count), self.centre.numpy() + gap, scatter)


class ClassifierScore(_SummedMetric):
    """Classifier (inception) score of streamed logits, as one split.

    State: count, `sum p(y|x)` and `sum_x sum_y p log p` in float64, summed over
    replicas when read. See `tfgen.metrics.classifier_score`.

    Args:
      classes: number of classes.
      name: of the metric.
    """

    def __init__(self, classes: int, name: str = "classifier_score"):
        super().__init__(name)
        self.count = self.add_sum((), "count")
        self.probabilities = self.add_sum((classes,), "probabilities")
        self.negative_entropy = self.add_sum((), "negative_entropy")

    def update_state(self, logits, sample_weight=None):
        """Add the rows of `logits`, `[rows, classes]`; weights are refused.

        Raises:
          BadInput: sample weights were given.
        """
        self.refuse_weights(sample_weight)
        log_p = tf.nn.log_softmax(tf.cast(logits, tf.float64))
        p = tf.exp(log_p)
        self.count.assign_add(tf.cast(tf.shape(p)[0], tf.float64))
        self.probabilities.assign_add(tf.reduce_sum(p, axis=0))
        self.negative_entropy.assign_add(
            tf.reduce_sum(tf.math.multiply_no_nan(log_p, p))
        )

    def result(self):
        """Score in [1, classes]; NaN before the first row."""
        count = tf.convert_to_tensor(self.count)
        marginal = tf.convert_to_tensor(self.probabilities) / count
        entropy = -tf.reduce_sum(tf.math.xlogy(marginal, marginal))
        return tf.exp(tf.convert_to_tensor(self.negative_entropy) / count + entropy)
