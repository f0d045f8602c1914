"""Text-filter GAN: published sizes, what each update sees, sentences in and out."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_wgan import count
from tests.synthetic import clips
from tfgen import models
from tfgen.core import ema
from tfgen.core.errors import BadInput
from tfgen.core.spec import Feature
from tfgen.layers import tokens as words
from tfgen.layers.coordinates import AtCoordinates
from tfgen.models.text_filter_controls import MatchedTextFilterGAN, TextConcatGAN
from tfgen.models.text_filter_gan import TextFilterGAN, TextFilterGANConfig
from tfgen.networks import filtered, text

SHAPE = (16, 64, 64, 3)  # of the published clips
VOCABULARY = ("", "[UNK]", "a", "red", "circle")


def tokens_of(length):
    return Feature((length,), "int64", classes=VOCABULARY)


def build(name="text_filter_gan", **hparams):
    spec = clips(8).spec
    return models.build(
        name, "tiny", spec=spec, hparams=hparams, run_eagerly=True, xla="off"
    )


@pytest.fixture(scope="module")
def model():
    return build()


def batch(model, rows=4):
    """Random clips with the first sentences, other sentences, and latents."""
    random = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(random.normal(size=(rows, *shape)).astype("float32"))

    video = tf.tanh(draw(*model.spec.video.shape))
    latents = [draw(*shape) for shape in model.latent_shapes().values()]
    own, others = model.sentences[:rows], model.sentences[rows : 2 * rows]
    return video, tf.constant(own), tf.constant(others), latents


def test_published_numbers_of_parameters():
    config = TextFilterGANConfig()
    # Widths of the generator and of the discriminators are apart.
    drawing = dataclasses.replace(config, channels=1)
    judging = dataclasses.replace(config, generator_channels=1)
    networks = {
        "generator": filtered.generator(drawing, SHAPE),
        "frames": filtered.frame_judge(judging, SHAPE).network,
        "clips": filtered.clip_judge(judging, SHAPE).network,
    }
    counts = {k: count(v.trainable_variables) for k, v in networks.items()}
    assert counts == {"generator": 2_695_235, "frames": 1_540_801, "clips": 4_123_009}


def encoders(filters):
    config = TextFilterGANConfig(filters=filters)
    kernels = {"content": (1, 5, 5), "motion": (3, 5, 5)}
    return sum(
        count(text.branch(config, tokens_of(16), k, name=n).trainable_variables)
        for n, k in kernels.items()
    )


# Two trunks, and from 2,560 + 256 numbers banks of filters for 1 + 3 frames.
TRUNKS = 2 * (3 * 300 * 512 + 512 + 3 * 512 * 512 + 512 + 2 * 512 * 256 + 256)


def heads(filters):
    return 4 * 25 * filters**2 * (2560 + 256 + 2)


def test_number_of_parameters_of_the_small_published_encoder():
    assert encoders(8) == TRUNKS + heads(8)
    assert heads(8) == 18_035_200


@pytest.mark.slow
def test_number_of_parameters_of_the_published_encoder():
    assert encoders(32) == TRUNKS + heads(32)
    assert TRUNKS == 3_021_312 and heads(32) == 288_563_200


@pytest.mark.parametrize("length", [16, 32])
def test_longer_sentences_change_no_vector(length):
    config = dataclasses.replace(TextFilterGANConfig(), filters=2, text_channels=4)
    branch = text.branch(config, tokens_of(length), (1, 5, 5), name="content")
    shapes = [x.shape[1:] for x in branch.outputs]
    assert shapes == [(1, 5, 5, 2, 2), (1, 5, 5, 2, 2), (256,)]


def test_scales_at_the_start():
    """Filters keep the variance of what they filter, frames are nearly grey."""
    config = models.configure("text_filter_gan", "small")
    feature, shape = clips(8).spec.features["tokens"], (8, 32, 32, 3)
    told = clips(8).spec.features["sentence"].classes
    tokens = tf.constant(words.encode(told, feature.classes, feature.shape[0]))
    vectors = text.WordVectors(feature.classes, 64).table[2:]
    assert vectors.std() == pytest.approx(0.3, rel=0.05)
    random = np.random.default_rng(0)
    for kernel in ((1, 5, 5), (3, 5, 5)):
        keras.utils.set_random_seed(0)
        for bank in text.branch(config, feature, kernel, name="branch")(tokens)[:2]:
            # Of the sum over a window and channels of independent terms.
            gain = np.sqrt(np.square(bank).sum(axis=(1, 2, 3, 4)).mean())
            assert 0.7 < gain < 2
    latents = [random.normal(size=[16, *size]) for size in ([64], [64], [8, 64])]
    sentences = [random.normal(size=[16, 8, 64])] * 2
    made = filtered.generator(config, shape)([*latents, *sentences])
    assert 0.02 < np.arctanh(np.clip(made, -0.999, 0.999)).std() < 0.4


def test_frames_of_longer_clips():
    """What launch.train loads the data with."""
    spec = clips(16, frames=8).spec
    for frames, wanted in ((0, 8), (4, 4)):
        config = models.configure("text_filter_gan", "tiny", {"frames": frames})
        made = TextFilterGAN.create(config, spec)
        assert made.spec.video.shape == (wanted, 16, 16, 3)
        assert made.sample(2).shape == (2, wanted, 16, 16, 3)


def test_each_row_is_judged_by_its_own_sentence(model):
    video, own, others, _ = batch(model)
    order = tf.constant([2, 0, 3, 1])
    for kind, encoder in (
        ("frame", model.content_encoder),
        ("clip", model.motion_encoder),
    ):
        judge = model._judges[kind]

        def logits(video, tokens, judge=judge, encoder=encoder):
            return judge.network([video, *encoder(tokens)]).numpy()

        straight = logits(video, own)
        np.testing.assert_allclose(
            logits(tf.gather(video, order), tf.gather(own, order)),
            straight[order],
            atol=1e-5,
        )
        assert (np.abs(logits(video, others) - straight).max(axis=1) > 1e-6).all()
        halves = judge.judge(judge.features(video), encoder(own))
        np.testing.assert_allclose(halves, straight, atol=1e-6)


def test_the_discriminators_loss(model):
    """Cross-entropy, and 10 times the squared gradient of a clip's summed logits."""
    video, own, others, latents = batch(model)
    loss, reports, (real, other, fake, made) = model.judgement(
        "frame", video, own, others, *latents
    )
    assert real.shape == (4, 4)  # rows, frames
    softplus = [np.logaddexp(0, x.numpy().astype("float64")) for x in (other, fake)]
    wanted = np.logaddexp(0, -real.numpy().astype("float64")).mean()
    wanted += 0.5 * (softplus[0].mean() + softplus[1].mean())
    np.testing.assert_allclose(reports["discriminator_loss"], wanted, rtol=1e-5)
    squares = []
    for row in range(4):
        one = tf.Variable(video[row : row + 1])
        with tf.GradientTape() as tape:
            inputs = model.content_encoder(own[row : row + 1])
            total = tf.reduce_sum(model.frame_discriminator([one.value(), *inputs]))
        squares.append(tf.reduce_sum(tf.square(tape.gradient(total, one))))
    np.testing.assert_allclose(reports["r1"], np.mean(squares), rtol=1e-4)
    np.testing.assert_allclose(loss, wanted + 10 * np.mean(squares), rtol=1e-4)
    np.testing.assert_array_equal(made, model.make(own, latents))


