"""Tables and refined posteriors: which rows move, and what the steps bring."""

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.core.spec import DataSpec, Feature
from tfgen.data import Stream
from tfgen.layers.row_table import RowTable
from tfgen.losses import local


def build(name, **hparams):
    return models.build(name, "tiny", spec=stream(8).spec, hparams=hparams, xla="off")


def images(rows=16):
    return tf.constant(stream(8).arrays["image"][:rows] / 255.0, tf.float32)


def columns(model):
    return [column.numpy() for column in model.table.columns]


def test_a_step_writes_the_rows_of_its_batch_alone():
    model, seen = build("vae_table"), []
    step = model.train_step

    def train_step(batch):
        tf.numpy_function(
            lambda index: seen.extend(index.tolist()), [batch["index"]], []
        )
        return step(batch)

    model.train_step = train_step
    model.fit(stream(8), steps_per_epoch=3, verbose=0)
    parameters, *_, visits = columns(model)
    assert len(set(seen)) == len(seen) == 48
    touched = np.zeros(256, bool)
    touched[seen] = True
    assert np.all(visits[touched] == 2) and np.all(visits[~touched] == 0)
    assert np.all(parameters[~touched] == 0)
    assert np.all(np.abs(parameters[touched]).max(axis=1) > 0)


def test_a_row_goes_on_where_it_stopped():
    """A second visit continues the row's own Adam, whatever happened in between."""
    model = build("vae_table")
    x, epsilon = images(4), tf.random.stateless_normal([4, 3, 4], [0, 0])
    rows = model.table.read(tf.range(4, dtype=tf.int64))
    *_, rows = model.loss_parts_and_rows(x, epsilon, *rows)
    model.table.write(tf.range(4, dtype=tf.int64), rows)
    model.table.write(tf.constant([7, 9], tf.int64), [3 * row[:2] for row in rows])
    again = model.table.read(tf.range(4, dtype=tf.int64))
    for one, other in zip(rows, again, strict=True):
        np.testing.assert_array_equal(one, other)
    *_, rows = model.loss_parts_and_rows(x, epsilon, *again)
    assert np.all(rows[-1].numpy() == 4)


def test_a_row_that_is_written_twice():
    table = RowTable(5, {"value": 2})
    table.write(tf.constant([3, 1, 3], tf.int64), [tf.reshape(tf.range(6.0), [3, 2])])
    wanted = np.zeros([5, 2])
    wanted[3], wanted[1] = (0, 1), (2, 3)
    np.testing.assert_array_equal(table.columns[0].numpy(), wanted)


def test_no_gradient_passes_from_the_table_to_the_decoder():
    model = build("vae_table")
    x, epsilon = images(4), tf.random.stateless_normal([4, 3, 4], [0, 0])
    start = tf.zeros([4, 8])
    variables = [v.value for v in model.decoder.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        loss, _, rows = model.loss_parts_and_rows(
            x, epsilon, start, *local.adam_start(start)
        )
        by_hand = -tf.reduce_mean(
            model.bound(x, tf.stop_gradient(rows[0]), epsilon[:, 2])
        )
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
    pairs = zip(
        tape.gradient(loss, variables), tape.gradient(by_hand, variables), strict=True
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_unseen_image_is_optimised():
    short, long = build("vae_table", test_steps=1), build("vae_table", test_steps=30)
    epsilon = tf.random.stateless_normal([200, 16, 4], [0, 0])
    bounds = [
        float(
            tf.reduce_mean(
                local.bound(
                    model.likelihood,
                    model.prior,
                    images(),
                    local.parameters_of(model.posterior(images())),
                    epsilon,
                )
            )
        )
        for model in (short, long)
    ]
    assert bounds[1] > bounds[0]
    # Of each image alone: not of its batch.
    alone = long.posterior(images()[3:4]).mean()
    np.testing.assert_allclose(alone, long.posterior(images()).mean()[3:4], atol=1e-5)


@pytest.mark.parametrize("name", ["vae_semi_amortised", "vae_semi_amortised_stopped"])
def test_refinement_moves_the_encoders_gaussian(name):
    model = build(name, refinement_steps=8)
    start, end = model.encoded(images()), local.parameters_of(model.posterior(images()))
    epsilon = tf.random.stateless_normal([500, 16, 4], [0, 0])
    before, after = (
        local.bound(model.likelihood, model.prior, images(), at, epsilon)
        for at in (start, end)
    )
    assert float(tf.reduce_mean(after - before)) > 0.01
    # The same network with other steps: what is differentiated is all that differs.
    steps = tf.random.stateless_normal([16, 9, 4], [1, 0])
    _, parts = model.refined_loss_and_parts(images(), steps)
    gain = float(parts["refinement_gain"])
    assert gain == pytest.approx(float(tf.reduce_mean(after - before)), abs=0.5)


def test_the_two_differ_in_the_encoders_gradient_alone():
    exact, stopped = build("vae_semi_amortised"), build("vae_semi_amortised_stopped")
    steps = tf.random.stateless_normal([16, 3, 4], [1, 0])
    gradients = []
    for model in (exact, stopped):
        for network, other in zip(
            (model.encoder, model.decoder), (exact.encoder, exact.decoder), strict=True
        ):
            network.set_weights(other.get_weights())
        variables = [
            [v.value for v in network.trainable_variables]
            for network in (model.encoder, model.decoder)
        ]
        with tf.GradientTape() as tape:
            loss, _ = model.refined_loss_and_parts(images(), steps)
        gradients.append([float(loss), *tape.gradient(loss, variables)])
    assert gradients[0][0] == gradients[1][0]
    for one, other in zip(gradients[0][1], gradients[1][1], strict=True):
        assert np.abs(one - other).max() > 1e-4


@pytest.mark.slow
def test_a_table_fits_its_rows_as_well_as_an_encoder():
    """1,797 digits of 8x8: the training ELBO within 1 nat of the amortised one."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images / 16.0).astype("float32")[..., None]
    image = Feature((8, 8, 1), "float32", 0.0, 1.0)
    spec = DataSpec("digits", len(pixels), {"image": image})
    data = Stream({"image": pixels}, spec, batch=100)
    bounds = {}
    for name in ("vae_table", "vae"):
        model = models.build(
            name,
            "small",
            spec=spec,
            hparams={"latent_size": 8, "hidden": (64,), "activation": "tanh"},
            xla="on",
            steps_per_execution=50,
        )
        model.fit(data, steps_per_epoch=2000, verbose=0)
        if name == "vae_table":
            parameters = tf.constant(columns(model)[0])
        else:
            parameters = local.parameters_of(model.posterior(tf.constant(pixels)))
        epsilon = tf.random.stateless_normal([20, len(pixels), 8], [0, 0])
        bound = local.bound(
            model.likelihood, model.prior, tf.constant(pixels), parameters, epsilon
        )
        bounds[name] = float(tf.reduce_mean(bound))
    assert bounds["vae_table"] > bounds["vae"] - 1, bounds
