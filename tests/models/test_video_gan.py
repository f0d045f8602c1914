"""Video GAN against what the paper and its code say of it."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_wgan import count
from tests.synthetic import clips
from tfgen import models
from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature
from tfgen.layers import volumes
from tfgen.losses import penalties
from tfgen.networks import video

PAPER = (32, 64, 64, 3)


def paper_spec():
    return DataSpec("clips", 1, {"video": Feature(PAPER, "uint8", 0, 255)})


def build(name="video_gan", **hparams):
    return models.build(
        name, "tiny", spec=clips(8).spec, hparams=hparams, run_eagerly=True, xla="off"
    )


def stream_sizes(network, kind):
    """Channels and kernels of a network's layers of one kind, in order."""
    layers = [layer for layer in network.layers if type(layer) is kind]
    return [(*layer.kernel_size, layer.filters) for layer in layers]


def test_published_numbers_of_parameters():
    config = models.configure("video_gan", "paper")
    model = models.find("video_gan").create(config, paper_spec())
    of_volumes = [
        layer
        for layer in model.generator.layers
        if len(layer.output.shape if hasattr(layer.output, "shape") else ()) == 5
    ]
    moving = sum(count(layer.trainable_variables) for layer in of_volumes)
    assert moving == 12_667_716
    assert count(model.generator.trainable_variables) == 12_667_716 + 3_577_667
    assert count(model.discriminator.trainable_variables) == 11_057_858
    widths = stream_sizes(model.generator, volumes.Conv3DTranspose)
    assert widths == [(2, 4, 4, 512), *((4, 4, 4, w) for w in (256, 128, 64, 4))]
    shapes = [tuple(output.shape[1:]) for output in model.generator.outputs]
    assert shapes == [PAPER, PAPER, (32, 64, 64, 1), (64, 64, 3)]
    one = video.generator(100, PAPER, 64, streams=1)
    # Less the background and the mask's 64 x 64 + 1 numbers.
    assert count(one.trainable_variables) == 12_667_716 - 4_097


@pytest.mark.slow
def test_published_numbers_of_parameters_of_the_future():
    """Derived from the released tables; k = kernel, b = bias, n = both of a norm.

    Encoder: 3 k 128 + b, then 128 -> 256 -> 512 -> 1024 of 4 x 4, each with b and n.
    Background: 1024 -> 512 -> 256 -> 128 -> 3 of 4 x 4, all but the last with n.
    Video: 1024 -> 1024 of 2 x 1 x 1, 512, 256, 128 of 4 x 4 x 4, heads of 3 and 1.
    """

    def chain(widths, kernel):
        pairs = zip(widths, widths[1:], strict=False)
        return sum(kernel * a * b + 3 * b for a, b in pairs)

    encoder = 16 * 3 * 128 + 128 + chain([128, 256, 512, 1024], 16)
    background = chain([1024, 512, 256, 128], 16) + 16 * 128 * 3 + 3
    moving = chain([1024, 1024], 2) + chain([1024, 512, 256, 128], 64)
    moving += 64 * 128 * 4 + 4
    name = "video_gan_future"
    model = models.find(name).create(models.configure(name, "paper"), paper_spec())
    assert count(model.generator.trainable_variables) == encoder + background + moving
    judge = 64 * 3 * 128 + 128 + chain([128, 256, 512, 1024], 64)
    judge += 2 * 16 * 1024 * 2 + 2
    assert count(model.discriminator.trainable_variables) == judge