def test_each_penalty_has_its_weight():
    """Large ones, as the gradients of tiny networks are small."""
    model = build(frame_r1_weight=2e6, clip_r1_weight=3e6)
    for kind, weight in (("frame", 2e6), ("clip", 3e6)):
        video, own, others, latents = batch(model)
        loss, reports, _ = model.judgement(kind, video, own, others, *latents)
        penalty = weight * float(reports["r1"])
        assert penalty > 1
        added = float(loss - reports["discriminator_loss"])
        assert added == pytest.approx(penalty, rel=1e-4)


def test_the_generators_update_leaves_the_encoders_alone(model):
    _, own, _, latents = batch(model)
    encoders = model.content_encoder, model.motion_encoder
    before = [v.numpy() for encoder in encoders for v in encoder.variables]
    moved = model.generator.variables[0].numpy()
    model._begin(lambda: 0)
    model.descend(
        model.generator_loss, model.generator, model.generator_optimizer, own, *latents
    )
    after = [v.numpy() for encoder in encoders for v in encoder.variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.any(moved != model.generator.variables[0].numpy())


def test_sampling_reads_averages():
    """Of the generator and of both encoders; training reads them as they are."""
    model = build()
    own = model.sentences[5:6]
    before, read = model.generate(own, seed=3), model.read(own, averaged=False)
    for name in ("generator", "content_encoder", "motion_encoder"):
        for variable in model.networks[name].trainable_variables:
            variable.assign(1.5 * variable)
    np.testing.assert_array_equal(model.generate(own, seed=3), before)
    for old, new in zip(read, model.read(own, averaged=False), strict=True):
        assert np.abs(new - old).max() > 1e-6
    for branch in ("content", "motion"):
        network = model.networks[f"{branch}_encoder"]
        decay = {id(twin): rate for _, twin, rate in model._averages}
        twin = model.networks[f"{branch}_encoder_ema"]
        assert decay[id(twin)] == model.config.average_decay
        ema.copy(network, twin)
        after = model.generate(own, seed=3)
        assert np.abs(after - before).max() > 1e-6
        before = after


def test_other_sentences_are_others(model):
    """Uniform over all the others, for rows without a known one over all."""
    count = len(model.sentences)
    sentence = tf.constant(np.repeat(np.arange(-1, count), 40))
    model._begin(lambda: tf.constant(3, tf.int64))
    found = model.other_sentences("test", sentence).numpy()
    model._begin(lambda: tf.constant(3, tf.int64))
    numbers = (found[:, None] == model.sentences).all(axis=-1).argmax(axis=1)
    own = sentence.numpy()
    assert (numbers != own).all()
    apart = (numbers - own)[own >= 0] % count
    assert set(apart) == set(range(1, count))


def test_a_sentence_that_training_lacks_differs_from_all(model):
    count = len(model.sentences)
    model._begin(lambda: tf.constant(3, tf.int64))
    found = model.other_sentences(
        "test", tf.fill([40 * count], tf.constant(-1, "int64"))
    )
    numbers = (found.numpy()[:, None] == model.sentences).all(axis=-1).argmax(axis=1)
    # 40 of each are expected; four standard deviations of a binomial.
    assert np.abs(np.bincount(numbers, minlength=count) - 40).max() < 4 * 40**0.5


def test_the_frames_penalty_falls():
    """From w to w fall in so many steps, exponentially; else, and the clip's, stays."""
    model = build(frame_r1_weight=8.0, frame_r1_fall=0.25, frame_r1_steps=4)
    for step, weight in ((0, 8.0), (2, 4.0), (4, 2.0), (9, 2.0)):
        model.step.assign(step)
        weights = model.r1_weights()
        assert float(weights["frame"]) == pytest.approx(weight)
        assert weights["clip"] == 10
    video, own, others, latents = batch(model)
    for step in (0, 4):
        model.step.assign(step)
        loss, reports = model.frame_loss(video, own, others, *latents)
        penalty = float(model.r1_weights()["frame"] * reports["frame_r1"])
        rest = float(reports["frame_discriminator_loss"])
        assert penalty > 0 and float(loss) == pytest.approx(rest + penalty, rel=1e-5)
    published = build()
    published.step.assign(1000)
    assert float(published.r1_weights()["frame"]) == 10


def test_rates_of_adam():
    """The generator's own, and one of all networks that judge or read."""
    rates = {
        name: float(optimizer.learning_rate)
        for name, optimizer in build(judge_learning_rate=0.25).optimizers.items()
    }
    assert rates.pop("generator_optimizer") == pytest.approx(1e-3)
    assert len(rates) == 4 and set(rates.values()) == {0.25}


def test_generator_at_coordinates():
    """Its first maps are of a quarter of the side; the judges are the same."""
    counts = []
    for coordinates in (False, True):
        model = build(coordinates=coordinates)
        layers = [x for x in model.generator.layers if isinstance(x, AtCoordinates)]
        assert [x.side for x in layers] == [4] * coordinates
        assert model.sample(2, seed=1).shape == (2, *model.spec.video.shape)
        counts.append(model.frame_discriminator.count_params())
    assert counts[0] == counts[1]


def test_the_controls():
    """One never sees wrong pairs, the other no filters; both are else the same."""
    real, other, fake = (tf.constant([[x]]) for x in (1.0, 2.0, -0.5))

    def separation(model, other):
        return model.separation(None, real, other, fake)

    assert separation(TextFilterGAN, other) != separation(TextFilterGAN, fake)
    matched = MatchedTextFilterGAN
    assert separation(matched, other) == separation(matched, fake)
    np.testing.assert_allclose(
        separation(matched, other), np.logaddexp(0, -1) + np.logaddexp(0, -0.5)
    )
    config = models.configure("text_concat_gan", "tiny")
    assert not TextConcatGAN.FILTERED
    judge = filtered.frame_judge(config, (4, 16, 16, 3), filtered=False)
    clips, sentence = judge.network.inputs
    assert sentence.shape == (None, config.text_size)
    assert text.branch(config, tokens_of(16), name="content").output.shape[1:] == (
        config.text_size,
    )


def test_sentences_in_words_numbers_and_between(model):
    told = model.spec.features["sentence"].classes[5]
    own = model.sentences[5:6]
    one = model.generate(own, seed=3)
    np.testing.assert_allclose(
        model.generate_text(tf.constant([told.upper() + "!"]), 3), one, atol=1e-6
    )
    count = len(model.sentences)
    turn = model.sentences[[count - 1, 0, 1]]
    np.testing.assert_array_equal(model.in_turn(3, count - 1), turn)
    np.testing.assert_array_equal(
        model.sample(3, seed=3, first=count - 1), model.generate(turn, 3, count - 1)
    )
    assert (
        model.told(count + 1)[5] == told
        and model.told(count + 1)[-1] == model.told(1)[0]
    )
    np.testing.assert_allclose(model.morph(own, own, seed=3), one, atol=1e-6)


def test_a_morph_turns_from_one_sentence_into_the_other(model, monkeypatch):
    own, other = model.sentences[5:6], model.sentences[6:7]
    monkeypatch.setattr(model, "_decode", lambda vectors, seed, first: vectors)
    ends = zip(model.read(own), model.read(other), strict=True)
    for vectors, (one, two) in zip(model.morph(own, other), ends, strict=True):
        assert np.abs(one - two).max() > 1e-6
        np.testing.assert_allclose(vectors[:, 0], one[:, 0], atol=1e-6)
        np.testing.assert_allclose(vectors[:, -1], two[:, -1], atol=1e-6)
        at = 1 / (vectors.shape[1] - 1)
        wanted = (1 - at) * one[:, 1] + at * two[:, 1]
        np.testing.assert_allclose(vectors[:, 1], wanted, atol=1e-6)


def test_data_that_do_not_fit():
    spec = clips(8).spec
    without = spec.replace(features={"video": spec.video})
    config = models.configure("text_filter_gan", "tiny")
    with pytest.raises(BadInput, match="filters=3 must be even"):
        models.configure("text_filter_gan", "tiny", {"filters": 3})
    with pytest.raises(BadInput, match="text_size=5 must be even"):
        models.configure("dt2v", "tiny", {"text_size": 5})
    with pytest.raises(BadInput, match="needs 'tokens' beside the video"):
        TextFilterGAN.create(config, without)
    one = spec.with_feature("sentence", classes=("The only one",))
    with pytest.raises(BadInput, match="two sentences or more, .* lists 1"):
        TextFilterGAN.create(config, one)
    with pytest.raises(BadInput, match="4 frames of 8x8 do not fit"):
        TextFilterGAN.create(dataclasses.replace(config, image_size=0), spec)
    short = spec.with_feature("tokens", shape=(8,))
    with pytest.raises(BadInput, match="8 words do not fit"):
        TextFilterGAN.create(config, short)


def test_vectors_of_words():
    vocabulary = words.vocabulary_of(["a red circle"])
    other = words.vocabulary_of(["green circle"])
    one = text.WordVectors(vocabulary, 4)(np.array([[vocabulary.index("circle"), 0]]))
    two = text.WordVectors(other, 4)(np.array([[other.index("circle"), 1]]))
    np.testing.assert_array_equal(one, two)
    assert np.any(one[0, 0] != 0) and not np.any(one[0, 1])
