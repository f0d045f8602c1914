"""Rows in parts: the same as all at once, and no more of them than fit."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.core.spec import DataSpec, Feature
from tfgen.metrics import passes


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((28, 28, 1), 500),
        ((64, 64, 3), 500),
        ((256, 256, 3), 42),
        ((16, 64, 64, 3), 42),
        ((4096, 4096, 3), 1),
        ((), 500),
    ],
)
def test_large_rows_go_in_small_parts(shape, rows):
    assert passes.rows_at_once(shape) == rows


def test_a_clip_counts_as_a_whole():
    features = {
        "video": Feature((16, 64, 64, 3), "uint8", 0, 255),
        "image": Feature((64, 64, 3), "uint8", 0, 255),
    }
    assert passes.made_at_once(DataSpec("clips", 1, features)) == 42


def test_parts_are_joined():
    x, y = np.arange(14.0).reshape(7, 2), np.arange(7)
    seen, told = [], []

    def function(x, y):
        seen.append(len(x))
        return {"sum": tf.reduce_sum(x, axis=1) + y, "pair": (x, y)}

    found = passes.in_parts(
        function, x, y, rows=3, progress=lambda *at: told.append(at)
    )
    assert seen == [3, 3, 1] and told == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_array_equal(found["sum"], x.sum(axis=1) + y)
    np.testing.assert_array_equal(found["pair"][0], x)
    graph = passes.graph(lambda x: 2 * x)
    np.testing.assert_array_equal(passes.in_parts(graph, x, rows=4), 2 * x)


def test_samples_do_not_depend_on_the_parts(monkeypatch):
    model = models.build("vae", "tiny", spec=stream(8).spec, xla="off")
    whole, told = model.sample(7, 3).numpy(), []
    np.testing.assert_allclose(passes.sampler(model, 7, 3)(), whole, atol=1e-6)
    monkeypatch.setattr(passes, "rows_at_once", lambda shape: 3)
    parts = passes.sampler(model, 7, 3)(lambda *at: told.append(at))
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_what_is_drawn_is_asked_for_in_one_graph():
    traces = []

    def sample(num, seed, first):
        traces.append(num)
        return tf.fill([num, 2, 2, 1], tf.cast(first, tf.float32))

    image = Feature((2, 2, 1), "float32", 0.0, 1.0)
    spec = DataSpec("dots", 1, {"image": image})
    model = types.SimpleNamespace(sample=sample, spec=spec)
    assert passes.sampler(model, 1100)().shape == (1100, 2, 2, 1)
    assert traces == [500]
