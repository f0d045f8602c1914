"""GANSynth: losses by their formulas, stages against whole pictures, notes."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import alone, synthetic
from tfgen import models
from tfgen.core import checkpoint, noise
from tfgen.core.errors import BadInput

ROWS = 4
SLOW = pytest.mark.slow


def build(name="gansynth", data=None, eager=True, **hparams):
    data = data or synthetic.notes(batch=ROWS)
    return models.build(
        name, "tiny", spec=data.spec, hparams=hparams, seed=3, run_eagerly=eager
    )


def train(model, steps, batch=ROWS):
    model.fit(synthetic.notes(batch=batch), steps_per_epoch=steps, verbose=0)
    return model


def inputs(model, progress=1.0, seed=0):
    """What `discriminator_loss` takes, at random."""
    random = np.random.default_rng(seed)
    rows = synthetic.notes().arrays
    audio = tf.constant(rows["audio"][:ROWS] / 32768.0, tf.float32)
    return [
        model.representation.forward(audio),
        model.one_hot({"pitch": rows["pitch"][:ROWS]}),
        tf.constant(random.normal(size=[ROWS, model.config.latent_size]), tf.float32),
        tf.constant(random.uniform(size=[ROWS, 1, 1, 1]), tf.float32),
        tf.fill([ROWS], progress),
    ]


def test_the_discriminator_loss_is_the_sum_of_its_terms():
    model = build("gansynth_flat")
    real, y, z, mix, progress = inputs(model)
    loss, reports = model.whole.discriminator_loss(real, y, z, mix, progress)
    fake = model.whole.make(z, np.roll(y, 2, axis=0), progress)
    (on_real, logits), (on_fake, _) = (
        model.whole.judge(x, progress) for x in (real, fake)
    )
    estimate = np.mean(on_real) - np.mean(on_fake)
    cross_entropy = -np.mean(np.sum(y * tf.nn.log_softmax(logits), axis=1))
    with tf.GradientTape() as tape:
        between = tf.Variable(fake + mix * (real - fake))
        score = model.whole.judge(between, progress)[0]
    gradient = tape.gradient(score, between).numpy().reshape([ROWS, -1])
    penalty = np.mean((np.linalg.norm(gradient, axis=1) - 1) ** 2)
    wanted = -estimate + 10 * penalty + 10 * cross_entropy
    wanted += 0.001 * np.mean(np.square(on_real))
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(reports["gradient_penalty"], penalty, rtol=1e-5)
    made = model.whole.generator_loss(y, z, progress)[0]
    score, logits = model.whole.judge(model.whole.make(z, y, progress), progress)
    cross_entropy = -np.mean(np.sum(y * tf.nn.log_softmax(logits), axis=1))
    np.testing.assert_allclose(made, 10 * cross_entropy - np.mean(score), rtol=1e-5)


def test_the_penalty_is_of_physical_units(monkeypatch):
    # D = sum of c * x over what it sees, x = a * physical + b: the gradient by the
    # physical picture is c * a in every pixel of a channel.
    model = build("gansynth_flat", representation="if_mel", frames=16, samples=100)
    scale = np.array([0.0661371661726, 0.8])
    slope = np.array([0.3, 0.05])

    def linear(seen, progress, first, last):
        return tf.reduce_sum(seen * slope, axis=[1, 2, 3])[:, None], tf.zeros(
            [ROWS, 12]
        )

    monkeypatch.setattr(model, "discriminator", linear)
    data = inputs(model)
    data[0] = tf.random.stateless_uniform([ROWS, 16, 16, 2], [0, 0], -0.5, 0.5)
    _, reports = model.whole.discriminator_loss(*data)
    norm = np.sqrt(16 * 16 * np.sum(np.square(scale * slope)))
    np.testing.assert_allclose(reports["gradient_penalty"], (norm - 1) ** 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("stage", "progress"),
    [
        pytest.param((1, 1), 0.0, marks=SLOW),
        ((1, 2), 0.25),
        pytest.param((2, 3), 1.5, marks=SLOW),
        pytest.param((3, 3), 2.0, marks=SLOW),
    ],
)
def test_a_stage_gets_what_whole_pictures_give(stage, progress):
    model = build(resolutions=3)
    first, last = stage
    name = f"stable_{last}_step" if first == last else f"grow_{last}_step"
    scale = getattr(model, name).args[0]
    assert scale.blocks == {"first": first, "last": last}
    data = inputs(model, progress)

    def of(scale):
        found = []
        for network, loss, given in (
            (model.discriminator, scale.discriminator_loss, data),
            (model.generator, scale.generator_loss, [data[1], data[2], data[4]]),
        ):
            with tf.GradientTape() as tape:
                value, _ = loss(*given)
            weights = network.trainable_variables
            gradients = tape.gradient(value, weights)
            found += [value, *gradients]
        return found

    weights = [
        *[None, *model.discriminator.trainable_variables],
        *[None, *model.generator.trainable_variables],
    ]
    trained = {
        id(v)
        for part in (*scale.discriminator, *scale.generator)
        for v in part.trainable_variables
    }
    for weight, ours, whole in zip(weights, of(scale), of(model.whole), strict=True):
        if weight is not None and id(weight) not in trained:
            assert ours is None
            assert whole is None or not np.any(whole)
        else:
            # Means of means; the second derivative's rounding.
            np.testing.assert_allclose(ours, whole, rtol=1e-3, atol=1e-4)


def test_stages_and_progress_are_functions_of_the_step():
    model = build(resolutions=3, stable_steps=3, grow_steps=4)
    ends = {"stable_1": 3, "grow_2": 7, "stable_2": 10, "grow_3": 14, "stable_3": None}
    found = {}
    for step in range(16):
        name, end = model.stage_of(step)
        assert found.setdefault(name, end) == end
        model.step.assign(step)
        fades = [min(max((step - start) / 4, 0), 1) for start in (3, 10)]
        assert float(model.progress()) == sum(fades)
        assert model.step_method(step) == f"{name}_step"
    assert found == ends
    assert list(model.stages()) == list(ends)
    # Beyond 2^24 float32 knows even numbers only.
    paper = models.configure("gansynth", "paper", {"stable_steps": 2**26})
    late = build(**{"stable_steps": paper.stable_steps, "grow_steps": 4})
    late.step.assign(2**26 + 1)
    assert float(late.progress()) == 0.25


def test_a_stage_touches_its_blocks_only_and_starts_its_optimizers():
    model = build()
    start = checkpoint.collect(model)
    train(model, 2)  # all of stable_1
    after = checkpoint.collect(model)
    parts = model.stable_1_step.args[0]
    moved = {
        id(v)
        for part in (*parts.generator, *parts.discriminator)
        for v in part.trainable_variables
    }
    names = {name: id(v) for name, v in model.state().items()}
    pairs = zip(model.generator.variables, model.generator_ema.variables, strict=True)
    moved |= {id(average) for weight, average in pairs if id(weight) in moved}
    networks = [n for n in start if n.split("/")[0] in model.networks]
    changed = {n for n in networks if np.any(start[n] != after[n])}
    assert changed == {n for n in networks if names[n] in moved}
    assert len(changed) < len(networks)

    optimizer = model.discriminator_optimizer
    assert int(optimizer.iterations) == 2
    train(model, 1)  # the first of grow_2
    assert int(optimizer.iterations) == 1
    assert int(model.generator_optimizer.iterations) == 1
    # beta_1 is 0, so the first moment is the gradient; the second 0.01 of its square,
    # which nothing of before is left of.
    first, second = (
        np.concatenate(
            [v.numpy().ravel() for v in optimizer.variables if v.name.endswith(kind)]
        )
        for kind in ("momentum", "velocity")
    )
    np.testing.assert_allclose(second, 0.01 * first**2, rtol=1e-4, atol=1e-12)
    train(model, 1)
    assert int(optimizer.iterations) == 2


def test_an_undone_first_step_leaves_the_restart_to_the_next():
    # What a first step of a stage undoes, it undoes of the restart as well. Training
    # then goes on as if the stage had begun a step later.
    model = build(stable_steps=3, grow_steps=3)
    model.compile(seed=3, undo_nonfinite=True, run_eagerly=True)
    scale = model.grow_2_step.args[0]
    whole = scale.generator_loss

    def broken(*inputs):
        loss, reports = whole(*inputs)
        return loss * np.nan, reports

    scale.generator_loss = broken
    train(model, 3)  # all of stable_1
    before = {n: v.numpy() for n, v in model.state().items() if n != "step"}
    train(model, 1)  # the first of grow_2
    assert model.nonfinite() == (3, "broken of generator")
    scale.generator_loss = whole
    for name, value in before.items():
        np.testing.assert_array_equal(model.state()[name].numpy(), value)
    optimizers = model.discriminator_optimizer, model.generator_optimizer
    for updates in (1, 2):  # once, not at each step
        train(model, 1)
        assert [int(each.iterations) for each in optimizers] == [updates] * 2
    assert model.stage_of(model.steps_done)[0] == "stable_2"


def test_held_out_notes_are_seen_as_in_training():
    # Within a fade: the critic was trained on blends of real notes, too.
    model, rows = build(resolutions=3, grow_steps=4), synthetic.notes().arrays
    model.step.assign(3)
    batch = {
        "audio": tf.constant(rows["audio"][:ROWS] / 32768.0, tf.float32),
        "pitch": tf.constant(rows["pitch"][:ROWS]),
    }
    model._begin(lambda: tf.constant(0, tf.int64))
    found = model.test_step(batch)
    real, y, _, mix, progress = inputs(model, 0.25)
    np.testing.assert_array_equal(model.progress(), progress[0])
    z = noise.normal(model.seed, 0, "test_z", ROWS, [model.config.latent_size])
    y = tf.roll(y, -(ROWS // 2), axis=0)  # which training turns
    scale = model.grow_2_step.args[0]
    _, wanted = scale.discriminator_loss(real, y, z, mix, progress)
    estimate = wanted["wasserstein_estimate"]
    np.testing.assert_allclose(found["wasserstein_estimate"], estimate, atol=1e-5)


@pytest.mark.parametrize("cut", [3, pytest.param(4, marks=SLOW)])
def test_resume_inside_a_fade_and_between_stages(cut, tmp_path):
    model, second = train(build(), cut), build()
    checkpoint.save(model, tmp_path)
    checkpoint.restore(second, checkpoint.path_of(tmp_path, cut))
    assert model.stage_of(cut)[0] == {3: "grow_2", 4: "stable_2"}[cut]
    for each in (model, second):
        train(each, 1)
    assert checkpoint.digest(second) == checkpoint.digest(model)


def test_notes_of_a_pitch():
    model = build()
    model.step.assign(3)
    pitch = np.array([84, 90, 90, 95])
    notes = model.generate(pitch, seed=5)
    assert notes.shape == (4, 64)
    assert np.abs(notes).max() <= 1
    np.testing.assert_array_equal(notes, model.generate(pitch, seed=5))
    assert np.abs(notes - model.generate(pitch, seed=6)).max() > 1e-3
    # The same z, another pitch; beyond the ends the nearest.
    z = model.prior(4, 5)
    other = model.render(z, np.array([85, 90, 90, 120]))
    apart = np.abs(notes - other).max(axis=1)
    assert apart[0] > 1e-3
    np.testing.assert_array_equal(apart[1:], 0)
    np.testing.assert_array_equal(model.render(z, pitch), notes)
    spectra = model.spectrogram(z, pitch)
    assert spectra.shape == (4, *model.representation.shape)
    inverse = np.clip(model.representation.inverse(spectra), -1, 1)
    np.testing.assert_array_equal(inverse, notes)
    # `sample` takes the pitches in turn.
    turn = np.arange(84, 96)[np.arange(14) % 12]
    np.testing.assert_array_equal(model.sample(14, 5), model.generate(turn, 5))


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"frames": 9}, "spectrograms of 9x16 cannot be halved 1 times"),
        ({"resolutions": 6}, "spectrograms of 8x16 cannot be halved 5 times"),
        ({"samples": 1000}, "give more frames"),
        ({"bins": 15}, "even number of hops"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(hparams, message):
    with pytest.raises(BadInput, match=message):
        build("gansynth_flat", **hparams)


def test_data_without_notes_are_refused():
    with pytest.raises(BadInput, match="has no audio"):
        build(data=synthetic.stream(8))


def test_published_presets():
    shapes = {
        preset: models.configure("gansynth", preset)
        for preset in models.find("gansynth").PRESETS
        if preset not in ("small", "tiny")
    }
    assert {
        name: (c.representation, c.frames, c.bins, c.resolutions)
        for name, c in shapes.items()
    } == {
        "paper": ("if_mel", 128, 1024, 7),
        "if_mel": ("if_mel", 256, 512, 7),
        "if_high": ("if", 128, 1024, 7),
        "if": ("if", 256, 512, 7),
        "phase_high": ("phase", 128, 1024, 7),
        "phase": ("phase", 256, 512, 7),
    }


@SLOW
def test_an_export_plays_the_same_bytes_without_this_package(tmp_path):
    model = build(representation="if_mel")
    model.step.assign(3)  # within the fade
    tfgen.export(model, tmp_path / "export")
    code = (
        "import hashlib\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "generate = loaded.signatures['generate']\n"
        "pitch = tf.constant([84, 90, 95], tf.int64)\n"
        "audio = generate(pitch=pitch, seed=tf.constant(7))['audio'].numpy()\n"
        "print(audio.shape, hashlib.sha256(audio.tobytes()).hexdigest())\n"
    )
    once, again = (alone.run(code, tmp_path / "export") for _ in range(2))
    assert once == again
    assert once.startswith("(3, 64) ")
    exported = tfgen.export.load(tmp_path / "export")
    pitch = np.array([84, 90, 95])
    loaded = exported.generate(pitch, seed=7)["audio"]
    assert hashlib.sha256(loaded.tobytes()).hexdigest() == once.split()[-1]
    # Loud notes of an untrained network on a small window, before they are clipped.
    np.testing.assert_allclose(loaded, model.generate(pitch, 7), atol=1e-3)
