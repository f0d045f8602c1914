"""Shapes, widths and initial weights of the networks several models use."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.networks import convolutional, dense

OPTIONS = {"kernel": 4, "norm": "none", "initializer": "he_normal"}


def layers(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("size", "widths"),
    [(8, [16]), (28, [16, 32, 64]), (32, [16, 32, 64]), (64, [16, 32, 64, 128])],
)
def test_sizes_halve_until_four_and_back(size, widths):
    critic = convolutional.critic((size, size, 3), 16, **OPTIONS)
    generator = convolutional.generator(5, (size, size, 3), 16, **OPTIONS)
    down = [x.filters for x in layers(critic, keras.layers.Conv2D)]
    up = [x.filters for x in layers(generator, keras.layers.Conv2DTranspose)]
    assert down == widths
    assert up == [*reversed(widths[:-1]), 3]
    assert generator(tf.zeros([2, 5])).shape == (2, size, size, 3)
    assert critic(tf.zeros([2, size, size, 3])).shape == (2, 1)
    assert layers(generator, keras.layers.Reshape)[0].target_shape[:2] == (4, 4)


def test_a_doubling_that_overshoots_is_cropped():
    generator = convolutional.generator(5, (28, 28, 1), 4, **OPTIONS)
    crop = layers(generator, keras.layers.Cropping2D)
    assert [c.output.shape[1:3] for c in crop] == [(7, 7)]


def test_pictures_are_within_range():
    generator = convolutional.generator(5, (8, 8, 1), 4, **OPTIONS)
    pictures = generator(100 * tf.random.stateless_normal([16, 5], [0, 0]))
    assert np.abs(pictures).max() <= 1


@pytest.mark.parametrize("shape", [(28, 32, 1), (7, 7, 1), (1, 1, 1)])
def test_other_shapes_are_refused(shape):
    for make in (
        lambda: convolutional.critic(shape, 4, **OPTIONS),
        lambda: convolutional.generator(5, shape, 4, **OPTIONS),
    ):
        with pytest.raises(BadInput, match="do not fit: .*square images of 8 pixels"):
            make()


def test_normalisation_follows_all_but_the_first_convolution():
    options = OPTIONS | {"norm": "batch"}
    critic = convolutional.critic((32, 32, 3), 8, **options)
    assert len(layers(critic, keras.layers.BatchNormalization)) == 2
    generator = convolutional.generator(5, (32, 32, 3), 8, **options)
    assert len(layers(generator, keras.layers.BatchNormalization)) == 3
    # A bias before batch normalisation would have no effect.
    for network in (critic, generator):
        assert not any("bias" in v.name for v in network.trainable_variables)
    layered = convolutional.critic((32, 32, 3), 8, **OPTIONS | {"norm": "layer"})
    assert len(layers(layered, keras.layers.LayerNormalization)) == 2


def test_a_layer_normalised_score_is_of_its_row_alone():
    critic = convolutional.critic((8, 8, 1), 4, **OPTIONS | {"norm": "layer"})
    x = tf.random.stateless_normal([4, 8, 8, 1], [0, 0])
    np.testing.assert_allclose(critic(x)[:1], critic(x[:1]), atol=1e-6)


def test_layers_of_one_shape_start_apart():
    initializer = keras.initializers.RandomNormal(stddev=0.02)
    options = OPTIONS | {"initializer": initializer}
    critic = convolutional.critic((8, 8, 64), 64, **options)
    other = convolutional.critic((8, 8, 64), 64, **options)
    one, two = (
        layers(c, keras.layers.Conv2D)[0].kernel.numpy() for c in (critic, other)
    )
    # 65,536 weights: the standard error of their spread is 5.5e-5.
    assert abs(one.std() - 0.02) < 3e-4
    assert np.any(one != two)


def test_mlp():
    network = dense.mlp((4, 4, 1), [(2,), (3, 5)], (7, 6), "relu", name="net")
    first, second = network(tf.zeros([8, 4, 4, 1]))
    assert first.shape == (8, 2)
    assert second.shape == (8, 3, 5)
    found = [
        (x.units, x.activation.__name__) for x in layers(network, keras.layers.Dense)
    ]
    assert found == [(7, "relu"), (6, "relu"), (2, "linear"), (15, "linear")]
    single = dense.mlp([3], [[2]], [], "relu", name="linear")
    x = tf.constant([[1.0, 2.0, 3.0]])
    kernel, bias = single.get_weights()
    np.testing.assert_allclose(single(x), x @ kernel + bias, rtol=1e-6)


def test_outputs_stay_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        networks = [
            dense.mlp([5], [[2]], [4], "relu", name="net"),
            convolutional.generator(5, (8, 8, 1), 4, **OPTIONS),
        ]
        critic = convolutional.critic((8, 8, 1), 4, **OPTIONS)
    finally:
        keras.config.set_dtype_policy("float32")
    for network in networks:
        assert network(tf.zeros([2, 5])).dtype == tf.float32
    assert critic(tf.zeros([2, 8, 8, 1])).dtype == tf.float32
    assert networks[0].layers[1].compute_dtype == "bfloat16"


# Encoder and decoder ----------------------------------------------------------


@pytest.mark.parametrize("size", [8, 28, 32])
def test_convolutional_encoder_and_decoder_are_mirrors(size):
    sizes = {"kernel": 4, "activation": "relu"}
    shape = (size, size, 3)
    encode = convolutional.encoder(shape, [[5]] * 2, 4, **sizes, name="encoder")
    decode = convolutional.decoder(5, shape, 2, 4, **sizes, name="decoder")
    images = keras.random.normal([2, *shape], seed=0)
    heads = encode(images)
    assert [head.shape for head in heads] == [(2, 5)] * 2
    outputs = decode(heads[0])
    assert [output.shape for output in outputs] == [(2, *shape)] * 2
    down = layers(encode, keras.layers.Conv2D)
    up = layers(decode, keras.layers.Conv2DTranspose)
    assert len(up) == len(down) + 1  # a head each for two outputs
    # No activation on what is returned: its sign is free, its size unbounded.
    scaled = decode(1000.0 * heads[0])
    assert min(float(abs(output).numpy().max()) for output in scaled) > 1.0


def test_layer_normalisation_of_an_mlp():
    network = dense.mlp([3], [[2]], [8, 8], "relu", norm="layer", name="network")
    names = [type(layer).__name__ for layer in network.layers]
    assert names.count("LayerNormalization") == 2
    x = keras.random.normal([5, 3], seed=0)
    # Scaling a row's input hardly moves what is normalised over its features.
    np.testing.assert_allclose(network(1e3 * x), network(1e4 * x), rtol=1e-3)
