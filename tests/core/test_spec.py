"""DataSpec, the adapter and to_uint8, against numbers worked out by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature, adapter, to_uint8


def image_spec(name, *shape, dtype="float32", low=-1.0, high=1.0, **features):
    image = Feature(shape, dtype, low, high)
    return DataSpec(name, 10, {"image": image, **features})


def pixels(*shape):
    return image_spec("pixels", *shape, dtype="uint8", low=0, high=255)


def adapted(source, target, image):
    adapt, line = adapter(source, target)
    assert "\n" not in line
    result = tf.function(adapt)({"image": tf.constant(image)})["image"]
    assert result.dtype == tf.float32
    assert result.shape == (len(image), *target.image.shape)
    return result.numpy(), line


def test_json_round_trip_is_exact():
    spec = DataSpec(
        "mnist",
        60000,
        {
            "image": Feature((28, 28, 1), "uint8", 0.0, 255.0),
            "label": Feature((), "int64", classes=("a", "ß")),
            "audio": Feature((64000,), "float32", -0.1, 1 / 3, sample_rate=16000),
        },
    )
    text = json.dumps(spec.to_json())
    assert DataSpec.from_json(json.loads(text)) == spec
    assert list(DataSpec.from_json(json.loads(text)).features) == list(spec.features)


@pytest.mark.parametrize("content", [{}, {"features": {"x": {"size": 3}}}, [1], None])
def test_broken_json_is_bad_input(content):
    with pytest.raises(BadInput, match="not a data description"):
        DataSpec.from_json(content)


def test_spec_properties():
    label = Feature((), "int64", classes=("cat", "dog"))
    spec = pixels(8, 8, 3)
    assert spec.num_classes == 0
    assert spec.with_feature("label", **vars(label)).num_classes == 2
    assert spec.with_feature("image", shape=(4, 4, 3)).image.shape == (4, 4, 3)
    assert spec.image.shape == (8, 8, 3)
    assert spec.replace(examples=3).examples == 3
    with pytest.raises(BadInput, match="has no image; it has: label"):
        _ = DataSpec("words", 1, {"label": label}).image


@pytest.mark.parametrize(
    "arguments",
    [("float64",), ("uint8", 0), ("uint8", None, 1), ("uint8", 3, 3)],
)
def test_impossible_features(arguments):
    with pytest.raises(BadInput):
        Feature((2,), *arguments)


def test_scaling_hits_both_ends_exactly():
    image = np.array([0, 51, 255], "uint8").reshape(1, 1, 3, 1)
    result, line = adapted(pixels(1, 3, 1), image_spec("m", 1, 3, 1), image)
    assert (result.min(), result.max()) == (-1, 1)
    np.testing.assert_allclose(result[0, 0, 1, 0], 51 / 127.5 - 1, rtol=1e-6)
    assert line == "image 1x3x1 uint8 [0,255] -> float32 [-1,1]: scaled"
    result, _ = adapted(pixels(1, 3, 1), image_spec("m", 1, 3, 1, low=0.0), image)
    assert (result.min(), result.max()) == (0, 1)
    np.testing.assert_allclose(result[0, 0, 1, 0], 0.2, rtol=1e-6)


def test_padding_is_black_and_centred():
    image = np.full((2, 28, 28, 1), 255, "uint8")
    result, line = adapted(pixels(28, 28, 1), image_spec("m", 32, 32, 1), image)
    expected = np.full((2, 32, 32, 1), -1, "float32")
    expected[:, 2:30, 2:30] = 1
    np.testing.assert_array_equal(result, expected)
    assert line == "image 28x28x1 uint8 [0,255] -> 32x32x1 float32 [-1,1]: padded"


@pytest.mark.parametrize(("side", "word"), [(16, "padded"), (15, "resized")])
def test_padding_up_to_a_quarter(side, word):
    _, line = adapter(pixels(side, side, 1), image_spec("m", 20, 20, 1))
    assert line.endswith(f": {word}")


def test_crop_to_the_aspect_ratio():
    image = np.arange(6 * 4, dtype="uint8").reshape(1, 6, 4, 1)
    target = image_spec("m", 4, 4, 1, low=0.0, high=255.0)
    result, line = adapted(pixels(6, 4, 1), target, image)
    np.testing.assert_array_equal(result, image[:, 1:5])
    assert line.endswith("cropped to 4x4")


@pytest.mark.parametrize("size", [(32, 32), (5, 7), (64, 48), (3, 3)])
def test_resize_is_bilinear_with_antialiasing(size):
    image = np.random.default_rng(0).integers(0, 256, (2, 13, 13, 3), dtype="uint8")
    source = pixels(13, 13, 3)
    target = image_spec("m", *size, 3, low=0.0, high=255.0)
    result, line = adapted(source, target, image)
    height = min(13, round(13 * size[0] / size[1]))
    width = min(13, round(13 * size[1] / size[0]))
    top, left = (13 - height) // 2, (13 - width) // 2
    window = image[:, top : top + height, left : left + width]
    expected = tf.image.resize(window, size, antialias=True)
    # Relative to 255: TensorFlow computes its weights in float32, to 2e-6.
    np.testing.assert_allclose(result, expected, atol=1e-3)
    assert "resized" in line


def test_resize_by_hand():
    # Doubling 2 pixels: centres of the new ones lie at -0.25, 0.25, 0.75, 1.25.
    image = np.array([0, 100], "uint8").reshape(1, 1, 2, 1)
    image = np.repeat(image, 2, axis=1)
    target = image_spec("m", 4, 4, 1, low=0.0, high=255.0)
    result, _ = adapted(pixels(2, 2, 1), target, image)
    np.testing.assert_allclose(result[0, 1, :, 0], [0, 25, 75, 100], atol=1e-5)


def test_channels():
    gray = np.array([7], "uint8").reshape(1, 1, 1, 1)
    rgb_target = image_spec("m", 1, 1, 3, low=0.0, high=255.0)
    result, line = adapted(pixels(1, 1, 1), rgb_target, gray)
    np.testing.assert_array_equal(result.ravel(), [7, 7, 7])
    assert line.endswith("gray repeated to RGB")

    rgb = np.array([10, 20, 30], "uint8").reshape(1, 1, 1, 3)
    gray_target = image_spec("m", 1, 1, 1, low=0.0, high=255.0)
    result, line = adapted(pixels(1, 1, 3), gray_target, rgb)
    # 2.99 + 11.74 + 3.42
    np.testing.assert_allclose(result.ravel(), [18.15], rtol=1e-6)
    assert line.endswith("RGB to luminance")


def test_frames_of_a_video_are_treated_alike():
    source = DataSpec("v", 1, {"video": Feature((5, 8, 6, 1), "uint8", 0, 255)})
    target = DataSpec("m", 1, {"video": Feature((5, 12, 9, 3), "float32", 0, 255)})
    video = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 6, 1), dtype="uint8")
    adapt, line = adapter(source, target)
    result = adapt({"video": tf.constant(video)})["video"]
    assert result.shape == (2, 5, 12, 9, 3)
    frame = tf.image.resize(video[1, 3], (12, 9))
    np.testing.assert_allclose(result[1, 3, ..., 2], frame[..., 0], atol=1e-3)
    assert line.startswith("video 5x8x6x1 uint8 [0,255] -> 5x12x9x3")


def test_other_features_pass_through():
    label = Feature((), "int64", classes=("a", "b"))
    source = pixels(2, 2, 1).with_feature("label", **vars(label))
    target = image_spec("m", 2, 2, 1)
    batch = {
        "image": tf.zeros((3, 2, 2, 1), tf.uint8),
        "label": tf.constant([0, 1, 0], tf.int64),
        "index": tf.range(3, dtype=tf.int64),
    }
    result = adapter(source, target)[0](batch)
    assert result["label"] is batch["label"]
    assert result["index"] is batch["index"]
    result = adapter(source, target.with_feature("label", **vars(label)))[0](batch)
    assert result["label"] is batch["label"]
    adapt, line = adapter(source, source)
    assert line == "unchanged"
    assert adapt(batch)["image"] is batch["image"]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            pixels(2, 2, 1),
            image_spec("m", 2, 2, 1, label=Feature((), "int64")),
            "'m' needs 'label', which data 'pixels' lacks; it has: image",
        ),
        (pixels(2, 2, 2), image_spec("m", 2, 2, 1), "only height, width"),
        (pixels(5, 2, 2, 1), image_spec("m", 4, 2, 2, 1), "only height, width"),
        (pixels(7), image_spec("m", 8), "only height, width"),
        (
            image_spec("x", 2, 2, 1, low=None, high=None),
            image_spec("m", 2, 2, 1),
            "range of 'image' of data 'x' for 'm' is unknown",
        ),
        (image_spec("x", 2, 2, 1), pixels(2, 2, 1), "cannot turn"),
        (
            pixels(2, 2, 1).with_feature(
                "label", shape=(), dtype="int64", classes=("a", "b", "c")
            ),
            image_spec("m", 2, 2, 1, label=Feature((), "int64", classes=("a", "b"))),
            "'m' knows 2 classes of 'label', data 'pixels' has 3",
        ),
        (
            pixels(2, 2, 1).with_feature(
                "label", shape=(), dtype="int64", classes=("b", "a")
            ),
            image_spec("m", 2, 2, 1, label=Feature((), "int64", classes=("a", "b"))),
            "'m' knows 'label' as .*a.*b.*, data 'pixels' as .*b.*a",
        ),
    ],
)
def test_what_cannot_be_adapted(source, target, message):
    with pytest.raises(BadInput, match=message) as caught:
        adapter(source, target)
    assert "\n" not in str(caught.value)


def test_to_uint8_inverts_the_scaling():
    image = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    target = image_spec("m", 16, 16, 1)
    scaled, _ = adapted(pixels(16, 16, 1), target, image)
    np.testing.assert_array_equal(to_uint8(scaled, target.image), image)
    tensor = to_uint8(tf.constant(scaled), target.image)
    assert tensor.dtype == tf.uint8
    np.testing.assert_array_equal(tensor, image)


@pytest.mark.parametrize("kind", [np.array, tf.constant])
def test_to_uint8_rounds_and_clips(kind):
    unit = Feature((5,), "float32", 0.0, 1.0)
    values = [-3.0, 0.4 / 255, 0.6 / 255, 7.0, np.nan]
    result = to_uint8(kind(values), unit)
    np.testing.assert_array_equal(result, [0, 0, 1, 255, 0])
    assert result.dtype == "uint8"
    assert to_uint8(result, unit) is result
    with pytest.raises(BadInput, match="value range"):
        to_uint8(kind(values), Feature((5,), "float32"))
