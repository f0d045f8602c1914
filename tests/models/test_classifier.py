"""The classifier, and how models are found and configured."""

import dataclasses
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.core.errors import BadInput


def test_cross_entropy_and_accuracy():
    model = models.build("classifier", "tiny", spec=stream(8).spec, xla="off")
    data = stream(8).arrays
    x = tf.constant(data["image"][:32] / 127.5 - 1, tf.float32)
    loss, parts = model.cross_entropy(x, data["label"][:32])
    out = {name: value.numpy() for name, value in model.classify(x).items()}
    p = np.exp(out["logits"].astype("float64"))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(out["probabilities"], p, rtol=1e-5)
    np.testing.assert_array_equal(out["label"], p.argmax(1))
    wanted = -np.log(p[np.arange(32), data["label"][:32]]).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(parts["cross_entropy"], wanted, rtol=1e-5)
    hits = (out["label"] == data["label"][:32]).mean()
    np.testing.assert_allclose(parts["accuracy"], hits)
    assert out["features"].shape == (32, 8)
    assert out["features"].min() >= 0


def test_it_learns_strokes():
    hparams = {"channels": 4, "features": 32, "learning_rate": 1e-2}
    data = stream(8, batch=32)
    model = models.build(
        "classifier", "tiny", spec=data.spec, hparams=hparams, xla="off"
    )
    model.fit(data, steps_per_epoch=200, verbose=0)
    # Neighbouring slants overlap by chance; guessing gives 0.1.
    assert model.evaluate(data, verbose=0, return_dict=True)["accuracy"] > 0.8


def test_data_without_labels_are_refused():
    spec = stream(8).spec
    spec = dataclasses.replace(spec, features={"image": spec.image})
    with pytest.raises(BadInput, match="classifier needs labelled data; synthetic has"):
        models.build("classifier", "tiny", spec=spec)


def test_find():
    assert models.find("vae").__name__ == "VAE"
    assert models.find("tests.toy_gan:ToyGAN").__name__ == "ToyGAN"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wgn", r"unknown model 'wgn' \(did you mean wgan\?\); valid: ae, vae, "),
        ("xyzzy", "unknown model 'xyzzy'; valid: ae, vae"),
        ("tests.toy_gan:Other", "cannot import model 'tests.toy_gan:Other'"),
        ("no.such:Module", "cannot import model 'no.such:Module': No module"),
        (":ToyGAN", "cannot import model ':ToyGAN'"),
        ("json:JSONDecoder", "'json:JSONDecoder' is not a subclass of tfgen.Generat"),
        ("json:dumps", "'json:dumps' is not a subclass"),
    ],
)
def test_what_is_no_model(name, message):
    with pytest.raises(BadInput, match=message) as error:
        models.find(name)
    assert "\n" not in str(error.value)


def test_presets():
    with pytest.raises(
        BadInput, match="unknown preset 'huge' of vae; valid: paper, sma"
    ):
        models.configure("vae", "huge")
    assert models.configure("vae") == models.configure("vae", "small")
    config = models.configure("vae", "tiny", {"latent_size": "7"})
    assert (config.latent_size, config.hidden) == (7, (16,))
    for name in models.MODELS:
        assert set(models.find(name).PRESETS) >= {"paper", "small", "tiny"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "unknown precision 'float16'; valid: float32, bfl"),
        ({"precision": ["float32"]}, r"unknown precision \['float32'\]; valid"),
        ({"xla": "maybe"}, "unknown xla 'maybe'; valid: auto, on, off"),
        ({"xla": True}, "unknown xla True; valid: auto, on, off"),
        ({"seed": -1}, "seed is -1; it must be an integer in"),
        ({"seed": 2**31}, r"seed is 2147483648; .* integer in \[0, 2\*\*31\)"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must"),
        ({"seed": 1.5}, "seed is 1.5; it must"),
        ({"config": "vae", "preset": "tiny"}, "a config takes the place of preset and"),
        ({"config": "vae", "hparams": {"latent_size": 3}}, "a config takes the place"),
        ({"config": "gan"}, "vae needs a config of type VAEConfig, not GANConfig; mod"),
        ({"config": {}}, "vae needs a config of type VAEConfig, not dict"),
    ],
)
def test_what_build_refuses(options, message):
    if isinstance(config := options.get("config"), str):
        options = {**options, "config": models.configure(config, "tiny")}
    with pytest.raises(BadInput, match=message) as error:
        models.build("vae", spec=stream(8).spec, **options)
    assert "\n" not in str(error.value)


def test_data_in_the_place_of_their_parts_are_refused():
    model = models.build("vae", "tiny", spec=stream(8).spec)
    whole = types.SimpleNamespace(train=stream(8), test=stream(8))
    with pytest.raises(BadInput, match="built for a DataSpec, not SimpleNamespace: gi"):
        models.build("vae", "tiny", spec=whole)
    for rows in (None, whole):
        with pytest.raises(BadInput, match=r"^fit needs rows: data.train of tfgen"):
            model.fit(rows)
        with pytest.raises(BadInput, match=r"^evaluate needs rows: data.test of tf"):
            model.evaluate(rows)


def test_noise_is_drawn_for_batches_of_one_size():
    model = models.build("vae", "tiny", spec=stream(8).spec)
    rows = tf.data.Dataset.from_tensor_slices(stream(8).arrays).batch(8).repeat()
    for method in (model.fit, model.evaluate):
        with pytest.raises(BadInput, match=r"^VAE .* one size: .*drop_remainder"):
            method(rows, verbose=0)
    full = rows.unbatch().batch(8, drop_remainder=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "`shuffle=True`")
        model.fit(full, steps_per_epoch=2, verbose=0)
    assert model.steps_done == 2


def test_a_model_without_noise_takes_what_is_left_of_a_set():
    model = models.build("classifier", "tiny", spec=stream(8).spec)
    arrays = {name: x[:20] for name, x in stream(8).arrays.items()}
    rows = tf.data.Dataset.from_tensor_slices(arrays).batch(8)
    assert np.isfinite(model.evaluate(rows, verbose=0)).all()
    model.fit(rows, verbose=0)
    assert model.steps_done == 3


def test_a_seed_may_be_numpy_s():
    model = models.build("vae", "tiny", spec=stream(8).spec, seed=np.int64(3))
    assert type(model.seed) is int and model.seed == 3


def test_seed_decides_the_initial_weights():
    first, same, other = (
        models.build("vae", "tiny", spec=stream(8).spec, seed=seed, xla="off")
        for seed in (0, 0, 1)
    )
    for a, b, c in zip(
        *(m.encoder.get_weights()[::2] for m in (first, same, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)


def test_xla_auto_asks_the_model():
    for name, wanted in (("vae", True), ("wgan", False)):
        assert models.build(name, "tiny", spec=stream(8).spec).xla is wanted
