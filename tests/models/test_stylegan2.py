"""StyleGAN2: what each update computes, when it comes, what sampling depends on."""

import types

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import alone
from tests.core.test_model import Recorder
from tests.synthetic import stream
from tfgen import models
from tfgen.core import checkpoint, noise
from tfgen.losses import penalties
from tfgen.models.stylegan2 import StyleGAN2


def build(**options):
    hparams = options.pop("hparams", {})
    options = {"run_eagerly": True, "xla": "off", "spec": stream(8).spec} | options
    return models.build("stylegan2", "tiny", hparams=hparams, **options)


@pytest.fixture(scope="module")
def model():
    """Nothing here trains it."""
    return build()


def fit(model, steps, **options):
    model.fit(stream(8), steps_per_epoch=steps, verbose=0, **options)
    return model


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def drawn(model, rows=8):
    generator = model.generator
    uniform = np.random.default_rng(1).uniform(size=[rows, 2]).astype("float32")
    z = normal(rows, 2, generator.latent_size)
    return tuple(map(tf.constant, (z, uniform, normal(rows, generator.noise_size))))


# When -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hparams", "wanted"),
    [
        (
            {"path_every": 4, "r1_every": 16},
            {0: "path_length_and_r1", 4: "path_length"},
        ),
        ({"path_every": 0, "r1_every": 16}, {0: "r1", 16: "r1"}),
        ({"path_every": 3, "r1_every": 2}, {0: "path_length_and_r1", 2: "r1"}),
    ],
)
def test_regularisers_come_at_their_intervals(hparams, wanted):
    model = types.SimpleNamespace(config=models.configure("stylegan2", "tiny", hparams))
    for step in range(40):
        path, r1 = (k and step % k == 0 for k in hparams.values())
        kinds = ["path_length"] * bool(path) + ["r1"] * bool(r1) or ["train"]
        method = StyleGAN2.step_method(model, step)
        assert method == "_and_".join(kinds) + "_step"
        assert method == f"{wanted.get(step, method[:-5])}_step"
        assert callable(getattr(StyleGAN2, method))


def test_updates_of_each_kind_of_step():
    model, record = build(), Recorder()  # path length at 0, 2, 4; R1 at 0, 4
    calls, update = [], model.apply

    def recorded(optimizer, network, gradients, clip=None, average=True):
        calls[-1].append((network.name, average))
        update(optimizer, network, gradients, clip, average)

    model.apply = recorded
    for _ in range(3):
        calls.append([])
        fit(model, 1, callbacks=[record])
    once = [("generator", True), ("discriminator", True)]
    twice = [("generator", False), *once]
    assert calls == [[*twice, ("discriminator", True)], once, twice]
    losses = [{name for name in logs if "/" not in name} for logs in record.logs]
    assert losses[1] == {"generator_loss", "discriminator_loss"}
    assert losses[2] - losses[1] == {"path_length", "path_length_penalty"}
    assert losses[0] - losses[2] == {"r1"}


EVERY = {"path_every": 4, "r1_every": 16}


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_execution_of_sixteen_steps_is_sixteen_steps(replicas, request):
    """At the published intervals."""
    strategy = request.getfixturevalue("two_replicas") if replicas == 2 else None
    digests = set()
    for length in (1, 16):
        model = build(
            hparams=EVERY,
            run_eagerly=False,
            steps_per_execution=length,
            strategy=strategy,
        )
        fit(model, 32)
        once = dict(model.traces)
        digests.add(checkpoint.digest(model))
        # 32 steps, 8 of path length, 2 of R1.
        for name, updates in (("generator", 40), ("discriminator", 34)):
            iterations = model.state()[f"{name}_optimizer/000.iteration"]
            assert iterations.value.numpy() == updates
        fit(model, 16)
        assert model.traces == once
    assert len(digests) == 1


