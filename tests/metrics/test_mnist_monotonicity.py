"""Numbers move the right way on damaged MNIST (specs C)."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from tfgen.metrics.extractors import extractor
from tfgen.metrics.frechet import frechet_distance
from tfgen.metrics.kernel import kernel_distance
from tfgen.metrics.manifold import precision_recall
from tfgen.metrics.sliced import image_sliced_wasserstein, sliced_wasserstein

DATA = pathlib.Path(os.environ.get("TFGEN_TEST_DATA", "../shared")) / "tfds"


@pytest.fixture(scope="module")
def mnist():
    """12,000 training images and labels."""
    if not (DATA / "mnist").is_dir():
        pytest.skip(f"no prepared MNIST in {DATA}: set TFGEN_TEST_DATA")
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist", data_dir=DATA)
    rows = builder.as_dataset("train[:12000]", batch_size=-1, as_supervised=True)
    return tfds.as_numpy(rows)


def blur(images, strength):
    width = (0, 0.7, 1.0, 1.3, 1.6, 2.0)[strength]
    smooth = gaussian_filter(images.astype(np.float64), (0, width, width, 0))
    return np.round(smooth).astype(np.uint8)


def noise(images, strength):
    width = (0, 8, 16, 32, 64, 128)[strength]
    random = np.random.default_rng(5)
    damaged = images + random.normal(size=images.shape) * width
    return np.clip(np.round(damaged), 0, 255).astype(np.uint8)


def measure(extract, damage, n, mnist):
    """Metrics of n images under a damage of strength 0 to 5, against n others."""
    images, labels = mnist
    real, pool, pool_labels = images[:n], images[n:], labels[n:]
    real_features = extract(real)
    results = {}
    for strength in range(6):
        if damage == "drop":  # the first 0, 1, 3, 5, 7, 9 classes are missing
            lost = (0, 1, 3, 5, 7, 9)[strength]
            fake = pool[pool_labels >= lost][:n]
        else:
            fake = {"blur": blur, "noise": noise}[damage](pool[:n], strength)
        features = extract(fake)
        found = {
            "frechet": frechet_distance(real_features, features),
            "kernel": kernel_distance(real_features, features).value,
            "sliced": sliced_wasserstein(real_features, features, 0, 128).value,
        }
        if damage != "drop":  # a lost class changes no texture
            patches = image_sliced_wasserstein(real[:200], fake[:200], 0, 64, 32)
            found["patches"] = patches[28]
        if damage == "drop" or strength in (0, 5):  # the others are not looked at
            found |= precision_recall(real_features, features)._asdict()
        for name, value in found.items():
            results.setdefault(name, []).append(value)
    return results


@pytest.mark.parametrize("damage", ["blur", "noise", "drop"])
def test_distances_grow_with_damage(mnist, damage):
    extract = extractor("pca:16", mnist[0][:800])
    found = measure(extract, damage, 800, mnist)
    for name in ("frechet", "kernel", "sliced"):
        assert np.all(np.diff(found[name]) >= 0), (name, found[name])
        assert found[name][5] > 3 * abs(found[name][0]), (name, found[name])
    if damage == "drop":
        # What is left is as good as before, and covers less and less.
        assert np.ptp(found["precision"]) < 0.06, found["precision"]
        assert np.all(np.diff(found["recall"]) < 0.03), found["recall"]
        assert found["recall"][-1] < found["recall"][0] - 0.5
    else:
        assert np.all(np.diff(found["patches"]) > 0), found["patches"]
        # In components of pixels both damages shrink samples towards the dense
        # middle, so that recall falls; see the slow test for a classifier.
        assert found["recall"][-1] < 0.1


def train_classifier(images, labels, folder):
    """Export a small network of a few epochs, as a classifier run does."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    x = inputs
    for channels in (16, 32):
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    features = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(x))
    logits = keras.layers.Dense(10)(features)
    network = keras.Model(inputs, logits)
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    network.fit(images / 127.5 - 1, labels, batch_size=64, epochs=4, verbose=0)
    both = keras.Model(inputs, {"logits": logits, "features": features})
    module = tf.Module()
    module.network = both
    module.classify = tf.function(
        both, input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32)]
    )
    tf.saved_model.save(module, folder, signatures={"classify": module.classify})
    image = {"shape": [28, 28, 1], "low": -1.0, "high": 1.0}
    (folder / "tfgen.json").write_text(
        json.dumps({"spec": {"features": {"image": image}}})
    )


@pytest.fixture(scope="module")
def classifier(mnist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    images, labels = mnist
    # Trained on rows that the measurements do not look at.
    train_classifier(images[6000:], labels[6000:], folder)
    return extractor(f"saved_model:{folder}", images)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["blur", "noise", "drop"])
def test_distances_grow_with_damage_for_a_classifier(mnist, classifier, damage):
    found = measure(classifier, damage, 2000, (mnist[0][:6000], mnist[1][:6000]))
    for name in ("frechet", "kernel", "sliced"):
        assert np.all(np.diff(found[name]) > 0), (name, found[name])
    # Precision falls for corruption only. Recall falls for both: corrupted samples
    # leave the real manifold, and their own balls no longer reach back into it.
    if damage == "drop":
        assert np.ptp(found["precision"]) < 0.05, found["precision"]
    else:
        assert found["precision"][-1] < found["precision"][0] - 0.3, found["precision"]
    assert found["recall"][-1] < found["recall"][0] - 0.4, found["recall"]
