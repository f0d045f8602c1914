"""launch.benchmark: twins compute the same before they are timed."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from launch import benchmark_flops, benchmark_sides, benchmark_twins
from tests.synthetic import stream
from tfgen import models
from tfgen.core import ema
from tfgen.models.stylegan2 import StyleGAN2

SHORT = ["--preset=tiny", "--steps=2", "--rounds=2", "--batch=16"]


def benchmark(launcher, *flags):
    return launcher.run(*SHORT, *flags, module="launch.benchmark")


@pytest.mark.parametrize(
    ("model", "against", "xla"),
    [
        ("vae", "bare", "off"),
        pytest.param("wgan_gp", "bare", "on", marks=pytest.mark.slow),
        pytest.param("vae", "bare_whole", "on", marks=pytest.mark.slow),
        pytest.param("wgan_gp", "keras_fit", "off", marks=pytest.mark.slow),
        pytest.param("vae", "keras_plain", "on", marks=pytest.mark.slow),
    ],
)
def test_twins(launcher, pictures, model, against, xla):
    flags = [f"--model={model}", f"--against={against}", f"--xla={xla}"]
    if against == "keras_plain":
        flags.append("--steps_per_execution=2")
    ended = benchmark(launcher, *flags, f"--dataset={pictures}")
    assert ended.code == 0, ended.stderr
    result = ended.json
    assert result["loss_difference"] < 1e-4
    assert result["gradient_difference"] < 1e-4
    assert result["xla"] is (xla == "on")
    assert result["ratio"] > 0 and result["matmul_gflops"] > 1
    low, high = result["ratio_quartiles"]
    assert low <= result["ratio"] <= high
    assert ended.stderr.count("round ") == 2


def test_kinds_of_steps_without_a_twin(launcher, pictures):
    # Six steps in a cycle, the last with the generator.
    flags = ["--model=wgan", "--against=none", "--hparam=warm_steps=5", "--xla=off"]
    ended = benchmark(launcher, *flags, "--steps=6", f"--dataset={pictures}")
    assert ended.code == 0, ended.stderr
    kinds = ended.json["kinds_ms"]
    assert set(kinds) == {"critic_step", "train_step"}
    mean = (5 * kinds["critic_step"] + kinds["train_step"]) / 6
    assert ended.json["ours_ms"] == pytest.approx(mean, rel=1e-3)
    # Two updates of the critic a step.
    rate = 2 * 16 / ended.json["ours_ms"] * 1e3
    assert ended.json["examples_per_second"] == pytest.approx(rate, rel=1e-3)
    assert ended.json["peak_memory_mib"] > 100
    rate = ended.json["gflop"] / ended.json["ours_ms"] * 1e3
    share = rate / ended.json["matmul_gflops"]
    assert ended.json["matmul_share"] == pytest.approx(share, rel=0.01, abs=1e-4)


def operations_of_step(model, stream):
    spec = stream.dataset(updates=model.updates_per_step).element_spec
    model.feed_from(stream.spec)
    return benchmark_flops.of_step(model, "train_step", spec)


# Products of a row: forwards, and for the gradients by kernel and by input, the latter
# but for the first layer, whose input is the data.
DENSE = 2 * 784 * 16 + 3 * (2 * 16 * 4 + 4 * 16 + 16 * 784)
CONVOLUTIONAL = 2 * 28**2 * 9 * 2 + 3 * (14**2 * 9 * 2 * 4 + 7**2 * 4 * 8 + 8 * 10)


@pytest.mark.parametrize(
    ("name", "xla", "products"),
    [
        ("vae", "off", DENSE),
        ("vae", "on", DENSE),
        ("classifier", "off", CONVOLUTIONAL),
    ],
)
def test_operations_of_a_step(make_stream, name, xla, products):
    stream = make_stream()
    model = models.build(name, "tiny", spec=stream.spec, xla=xla)
    assert operations_of_step(model, stream) == 2 * stream.batch * products


def test_operations_of_nodes():
    x, kernel = tf.zeros([2, 8, 8, 3]), tf.zeros([5, 5, 3, 4])
    twice = tf.function(lambda a: tf.matmul(a, a, transpose_a=True), autograph=False)
    for function, products in (
        (lambda: tf.nn.conv2d(x, kernel, 2, "SAME"), 2 * 4 * 4 * 25 * 3 * 4),
        (
            lambda: tf.nn.conv2d_transpose(
                x, tf.zeros([4, 4, 6, 3]), [2, 16, 16, 6], 2
            ),
            2 * 8 * 8 * 3 * 16 * 6,
        ),
        (
            lambda: tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID"),
            2 * 4 * 4 * 12 * 25,
        ),
        (
            lambda: tf.nn.conv3d(x[None], kernel[None], [1] * 5, "SAME"),
            2 * 8 * 8 * 25 * 3 * 4,
        ),
        (lambda: tf.einsum("bhwc,cd->bhd", x, kernel[0, 0]), 2 * 8 * 8 * 3 * 4),
        (lambda: twice(kernel[..., 0]) + twice(kernel[..., 1]), 2 * 5 * 3 * 5 * 3),
        (lambda: tf.nn.relu(x) * 2.0, 0),
    ):
        graph = tf.function(function, autograph=False).get_concrete_function().graph
        assert benchmark_flops.of_graph(graph) == 2 * products


def test_what_regularisers_add():
    """Steps of 1 s, path length 0.5 s more, R1 0.25 s more"""
    seconds = {
        "path_length_and_r1_step": [1.75, 1.75, 9.0],
        "path_length_step": [1.5] * 9,
        "train_step": [1.0] * 36,
    }
    model = StyleGAN2
    found = benchmark_sides.summary_of_kinds(seconds, 32, model)
    wanted = {"main": 1000.0, "path_length": 500.0, "r1": 250.0}
    assert found["added_ms"] == pytest.approx(wanted, abs=1e-3)
    assert found["examples_per_second"] == pytest.approx(
        32 * 48 / (3 * 1.75 + 9 * 1.5 + 36), abs=0.01
    )
    without = {"r1_step": [1.25], "train_step": [1.0] * 15}
    found = benchmark_sides.summary_of_kinds(without, 32, model)
    assert found["added_ms"] == pytest.approx({"main": 1000.0, "r1": 250.0}, abs=1e-3)
    assert "added_ms" not in benchmark_sides.summary_of_kinds(
        {"critic_step": [1.0], "train_step": [2.0]}, 32, model
    )


def test_a_twin_that_computes_something_else_is_found(make_stream):
    stream = make_stream()

    def side(twin, seed):
        model = models.build("vae", "tiny", spec=stream.spec, seed=seed, xla="off")
        if twin:
            model = benchmark_twins.Bare("vae", model, stream.batch, xla=False)
        return benchmark_sides.Steps(model, stream, 1)

    found = benchmark_sides.compare(side(False, 0), side(True, 0))
    assert max(found.values()) < 1e-4
    with pytest.raises(RuntimeError, match="computes something else"):
        benchmark_sides.compare(side(False, 0), side(True, 1))


def test_a_gradient_that_differs_is_found(make_stream, monkeypatch):
    stream = make_stream()

    def stopped(encoder, decoder, images, epsilon):
        loss, parts = whole(encoder, decoder, images, epsilon)
        return loss + 0.1 * tf.reduce_sum(encoder.trainable_variables[1]), parts

    models_ = [models.build("vae", "tiny", spec=stream.spec, xla="off") for _ in "ab"]
    whole = benchmark_twins.vae_loss
    monkeypatch.setattr(benchmark_twins, "vae_loss", stopped)
    twin = benchmark_twins.Bare("vae", models_[1], stream.batch, xla=False)
    sides = [benchmark_sides.Steps(side, stream, 1) for side in (models_[0], twin)]
    with pytest.raises(RuntimeError, match=r"'gradient_difference': 0\."):
        benchmark_sides.compare(*sides)


def test_refusals(launcher):
    cases = {
        ("--model=classifier",): "no twin of 'classifier'; valid: vae, wgan_gp",
        ("--model=vae", "--hparam=likelihood=gaussian"): "likelihood=bernoulli",
        ("--model=vae", "--against=jax"): "--against",
        ("--model=vae", "--rounds=1"): "--rounds",
        ("--model=vae", "--steps_per_execution=3"): "not a multiple",
        ("--model=vae", "--hparam=beta=2"): "beta=1.0",
        ("--model=vae", "--against=none", "--steps_per_execution=2"): "one step a",
    }
    for flags, words in cases.items():
        ended = benchmark(launcher, *flags)
        assert ended.code == 2, ended.stderr
        assert len(ended.errors) == 1 and words in ended.errors[0]


def test_torch_needs_the_extra(launcher, pictures):
    flags = ["--model=vae", "--against=torch", f"--dataset={pictures}"]
    ended = benchmark(launcher, *flags)
    if importlib.util.find_spec("torch"):
        assert ended.code == 0, ended.stderr
        assert ended.json["gradient_difference"] < 1e-4
    else:
        assert ended.code == 2 and "tfgen[bench]" in ended.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("wgan_gp", []),
        ("dcgan", []),
        ("cyclegan", ["--target_dataset={pictures}"]),
        ("video_gan", ["--dataset={clip_folder}"]),
        ("stylegan2", []),
        ("gansynth_flat", ["--dataset={tones}"]),
    ],
)
def test_steps_in_torch(launcher, pictures, clip_folder, tones, model, flags):
    pytest.importorskip("torch", reason="the extra `bench`")
    places = {"pictures": pictures, "clip_folder": clip_folder, "tones": tones}
    flags = [flag.format(**places) for flag in ["--dataset={pictures}", *flags]]
    ended = benchmark(launcher, f"--model={model}", "--against=torch", *flags)
    assert ended.code == 0, ended.stderr
    # Of the losses; gradients have the tolerance of each twin.
    assert ended.json["loss_difference"] < 1e-4
    assert ended.json["torch"] in ended.json["torch_seconds"]


@pytest.mark.slow
def test_both_means_of_a_step_in_torch():
    """The generator's average, which forgets its start, and the mean of w."""
    pytest.importorskip("torch", reason="the extra `bench`")
    from launch import benchmark_torch_steps

    data = stream(8)
    how = {"spec": data.spec, "xla": "off", "run_eagerly": True}
    ours, theirs = (models.build("stylegan2", "tiny", **how) for _ in "ab")
    twin = benchmark_torch_steps.StyleGAN2(theirs, data, "eager")
    twin.first()
    ours.fit(data, steps_per_epoch=1, verbose=0)
    mean = ours.generator.w_average.numpy()
    np.testing.assert_allclose(twin.mean_w, mean, atol=1e-6)
    assert np.abs(mean).max() > 1e-4
    for part in ("mapping", "synthesis"):
        pairs = (twin.networks[name].weights for name in (part, f"{part}_ema"))
        for weight, average in zip(*pairs, strict=True):
            np.testing.assert_array_equal(weight.detach(), average.detach())
    config = ours.config
    half_life, ramp = config.average_images, config.average_ramp
    for done in (1, 5, 10**5):
        twin.done = done
        decay = ema.decay(16, half_life, ramp, tf.constant(done, tf.int64))
        assert twin.average_share() == pytest.approx(1 - float(decay), rel=1e-3)