def test_mirrored_images_are_trained_on():
    model = build(hparams={"mirror": True})
    seen = {"discriminator_loss": [], "r1_loss": []}

    def record(name):
        loss = getattr(model, name)

        def recorded(real, *inputs):
            seen[name].append(real)
            return loss(real, *inputs)

        setattr(model, name, recorded)

    for name in seen:
        record(name)
    fit(model, 2)  # R1 in the first
    data = stream(8)
    for step, (batch, found) in enumerate(
        zip(data.dataset().take(2), seen["discriminator_loss"], strict=True)
    ):
        images = batch["image"].numpy() / 127.5 - 1.0
        uniforms = noise.uniform(model.seed, step, "mirror", 16, [3]).numpy()
        left = uniforms[:, 2] < 0.5
        assert 0 < left.sum() < 16
        wanted = np.where(left[:, None, None, None], images[:, :, ::-1], images)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert np.abs(images - wanted).max() > 0.1
    np.testing.assert_array_equal(seen["r1_loss"][0], seen["discriminator_loss"][0])


def test_images_are_not_mirrored_unasked(model):
    batch = {"image": tf.constant(normal(8, 8, 8, 1))}
    assert model.mirrored(batch) is batch


@pytest.mark.slow
def test_a_run_cut_between_two_regularisers_goes_on(tmp_path):
    def make():
        return build(hparams=EVERY, run_eagerly=False, steps_per_execution=3)

    whole, resumed = make(), make()
    fit(whole, 6)  # the next path length comes at step 8
    saved = {name: variable.numpy() for name, variable in whole.state().items()}
    checkpoint.save(whole, tmp_path)
    fit(whole, 12)
    assert checkpoint.restore_newest(resumed, tmp_path, warn=None) == 6
    for name in (
        "path_length",
        "generator/000.w_average",
        "generator_ema/000.w_average",
    ):
        assert np.any(saved[name])
        np.testing.assert_array_equal(resumed.state()[name].numpy(), saved[name])
    fit(resumed, 12)
    assert checkpoint.digest(resumed) == checkpoint.digest(whole)


# What -------------------------------------------------------------------------


