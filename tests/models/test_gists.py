"""What the gists of text2video show of Moving Shapes of 32 pixels: 3 min of one core.

`-s` shows the figures.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen import models
from tfgen.data import drawing, load, shapes

pytestmark = pytest.mark.slow
KIND = shapes.SMALL
EACH = 4  # gists of a sentence


@functools.cache
def data():
    return load("moving_shapes/small", batch=32)


@functools.cache
def trained():
    """The gist's VAE alone."""
    model = models.build("text2video", "small", spec=data().spec, xla="on")
    return model, model.fit(data().train, steps_per_epoch=3000, verbose=0).history


@functools.cache
def classifier():
    """Tells shape and size of real frames: frames `[rows, 32, 32, 3]` -> logits."""
    keras.utils.set_random_seed(0)
    index = np.arange(KIND.count("train"))
    frames = KIND.videos("train", index)[:, ::2] / np.float32(255)
    told = {
        name: np.repeat(KIND.labels("train", index)[name], frames.shape[1])
        for name in ("shape", "size")
    }
    images = x = keras.Input(frames.shape[2:])
    for width in (16, 32, 64):
        x = keras.layers.Conv2D(width, 3, 2, "same", activation="relu")(x)
    x = keras.layers.Dense(64, "relu")(keras.layers.Flatten()(x))
    heads = {
        name: keras.layers.Dense(len(KIND.classes[name]), name=name)(x) for name in told
    }
    network = keras.Model(images, heads)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-3), dict.fromkeys(told, loss))
    network.fit(frames.reshape(-1, *frames.shape[2:]), told, 64, 4, verbose=0)
    return network


def told_rightly(images, labels):
    """Share of images whose shape and size the classifier tells as they are."""
    logits = classifier().predict(images, verbose=0)
    return {k: (v.argmax(axis=1) == labels[k]).mean() for k, v in logits.items()}


def labels():
    """Of one row for each sentence."""
    return KIND.labels("train", np.arange(len(KIND.combinations)))


def gists(model, labels):
    """Prior samples of sentences, `EACH` of each, in [0, 1]; z is always the same."""
    told = np.repeat(KIND.sentences(labels), EACH)
    z = tf.random.stateless_normal([len(told), model.config.gist_size], [3, 4])
    made = model.decoder([z, model.tokens(tf.constant(told))])
    return np.clip((made.numpy() + 1) / 2, 0, 1)


def looked_at(images):
    """Numbers of colour, shape and size, and the centre (x, y): what is seen.

    What is half as bright as the brightest pixel is the object. Its colour is the
    strongest channel; shape and size are those whose drawing at its centre of gravity
    is nearest.
    """
    light = images.max(axis=-1)
    peak = light.max(axis=(1, 2), keepdims=True)
    image = np.where(light >= 0.5 * peak, light / peak, 0.0)
    colour = (images * (image > 0)[..., None]).sum(axis=(1, 2)).argmax(axis=-1)
    place, total = np.arange(KIND.side) + 0.5, image.sum(axis=(1, 2))
    across, down = (image.sum(axis=axis) @ place / total for axis in (1, 2))
    centre = np.stack([across, down], axis=1)
    kinds, errors = [], []
    for shape in range(len(drawing.SHAPES)):
        for size, (_, pixels) in enumerate(KIND.sizes):
            count = len(images)
            numbers, sides = np.full(count, shape), np.full(count, pixels)
            beside = np.full(count, drawing.BESIDE * pixels)
            low = np.stack([beside, drawing.ABOVE[numbers] * pixels], axis=1)
            below = np.stack([beside, drawing.BELOW[numbers] * pixels], axis=1)
            drawn = np.zeros([*image.shape, 3], "uint8")
            drawing.draw(
                drawn,
                numbers,
                sides,
                np.full([count, 3], 255),
                np.clip(centre, low, KIND.side - below),
            )
            kinds.append((shape, size))
            errors.append(np.square(drawn[..., 0] / 255 - image).sum(axis=(1, 2)))
    shape, size = np.array(kinds)[np.argmin(errors, axis=0)].T
    return {"colour": colour, "shape": shape, "size": size}, centre


def test_what_looks_at_gists_is_right_about_real_frames():
    index = np.arange(288)
    found, centre = looked_at(KIND.videos("train", index)[:, 0] / 255)
    for name, numbers in found.items():
        np.testing.assert_array_equal(numbers, KIND.labels("train", index)[name])
    wanted = KIND.centres("train", index)[:, 0, 0]
    assert np.abs(centre - wanted).max() < 0.5


def test_gists_show_what_the_sentence_says():
    """What there is is the sentence's, places are z's.

    Edges are soft, so that drawings say circle of most shapes; the classifier does not.
    """
    model, logs = trained()
    told = labels()
    first = gists(model, told)
    found, centre = looked_at(first)
    right = {k: (v == np.repeat(told[k], EACH)).mean() for k, v in found.items()}
    # The next colour's word in the place of each, with the same z.
    other = dict(told, colour=(told["colour"] + 1) % len(KIND.colours))
    turned, its_centre = looked_at(gists(model, other))
    recoloured = (turned["colour"] == np.repeat(other["colour"], EACH)).mean()
    shift = np.median(np.linalg.norm(its_centre - centre, axis=1))
    kl = logs["gist_kl"][-1]
    test = np.arange(KIND.count("test"))
    real = KIND.videos("test", test)[:, 0] / np.float32(255)
    assert min(told_rightly(real, KIND.labels("test", test)).values()) >= 0.99
    rows = {k: np.repeat(v, EACH) for k, v in told.items()}
    classified = told_rightly(first.astype("float32"), rows)
    print(right, classified, {"recoloured": recoloured, "shift": shift, "kl": kl})
    assert right["colour"] >= 0.95 and recoloured >= 0.95
    assert classified["shape"] >= 0.8 and classified["size"] >= 0.8
    assert shift < 1.5
    assert 0.5 < kl < 30
