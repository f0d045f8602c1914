"""Augmentation: each step against its closed form, gradients of both orders."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import test_xla
from tfgen.layers import augment, warp

SIZE = 8


def images(rows=3, size=SIZE, channels=3, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, [rows, size, size, channels]).astype("float32")


def draws(rows, on=(), normals=0.0, **uniforms):
    """What `ada_augment` takes: at p = 1/2 the named steps are done and no others."""
    gates = [0.0 if step in on else 0.9 for step in augment._STEPS]
    given = [uniforms.get(name, 0.5) for name in augment._UNIFORM]
    return (
        tf.constant([gates + given] * rows, tf.float32),
        tf.fill([rows, augment.NORMALS], float(normals)),
    )


def done(x, step, normals=0.0, **uniforms):
    """`ada_augment` with one step, which is done at p = 1/2 (a turn has 0.29)."""
    return augment.ada_augment(
        x, *draws(len(x), [step], normals, **uniforms), tf.fill([len(x)], 0.5)
    ).numpy()


def random_draws(rows, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.uniform(size=[rows, augment.UNIFORMS]).astype("float32"),
        random.normal(size=[rows, augment.NORMALS]).astype("float32"),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_is_done_at_p_0(channels):
    x = images(64, channels=channels)
    found = augment.ada_augment(x, *random_draws(64), tf.zeros([64]))
    np.testing.assert_array_equal(found, x)
    moved = augment.ada_augment(x, *random_draws(64), tf.ones([64]))
    assert (np.abs(moved - x).max(axis=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("pipeline", augment.PIPELINES)
def test_a_pipeline_is_its_steps_alone(pipeline):
    x = images(16)
    uniforms, normals = random_draws(16)
    found = augment.ada_augment(x, uniforms, normals, tf.fill([16], 0.7), pipeline)
    others = [s not in augment.PIPELINES[pipeline] for s in augment._STEPS]
    uniforms[:, : len(others)][:, others] = 1.0
    np.testing.assert_array_equal(
        found, augment.ada_augment(x, uniforms, normals, tf.fill([16], 0.7))
    )


@pytest.mark.parametrize(
    # Two turns: neither comes with 1 - p, so each with 1 - sqrt(1 - p).
    ("step", "chance"),
    [("shift", 0.3), ("hue", 0.3), ("turn", 1 - 0.7**0.5)],
)
def test_a_step_comes_with_its_probability(step, chance):
    rows = 2000
    x = images(1).repeat(rows, axis=0)
    uniforms, normals = (
        draw.numpy() for draw in draws(rows, turn=0.7, shift_x=0.9, hue=0.9)
    )
    uniforms[:, augment._STEPS.index(step)] = random_draws(rows)[0][:, 0]
    found = augment.ada_augment(x, uniforms, normals, tf.fill([rows], 0.3))
    share = np.mean(np.abs(found - x).max(axis=(1, 2, 3)) > 1e-3)
    assert abs(share - chance) < 0.04  # four standard deviations


@pytest.mark.parametrize("size", [7, 8])
def test_right_angles_and_mirror(size):
    x = images(size=size)
    np.testing.assert_array_equal(done(x, "mirror", mirror=0.7), x[:, :, ::-1])
    np.testing.assert_array_equal(done(x, "mirror", mirror=0.2), x)
    for quarter in range(4):
        found = done(x, "quarters", quarters=(quarter + 0.5) / 4)
        np.testing.assert_array_equal(found, np.rot90(x, quarter, axes=(1, 2)))
    # The free turn, a quarter: cosine and sine in float32.
    found = warp.warp(x, warp.rotation(tf.fill([3], np.pi / 2)))
    np.testing.assert_allclose(found, np.rot90(x, axes=(1, 2)), atol=1e-5)


def test_whole_pixels_are_shifted_and_mirrored_at_the_edge():
    x = images(size=16)
    # 0.125 * 16 * (2 u - 1): 1 to the right, 2 up.
    found = done(x, "shift", shift_x=0.75, shift_y=0.0)
    padded = np.pad(x, [(0, 0), (0, 2), (1, 0), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(found, padded[:, 2:, :-1])
    far = warp.translation(tf.fill([3], 40.0), tf.zeros([3]))
    padded = np.pad(x, [(0, 0), (0, 0), (40, 0), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(warp.warp(x, far), padded[:, :, :16])


def test_half_a_pixel_is_the_mean_of_two():
    x = images()
    # 0.125 * 8 * 0.5 in both directions, down and to the right.
    found = done(x, "drift", normals=0.5)
    wanted = sum(x[:, i : 7 + i, j : 7 + j] for i in (0, 1) for j in (0, 1)) / 4
    np.testing.assert_allclose(found[:, 1:, 1:], wanted, atol=1e-6)


def plane(size, slope):
    """A grey ramp in x and y, which linear interpolation keeps exactly."""
    centred = np.arange(size, dtype="float32") - (size - 1) / 2
    return (slope[0] * centred + slope[1] * centred[:, None])[None, ..., None]


def test_scale_and_stretch_of_a_ramp():
    # A ramp stretched by f has its slope divided by f, where no edge is seen.
    ramp = plane(SIZE, (0.1, 0.02))
    wide = 2.0**0.2
    found = done(ramp, "scale", normals=1.0)
    np.testing.assert_allclose(found, ramp / wide, atol=1e-6)
    found = done(ramp, "stretch", normals=1.0)[:, 2:-2]
    wanted = plane(SIZE, (0.1 / wide, 0.02 * wide))[:, 2:-2]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_turns_of_a_ramp():
    # Counter-clockwise: what rose to the right by 1 now rises upwards too, -y.
    angle = np.pi * (2 * 0.6 - 1)
    ramp = plane(16, (1.0, 0.0))
    wanted = plane(16, (np.cos(angle), -np.sin(angle)))
    for step in ("turn", "turn_again"):
        found = done(ramp, step, **{step: 0.6})
        inner = np.s_[:, 4:-4, 4:-4]
        np.testing.assert_allclose(found[inner], wanted[inner], atol=1e-5)


def test_what_shrinks_is_smoothed():
    # Every other pixel of stripes of one pixel is a constant; the binomial filter that
    # comes with a factor of 2 leaves their mean. Along y nothing shrinks, or changes.
    stripes = np.tile(1.0 - 2.0 * (np.arange(17) % 2), [1, 17, 1])[..., None]
    stripes, half, one = stripes.astype("float32"), tf.fill([1], 0.5), tf.ones([1])
    inner = np.s_[:, 4:-4, 5:-5]
    smaller = warp.warp(stripes, warp.scaling(half, one)).numpy()
    np.testing.assert_allclose(smaller[inner], 0.0, atol=1e-6)
    same = warp.warp(stripes, warp.scaling(one, half)).numpy()
    np.testing.assert_allclose(same, stripes, atol=1e-6)


def test_steps_are_done_in_order():
    # First mirrored, then shifted: the other order would shift the other way.
    x = images(size=16)
    uniforms, normals = draws(3, ["mirror", "shift"], mirror=0.7, shift_x=0.75)
    found = augment.ada_augment(x, uniforms, normals, tf.fill([3], 0.5))
    np.testing.assert_array_equal(found[:, :, 1:], x[:, :, ::-1][:, :, :-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast(channels):
    x = images(channels=channels)
    found = done(x, "brightness", normals=0.7)
    np.testing.assert_allclose(found, x + 0.14, atol=1e-6)
    found = done(x, "contrast", normals=2.0)
    np.testing.assert_allclose(found, 2.0 * x, atol=1e-6)


def test_colours_about_the_grey_axis():
    x = images()
    grey = x.mean(axis=-1, keepdims=True)
    # Half a turn of hue sends what is off the axis to the other side.
    found = done(x, "hue", hue=1.0)
    np.testing.assert_allclose(found, 2 * grey - x, atol=1e-6)
    # A third of a turn permutes the colours: red becomes green.
    red = np.tile(np.float32([1, 0, 0]), [1, 8, 8, 1])
    found = done(red, "hue", hue=0.5 + 1 / 3)
    np.testing.assert_allclose(found, red[..., [2, 0, 1]], atol=1e-6)
    found = done(x, "luma_flip", luma_flip=0.7)
    np.testing.assert_allclose(found, x - 2 * grey, atol=1e-6)
    np.testing.assert_array_equal(done(x, "luma_flip", luma_flip=0.2), x)
    found = done(x, "saturation", normals=1.0)
    np.testing.assert_allclose(found, grey + 2 * (x - grey), atol=1e-6)


def test_brightness_comes_before_contrast():
    x = images()
    uniforms, normals = draws(3, ["brightness", "contrast"], normals=1.0)
    found = augment.ada_augment(x, uniforms, normals, tf.fill([3], 0.5))
    np.testing.assert_allclose(found, 2**0.5 * (x + 0.2), atol=1e-6)


def penalty(x, weights, transform):
    """R1 of D(x) = sum w transform(x)^2, by a gradient inside, as losses take it."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(weights * transform(x) ** 2)
    return tf.reduce_sum(tape.gradient(score, x) ** 2)