def gradients(loss, network):
    variables = [v.value for v in network.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = loss()
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(value, variables, unconnected_gradients=zero)


def test_a_lazy_penalty_counts_as_often_as_it_is_left_out(model):
    real = tf.constant(normal(8, 8, 8, 1))

    def plain():
        return 0.5 * penalties.r1(lambda x: model.judge(x, []), real)

    lazy = gradients(lambda: model.r1_loss(real, [], ())[0], model.discriminator)
    # Preset tiny: weight 1, at every 4th step.
    for once, found in zip(gradients(plain, model.discriminator), lazy, strict=True):
        np.testing.assert_allclose(found, 4.0 * once, rtol=1e-4, atol=1e-7)
    assert model.config.r1_every == 4


def test_r1_of_a_linear_discriminator(model, monkeypatch):
    v = normal(8, 8, 1)
    monkeypatch.setattr(model, "judge", lambda x, y: tf.einsum("rhwc,hwc->r", x, v))
    loss, r1 = model.r1_loss(tf.constant(normal(8, 8, 8, 1)), [], ())
    np.testing.assert_allclose(r1, np.sum(v**2), rtol=1e-5)
    np.testing.assert_allclose(loss, 4 * 0.5 * np.sum(v**2), rtol=1e-5)


def test_path_length_penalty(model):
    inputs, pixels = drawn(model), normal(8, 8, 8, 1)
    loss, (penalty, lengths) = model.path_length_loss(inputs, [], pixels)
    lengths = lengths.numpy().astype("float64")
    assert lengths.min() > 0
    # The mean starts at 0 and takes a hundredth of these before it is used.
    wanted = np.mean((lengths - 0.01 * np.mean(lengths)) ** 2)
    np.testing.assert_allclose(penalty, wanted, rtol=1e-5)
    np.testing.assert_allclose(loss, 2 * 2.0 * wanted, rtol=1e-5)
    found = model.mean_path_length(tf.constant(lengths, tf.float32))
    np.testing.assert_allclose(found, 0.01 * np.mean(lengths), rtol=1e-5)


def test_the_mean_path_length_moves_with_the_lengths(model):
    # Images, and lengths, are linear in the kernels that make pictures; so is a mean
    # that starts at 0 and that nothing stops. The penalty is then of degree 2, and
    # the slope along these kernels twice the penalty; with the mean as a constant,
    # E (l - a) l, it were 1 % more.
    inputs, pixels = drawn(model), tf.constant(normal(8, 8, 8, 1))
    variables = model.generator.trainable_variables
    loss = lambda: model.path_length_loss(inputs, [], pixels)[0]  # noqa: E731
    slopes = gradients(loss, model.generator)
    kernels = [
        (variable.numpy(), slope.numpy())
        for variable, slope in zip(variables, slopes, strict=True)
        if variable.shape[:2] == (1, 1)
    ]
    assert len(kernels) == 2  # at 4 and at 8 pixels
    slope = sum(np.sum(k * s, dtype="float64") for k, s in kernels)
    np.testing.assert_allclose(slope, 2 * loss().numpy(), rtol=1e-4)


def test_losses_are_the_logistic_ones(model):
    inputs, real = drawn(model), tf.constant(normal(8, 8, 8, 1))
    _, fake = model.make(inputs, [])
    s_real, s_fake = (
        model.judge(x, []).numpy().astype("float64") for x in (real, fake)
    )
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    loss, reports = model.discriminator_loss(real, inputs, [], (), ())
    wanted = np.mean(softplus(s_fake)) + np.mean(softplus(-s_real))
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(reports["health/real_sign"], np.mean(np.sign(s_real)))
    loss, w = model.generator_loss(inputs, [], ())
    np.testing.assert_allclose(loss, np.mean(softplus(-s_fake)), rtol=1e-5)
    first = model.generator.mapping(inputs[0][:, 0])
    np.testing.assert_allclose(w, first, rtol=1e-5)


def test_mean_of_w_and_moving_average():
    model = fit(build(), 1)
    generator, twin = model.generator, model.generator_ema
    # At step 0 nothing has been seen: the average is the network.
    for weight, average in zip(generator.variables, twin.variables, strict=True):
        np.testing.assert_allclose(weight.numpy(), average.numpy(), rtol=1e-6)
    before = generator.w_average.numpy()
    z = noise.normal(model.seed, 1, "generator_z", 16, [2, 8])[:, 0]
    mean = np.mean(generator.mapping(z), axis=0, dtype="float64")
    old = [v.numpy() for v in twin.trainable_variables]
    fit(model, 1)
    wanted = 0.995 * before + 0.005 * mean
    np.testing.assert_allclose(generator.w_average.numpy(), wanted, atol=1e-6)
    np.testing.assert_array_equal(generator.w_average.numpy(), twin.w_average.numpy())
    # 16 images seen, a ramp of 1/2: a half-life of 8 images, two in a step.
    weights = zip(old, generator.trainable_variables, strict=True)
    for (past, weight), average in zip(weights, twin.trainable_variables, strict=True):
        wanted = 0.25 * past + 0.75 * weight.numpy()
        np.testing.assert_allclose(average.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_both_means_are_saved(model):
    assert {"path_length", "generator/000.w_average"} <= model.state().keys()
    assert model.replica_local() == set()


def test_labels_join_both_networks():
    model = fit(build(hparams={"labels": True}), 1)
    assert model.sample_labels(12).numpy().tolist() == [*range(10), 0, 1]
    z, label = np.repeat(normal(1, 8), 2, axis=0), np.array([0, 1])
    one, other = model.generate(z, 1.0, label).numpy()
    assert np.abs(one - other).max() > 1e-4
    assert {a.name for a in model.endpoints()["generate"][1]} == {
        "z",
        "truncation",
        "label",
    }


# Sampling ---------------------------------------------------------------------


def strengthen(model):
    """Let noise and the mean of w say something, as after a training."""
    for variable in model.generator_ema.variables:
        if variable.name == "noise_strength":
            variable.assign(0.5)
        if variable.name == "w_average":
            variable.assign(normal(8, seed=5))


def test_truncation_to_nothing_gives_one_image_up_to_noise():
    model = build()
    strengthen(model)
    z = normal(4, 8)
    fixed = model.generate(z, 0.0).numpy()
    np.testing.assert_allclose(fixed, np.tile(fixed[:1], [4, 1, 1, 1]), atol=1e-6)
    assert np.abs(model.generate(z, 1.0)[0] - fixed[0]).max() > 1e-2
    np.testing.assert_array_equal(model.generate(z, 0.0), fixed)
    noisy = model.sample(4, seed=1, truncation=0.0).numpy()
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-2
    for variable in model.generator_ema.variables:
        if variable.name == "noise_strength":
            variable.assign(0.0)
    noisy = model.sample(4, seed=1, truncation=0.0).numpy()
    np.testing.assert_allclose(noisy, np.tile(noisy[:1], [4, 1, 1, 1]), atol=1e-6)


@pytest.mark.slow
def test_an_export_truncates_and_mixes_without_this_package(tmp_path):
    model = build()
    strengthen(model)
    tfgen.export(model, tmp_path / "export")
    code = """
import hashlib
calls = tf.saved_model.load(sys.argv[1]).signatures
z = np.load(sys.argv[2])
mean = calls["generate"](z=z, truncation=0.0)["images"].numpy()
one, other = (calls["map"](z=rows)["w"] for rows in (z[:2], z[2:]))
mixed = calls["synthesize"](w=tf.concat([one[:, :2], other[:, 2:]], axis=1))["images"]
np.savez(sys.argv[3], mean=mean, mixed=mixed)
noisy = [
    calls["sample"](num=4, seed=1, truncation=0.0)["images"].numpy() for _ in range(2)
]
assert noisy[0].tobytes() == noisy[1].tobytes()
assert np.abs(noisy[0][0] - noisy[0][1]).max() > 1e-2
"""
    z = normal(4, 8)
    np.save(tmp_path / "z.npy", z)
    files = [tmp_path / name for name in ("export", "z.npy", "found.npz")]
    alone.run(code, *files)
    found = np.load(files[-1])
    np.testing.assert_allclose(
        found["mean"], np.tile(found["mean"][:1], [4, 1, 1, 1]), atol=1e-6
    )
    one, other = (model.map(rows) for rows in (z[:2], z[2:]))
    mixed = model.synthesize(tf.concat([one[:, :2], other[:, 2:]], axis=1))
    np.testing.assert_allclose(found["mixed"], mixed, atol=1e-6)


def test_styles_of_two_seeds_mix(model):
    one, other = (model.map(normal(3, 8, seed=seed)).numpy() for seed in (1, 2))
    assert one.shape == (3, 4, 8)
    mixed = np.concatenate([one[:, :2], other[:, 2:]], axis=1)
    images = model.synthesize(mixed).numpy()
    np.testing.assert_array_equal(model.synthesize(mixed).numpy(), images)
    for w in (one, other):
        assert np.abs(model.synthesize(w) - images).max() > 1e-3


# Speed and precision ----------------------------------------------------------


def losses(model):
    """{name: (function, its inputs)} of all four updates."""
    inputs, real = drawn(model), tf.constant(normal(8, 8, 8, 1))
    return {
        "generator": (model.generator_loss, (inputs, [], ())),
        "path": (model.path_length_loss, (inputs, [], tf.constant(normal(8, 8, 8, 1)))),
        "discriminator": (model.discriminator_loss, (real, inputs, [], (), ())),
        "r1": (model.r1_loss, (real, [], ())),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generator", "path", "discriminator", "r1"])
def test_xla_computes_what_plain_tensorflow_does(name, model):
    function, inputs = losses(model)[name]
    network = (
        model.discriminator if name in ("discriminator", "r1") else model.generator
    )

    def both(*inputs):
        return gradients(lambda: function(*inputs)[0], network), function(*inputs)[0]

    plain, compiled = (
        tf.function(both, jit_compile=jit, autograph=False)(*inputs)
        for jit in (False, True)
    )
    np.testing.assert_allclose(compiled[1], plain[1], rtol=1e-5)
    largest = max(np.abs(x).max() for x in plain[0])
    for one, other in zip(*(found[0] for found in (plain, compiled)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * largest)


def test_bfloat16_is_near():
    """With 4 maps in place of 32, rounding is 16 % of the path length's loss."""
    wide = {"channel_max": 32}
    exact, rounded = build(hparams=wide), build(hparams=wide, precision="bfloat16")
    for name, network in exact.networks.items():
        rounded.networks[name].set_weights(network.get_weights())
    images = [model.generate(normal(8, 8)).numpy() for model in (exact, rounded)]
    logits = [
        model.judge(tf.constant(images[0]), []).numpy() for model in (exact, rounded)
    ]
    of_updates = [
        [np.float32(function(*inputs)[0]) for function, inputs in found.values()]
        for found in map(losses, (exact, rounded))
    ]
    for one, other in (images, logits, *zip(*of_updates, strict=True)):
        assert other.dtype == "float32"
        assert 0 < np.linalg.norm(other - one) / np.linalg.norm(one) < 2e-2
