"""launch.evaluate: numbers against the model's own, and what is recorded."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from launch import held_out
from tests.launch.made_runs import make_run
from tests.synthetic import digits
from tfgen.core import checkpoint
from tfgen.core.spec import to_uint8
from tfgen.workdir import Workdir


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """`npz:PATH` with a test split of 100 rows that is sorted by class."""
    path = tmp_path_factory.mktemp("data") / "split.npz"
    train, test = digits(12), digits(12, rows=100)
    order = np.argsort(test["label"], kind="stable")
    np.savez(
        path,
        x_train=train["image"],
        y_train=train["label"],
        x_test=test["image"][order],
        y_test=test["label"][order],
    )
    return f"npz:{path}"


@pytest.fixture(scope="module")
def data(archive):
    return tfgen.data.load(archive, batch=16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data, archive):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: make_run(folder / name, name, data, archive)
        for name in (
            *("vae", "wgan_gp", "classifier", "cgan", "dcgan"),
            *("cvae", "cvae_baseline"),
        )
    }


def evaluate(launcher, *flags):
    ended = launcher.run(*flags, module="launch.evaluate")
    assert ended.code == 0, ended.stderr
    return ended.json


def records(path):
    content = json.loads((path / "evaluation.json").read_text())
    return {record["metric"]: record for record in content}


def images(data, model):
    low, high = model.spec.image.low, model.spec.image.high
    bytes_ = np.asarray(data.test.arrays["image"], "float32")
    return tf.constant(bytes_ / 255 * (high - low) + low)


def test_vae(runs, launcher, data):
    path, model = runs["vae"]
    result = evaluate(launcher, f"--workdir={path}", "--iwae_samples=20")
    assert result["split"] == "test"
    metrics = result["metrics"]
    x = images(data, model)
    rate = tf.reduce_mean(model.posterior(x).kl_divergence(model.prior))
    assert metrics["rate"] == pytest.approx(float(rate), rel=1e-5)
    elbo = float(model.loss_and_parts(x, tf.zeros([100, 4]))[1]["elbo"])
    assert metrics["elbo"] == pytest.approx(elbo, rel=0.02)  # another epsilon
    assert metrics["elbo"] < metrics["iwae"] < metrics["elbo"] + 5
    assert "bits_per_dim" not in metrics  # of grey pixels under a Bernoulli likelihood
    record = records(path)["iwae"]
    wanted = {"k": 20, "count": 100, "split": "test", "seed": 0, "step": 0}
    wanted |= {"likelihood": "bernoulli", "pixels": "grey", "weights": "raw"}
    assert record.items() >= wanted.items()
    assert record["standard_error"] == result["standard_errors"]["iwae"] > 0


def test_records_are_kept_and_replaced(runs, launcher):
    path, _ = runs["vae"]
    for seed in (1, 2, 1):
        evaluate(launcher, f"--workdir={path}", "--metrics=elbo", f"--seed={seed}")
    content = json.loads((path / "evaluation.json").read_text())
    seeds = [r["seed"] for r in content if r["metric"] == "elbo" and r["seed"]]
    assert sorted(seeds) == [1, 2]


def test_classifier(runs, launcher, data):
    path, model = runs["classifier"]
    metrics = evaluate(launcher, f"--workdir={path}")["metrics"]
    labels = tf.constant(np.asarray(data.test.arrays["label"]))
    loss, parts = model.cross_entropy(images(data, model), labels)
    assert metrics["cross_entropy"] == pytest.approx(float(loss), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(float(parts["accuracy"]), rel=1e-5)


def test_conditional_likelihoods(runs, launcher, data):
    path, model = runs["cvae"]
    metrics = evaluate(launcher, f"--workdir={path}", "--iwae_samples=5")["metrics"]
    assert set(metrics) == {
        *("cll_importance", "cll_mc", "conditional_elbo", "conditional_kl")
    }
    x, y = model.split({"image": images(data, model)})
    kl = tf.reduce_mean(model.posterior(x, y).kl_divergence(model.conditional_prior(x)))
    assert metrics["conditional_kl"] == pytest.approx(float(kl), rel=1e-4)
    record = records(path)["cll_importance"]
    assert (record["k"], record["count"], record["quadrants"]) == (5, 100, 1)
    path, model = runs["cvae_baseline"]
    metrics = evaluate(launcher, f"--workdir={path}", "--metrics=cll")["metrics"]
    assert metrics["cll"] == pytest.approx(-float(model.cross_entropy(x, y)), rel=1e-5)


def test_gaps(runs, launcher):
    path, _ = runs["vae"]
    flags = ["--metrics=gaps", "--num=6", "--iwae_samples=20", "--local_steps=30"]
    metrics = evaluate(launcher, f"--workdir={path}", *flags)["metrics"]
    sums = metrics["approximation_gap"] + metrics["amortisation_gap"]
    assert metrics["inference_gap"] == pytest.approx(sums, abs=1e-9)
    assert metrics["log_p"] > metrics["elbo_optimal"]
    record = records(path)["amortisation_gap"]
    assert (record["count"], record["k"], record["local_steps"]) == (6, 20, 30)
    assert record["log_p_drawn_from"] in ("optimal", "amortised")
    (events,) = (path / "tensorboard").glob("events*")
    written = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {"gaps/amortisation_gap", "gaps/log_p_mean"} <= written


def test_gan_with_a_classifier(runs, launcher, data, tmp_path):
    path, model = runs["wgan_gp"]
    classifier = runs["classifier"][1]
    fakes = model.sample(60, seed=0)
    # Both networks take [-1, 1]; the classifier sees pixels rounded to bytes.
    seen = tf.round(255 * (fakes + 1) / 2) / 127.5 - 1
    # Untrained it is sure of nothing; with logits scaled up, of some samples.
    second, first = np.sort(classifier.classify(seen)["logits"])[:, -2:].T
    *_, kernel, _ = classifier.network.trainable_variables
    kernel.assign(2.5 / np.median(first - second) * kernel.value)
    tfgen.export(classifier, tmp_path / "classifier")
    flags = ["--metrics=wasserstein_estimate,confidence,frechet,parzen", "--num=60"]
    extractor = f"--extractor=saved_model:{tmp_path}/classifier"
    result = evaluate(launcher, f"--workdir={path}", *flags, extractor)
    p = classifier.classify(seen)["probabilities"].numpy().max(axis=1)
    assert result["metrics"]["confidence"] == pytest.approx(np.mean(p > 0.9))
    assert 0 < result["metrics"]["confidence"] < 1
    assert 1 <= result["metrics"]["classes_found"] <= 10
    assert result["metrics"]["frechet_distance"] > 0
    record = records(path)["wasserstein_estimate"]
    assert record["weights"] == "moving average"
    real = model.score(images(data, model)).numpy()
    fake = model.score(fakes).numpy().mean()
    # 60 of the 100 held-out rows, drawn from all classes.
    error = 4 * float(real.std()) / 60**0.5
    assert record["value"] == pytest.approx(float(real.mean() - fake), abs=error)
    assert record["count"] == 60
    # No validation rows were held out: half of the 60 choose the width.
    record = records(path)["parzen"]
    assert record["value"] == result["metrics"]["parzen"] < record["floor"]
    assert (record["count"], record["n_fake"]) == (30, 60)
    assert record["width_chosen_on"] == "30 rows of the test split, set aside"
    assert "training images" in record["warning"]


def test_raw_weights(launcher, archive, data, tmp_path):
    path, model = make_run(tmp_path / "run", "wgan_gp", data, archive)
    for weight in model.generator.trainable_variables:
        weight.assign(3.0 * weight.value)
    checkpoint.save(model, Workdir(path).checkpoints)
    flags = [f"--workdir={path}", "--metrics=wasserstein_estimate", "--num=60"]
    scores = {}
    for weights in ("average", "raw"):
        evaluate(launcher, *flags, f"--weights={weights}")
        scores[weights] = model.score(model.sample(60, seed=0)).numpy().mean()
        model.forget_averages()
    found = json.loads((path / "evaluation.json").read_text())
    values = {record["weights"]: record["value"] for record in found}
    assert list(values) == ["moving average", "raw"]
    shift = scores["average"] - scores["raw"]
    assert abs(shift) > 1e-3
    assert values["raw"] - values["moving average"] == pytest.approx(shift, rel=1e-3)


def test_parzen_width_from_validation_rows(launcher, archive, tmp_path):
    data = tfgen.data.load(archive, batch=16, validation_fraction=0.25)
    path, _ = make_run(tmp_path / "run", "vae", data, archive, validation=0.25)
    ended = launcher.run(
        f"--workdir={path}", "--metrics=parzen", module="launch.evaluate"
    )
    assert "training images" in ended.stderr
    record = records(path)["parzen"]
    assert record["width_chosen_on"] == "64 validation rows"
    assert (record["count"], record["n_fake"]) == (100, 100)


def test_classes_that_were_asked_for(runs, launcher, data):
    path, model = runs["cgan"]
    flags = ["--metrics=class_diversity", "--num=100"]
    found = evaluate(launcher, f"--workdir={path}", *flags)["metrics"]
    fakes = to_uint8(model.sample(100, seed=0).numpy(), model.spec.image)
    labels = np.arange(100) % 10
    train = data.train.arrays
    wanted = tfgen.metrics.class_diversity(
        np.asarray(train["image"]), np.asarray(train["label"]), fakes, labels
    )
    assert found["class_diversity"] == pytest.approx(wanted.mean)
    record = records(path)["class_diversity"]
    assert record["extractor"] == "pixels within a class" and record["floor"] > 0.5


def test_a_classifier_of_other_classes_is_refused(runs, launcher, tmp_path):
    export = tmp_path / "export"
    tfgen.export(runs["classifier"][1], export)
    description = json.loads((export / "tfgen.json").read_text())
    label = description["spec"]["features"]["label"]
    flags = [f"--workdir={runs['cgan'][0]}", f"--extractor=saved_model:{export}"]
    flags += ["--metrics=labels", "--num=20"]
    assert "label_accuracy" in evaluate(launcher, *flags)["metrics"]
    label["classes"] = [*label["classes"][:-1], "other"]
    (export / "tfgen.json").write_text(json.dumps(description))
    ended = launcher.run(*flags, module="launch.evaluate")
    assert ended.code == 2 and len(ended.errors) == 1
    assert "tells 10 classes" in ended.errors[0]


def test_linear_probe(runs, launcher):
    path, _ = runs["dcgan"]
    flags = ["--metrics=linear_probe", "--labels=150"]
    found = evaluate(launcher, f"--workdir={path}", *flags)["metrics"]
    # The run has taken no step: it is the untrained network of its seed.
    assert found["linear_probe"] == found["linear_probe_untrained"] > 0.15
    assert found["linear_probe_pixels"] > 0.15
    assert records(path)["linear_probe"]["labels"] == 150


def test_validation_rows_where_there_is_no_test_split(launcher, pictures, tmp_path):
    held_out = tfgen.data.load(pictures, batch=16, validation_fraction=0.25)
    path, _ = make_run(tmp_path / "run", "vae", held_out, pictures, validation=0.25)
    result = evaluate(launcher, f"--workdir={path}", "--metrics=elbo")
    assert result["split"] == "validation"
    assert records(path)["elbo"]["count"] == 64


def test_data_that_have_grown(launcher, tmp_path):
    """Another split would call rows held out that the run was trained on."""
    archive = tmp_path / "data.npz"
    np.savez(archive, x_train=np.zeros([64, 12, 12, 1], "uint8"))
    data = tfgen.data.load(f"npz:{archive}", batch=16, validation_fraction=0.25)
    how = tmp_path / "run", "vae", data, f"npz:{archive}"
    path, _ = make_run(*how, validation=0.25)
    np.savez(archive, x_train=np.zeros([80, 12, 12, 1], "uint8"))
    ended = launcher.run(f"--workdir={path}", module="launch.evaluate")
    assert ended.code == 2
    assert "has other examples than when this run began" in ended.errors[0]


def test_refusals(runs, launcher, pictures, tmp_path):
    vae, gan = runs["vae"][0], runs["wgan_gp"][0]
    whole = tfgen.data.load(pictures, batch=16)
    alone, _ = make_run(tmp_path / "run", "vae", whole, pictures)
    cases = {
        (): "--workdir is needed",
        (f"--workdir={vae}", "--metrics=elbow"): "valid: elbo, rate",
        (f"--workdir={vae}", "--metrics=accuracy"): "valid: elbo, rate",
        (f"--workdir={gan}", "--metrics=elbo"): "valid: wasserstein_estimate",
        (f"--workdir={gan}", "--metrics=confidence"): "saved_model:PATH",
        (f"--workdir={gan}", "--metrics=frechet", "--extractor=eyes"): "pixels",
        (f"--workdir={alone}",): "--validation_fraction",
        (f"--workdir={vae}", "--iwae_samples=0"): "--iwae_samples",
        (f"--workdir={vae}", "--checkpoint=best"): "valid: latest, 0",
        (f"--workdir={vae}", "--metrics=elbo", "--iwae_samples=9"): (
            "--iwae_samples is read by --metrics=iwae,gaps only"
        ),
        (f"--workdir={vae}", "--extractor=pca:4"): "is read by --metrics=confidence,",
        (f"--workdir={gan}", "--local_steps=9"): "no metric of WGANGP reads it",
        (f"--workdir={gan}", "--metrics=frechet", "--extractor=saved_model:/no"): (
            "no saved_model.pb"
        ),
    }
    for flags, words in cases.items():
        ended = launcher.run(*flags, module="launch.evaluate")
        assert ended.code == 2, (flags, ended.stderr)
        assert len(ended.errors) == 1 and words in ended.errors[0], ended.errors
    assert not (alone / "evaluation.json").exists()


def test_part_of_a_split_is_drawn_from_all_of_it(data):
    # The split is sorted by class: its first 20 rows would be two classes.
    part = held_out.arrays(data.test, data.spec, limit=20)
    assert len(np.unique(part["label"])) >= 7
    rows = {image.tobytes() for image in np.asarray(part["image"])}
    assert len(part["image"]) == len(rows) == 20
    again = held_out.arrays(data.test, data.spec, limit=20)
    np.testing.assert_array_equal(part["image"], again["image"])
    whole = held_out.arrays(data.test, data.spec, limit=1000)
    np.testing.assert_array_equal(whole["label"], data.test.arrays["label"])
