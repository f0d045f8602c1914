"""Classifier of clips."""

import numpy as np
import pytest

from tests.synthetic import clips
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature


@pytest.mark.slow
def test_it_learns_where_things_go():
    """Direction, which no single frame tells: 4 classes."""
    stream = clips(8, batch=32)
    model = models.build(
        "video_classifier",
        "small",
        spec=stream.spec,
        hparams={"label": "direction", "learning_rate": 3e-3},
    )
    model.fit(stream, steps_per_epoch=120, verbose=0)
    logs = model.evaluate(stream, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.9


def test_sizes_of_maps():
    spec = clips(8).spec
    video = Feature((16, 64, 64, 3), "uint8", 0, 255)
    spec = spec.replace(features={**spec.features, "video": video})
    config = models.configure("video_classifier", "paper", {"label": "shape"})
    model = models.find("video_classifier").create(config, spec)
    shapes = [
        layer.output.shape[1:]
        for layer in model.network.layers
        if type(layer).__name__ == "Conv3D"
    ]
    assert shapes == [
        (16, 32, 32, 16),
        (8, 16, 16, 32),
        (4, 8, 8, 64),
        (2, 4, 4, 64),
        (2, 4, 4, 64),
    ]
    found = model.classify(np.zeros([3, 16, 64, 64, 3], "float32"))
    assert found["logits"].shape == (3, 3) and found["features"].shape == (3, 128)


def test_a_label_that_is_not_there():
    with pytest.raises(BadInput, match=r"label=hue: .*it has: sentence, shape, size"):
        models.build("video_classifier", spec=clips(8).spec, hparams={"label": "hue"})
    plain = DataSpec("plain", 1, {"video": Feature((4, 8, 8, 3), "uint8", 0, 255)})
    with pytest.raises(BadInput, match="it has: none"):
        models.build("video_classifier", spec=plain)