def bgc(x):
    """All images alike, most of the steps done."""
    uniforms, normals = (
        np.repeat(draw, x.shape[0], axis=0) for draw in random_draws(1, seed=3)
    )
    return augment.ada_augment(x, uniforms, normals, tf.fill([x.shape[0]], 0.8))


def diff_augment(x):
    uniforms = random_draws(1)[0][:, : augment.DIFF_UNIFORMS]
    return augment.diff_augment(x, np.repeat(uniforms, x.shape[0], axis=0))


@pytest.mark.parametrize("transform", [bgc, diff_augment])
def test_gradients_of_both_orders(transform):
    # It is affine, T x = A x + b, so the derivatives of a cubic and of the penalty
    # follow from A and b, which the images of 0 and of unit vectors show.
    x = tf.constant(images(1, 5))
    size = x.numpy().size
    units = np.concatenate([np.zeros([1, size]), np.eye(size)]).astype("float32")
    base, *columns = transform(tf.reshape(units, [-1, 5, 5, 3])).numpy()
    base = base.reshape(size).astype("float64")
    matrix = np.reshape(columns, [size, size]).T - base[:, None]
    made = matrix @ x.numpy().reshape(size).astype("float64") + base
    np.testing.assert_allclose(transform(x).numpy().reshape(size), made, atol=1e-5)
    assert np.abs(matrix - np.eye(size)).max() > 0.1

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(transform(x) ** 3)
    found = tape.gradient(value, x).numpy().reshape(size)
    # Differences of float32 make A.
    np.testing.assert_allclose(found, matrix.T @ (3 * made**2), rtol=1e-4, atol=1e-4)

    w = np.random.default_rng(1).normal(size=size)
    weights = tf.Variable(w.reshape(x.shape).astype("float32"))
    with tf.GradientTape() as tape:
        value = penalty(x, weights, transform)
    # g = A^T (2 w m), and sum g^2 differentiated by w is 4 m (A g).
    inner = matrix.T @ (2 * w * made)
    np.testing.assert_allclose(value, np.sum(inner**2), rtol=1e-4)
    found = tape.gradient(value, weights).numpy().reshape(size)
    wanted = 4 * made * (matrix @ inner)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "transform", [bgc, pytest.param(diff_augment, marks=pytest.mark.slow)]
)
def test_xla_equals_plain_and_could_run_on_a_tpu(transform):
    x, weights = tf.constant(images(2, 6)), tf.ones([2, 6, 6, 3])

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = penalty(x, weights, transform)
        return transform(x), tape.gradient(value, x)

    plain = tf.function(both, autograph=False)(x)
    compiled = tf.function(both, autograph=False, jit_compile=True)
    for a, b in zip(plain, compiled(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    traced = compiled.get_concrete_function(tf.TensorSpec(x.shape))
    assert list(test_xla.graph_complaints(traced)) == []
    assert test_xla.hlo_complaints(compiled, [tf.TensorSpec(x.shape)]) == []


def diff(x, **changes):
    """`diff_augment` with draws that do nothing but for `changes`."""
    neutral = {"bright": 0.5, "vivid": 0.5, "contrast": 0.5}
    neutral |= {"shift_x": 0.5, "shift_y": 0.5, "cut_x": 0.0, "cut_y": 0.0}
    row = list((neutral | changes).values())
    return augment.diff_augment(x, tf.constant([row] * len(x))).numpy()


def test_diff_augment():
    x = images(size=16)
    # At place 0 the square reaches over the corner: 4 x 4 pixels of 8 x 8 are seen.
    wanted = x.copy()
    wanted[:, :4, :4] = 0.0
    np.testing.assert_allclose(diff(x), wanted, atol=1e-6)
    corner = np.s_[:, 8:, 8:]
    found = diff(x, bright=0.8)
    np.testing.assert_allclose(found[corner], x[corner] + 0.3, atol=1e-6)
    found = diff(x, vivid=1.0)
    grey = x.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(found[corner], (2 * x - grey)[corner], atol=1e-6)
    found = diff(x, contrast=0.0)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found[corner], ((x + mean) / 2)[corner], atol=1e-6)
    # Two pixels to the right, two up: zeros come in.
    found = diff(x, shift_x=0.99, shift_y=0.0, cut_x=0.99, cut_y=0.99)
    wanted = np.zeros_like(x)
    wanted[:, :-2, 2:] = x[:, 2:, :-2]
    wanted[:, 12:, 12:] = 0.0
    np.testing.assert_allclose(found, wanted, atol=1e-6)
