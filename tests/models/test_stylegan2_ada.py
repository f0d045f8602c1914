"""ADA's controller against its formula; where the augmentation stands; what is kept."""

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import stream
from tfgen import models
from tfgen.core import checkpoint
from tfgen.layers import augment

BATCH = 16


def build(name="stylegan2_ada", strategy=None, eager=False, xla="off", **hparams):
    return models.build(
        name,
        "tiny",
        spec=stream(8).spec,
        hparams=hparams,
        strategy=strategy,
        run_eagerly=eager,
        xla=xla,
    )


def controlled(signs, replicas=None, **hparams):
    """p after each step whose mean signs are given, one a replica."""
    model = build(strategy=replicas, **hparams)
    found = []

    @tf.function(autograph=False)
    def step(signs):
        def replica():
            context = tf.distribute.get_replica_context()
            number = context.replica_id_in_sync_group
            return model.move_p(tf.gather(signs, number), BATCH)

        return model.distribute_strategy.run(replica)

    for each in signs:
        step(tf.constant(np.reshape(each, [-1]), tf.float32))
        copies = model.distribute_strategy.experimental_local_results(model.p.value)
        assert len({copy.numpy().tobytes() for copy in copies}) == 1
        found.append(float(copies[0]))
        model.step.assign_add(1)
    return np.array(found)


def test_p_follows_the_mean_sign_of_four_steps():
    # Every 4th step p moves by 4 * 16 / 160 = 0.4: up when the mean of the four is
    # above 0.6, at most to 1, down when it is below, at least to 0.
    signs = [1, 1, 1, 0] + [0.7, 0.7, 0.7, 0.5] * 2 + [0, 1, 1, 0.3] + [0.59] * 8
    found = controlled(signs, p_target=0.6, p_images=160.0, p_every=4)
    wanted = np.repeat([0, 0.4, 0.8, 1.0, 0.6, 0.2, 0.0], [3, *[4] * 5, 1])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_undone_steps_leave_out_terms():
    # Step 7, where p would move, is undone: by step 11 seven terms of 0.5 have come,
    # which is below 0.6, though a sum of 3.5 is not that of four. Step 13 is undone:
    # three terms of 0.7 are above 0.6, though a sum of 2.1 is not that of four.
    signs = tf.constant([1.0] * 4 + [0.5] * 8 + [0.7] * 4)
    undone = tf.constant([7, 13], tf.int64)
    model = build(p_target=0.6, p_images=160.0, p_every=4)
    model.compile(seed=0, undo_nonfinite=True)

    def nothing(broken):
        return tf.where(broken, float("nan"), 0.0)

    def step(batch):
        p = model.move_p(tf.gather(signs, model.step.value), BATCH)
        broken = tf.reduce_any(model.step.value == undone)
        model.gradients(nothing, model.generator, broken)
        return model.track(p=p)

    model.probe_step, model.step_method = step, lambda step: "probe_step"
    found = []
    for _ in range(16):
        model.fit(stream(8, batch=BATCH), steps_per_epoch=1, verbose=0)
        found.append(float(model.p.numpy()))
    assert model.nonfinite() == (7, "nothing of generator")
    wanted = np.repeat([0, 0.4, 0, 0.4], [3, 8, 4, 1])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_p_is_of_all_replicas(two_replicas):
    # One sees 1, the other 0.4: 0.7 is above 0.6, and twice as many images pass.
    found = controlled(
        [[1, 0.4], [0.9, 0.2]], two_replicas, p_target=0.6, p_images=320.0, p_every=1
    )
    np.testing.assert_allclose(found, [0.1, 0.0], atol=1e-6)


