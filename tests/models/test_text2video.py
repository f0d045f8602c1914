"""Text2Video and its baselines: each differs where the paper says; the gist's bound."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import clips
from tfgen import models
from tfgen.core import checkpoint
from tfgen.layers import tokens as words
from tfgen.losses import penalties
from tfgen.models.direct_text2video import DirectText2Video, PairedText2Video
from tfgen.networks import gist as networks
from tfgen.networks import text

SHAPE = (4, 8, 8, 3)


def build(name, **hparams):
    return models.build(
        name,
        "tiny",
        spec=clips(8).spec,
        hparams=hparams,
        run_eagerly=True,
        xla="off",
    )


@pytest.fixture(scope="module")
def model():
    return build("text2video")


def batch(model, rows=4):
    random = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(random.normal(size=(rows, *shape)).astype("float32"))

    latents = [draw(size) for size in model.latent_sizes().values()]
    own, others = model.sentences[:rows], model.sentences[rows : 2 * rows]
    return tf.tanh(draw(*SHAPE)), tf.constant(own), tf.constant(others), latents


def test_stages(model):
    assert model.stages() == {"gist": 1, "video": 1, "joint": None}
    assert [model.stage_of(step)[0] for step in range(3)] == ["gist", "video", "joint"]


@pytest.mark.parametrize("cut", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_resume_between_stages(cut, tmp_path):
    def fit(model, steps):
        model.fit(clips(8), steps_per_epoch=steps, verbose=0)

    whole, resumed = build("text2video"), build("text2video")
    fit(whole, cut)
    checkpoint.save(whole, tmp_path)
    checkpoint.restore(resumed, checkpoint.path_of(tmp_path, cut))
    for model in (whole, resumed):
        fit(model, 1)
    assert checkpoint.digest(resumed) == checkpoint.digest(whole)


def test_the_gists_bound(model):
    """Nats of all pixels and latents: sums over a row, not means."""
    video, own, _, _ = batch(model)
    images, epsilon = video[:, 0], np.random.default_rng(1).normal(size=(4, 4))
    loss, reports = model.gist_loss(images, own, tf.constant(epsilon, tf.float32))
    mean, log_variance = (
        x.numpy().astype("float64") for x in model.posterior([images, own])
    )
    z = mean + np.exp(log_variance / 2) * epsilon
    decoded = model.decoder([tf.constant(z, tf.float32), own]).numpy()
    deviation = model.config.deviation
    error = (decoded.astype("float64") - images.numpy()) ** 2
    likelihood = -error / (2 * deviation**2) - np.log(2 * np.pi * deviation**2) / 2
    kl = (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1) / 2
    wanted = kl.mean() - likelihood.sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(reports["gist_kl"], kl.mean(), rtol=1e-4)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_only_the_direct_gan_sees_no_wrong_pairs():
    real, other, fake = (tf.constant([[x]]) for x in (1.0, 2.0, -0.5))
    direct = DirectText2Video.separation(None, real, other, fake)
    wanted = np.logaddexp(0, -1) + np.logaddexp(0, -0.5)
    np.testing.assert_allclose(direct, wanted, rtol=1e-6)
    paired = PairedText2Video.separation(None, real, other, fake)
    wanted = np.logaddexp(0, -1) + (np.logaddexp(0, 2) + np.logaddexp(0, -0.5)) / 2
    np.testing.assert_allclose(paired, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", ["dt2v", "text2video"])
def test_the_gradient_of_real_clips_is_penalised(name):
    """Of their own pairs alone, by the clip."""
    plain, held = build(name, r1_weight=0.0), build(name, r1_weight=0.7)
    held.set_weights(plain.get_weights())
    clips, own, others, latents = batch(plain)
    loss, reports = plain.discriminator_loss(clips, own, others, *latents)
    assert "r1" not in reports

    def judged(x):
        return held._judge.judge(held._judge.features(x), [own])

    penalty = penalties.r1(judged, clips)
    held_loss, reports = held.discriminator_loss(clips, own, others, *latents)
    assert float(reports["r1"]) == pytest.approx(float(penalty), rel=1e-4)
    assert float(penalty) > 0
    wanted = float(loss) + 0.7 / 2 * float(penalty)
    assert float(held_loss) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["dt2v", "gt2v"])
def test_the_mean_mask_is_weighed(name):
    plain, held = build(name, mask_weight=0.0), build(name, mask_weight=0.7)
    held.set_weights(plain.get_weights())
    _, own, _, latents = batch(plain)
    (loss, reports), (held_loss, _) = (
        each.generator_loss(own, *latents) for each in (plain, held)
    )
    assert 0 < float(reports["mask"]) < 1
    wanted = float(loss) + 0.7 * float(reports["mask"])
    assert float(held_loss) == pytest.approx(wanted, rel=1e-5)


def test_how_the_sentence_enters(model):
    """Of a given gist: by concatenation, or by the filters alone."""
    _, own, others, (_, noise) = batch(model)
    gist = tf.random.stateless_uniform([4, 8, 8, 3], [1, 2], -1, 1)
    sizes = models.configure("text2video", "tiny"), SHAPE, model.spec.features["tokens"]
    for make, filtered in (
        (networks.joined_generator, False),
        (networks.filtered_generator, True),
    ):
        generator = make(*sizes)

        def clip(tokens, gist, generator=generator):
            return generator([tokens, gist, noise], training=True)[0].numpy()

        # Batch statistics bring out what tiny random weights would hide.
        assert np.abs(clip(own, gist) - clip(others, gist)).max() > 1e-5
        nothing = tf.zeros_like(gist)
        same = np.abs(clip(own, nothing) - clip(others, nothing)).max() < 1e-7
        assert same == filtered


def test_the_code_of_filtered_gists_starts_at_the_noises_scale():
    """Of one gist and all sentences: the text is heard beside noise N(0, I)."""
    spec = clips(8).spec
    tokens, told = spec.features["tokens"], spec.features["sentence"].classes
    own = tf.constant(words.encode(told, tokens.classes, tokens.shape[0]))
    keras.utils.set_random_seed(0)
    config = models.configure("text2video", "small")
    generator = networks.filtered_generator(config, (8, 32, 32, 3), tokens)
    layers = [generator.get_layer(name).output for name in ("filters", "code")]
    probe = keras.Model(generator.inputs[:2], layers)
    gist = tf.random.stateless_uniform([1, 32, 32, 3], [1, 2], -1, 1)
    filters, code = probe([own, tf.repeat(gist, len(told), axis=0)])
    assert np.std(filters) * np.sqrt(5 * 5 * 3) == pytest.approx(1, abs=0.3)
    assert 0.5 < np.sqrt(np.mean(np.square(code))) < 1.5
    # Sentences of the same pattern: two thirds of their words are alike.
    assert np.std(code, axis=0).mean() > 0.15


def test_the_filters_learn_from_the_generators_loss(model):
    _, own, _, latents = batch(model)
    with tf.GradientTape() as tape:
        loss, _ = model.generator_loss(own, *latents)
    gradients = tape.gradient(loss, model.generator.trainable_variables)
    window = [
        g
        for g, v in zip(gradients, model.generator.trainable_variables, strict=True)
        if v.shape == (4, 4, 6, 2)  # of 3 channels and 2 filters
    ]
    assert len(window) == 1 and np.any(window[0])


def test_the_first_frame_is_tied_to_the_gist(model):
    _, own, _, latents = batch(model)
    loss, reports = model.generator_loss(own, *latents)
    made = model.make(own, latents, training=True)
    distance = np.abs(made["videos"][:, 0] - made["gist"]).mean()
    np.testing.assert_allclose(reports["first_frame"], distance, rtol=1e-4)
    logits = model._judge.judge(model._judge.features(made["videos"]), [own])
    wanted = np.logaddexp(0, -logits.numpy()).mean() + 0.1 * distance
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)


def test_what_a_clip_is_made_of(model):
    parts = model.parts(model.sentences[:3], seed=2)
    mask, still = parts["mask"], parts["background"][:, None]
    clip = mask * parts["foreground"] + (1 - mask) * still
    np.testing.assert_allclose(parts["videos"], clip, atol=1e-6)
    np.testing.assert_array_equal(model.generate(model.sentences[:3], 2), clip)
    assert parts["gist"].shape == (3, 8, 8, 3)


@pytest.mark.slow
def test_a_learned_encoder_of_sentences():
    model = models.build(
        "text2video", "tiny", spec=clips(8).spec, hparams={"sentence": "gru"}
    )
    logs = model.fit(clips(8), steps_per_epoch=3, verbose=0).history
    assert all(np.isfinite(value).all() for value in logs.values())


def test_learned_vectors_of_words():
    """Padding and unknown words are zeros, the others N(0, I) at the start."""
    layer = text.LearnedWords(200, 64)
    vectors = layer(np.arange(200)[None]).numpy()[0]
    assert not vectors[:2].any()
    assert vectors[2:].std() == pytest.approx(1, rel=0.05)


def test_bigrams_tell_sentences_apart():
    sentences = ["a red dot", "a blue dot", "dot red a", "a red dot again", "a red"]
    vocabulary = words.vocabulary_of(sentences)
    layer = text.BagOfBigrams(vocabulary, 256)
    vectors = layer(words.encode(sentences, vocabulary, 4)).numpy()
    # Independent terms: unit variance, and little in common but what is shared.
    assert vectors.std() == pytest.approx(1, abs=0.1)
    alike = vectors @ vectors.T / 256
    assert (alike - np.eye(5) * 2).max() < 0.95
    longer = layer(words.encode(sentences, vocabulary, 6)).numpy()
    np.testing.assert_allclose(longer, vectors, atol=1e-6)
    # "a red dot" and "dot red a": three words of five terms each.
    assert alike[0, 2] == pytest.approx(3 / 5, abs=0.25)