def test_published_start_and_norms():
    hparams = {"channels": 16, "judge_channels": 16}
    config = models.configure("video_gan", "paper", hparams)
    model = models.find("video_gan").create(config, paper_spec())
    for network, epsilon in ((model.generator, 1e-5), (model.discriminator, 1e-3)):
        norms = [
            layer
            for layer in network.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert {(n.epsilon, n.momentum) for n in norms} == {(epsilon, 0.9)}
        gammas = np.concatenate([norm.gamma.numpy() for norm in norms])
        assert gammas.std() == pytest.approx(0.02, rel=0.2)
        assert gammas.mean() == pytest.approx(1.0, abs=0.01)
        for variable in network.trainable_variables:
            if variable.name == "kernel" and math.prod(variable.shape) > 10_000:
                assert variable.numpy().std() == pytest.approx(0.01, rel=0.05)
            if variable.name in ("bias", "beta"):
                assert not variable.numpy().any()
    # In the discriminator none follows the first convolution.
    kinds = [type(layer).__name__ for layer in model.discriminator.layers]
    once = ["Conv3D", "LeakyReLU"]
    each = ["Conv3D", "BatchNormalization", "LeakyReLU"]
    assert kinds == ["InputLayer", *once, *each * 3, "Conv3D", "Reshape"]
    slopes = [
        layer.negative_slope
        for layer in model.discriminator.layers
        if isinstance(layer, keras.layers.LeakyReLU)
    ]
    assert slopes == [0.2] * 4


def with_mask_bias(model, value):
    heads = model.generator.get_layer("heads")
    heads.bias.assign([0.3, 0.1, -0.2, value])
    return model.generator(tf.random.stateless_normal([5, 4], [0, 1]), training=False)


def test_a_saturated_mask_shows_one_stream_alone():
    made, foreground, mask, background = with_mask_bias(build(), 50.0)
    assert mask.numpy().min() > 1 - 1e-6
    np.testing.assert_allclose(made, foreground, atol=1e-6)
    made, foreground, mask, background = with_mask_bias(build(), -50.0)
    assert made.numpy().std(axis=1).max() < 1e-6
    still = np.repeat(background.numpy()[:, None], 4, axis=1)
    np.testing.assert_allclose(made, still, atol=1e-6)


def test_the_clip_is_mixed_by_the_mask():
    made, foreground, mask, background = with_mask_bias(build(), 0.4)
    assert mask.shape == (5, 4, 8, 8, 1) and background.shape == (5, 8, 8, 3)
    still = background.numpy()[:, None]
    wanted = mask * foreground + (1 - mask.numpy()) * still
    np.testing.assert_allclose(made, wanted, atol=1e-6)


def test_a_mask_may_start_nearly_shut():
    model = build(mask_logit=-2.0)
    mask = model.streams(tf.random.stateless_normal([5, 4], [0, 1]))["mask"]
    # The kernels start near 0: the mask is sigmoid(-2).
    np.testing.assert_allclose(mask, 1 / (1 + math.exp(2)), atol=0.02)


def test_the_penalty_is_a_mean_over_the_mask():
    model = build(mask_weight=0.7)
    mask = tf.Variable(tf.random.stateless_uniform([5, 4, 8, 8, 1], [0, 1]))
    with tf.GradientTape() as tape:
        ((weight, value),) = model.penalties(None, None, {"mask": mask}).values()
        penalty = weight * value
    gradient = tape.gradient(penalty, mask).numpy()
    np.testing.assert_allclose(gradient, 0.7 / (5 * 4 * 8 * 8), rtol=1e-5)


def test_two_logits_are_a_softmax():
    """-log softmax(l)[real] of real clips, and [fake] of fake ones."""
    model = build()
    real = tf.random.stateless_uniform([6, 4, 8, 8, 3], [0, 1], -1, 1)
    z = tf.random.stateless_normal([6, 4], [2, 3])
    loss, reports = model.discriminator_loss(real, z)
    fake = model.generator(z, training=True)[0]
    wanted = 0.0
    for rows, place in ((real, 0), (fake, 1)):
        logits = model.discriminator(rows, training=True)
        assert logits.shape == (6, 2)
        wanted -= np.log(tf.nn.softmax(logits).numpy()[:, place]).mean()
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    energies = [
        float(tf.reduce_mean(tf.abs(rows[:, 1:] - rows[:, :-1])))
        for rows in (fake, real)
    ]
    motion = energies[0] / energies[1]
    assert float(reports["health/motion"]) == pytest.approx(motion, rel=1e-5)


@pytest.mark.parametrize("name", ["video_gan", "video_gan_future"])
def test_the_gradient_of_real_clips_is_penalised(name):
    plain, held = build(name, r1_weight=0.0), build(name, r1_weight=0.7)
    held.set_weights(plain.get_weights())
    real = tf.random.stateless_uniform([6, 4, 8, 8, 3], [0, 1], -1, 1)
    z = tf.random.stateless_normal([6, 4], [2, 3])
    given = z if name == "video_gan" else real[:, 0]
    loss, reports = plain.discriminator_loss(real, given)
    assert "r1" not in reports
    penalty = penalties.r1(held.judge, real)
    held_loss, reports = held.discriminator_loss(real, given)
    assert float(reports["r1"]) == pytest.approx(float(penalty), rel=1e-4)
    assert float(penalty) > 0
    wanted = float(loss) + 0.7 / 2 * float(penalty)
    assert float(held_loss) == pytest.approx(wanted, rel=1e-5)


def test_the_generator_is_judged_after_the_discriminators_update():
    model = build()
    order, gradients = [], model.gradients

    def record(loss_fn, networks, *inputs):
        order.append((loss_fn.__name__, inputs[-1].numpy()))
        return gradients(loss_fn, networks, *inputs)

    model.gradients = record
    model.fit(clips(8), steps_per_epoch=1, verbose=0)
    assert [name for name, _ in order] == ["discriminator_loss", "generator_loss"]
    np.testing.assert_array_equal(order[0][1], order[1][1])  # one z serves both


def test_next_frames_start_from_the_first():
    model = build("video_gan_future")
    real = tf.random.stateless_uniform([6, 4, 8, 8, 3], [0, 1], -1, 1)
    first = model.given(real, "z")
    np.testing.assert_array_equal(first, real[:, 0])
    made, _ = model.make(first)
    loss, reports = model.generator_loss(first)
    error = np.abs(made.numpy()[:, 0] - first).mean()
    assert float(reports["first_frame"]) == pytest.approx(error, rel=1e-4)
    assert "mask" not in reports
    assert model.predict_clips(first).shape == (6, 4, 8, 8, 3)


@pytest.mark.parametrize(
    ("shape", "hparams", "message"),
    [
        ((8, 24, 24, 3), {}, "clips of 24x24 pixels do not fit"),
        ((6, 32, 32, 3), {}, r"must be a multiple of 8 \(set --hparam frames=8\)"),
        ((20, 32, 32, 3), {}, r"\(set --hparam frames=16\)"),
    ],
)
def test_clips_that_do_not_fit(shape, hparams, message):
    spec = DataSpec("clips", 1, {"video": Feature(shape, "uint8", 0, 255)})
    with pytest.raises(BadInput, match=message):
        models.build("video_gan", "tiny", spec=spec, hparams=hparams)


def test_pictures_are_refused():
    spec = DataSpec("digits", 1, {"image": Feature((8, 8, 1), "uint8", 0, 255)})
    with pytest.raises(BadInput, match="data 'digits' has no video; it has: image"):
        models.build("video_gan", "tiny", spec=spec)
