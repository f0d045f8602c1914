"""The algebra of growth, exactly; published sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.layers import box
from tfgen.networks import progressive

WIDTHS = [4, 4, 3, 2]
LAST = len(WIDTHS)


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, [seed, 0])


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(0)
    return progressive.Generator(7, (1, 2), WIDTHS, 2)


@pytest.fixture(scope="module")
def judge():
    keras.utils.set_random_seed(1)
    return progressive.Discriminator(3, (1, 2), WIDTHS, 2)


INPUTS = normal(4, 4), tf.one_hot([0, 1, 2, 0], 3)
PICTURES = normal(4, 8, 16, 2, seed=1)


def test_published_sizes():
    widths = [256, 256, 256, 256, 128, 64, 32]
    generator = progressive.Generator(256 + 61, (2, 16), widths, 2)
    judge = progressive.Discriminator(61, (4, 8), widths, 2)  # as many pixels
    assert generator.count_params() == 7_311_246
    assert judge.count_params() == 6_831_230


def test_scales_are_hes(generator, judge):
    # sqrt(2 / ((1 + slope^2) fan_in)): slope 0 before rectifiers, 1 of linear layers
    # and of the heads.
    rectified = [*generator.convolutions, *judge.convolutions, *judge.inlets]
    slopes = [
        *((layer, 0) for layer in (*rectified, judge.hidden)),
        *((layer, 1) for layer in (*generator.heads, judge.scores, judge.logits)),
    ]
    assert len(slopes) == 8 + 7 + 4 + 1 + 4 + 2
    for layer, slope in slopes:
        fan_in = np.prod(layer.kernel.shape[:-1])
        wanted = np.sqrt(2 / ((1 + slope**2) * fan_in))
        np.testing.assert_allclose(layer.scale, wanted, rtol=1e-6)
        np.testing.assert_allclose(layer.scaled_kernel(1.0), wanted * layer.kernel)
        assert (layer.factor, layer.rate) == (1, 1)


@pytest.mark.parametrize("progress", np.arange(0, 6.5, 0.5))
def test_weights_of_heads_add_up_to_one(progress):
    """Of the published seven blocks."""
    rows = tf.constant([progress], tf.float32)
    heads = [progressive.head_weight(b, rows).numpy().item() for b in range(1, 8)]
    assert sum(heads) == 1
    low = int(progress)
    share = progress - low
    assert heads[low] == 1 - share
    assert share == 0 or heads[low + 1] == share
    # What passes the blend of a block from above is left to those below it.
    inlets = [progressive.inlet_weight(b, rows).numpy().item() for b in range(1, 7)]
    for block in range(1, 7):
        above = np.prod([1 - inlet for inlet in inlets[: block - 1]])
        assert above * inlets[block - 1] == heads[block - 1]


@pytest.mark.parametrize("block", range(1, LAST + 1))
def test_at_whole_progress_one_block_alone_is_seen(generator, judge, block):
    progress = tf.fill([4], block - 1.0)
    whole = generator(INPUTS, progress)
    assert whole.shape == (4, 8, 16, 2)
    alone = generator(INPUTS, first=block, last=block)
    factor = 2 ** (LAST - block)
    np.testing.assert_array_equal(whole, box.enlarge(alone, factor))
    scores = judge(PICTURES, progress)
    truncated = judge(box.shrink(PICTURES, factor), first=block, last=block)
    # Means of means against means of all.
    for ours, theirs in zip(scores, truncated, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # Nothing of other heads.
    before = [head.get_weights() for head in generator.heads]
    for head in generator.heads[: block - 1] + generator.heads[block:]:
        head.set_weights([w + 1 for w in head.get_weights()])
    again = generator(INPUTS, progress)
    for head, weights in zip(generator.heads, before, strict=True):
        head.set_weights(weights)
    np.testing.assert_array_equal(whole, again)


@pytest.mark.parametrize("progress", [0.25, 1.5, 2.75])
def test_within_a_fade_two_blocks_are_all(generator, judge, progress):
    blocks = {"first": int(progress) + 1, "last": int(progress) + 2}
    factor = 2 ** (LAST - blocks["last"])
    rows = tf.fill([4], progress)
    part = generator(INPUTS, rows, **blocks)
    np.testing.assert_array_equal(generator(INPUTS, rows), box.enlarge(part, factor))
    for ours, theirs in zip(
        judge(PICTURES, rows),
        judge(box.shrink(PICTURES, factor), rows, **blocks),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # By the definition: (1 - share) of the coarser, share of the finer.
    coarse, fine = (generator(INPUTS, first=b, last=b) for b in blocks.values())
    share = progress % 1
    wanted = (1 - share) * box.enlarge(coarse).numpy() + share * fine.numpy()
    np.testing.assert_allclose(part, wanted, atol=1e-6)
    blended = progressive.shrunk(box.shrink(PICTURES, factor), progress=rows, **blocks)
    small = box.shrink(PICTURES, factor).numpy()
    coarse = box.enlarge(box.shrink(small)).numpy()
    np.testing.assert_allclose(blended, (1 - share) * coarse + share * small, atol=1e-6)


def test_parts_are_what_a_call_uses(generator, judge):
    progress = tf.fill([4], 1.5)
    for network, inputs in ((generator, INPUTS), (judge, PICTURES)):
        assert (
            len(network.parts(1, LAST))
            == len(
                {id(layer) for layer in network._flatten_layers() if layer.variables}
            )
            - 1
        )  # the network itself
        inputs = box.shrink(inputs, 2) if network is judge else inputs
        with tf.GradientTape() as tape:
            outputs = network(inputs, progress, first=2, last=3)
            total = tf.add_n([tf.reduce_sum(x) for x in tf.nest.flatten(outputs)])
        variables = network.trainable_variables
        gradients = tape.gradient(total, variables)
        used = {
            id(v) for v, g in zip(variables, gradients, strict=True) if g is not None
        }
        parts = network.parts(2, 3)
        assert used == {id(v) for part in parts for v in part.trainable_variables}


def test_a_network_of_one_head_has_no_more():
    whole = progressive.Generator(7, (1, 2), WIDTHS, 2, first=LAST)
    assert len(whole.heads) == 1
    assert whole(INPUTS).shape == (4, 8, 16, 2)
    judge = progressive.Discriminator(3, (1, 2), WIDTHS, 2, first=LAST)
    assert len(judge.inlets) == 1
    scores, logits = judge(PICTURES)
    assert (scores.shape, logits.shape) == ((4, 1), (4, 3))


def test_the_first_layer_is_a_convolution_of_one_pixel():
    # A pixel amid zeros, by a kernel that reaches over them: each output sees the pixel
    # through another weight, from the kernel's end to its beginning.
    generator = progressive.Generator(5, (2, 3), [4], 2)
    layer, v = generator.convolutions[0], normal(6, 5)
    padded = tf.pad(v[:, None, None], [(0, 0), (1, 1), (2, 2), (0, 0)])
    kernel = layer.kernel.numpy()[::-1, ::-1] * np.sqrt(2 / (2 * 3 * 5))
    wanted = tf.nn.conv2d(padded, kernel, 1, "VALID")
    np.testing.assert_allclose(layer(v), wanted, atol=1e-6)


def test_boxes():
    x = normal(2, 6, 4, 3)
    np.testing.assert_allclose(box.shrink(box.enlarge(x)), x, atol=1e-7)
    blocks = x.numpy().reshape([2, 3, 2, 2, 2, 3])
    np.testing.assert_allclose(box.shrink(x), blocks.mean((2, 4)), atol=1e-6)
    repeated = np.repeat(np.repeat(x, 3, axis=1), 3, axis=2)
    np.testing.assert_array_equal(box.enlarge(x, 3), repeated)
