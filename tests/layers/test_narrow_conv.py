"""A convolution by columns: results and gradients are those of Keras' layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.test_volumes import compared
from tfgen.layers.narrow_conv import NarrowConv2D


@pytest.mark.parametrize("kernel", [7, (2, 3), (3, 1)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "tanh"}])
def test_narrow_conv(kernel, options):
    ours, theirs = NarrowConv2D, keras.layers.Conv2D
    compared(ours(3, kernel, **options), theirs(3, kernel, **options), (2, 9, 11, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": 2}, "stride 1, no dilation, padding 'valid'"),
        ({"padding": "same"}, "stride 1, no dilation, padding 'valid'"),
        ({"dilation_rate": 2}, "stride 1, no dilation, padding 'valid'"),
        ({"groups": 3}, "one group"),
        ({"data_format": "channels_first"}, "channels come last"),
    ],
)
def test_what_it_does_not_compute(options, message):
    with pytest.raises(ValueError, match=message):
        NarrowConv2D(3, 7, **options)


def test_sides_that_no_trace_knows():
    layer = NarrowConv2D(3, 7)
    x = tf.random.stateless_normal([2, 9, 11, 5], [0, 1])
    wanted = layer(x)
    traced = tf.function(layer, [tf.TensorSpec([None, None, None, 5])])
    np.testing.assert_allclose(traced(x), wanted, atol=1e-6)
