"""What an export computes is what the live model computes."""

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.conformance import harness


def check(model, folder):
    """Every signature, on 1 and 5 rows, against the model's own methods."""
    tfgen.export(model, folder)
    exported = tfgen.export.load(folder)
    live = tfgen.export.named_endpoints(model)
    assert set(exported.names) == set(live)
    random = np.random.default_rng(0)
    for name, (function, arguments) in live.items():
        for rows in (1, 5):
            given = {
                "num": np.int32(rows),
                "seed": np.int32(3),
                "truncation": np.float32(0.7),
                "text": np.array(["a Red circle, unheard of"] * rows),
                "ends": np.array(["a blue square"] * rows),
            }
            shapes = [[side or 12 for side in a.shape[1:]] for a in arguments]
            inputs = [
                given[a.name]
                if a.name in given
                else random.uniform(size=[rows, *shape]).astype(a.dtype.name)
                for a, shape in zip(arguments, shapes, strict=True)
            ]
            wanted = tf.function(function, autograph=False)(*inputs)
            given = getattr(exported, name)(*inputs)
            assert given.keys() == wanted.keys()
            for key, value in wanted.items():
                value = value.numpy()
                assert given[key].shape == value.shape
                assert len(value) == rows
                # Grappler may order sums of up to 64 terms otherwise.
                np.testing.assert_allclose(given[key], value, rtol=1e-5, atol=1e-6)
    again = getattr(exported, name)(*inputs)
    for key, value in given.items():
        assert again[key].tobytes() == value.tobytes()


QUICK = ("vae", "classifier", "cyclegan", harness.TOY)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in harness.distinct()
    ],
)
def test_export_equals_the_live_model(name, tmp_path):
    check(harness.train(harness.build(name), 2), tmp_path / "export")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "wgan_gp"])
def test_export_from_two_replicas(name, tmp_path, two_replicas):
    check(harness.train(harness.build(name, two_replicas), 2), tmp_path / "export")
