"""A convolution by columns: results and gradients are those of Keras' layer."""

import keras
import pytest

from tests.layers.test_volumes import compared
from tfgen.layers.narrow_conv import NarrowConv2D


@pytest.mark.parametrize("kernel", [7, (2, 3), (3, 1)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "tanh"}])
def test_narrow_conv(kernel, options):
    ours, theirs = NarrowConv2D, keras.layers.Conv2D
    compared(ours(3, kernel, **options), theirs(3, kernel, **options), (2, 9, 11, 5))


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "same"}])
def test_of_stride_1_and_valid_alone(options):
    with pytest.raises(ValueError, match="stride 1 and padding 'valid'"):
        NarrowConv2D(3, 7, **options)
