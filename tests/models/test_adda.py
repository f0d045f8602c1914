"""ADDA: published structure, what each stage moves, and what it never reads."""

import numpy as np
import pytest
import tensorflow as tf

from tests import synthetic
from tfgen import models
from tfgen.core import checkpoint
from tfgen.core.errors import BadInput
from tfgen.core.schedules import Annealed, ConstantThenLinear
from tfgen.data import PairStream, Stream
from tfgen.layers.reversal import reverse_gradient

SLOW = pytest.mark.slow


def build(name="adda", data=None, **hparams):
    data = data or synthetic.pair()
    return models.build(name, "tiny", spec=data.spec, hparams=hparams)


def values(network):
    return [v.numpy() for v in network.variables]


def same(one, other):
    return [np.array_equal(x, y) for x, y in zip(one, other, strict=True)]


@pytest.mark.parametrize(("feature", "judge"), [("logits", 257_002), ("fc3", 502_002)])
def test_parameters(feature, judge):
    model = models.build(
        "adda", "paper", spec=synthetic.pair().spec, hparams={"feature": feature}
    )
    # 20 (25 + 1) + 50 (500 + 1) + 500 (800 + 1) + 10 (500 + 1)
    assert model.source.count_params() == 431_080
    assert model.discriminator.count_params() == judge
    last = 10 * (500 + 1) if feature == "fc3" else 0
    assert model.target.count_params() == 431_080 - last
    assert model.classifier.count_params() == last


@pytest.mark.parametrize("feature", ["logits", "fc3"])
def test_stages(feature):
    data = synthetic.pair()
    model = build(feature=feature, source_steps=4)
    model.fit(data, steps_per_epoch=4, verbose=0)
    # Adaptation starts from a copy.
    assert all(same(values(model.encoder), values(model.target)))
    images = synthetic.digits()["image"][:8] / np.float32(255)
    before = model.classify(images)
    np.testing.assert_array_equal(
        before["logits"], model.classify_source(images)["logits"]
    )
    np.testing.assert_array_equal(before["logits"], model.source(images))
    source, target = values(model.source), values(model.target)
    model.fit(data, steps_per_epoch=50, verbose=0)
    assert all(same(source, values(model.source)))
    assert not any(same(target, values(model.target)))
    after = model.classify_source(images)
    np.testing.assert_array_equal(before["logits"], after["logits"])
    assert set(model.traces) >= {"source_loss", "discriminator_loss", "mapping_loss"}


def test_a_constant_discriminator_teaches_nothing():
    model = build()
    images = synthetic.digits()["image"][:8] / np.float32(255)
    *_, kernel, _ = model.discriminator.trainable_variables

    def pull():
        with tf.GradientTape() as tape:
            loss = model.mapping_loss(images)
        return tape.gradient(loss, [v.value for v in model.target.trainable_variables])

    assert all(np.any(gradient) for gradient in pull())
    kernel.assign(tf.zeros_like(kernel))
    assert not any(np.any(gradient) for gradient in pull())


