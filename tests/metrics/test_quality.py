"""One call for all metrics: records, floors, registry and refusals."""

import json

import numpy as np
import pytest

import tfgen.metrics
from tfgen.core.errors import BadInput
from tfgen.metrics.extractors import Extracted, Extractor, PixelExtractor
from tfgen.metrics.quality import METRICS, QualityEvaluation, sample_quality


def blobs(n, seed, bright=0.0):
    """uint8 `[n, 16, 16, 1]`: one blob in one of four quarters; and the quarter."""
    random = np.random.default_rng(seed)
    quarter = random.integers(4, size=n)
    centre = 4 + 8 * np.stack([quarter // 2, quarter % 2], axis=1)
    centre = centre + random.normal(size=(n, 2))
    grid = np.indices((16, 16)).transpose(1, 2, 0)
    squared = ((grid - centre[:, None, None]) ** 2).sum(axis=-1)
    values = 200 * np.exp(-squared / 8) + bright
    values = values + random.normal(size=values.shape) * 4
    return np.clip(values, 0, 255).astype(np.uint8)[..., None], quarter


class QuarterClassifier(Extractor):
    """Features and logits are the mean brightness of the four quarters."""

    name = "quarters"
    preprocessing = "none"
    image_shape = (16, 16, 1)
    size = 4
    has_logits = True
    digest = "0123456789abcdef"

    def __init__(self):
        self.extracted = 0

    def extract_batch(self, images):
        self.extracted += len(images)
        parts = images.reshape(-1, 2, 8, 2, 8).mean(axis=(2, 4)).reshape(-1, 4)
        return Extracted(parts / 10, parts)

    def features_of(self, images):
        raise NotImplementedError


@pytest.fixture(scope="module")
def sets():
    return blobs(400, 0), blobs(200, 1), blobs(150, 2)


@pytest.fixture(scope="module")
def everything(sets):
    (train, train_labels), (test, _), (fake, labels) = sets
    return sample_quality(
        train,
        test,
        fake,
        QuarterClassifier(),
        list(METRICS),
        seed=3,
        fake_labels=labels,
        train_labels=train_labels,
    )


def test_every_number_has_its_record(everything):
    keys = {
        *("value", "error", "floor", "floor_error", "n_real", "n_fake"),
        *("floor_n_real", "floor_n_fake", "seed", "extractor", "digest"),
        *("size", "resize", "preprocessing"),
    }
    assert len(everything) >= 24
    for name, record in everything.items():
        assert set(record) == keys, name
        assert record["seed"] == 3
        assert isinstance(record["value"], float), name
        assert isinstance(record["floor"], float), name
        assert record["floor_n_fake"] == record["n_fake"], name
    assert json.loads(json.dumps(everything, allow_nan=False)) == everything


def test_extractor_of_every_number(everything):
    for name, record in everything.items():
        if name.startswith("patch_distance"):
            assert record["extractor"] == "image patches"
            assert record["digest"] not in ("", "0123456789abcdef")
        elif name.startswith("class_diversity"):
            assert record["extractor"] == "pixels within a class"
        else:
            assert record["extractor"] == "quarters"
            assert record["digest"] == "0123456789abcdef"


def test_real_like_samples_score_the_floor(everything):
    value = {name: record["value"] for name, record in everything.items()}
    floor = {name: record["floor"] for name, record in everything.items()}
    assert value["frechet_distance"] < 4 * floor["frechet_distance"]
    assert value["precision"] > 0.8 and value["recall"] > 0.8
    assert value["classes_found"] == floor["classes_found"] == 4
    assert value["label_accuracy"] == floor["label_accuracy"] == 1
    assert value["label_accuracy_shuffled"] == pytest.approx(0.25, abs=0.1)
    assert value["gaussian_mmd_p_value"] > 0.01
    assert value["memorisation_exact_copies"] == 0
    assert value["memorisation_closer_probability"] == pytest.approx(0.5, abs=0.1)
    assert floor["memorisation_closer_probability"] == pytest.approx(0.5, abs=0.1)
    assert everything["frechet_distance"]["n_real"] == 200
    assert everything["ndb_share"]["n_real"] == 400
    assert everything["ndb_share"]["floor_n_real"] == 250


def test_the_reference_is_held_out_and_copies_are_flagged(sets):
    (train, _), (test, _), _ = sets
    names = ["frechet", "memorisation"]
    copies = sample_quality(train, test, train[:150], PixelExtractor(train), names)
    assert copies["memorisation_exact_copies"]["value"] == 150
    assert copies["memorisation_exact_copies"]["floor"] == 0
    # A distance to the training rows would be below the floor by far.
    frechet = copies["frechet_distance"]
    assert frechet["value"] == pytest.approx(frechet["floor"], rel=0.3)


def test_worse_samples_score_worse(sets):
    (train, _), (test, _), (fake, labels) = sets
    names = ["frechet", "kernel", "sliced_wasserstein", "classes", "precision_recall"]
    evaluation = QualityEvaluation(train, test, QuarterClassifier(), names)
    good = evaluation(fake)
    worse = evaluation(blobs(150, 4, bright=30)[0])
    for name in ("frechet_distance", "kernel_distance", "sliced_wasserstein"):
        assert worse[name]["value"] > 5 * good[name]["value"], name
        assert worse[name]["floor"] == good[name]["floor"]
    lost = evaluation(fake[labels > 0])
    assert lost["classes_found"]["value"] == 3
    assert lost["class_histogram_distance"]["value"] > 0.15
    entropies = [x["class_histogram_entropy"]["value"] for x in (good, lost)]
    np.testing.assert_allclose(entropies, np.log([4, 3]), atol=0.05)
    assert lost["recall"]["value"] < good["recall"]["value"] - 0.1


def test_a_floor_of_classes_with_one_row_is_left_out(sets):
    (train, train_labels), (test, _), _ = sets
    evaluation = QualityEvaluation(
        train, test, QuarterClassifier(), ["class_diversity"], train_labels=train_labels
    )
    few = [row for k in range(2) for row in np.flatnonzero(train_labels == k)[:2]]
    for record in evaluation(train[few], train_labels[few]).values():
        assert record["value"] > 0 and record["floor"] is None


def test_real_features_and_floors_are_computed_once(sets):
    (train, _), (test, _), (fake, _) = sets
    quarters = QuarterClassifier()
    evaluation = QualityEvaluation(train, test, quarters, ["frechet"])
    assert quarters.extracted == 600
    first = evaluation(fake)
    assert quarters.extracted == 750
    assert evaluation(fake) == first
    assert quarters.extracted == 900


def test_result_depends_on_the_rows_not_on_their_order(sets):
    (train, _), (test, _), (fake, labels) = sets
    evaluation = QualityEvaluation(train, test, PixelExtractor(train), ["frechet"])
    sorted_rows = fake[np.argsort(labels)]
    assert evaluation(sorted_rows)["frechet_distance"]["value"] == pytest.approx(
        evaluation(fake)["frechet_distance"]["value"], rel=1e-9
    )
    # Blocks of sorted rows would each hold one class: the mean over blocks of the
    # kernel distance would be far from that of mixed rows.
    kernel = QualityEvaluation(train, test, QuarterClassifier(), ["kernel"])
    mixed, in_order = kernel(fake), kernel(sorted_rows)
    difference = (
        mixed["kernel_distance"]["value"] - in_order["kernel_distance"]["value"]
    )
    assert abs(difference) < 4 * mixed["kernel_distance"]["error"]


def test_default_metrics_are_what_the_extractor_serves(sets):
    (train, _), (test, _), _ = sets
    pixels = QualityEvaluation(train, test, PixelExtractor(train))
    assert set(METRICS) - set(pixels.metrics) == {
        *("classifier_score", "classes", "labels", "class_diversity")
    }
    quarters = QualityEvaluation(train, test, QuarterClassifier())
    assert set(METRICS) - set(quarters.metrics) == {"labels", "class_diversity"}


def test_refusals(sets):
    (train, train_labels), (test, _), (fake, labels) = sets
    pixels = PixelExtractor(train)
    with pytest.raises(BadInput, match="metric 'fid': choose from frechet, kernel"):
        QualityEvaluation(train, test, pixels, ["fid"])
    with pytest.raises(BadInput, match="needs a classifier's logits"):
        QualityEvaluation(train, test, pixels, ["classes"])
    with pytest.raises(BadInput, match="at least 4 training images"):
        QualityEvaluation(train[:3], test, pixels)
    with pytest.raises(BadInput, match="400 train images with labels"):
        QualityEvaluation(train, test, pixels, train_labels=labels)
    labelled = QualityEvaluation(train, test, QuarterClassifier(), ["labels"])
    with pytest.raises(BadInput, match="needs the labels"):
        labelled(fake)
    assert labelled(fake, labels)["label_accuracy"]["floor"] is None
    diverse = QualityEvaluation(train, test, pixels, ["class_diversity"])
    with pytest.raises(BadInput, match="labels of the real images"):
        diverse(fake, labels)


def test_public_names_resolve_to_what_they_say():
    for name in tfgen.metrics.__all__:
        value = getattr(tfgen.metrics, name)
        assert name == "METRICS" or value.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'fid'"):
        _ = tfgen.metrics.fid
