"""Keras metrics that add up over batches and replicas, in float64."""

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.metrics.classifier import classifier_score
from tfgen.metrics.frechet import frechet_distance
from tfgen.metrics.moments import Moments
from tfgen.metrics.streaming import ClassifierScore, FrechetDistance

# Two logical CPUs, asked for while the module is collected: later, TensorFlow has
# started and its devices are fixed.
try:
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) < 2:
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
except RuntimeError:
    pass


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    real = random.normal(size=(200, 6)) + 50
    fake = random.gamma(2, size=(120, 6)) + 50
    return real, fake


def test_batches_equal_the_whole(data):
    real, fake = data
    metric = FrechetDistance(Moments.of(real))
    assert np.isnan(metric.result())
    for batch in np.split(fake, [1, 30, 100]):
        metric.update_state(batch)
    whole = frechet_distance(real, fake)
    assert metric.result().dtype == tf.float64
    assert float(metric.result()) == pytest.approx(whole, rel=1e-11)
    moments = metric.moments()
    np.testing.assert_allclose(moments.covariance, np.cov(fake.T), atol=1e-11)
    assert moments.count == 120
    metric.reset_state()
    assert metric.moments().count == 0
    with pytest.raises(BadInput, match="sample weights"):
        metric.update_state(fake, sample_weight=fake)


def test_identical_sets_and_singular_covariances():
    rows = np.random.default_rng(1).normal(size=(20, 40)) + 3
    metric = FrechetDistance(Moments.of(rows))
    metric.update_state(rows)
    # Sums instead of centred rows: zero eigenvalues come back as 1e-15 and their
    # roots as 3e-8, 20 of them.
    assert abs(float(metric.result())) < 1e-5


def test_score_equals_the_function():
    logits = np.random.default_rng(2).normal(size=(90, 4)) * 3
    logits[0] = [1000, -1000, 0, 0]
    metric = ClassifierScore(4)
    for batch in np.split(logits, [20, 21]):
        metric.update_state(batch)
    assert float(metric.result()) == pytest.approx(
        classifier_score(logits, splits=1).value, rel=1e-12
    )
    with pytest.raises(BadInput, match="sample weights"):
        metric.update_state(logits, sample_weight=logits)


def test_two_replicas_equal_one(data):
    devices = tf.config.list_logical_devices("CPU")
    assert len(devices) >= 2, "TensorFlow was started before this file was collected"
    strategy = tf.distribute.MirroredStrategy([d.name for d in devices[:2]])
    real, fake = data
    logits = fake[:, :3]
    with strategy.scope():
        frechet = FrechetDistance(Moments.of(real))
        score = ClassifierScore(3)

    def rows_of_replica(context):
        return tf.constant(fake[context.replica_id_in_sync_group :: 2])

    @tf.function
    def update(rows):
        def one(rows):
            frechet.update_state(rows)
            score.update_state(rows[:, :3])

        strategy.run(one, args=(rows,))

    update(strategy.experimental_distribute_values_from_function(rows_of_replica))
    assert frechet.moments().count == 120
    assert float(frechet.result()) == pytest.approx(
        frechet_distance(real, fake), rel=1e-11
    )
    assert float(score.result()) == pytest.approx(
        classifier_score(logits, splits=1).value, rel=1e-12
    )
    # Each replica really holds half: the sum is not a copy of one of them.
    copies = [int(c) for c in strategy.experimental_local_results(frechet.count.value)]
    assert copies == [60, 60]


def test_update_compiles(data):
    real, fake = data
    metric = FrechetDistance(Moments.of(real))
    tf.function(metric.update_state, jit_compile=True)(tf.constant(fake))
    value = tf.function(metric.result)()
    covariances = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    gap = real.mean(axis=0) - fake.mean(axis=0)
    expected = gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert float(value) == pytest.approx(expected, rel=1e-9)