def test_how_often_the_discriminator_is_right():
    data = synthetic.pair()
    model = build(data=data)
    found = model.evaluate(data, verbose=0, return_dict=True)
    right = rows = 0
    for batch in data.dataset().take(len(data) // data.batch).as_numpy_iterator():
        batch = model._adapt(batch)
        for domain, sign in (("source", 1), ("target", -1)):
            network = {"source": model.encoder, "target": model.target}[domain]
            logits = sign * model.judge(network(batch[domain])).numpy()
            right, rows = right + np.sum(logits > 0), rows + len(logits)
    assert found["discriminator_accuracy"] == pytest.approx(right / rows)


def adapted(data, **hparams):
    model = build(data=data, source_steps=2, **hparams)
    model.fit(data, steps_per_epoch=6, verbose=0)
    return model


@pytest.mark.parametrize("name", ["adda", pytest.param("dann", marks=SLOW)])
def test_target_labels_are_never_read(name):
    digest = []
    for scrambled in (False, True):
        data = synthetic.pair()
        assert "target_label" not in next(iter(data.dataset()))
        arrays = dict(data.target.arrays)
        if scrambled:
            arrays["label"] = np.random.default_rng(0).permutation(arrays["label"])
            assert (arrays["label"] != data.target.arrays["label"]).any()
        target = Stream(arrays, data.target.spec, batch=16, seed=data.target.seed)
        data = PairStream(data.source, target)
        model = build(name, data)
        model.fit(data, steps_per_epoch=4, verbose=0)
        digest.append(checkpoint.digest(model))
    assert digest[0] == digest[1]


@SLOW
def test_source_labels_are_read():
    digest = []
    for turn in (0, 1):
        data = synthetic.pair()
        arrays = dict(data.source.arrays)
        arrays["label"] = np.roll(arrays["label"], turn)
        source = Stream(arrays, data.source.spec, batch=16)
        digest.append(checkpoint.digest(adapted(PairStream(source, data.target))))
    assert digest[0] != digest[1]


def test_the_mapping_gradient_does_not_depend_on_source_images():
    model = build(source_steps=0)
    recorded, apply = [], model.apply

    def record(optimizer, networks, gradients, clip=None):
        if networks is model.target:
            recorded.append([g.numpy() for g in gradients])
        apply(optimizer, networks, gradients, clip)

    model.apply, target = record, tf.random.uniform([4, 28, 28, 1], seed=1)
    start = [values(network) for network in (model.target, model.discriminator)]
    for source in (tf.zeros([4, 28, 28, 1]), tf.random.uniform([4, 28, 28, 1])):
        for network, old in zip(
            (model.target, model.discriminator), start, strict=True
        ):
            network.set_weights(old)
        model._begin(lambda: model.step.value)
        model.adapt_step({"source": source, "target": target})
    assert all(same(*recorded))
    assert any(np.any(g) for g in recorded[0])


def test_losses_by_hand(monkeypatch):
    model = build()
    # D's two outputs are (s, 0), with s the mean pixel: its logit is s.
    monkeypatch.setattr(model, "encoder", lambda x: tf.reduce_mean(x, [1, 2]))
    monkeypatch.setattr(model, "target", lambda x: tf.reduce_mean(x, [1, 2]))
    monkeypatch.setattr(
        model, "discriminator", lambda f: tf.concat([f, tf.zeros_like(f)], 1)
    )
    ours, theirs = tf.fill([3, 28, 28, 1], 0.3), tf.fill([3, 28, 28, 1], -0.4)
    loss, _ = model.discriminator_loss(ours, theirs)
    # Cross-entropy of the softmax, over the rows of both domains together.
    p = 1 / (1 + np.exp([-0.3, 0.4]))
    assert float(loss) == pytest.approx(
        -(np.log(p[0]) + np.log(1 - p[1])) / 2, rel=1e-6
    )
    # Labels inverted, not the sign: -log D of the target rows.
    mapping = model.mapping_loss(theirs)
    assert float(mapping) == pytest.approx(-np.log(p[1]) / 2, rel=1e-6)


def test_l2_is_of_kernels_in_source_training_alone():
    model = build(l2=0.5)
    images, labels = tf.zeros([2, 28, 28, 1]), tf.zeros([2], tf.int64)
    loss, parts = model.source_loss(images, labels)
    kernels = [v.numpy() for v in model.source.trainable_variables if v.ndim > 1]
    assert len(kernels) == 4
    penalty = sum(np.sum(np.square(kernel)) / 2 for kernel in kernels)
    wanted = parts["source_cross_entropy"] + 0.5 * penalty
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "cut", [pytest.param(1, marks=SLOW), 3, pytest.param(5, marks=SLOW)]
)
def test_resume_inside_and_between_stages(cut, tmp_path):
    """Cut in stage source, at its end, and in stage adapt."""
    data = synthetic.pair()
    whole = build(source_steps=3)
    whole.fit(data, steps_per_epoch=7, verbose=0)
    first = build(source_steps=3)
    first.fit(data, steps_per_epoch=cut, verbose=0)
    checkpoint.save(first, tmp_path)
    second = build(source_steps=3)
    assert checkpoint.restore_newest(second, tmp_path, warn=None) == cut
    second.fit(data, steps_per_epoch=7 - cut, verbose=0)
    assert checkpoint.digest(second) == checkpoint.digest(whole)


