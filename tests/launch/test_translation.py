"""launch.translation on translators whose numbers are known."""

import types

import numpy as np
import pytest
import tensorflow as tf

from launch import translation
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.data import PairStream, Stream

PAIRS = {"source": [7, 3, 9, 5, 8], "target": [5, 7, 4, 9]}  # 5, 7, 9 in both


def stream(name, paired):
    """Flat images of 20 a number; those of the target are 255 less that."""
    numbers = np.array(PAIRS[name])
    levels = 20 * numbers if name == "source" else 255 - 20 * numbers
    image = np.tile(levels[:, None, None, None], [1, 4, 4, 1]).astype("uint8")
    features = {"image": Feature((4, 4, 1), "uint8", 0, 255)}
    arrays = {"image": image}
    if paired:
        arrays["pair"] = numbers
        features["pair"] = Feature((), "int64")
    return Stream(arrays, DataSpec(name, len(image), features), batch=2)


def domains(paired=True):
    return PairStream(stream("source", paired), stream("target", paired))


def translator(ab=0.0, ba=0.0):
    """The negative and its inverse, each with an error of a share of the range."""
    image = Feature((4, 4, 1), "float32", -1.0, 1.0)
    spec = DataSpec("both", 5, {"source": image, "target": image})
    return types.SimpleNamespace(
        spec=types.SimpleNamespace(image=image),
        endpoint_spec=spec,
        translate_ab=lambda x: {"images": -x + 2.0 * ab},
        translate_ba=lambda x: {"images": -tf.cast(x, tf.float32) + 2.0 * ba},
    )


def test_each_way_against_its_counterparts():
    found = translation.measure(
        translator(ab=0.01, ba=0.001), domains(), translation.METRICS
    )
    assert tuple(found) == translation.METRICS
    value = {name: estimate.value for name, (estimate, *_) in found.items()}
    rows = {name: rows for name, (_, rows, _) in found.items()}
    # Of an error e of the range -20 log10(e) dB.
    assert value["psnr_ab"] == pytest.approx(40.0, abs=1e-3)
    assert value["psnr_ba"] == pytest.approx(60.0, abs=1e-2)
    # Counterparts 20 n and 255 - 20 n are |255 - 40 n| apart.
    apart = np.abs(255.0 - 40.0 * np.array([5, 7, 9])) / 255.0
    wanted = np.mean(-20.0 * np.log10(apart))
    for way in ("ab", "ba"):
        assert value[f"psnr_untranslated_{way}"] == pytest.approx(wanted, abs=1e-4)
        assert value[f"retrieval_{way}"] == 1.0
        assert rows[f"psnr_{way}"] == rows[f"retrieval_{way}"] == 3
    # 100, 140, 180 against 155, 115, 75: the nearest are 115, 155, 155 of 7, 5, 5.
    assert value["retrieval_untranslated_ab"] == 0.0
    # There and back: both errors, of a range of 2; one changes its sign.
    assert value["cycle_l1_a"] == pytest.approx(0.018, abs=1e-6)
    assert value["cycle_l1_b"] == pytest.approx(0.018, abs=1e-6)
    assert (rows["cycle_l1_a"], rows["cycle_l1_b"]) == (5, 4)


def test_some_rows_and_some_metrics():
    found = translation.measure(translator(), domains(False), ["cycle_l1_b"], limit=2)
    ((name, (estimate, rows, unit)),) = found.items()
    assert (name, estimate.value, rows, unit) == ("cycle_l1_b", 0.0, 2, "pixels")


def test_pairs_are_needed():
    with pytest.raises(BadInput, match="no pairs .* valid: cycle_l1_a, cycle_l1_b"):
        translation.measure(translator(), domains(False), ["retrieval_ba"])
