"""Extractors: features, digests, preprocessing and refusals."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.metrics.extractors import extractor
from tfgen.metrics.images import resize_to_rgb


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return random.integers(0, 256, size=(50, 8, 8, 1), dtype=np.uint8)


class Classifier(tf.Module):
    """Features are the pixels it was given, logits are features times a matrix."""

    def __init__(self, side, factor):
        super().__init__()
        matrix = np.arange(side * side * 3, dtype=np.float32).reshape(-1, 3)
        self.matrix = tf.Variable(matrix * factor)
        self.side = side

    @tf.function
    def classify(self, pixels):
        features = tf.reshape(pixels, [-1, self.side * self.side])
        return {"features": features, "logits": features @ self.matrix}


def export(folder, side=8, factor=1.0, signature="classify", image=None):
    module = Classifier(side, factor)
    shape = tf.TensorSpec([None, side, side, 1], tf.float32)
    concrete = module.classify.get_concrete_function(shape)
    tf.saved_model.save(module, str(folder), signatures={signature: concrete})
    image = image or {"shape": [side, side, 1], "low": -1.0, "high": 1.0}
    content = {"model": "x", "spec": {"features": {"image": image}}}
    (folder / "tfgen.json").write_text(json.dumps(content))
    return f"saved_model:{folder}"


def test_pixels(images):
    pixels = extractor("pixels", images)
    features = pixels(images, batch=7)
    assert features.dtype == np.float64
    assert features.shape == (50, 64) and pixels.size == 64
    np.testing.assert_allclose(
        features, images.reshape(50, 64) / 255.0 * 2 - 1, atol=1e-15
    )
    assert not pixels.has_logits
    with pytest.raises(BadInput, match="gives no logits"):
        pixels.logits(images)
    other_shape = extractor("pixels", np.zeros((1, 4, 16, 1), np.uint8))
    assert other_shape.digest != pixels.digest


def test_pca_is_an_orthonormal_projection(images):
    pca = extractor("pca:49", images)
    features = pca(images)
    flat = images.reshape(50, 64) / 127.5 - 1
    centred = flat - flat.mean(axis=0)
    # 50 rows span 49 dimensions: all of them keep every distance.
    np.testing.assert_allclose(features @ features.T, centred @ centred.T, atol=1e-10)
    # The first component has the largest variance: the first singular value.
    first = np.linalg.svd(centred, compute_uv=False)[0]
    assert np.linalg.norm(features[:, 0]) == pytest.approx(first, rel=1e-10)


def test_pca_digest_follows_the_data(images):
    first = extractor("pca:5", images)
    assert extractor("pca:5", images.copy()).digest == first.digest
    assert len(first.digest) == 16
    assert extractor("pca:4", images).digest != first.digest
    assert extractor("pca:5", 255 - images // 2).digest != first.digest
    assert first.describe() == {
        "extractor": "pca:5",
        "digest": first.digest,
        "size": 5,
        "resize": "none",
        "preprocessing": first.preprocessing,
    }


def test_saved_model(tmp_path, images):
    classifier = extractor(export(tmp_path / "a"), images)
    features = classifier(images, batch=8)
    np.testing.assert_allclose(features, images.reshape(50, 64) / 127.5 - 1, atol=1e-6)
    assert features.dtype == np.float64 and classifier.size == 64
    logits = classifier.logits(images)
    matrix = np.arange(192.0).reshape(64, 3)
    np.testing.assert_allclose(logits, features @ matrix, rtol=1e-4, atol=1e-3)
    assert logits.dtype == np.float64
    assert classifier.resize == "none"
    assert "[-1,1]" in classifier.preprocessing


def test_saved_model_digest_covers_weights_and_preprocessing(tmp_path, images):
    first = extractor(export(tmp_path / "a"), images)
    assert extractor(f"saved_model:{tmp_path / 'a'}", images).digest == first.digest
    weights = extractor(export(tmp_path / "b", factor=2.0), images)
    assert weights.digest != first.digest
    file = tmp_path / "a" / "tfgen.json"
    file.write_text(file.read_text().replace("-1.0", "0.0"))
    ranged = extractor(f"saved_model:{tmp_path / 'a'}", images)
    assert ranged.digest != first.digest
    assert ranged(images).min() == 0


def test_saved_model_of_another_size_says_what_happens(tmp_path, images):
    # 8 -> 10 px grows by a quarter: padded with the lowest value, as in training.
    classifier = extractor(export(tmp_path / "a", side=10), images)
    features = classifier(images).reshape(50, 10, 10)
    np.testing.assert_allclose(
        features[:, 1:9, 1:9], images[..., 0] / 127.5 - 1, atol=1e-6
    )
    assert np.all(features[:, 0] == -1)
    assert "padded" in classifier.resize
    assert "resized" in extractor(export(tmp_path / "b", side=16), images).resize


def test_saved_model_refusals(tmp_path, images):
    with pytest.raises(BadInput, match=r"no saved_model\.pb there"):
        extractor("saved_model:/nowhere", images)
    name = export(tmp_path / "a", signature="sample")
    with pytest.raises(BadInput, match="no signature 'classify' among sample"):
        extractor(name, images)
    name = export(tmp_path / "b", image={"shape": [8, 8, 1]})
    with pytest.raises(BadInput, match="shape, low and high"):
        extractor(name, images)
    (tmp_path / "b" / "tfgen.json").unlink()
    with pytest.raises(BadInput, match=r"no tfgen\.json there"):
        extractor(name, images)


# Keras 3.15 turns variables into arrays in a way that NumPy 2 warns about.
keras_arrays = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNetV2 with seeded weights, saved with and without its top."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    whole = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    # Moving variances of 1 let features fade out over 50 layers: shrink them.
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * 0.1)
    # The format in which Keras distributes its weights.
    whole.save(folder / "whole.h5")
    return folder, whole


def expect_features(found, whole, images):
    scaled = resize_to_rgb(images, 224) / 127.5 - 1
    layers = [whole.layers[-1].input, whole.output]
    features, logits = keras.Model(whole.input, layers)(scaled, training=False)
    np.testing.assert_allclose(found.features, features, rtol=1e-3, atol=1e-5)
    if found.logits is not None:
        np.testing.assert_allclose(found.logits, logits, rtol=1e-3, atol=1e-5)
    assert found.features.std() > 1e-3


@keras_arrays
def test_keras_application(mobilenet, images):
    folder, whole = mobilenet
    top = extractor(f"keras:MobileNetV2:{folder / 'whole.h5'}", images)
    assert top.name == "keras MobileNetV2"
    assert top.has_logits and top.size == 1280
    expect_features(top.extract(images[:3], batch=2), whole, images[:3])
    assert top.resize == "8x8 to 224x224 bilinear, antialiased; grey repeated to RGB"
    assert "mobilenet_v2.preprocess_input at 224x224" in top.preprocessing


@pytest.mark.slow
@keras_arrays
@pytest.mark.parametrize("file", ["notop.h5", "notop.weights.h5", "whole.weights.h5"])
def test_keras_weight_files(mobilenet, images, file):
    folder, whole = mobilenet
    if file.startswith("whole"):
        whole.save_weights(folder / file)
    else:
        size = {"input_shape": (224, 224, 3)}
        body = keras.applications.MobileNetV2(weights=None, include_top=False, **size)
        for ours, theirs in zip(body.layers, whole.layers, strict=False):
            ours.set_weights(theirs.get_weights())
        if file.endswith(".weights.h5"):
            body.save_weights(folder / file)
        else:
            body.save(folder / file)
    found = extractor(f"keras:MobileNetV2:{folder / file}", images)
    assert found.has_logits == file.startswith("whole")
    expect_features(found.extract(images[:3]), whole, images[:3])
    with pytest.raises(BadInput, match="do not fit"):
        extractor(f"keras:DenseNet121:{folder / file}", images)


def test_the_inception_network_is_named_as_what_it_is(monkeypatch, tmp_path, images):
    # Its weights are no part of the tests: a stand-in with one layer.
    def build(weights, include_top, classifier_activation=None):
        inputs = keras.Input((299, 299, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        return keras.Model(inputs, keras.layers.Dense(2)(pooled))

    monkeypatch.setattr(keras.applications, "InceptionV3", build)
    (tmp_path / "weights.h5").touch()
    found = extractor(f"keras:InceptionV3:{tmp_path / 'weights.h5'}", images)
    assert found.name == "keras InceptionV3, not FID's network"
    assert "299x299" in found.resize and "299x299" in found.preprocessing
    white = np.full((1, 8, 8, 1), 255, np.uint8)
    np.testing.assert_allclose(found(white), [[1, 1, 1]], atol=1e-6)


def test_keras_refusals(tmp_path, images):
    with pytest.raises(BadInput, match="DenseNet121, .*InceptionV3"):
        extractor("keras:Inception:weights.h5", images)
    with pytest.raises(BadInput, match="nothing is downloaded"):
        extractor("keras:InceptionV3:imagenet", images)
    file = tmp_path / "weights.h5"
    file.write_text("no weights")
    with pytest.raises(BadInput, match="do not fit"):
        extractor(f"keras:MobileNetV2:{file}", images)
    colours = np.zeros((2, 8, 8, 2), np.uint8)
    with pytest.raises(BadInput, match="takes 1 or 3"):
        extractor(f"keras:MobileNetV2:{file}", colours)


def test_resize_is_antialiased():
    # A 1 px checkerboard, 12 to 4 px: point sampling would hit 0 or 255. The triangle
    # of half-width 3 px weighs 1/3, 2/3, 1, 2/3, 1/3: same parity 5/9, other 4/9, so
    # in two dimensions the contrast left is (1/9)^2: 127.5 +- 255/162.
    board = (np.indices((12, 12)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_to_rgb(board[None, :, :, None], 4)
    assert small.shape == (1, 4, 4, 3)
    inner = small[0, 1:-1, 1:-1]
    np.testing.assert_allclose(np.abs(inner - 127.5), 255 / 162, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["inception", "pca", "pca:", "pca:x", "saved_model:", "keras:VGG16", ""]
)
def test_bad_names_list_the_choices(name, images):
    with pytest.raises(BadInput, match="pixels, pca:N, saved_model:PATH, keras:NAME"):
        extractor(name, images)


def test_bad_images(images):
    pixels = extractor("pixels", images)
    with pytest.raises(BadInput, match="must be uint8"):
        pixels(images / 255.0)
    with pytest.raises(BadInput, match="was made for images of"):
        pixels(np.zeros((2, 9, 9, 1), np.uint8))
    with pytest.raises(BadInput, match="choose 1 to 50 components"):
        extractor("pca:51", images)
    with pytest.raises(BadInput, match="choose 1 to 50 components"):
        extractor("pca:0", images)