@SLOW
def test_an_execution_may_reach_over_the_end_of_a_stage():
    data, digests = synthetic.pair(), set()
    for length in (1, 4):
        model = build(source_steps=3)
        model.steps_per_execution = length
        model.fit(data, steps_per_epoch=8, verbose=0)
        digests.add(checkpoint.digest(model))
    assert len(digests) == 1


def test_a_nan_of_a_later_stage_is_named():
    data = synthetic.pair()
    model = build(source_steps=2)
    model.fit(data, steps_per_epoch=3, verbose=0)
    assert model.nonfinite() is None
    model.discriminator.trainable_variables[-1].assign([np.nan, 0.0])
    model.fit(data, steps_per_epoch=2, verbose=0)
    assert model.nonfinite() == (3, "discriminator_loss of discriminator")


def test_gradient_reversal():
    x, weight = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = reverse_gradient(x, weight)
        loss = tf.reduce_sum(y * y)
    np.testing.assert_array_equal(y, x)
    # -w dL/dy = -w 2 x
    wanted = [[-1.0, -2.0], [-12.0, -16.0]]
    np.testing.assert_array_equal(tape.gradient(loss, x), wanted)


def test_dann_moves_the_encoder_up_the_loss_of_its_discriminator():
    model = build("dann")
    source, target = tf.random.uniform([2, 8, 28, 28, 1], seed=2)
    labels = tf.zeros([8], tf.int64)

    def gradient(weight):
        return model.gradients(
            model.joint_loss, model.encoder, source, labels, target, weight
        )[1]

    model._begin(lambda: model.step.value)
    none, one, two = (gradient(tf.fill([8], w)) for w in (0.0, 1.0, 2.0))
    for zeroth, first, second in zip(none, one, two, strict=True):
        np.testing.assert_allclose(second - zeroth, 2 * (first - zeroth), atol=1e-6)
    assert any(np.abs(f - z).max() > 1e-6 for z, f in zip(none, one, strict=True))


def test_dann_progress():
    model = build("dann", schedule_steps=10)
    for step, wanted in ((0, 0.0), (5, 2 / (1 + np.exp(-5)) - 1), (20, 0.99990920)):
        model.step.assign(step)
        assert float(model.reversal()) == pytest.approx(wanted, abs=1e-6)


def test_schedules():
    rate = ConstantThenLinear(2.0, 10, 5)
    found = [float(rate(n)) for n in (0, 10, 12, 15, 99)]
    np.testing.assert_allclose(found, [2, 2, 1.2, 0, 0], atol=1e-6)
    # (1 + 10 / 2)^-0.75
    np.testing.assert_allclose(Annealed(0.01, 8)(4), 0.01 * 6**-0.75, rtol=1e-6)


@pytest.mark.parametrize("name", ["adda", "dann"])
def test_labels_of_the_source_are_needed(name):
    data = synthetic.pair()
    arrays = {"image": data.source.arrays["image"]}
    features = {"image": data.source.spec.image}
    plain = Stream(arrays, data.source.spec.replace(features=features), batch=16)
    with pytest.raises(BadInput, match=f"{name} needs a labelled source; .* no label"):
        build(name, PairStream(plain, data.target))


def test_gray_and_rgb_domains_become_gray(make_stream):
    data = synthetic.pair()
    arrays = {"image": np.repeat(data.target.arrays["image"], 3, axis=-1)}
    spec = data.target.spec.with_feature("image", shape=(28, 28, 3))
    spec = spec.replace(features={"image": spec.image})
    colour = PairStream(data.source, Stream(arrays, spec, batch=16, seed=1))
    model = build(data=colour)
    assert "RGB to luminance" in model.feed_from(colour.spec)
    model.fit(colour, steps_per_epoch=2, verbose=0)