@pytest.mark.slow
def test_without_augmentation_it_is_stylegan2():
    # p stays at 0: the same networks, draws and steps.
    digests = []
    for name, hparams in (("stylegan2", {}), ("stylegan2_ada", {"p_target": 1.0})):
        model = build(name, **hparams)
        model.fit(stream(8, batch=BATCH), steps_per_epoch=3, verbose=0)
        digests.append([v.numpy().tobytes() for v in model.generator.variables])
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "name",
    ["stylegan2_ada", pytest.param("stylegan2_diffaugment", marks=pytest.mark.slow)],
)
def test_what_the_discriminator_sees_is_augmented(name):
    # In place of D a linear map v of what it sees: the augmentation is T x = A x + b,
    # so the gradient by x that R1 takes is A^T v, which finite differences of v T x
    # show (exact: it is linear).
    model, rows = build(name, eager=True), 2
    if name == "stylegan2_ada":
        model.p.assign(0.9)
    model._begin(lambda: model.step.value)
    drawn = model.augment_noise("real", rows)
    other = model.augment_noise("fake", rows)
    assert all(np.any(a != b) for a, b in zip(drawn, other, strict=True))
    random = np.random.default_rng(0)
    real = random.uniform(-1, 1, [rows, 8, 8, 1]).astype("float32")
    v = random.normal(size=[8, 8, 1]).astype("float32")
    model.judge = lambda x, y: tf.reduce_sum(x * v, axis=[1, 2, 3])[:, None]
    seen = model.augment(real, drawn, model.p).numpy()
    assert np.abs(seen - real).max() > 0.1
    steps = np.eye(64, dtype="float32").reshape([64, 1, 8, 8, 1])
    shifted = [model.augment(real + step, drawn, model.p) for step in steps]
    slopes = np.stack([np.sum((s - seen) * v, axis=(1, 2, 3)) for s in shifted])
    wanted = np.mean(np.sum(slopes.astype("float64") ** 2, axis=0))
    loss, r1 = model.r1_loss(tf.constant(real), [], drawn)
    np.testing.assert_allclose(r1, wanted, rtol=1e-4)
    factor = 0.5 * model.config.r1_every * model.config.r1_weight
    np.testing.assert_allclose(loss, factor * r1, rtol=1e-6)


@pytest.mark.slow
def test_losses_see_augmented_images():
    model = build(eager=True)
    augmented, judged = [], []

    def augment(images, drawn, p):
        augmented.append((images + 7.0).numpy())
        return images + 7.0

    def judge(images, y):
        judged.append(images.numpy())
        return tf.reduce_mean(images, [1, 2, 3])[:, None] - 7.0

    model.augment, model.judge = augment, judge
    model.fit(stream(8, batch=BATCH), steps_per_epoch=1, verbose=0)
    # Generator's fakes; reals and fakes; R1, which the first step has.
    assert len(augmented) == len(judged) == 4
    for returned, seen in zip(augmented, judged, strict=True):
        np.testing.assert_array_equal(seen, returned)


@pytest.mark.slow
def test_p_is_restored_between_two_moves(tmp_path, two_replicas):
    def fresh():
        return build(strategy=two_replicas, p_target=-1.0, p_every=4)

    data = stream(8, batch=BATCH)
    whole, resumed = fresh(), fresh()
    whole.fit(data, steps_per_epoch=6, verbose=0)
    p = float(whole.p.numpy())
    checkpoint.save(whole, tmp_path)
    whole.fit(data, steps_per_epoch=3, verbose=0)
    checkpoint.restore_newest(resumed, tmp_path, warn=pytest.fail)
    assert 0 < float(resumed.p.numpy()) == p
    resumed.fit(data, steps_per_epoch=3, verbose=0)
    assert checkpoint.digest(resumed) == checkpoint.digest(whole)
    assert float(resumed.p.numpy()) > p


@pytest.mark.slow
def test_draws_of_a_row_do_not_depend_on_the_others():
    model = build(eager=True)
    model.p.assign(0.5)
    model._begin(lambda: model.step.value)
    drawn = model.augment_noise("real", 6)
    assert [draw.shape[1] for draw in drawn] == [augment.UNIFORMS, augment.NORMALS]
    images = np.random.default_rng(0).uniform(-1, 1, [6, 8, 8, 1]).astype("float32")
    whole = model.augment(images, drawn, model.p)
    part = model.augment(images[4:], [draw[4:] for draw in drawn], model.p)
    np.testing.assert_allclose(part, whole[4:], atol=1e-6)
