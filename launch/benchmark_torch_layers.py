"""Functional Keras networks in PyTorch, with the same weights.

Maps `[rows, h, w, c]` and volumes `[rows, t, h, w, c]` have channels first here, in the
memory format that is asked for. Each operation is written as one would for PyTorch:
padding belongs to the convolution where it can, and filters are depthwise convolutions.
"""

import math
import operator

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tfgen.core.errors import BadInput

BINARY = {"Subtract": operator.sub, "Multiply": operator.mul}
ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "relu": F.relu,
    "softplus": F.softplus,
    "_leaky_relu": lambda x: F.leaky_relu(x, 0.2),
}
# Axes of kernels, by their number; those of others are reversed.
_TO_TORCH = {3: (2, 0, 1), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}
_TO_KERAS = {3: (1, 2, 0), 4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}


class Network(nn.Module):
    """A functional Keras network, operation by operation.

    Args:
        network: The Keras network.
        layout: Memory format of kernels and feature maps.
    """

    def __init__(self, network, layout):
        super().__init__()
        self.weights = nn.ParameterList()
        numbers = {id(tensor): n for n, tensor in enumerate(network.inputs)}
        count, padded = len(network.inputs), {}
        self.plan = []  # (function, first weight, last weight, numbers of its inputs)
        for operation in network.operations:
            if isinstance(operation, keras.layers.InputLayer):
                continue
            (node,) = operation._inbound_nodes
            sources = [numbers[id(tensor)] for tensor in node.input_tensors]
            if type(operation).__name__ == "ZeroPadding2D":
                # The convolution that follows adds the zeros.
                output = id(node.outputs[0])
                numbers[output], padded[output] = sources[0], operation.padding
                continue
            zeros = padded.get(id(node.input_tensors[0]))
            function = _function(operation, node, layout, zeros)
            first = len(self.weights)
            for variable in getattr(operation, "trainable_variables", ()):
                weight = torch.from_numpy(to_torch(variable.numpy()))
                weight = weight.contiguous(memory_format=layout_of(weight, layout))
                self.weights.append(nn.Parameter(weight))
            self.plan.append((function, first, len(self.weights), sources))
            for output in node.outputs:
                numbers[id(output)] = count
                count += 1
        self.outputs = [numbers[id(output)] for output in network.outputs]

    def forward(self, *inputs):
        """Return the outputs: a tensor, or a list of several."""
        values = list(inputs)
        for function, first, last, sources in self.plan:
            weights = [self.weights[i] for i in range(first, last)]
            found = function(*[values[number] for number in sources], *weights)
            values += [found] if isinstance(found, torch.Tensor) else found
        found = [values[number] for number in self.outputs]
        return found if len(found) > 1 else found[0]


def layout_of(tensor, layout):
    """Return the memory format of a tensor where maps have `layout`."""
    if layout == torch.contiguous_format:
        return layout
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(tensor.ndim, torch.contiguous_format)


def to_torch(value):
    """Return Keras' array with PyTorch's order of axes."""
    return np.ascontiguousarray(value.transpose(_TO_TORCH.get(value.ndim)))


def to_keras(value):
    """Return PyTorch's array with Keras' order of axes."""
    return value.transpose(_TO_KERAS.get(value.ndim))


def same(sizes, kernel, strides):
    """Return TensorFlow's "same" padding: (before, after) of each axis."""
    padding = []
    for size, side, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + side - size)
        padding.append((total // 2, total - total // 2))
    return padding


def blur(x, padding, gain=1.0, stride=1):
    """Filter each map by [1, 3, 3, 1] along both axes, scaled to a sum of `gain`."""
    kernel = _blur_kernel(gain, x.shape[1], x.dtype)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])


def upsample(x):
    """Double the size of maps: zeros between pixels, then the filter times 4."""
    kernel = _blur_kernel(4.0, x.shape[1], x.dtype)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def _blur_kernel(gain, channels, dtype):
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    plane = gain * torch.outer(line, line)
    return plane.to(dtype).expand(channels, 1, 4, 4)


def _channels_first(x, layout):
    if x.ndim < 4:
        return x
    x = x.movedim(-1, 1)
    return x.contiguous(memory_format=layout_of(x, layout))


def _channels_last(x):
    return x.movedim(1, -1) if x.ndim > 3 else x


def _function(operation, node, layout, zeros):
    """Return what an operation does, as a function of its inputs and its weights.

    Args:
        operation: Layer or operation of Keras.
        node: Where it stands in its network.
        layout: Memory format of maps.
        zeros: ((top, bottom), (left, right)) to add first, or None.
    """
    kind = type(operation).__name__
    match kind:
        case "Flatten":
            return lambda x: _channels_last(x).flatten(1)
        case "Reshape":
            shape = operation.target_shape
            return lambda x: _channels_first(
                _channels_last(x).reshape(-1, *shape), layout
            )
        case "Dense":
            activate = _activation(operation)
            return lambda x, kernel, bias=None: activate(F.linear(x, kernel, bias))
        case "BatchNormalization":
            return _batch_norm(operation)
        case "InstanceNorm":
            # In groups of one channel: the gradient of PyTorch 2.13's `instance_norm`
            # is wrong for one row whose gradient arrives with channels last.
            return lambda x, *weights: F.group_norm(
                x,
                1 if operation.whole else x.shape[1],
                *weights,
                eps=operation.epsilon,
            )
        case "Conv2D" | "NarrowConv2D" | "Conv3D":
            return _convolution(operation, zeros)
        case "Conv2DTranspose" | "Conv3DTranspose":
            return _transposed(operation)
        case "Cropping2D":
            (top, bottom), (left, right) = operation.cropping
            return lambda x: x[
                :, :, top : x.shape[2] - bottom, left : x.shape[3] - right
            ]
        case "Pad" if operation.mode == "reflect":
            _, (top, bottom), (left, right), _ = operation.pad_width
            around = [left, right, top, bottom]
            return lambda x: F.pad(x, around, mode="reflect")
        case "LeakyReLU":
            slope = operation.negative_slope
            return lambda x: F.leaky_relu(x, slope)
        case "ReLU":
            return F.relu
        case "Tanh":
            return torch.tanh
        case "Sigmoid":
            return torch.sigmoid
        case "Activation":
            return _activation(operation)
        case "Add":
            return lambda *terms: sum(terms[1:], terms[0])
        case "Subtract" | "Multiply":
            return _binary(BINARY[kind], node.arguments.args)
        case "ExpandDims" if operation.axis == 1:
            return lambda x: x.unsqueeze(2 if x.ndim > 3 else 1)
        case "Split":
            sizes = [output.shape[operation.axis] for output in node.outputs]
            axis = operation.axis
            return lambda x: torch.split(
                x, sizes, 1 if axis == -1 and x.ndim > 3 else axis
            )
        case "Unstack":
            return lambda x: torch.unbind(x, operation.axis)
        case "PixelNorm":
            return lambda x: (
                x * (x.square().mean(-1, keepdim=True) + operation.epsilon).rsqrt()
            )
        case "EqualisedDense":
            return _equalised_dense(operation)
        case "EqualisedConv2D":
            return _equalised_convolution(operation)
        case "ModulatedConv2D":
            return _modulated(operation, len(node.input_tensors))
        case "Constant":
            return lambda rows, value: _contiguous(
                value[None].expand(len(rows), -1, -1, -1), layout
            )
        case "MinibatchStddev":
            return lambda x: _deviation(x, operation)
        case "Blur2D":
            return lambda x: blur(x, operation.padding)
        case "Downsample2D":
            return lambda x: blur(x, 1, stride=2)
        case "Upsample2D":
            return upsample
    raise BadInput(f"the PyTorch twin has no layer {kind}; choose other hparams")


def _activation(layer):
    function = getattr(layer, "activation", None)
    return ACTIVATIONS[function.__name__ if function else "linear"]


def _binary(function, arguments):
    one, other = arguments
    if not isinstance(one, keras.KerasTensor):
        return lambda x: function(one, x)
    if not isinstance(other, keras.KerasTensor):
        return lambda x: function(x, other)
    return function


def _contiguous(x, layout):
    return x.contiguous(memory_format=layout_of(x, layout))


def _batch_norm(layer):
    statistics = [torch.tensor(v.numpy()) for v in layer.non_trainable_variables]
    # Keras' momentum is the weight of the past.
    share, epsilon = 1 - layer.momentum, layer.epsilon
    return lambda x, *weights: F.batch_norm(
        x, *statistics, *weights, training=True, momentum=share, eps=epsilon
    )


def _convolution(layer, zeros):
    activate, strides = _activation(layer), layer.strides
    convolve = F.conv2d if len(strides) == 2 else F.conv3d
    padding = zeros or [(0, 0)] * len(strides)
    if layer.padding == "same":
        padding = same(layer.input.shape[1:-1], layer.kernel_size, strides)
    inside, around = _split_padding(padding)

    def function(x, kernel, bias=None):
        x = F.pad(x, around) if around else x
        return activate(convolve(x, kernel, bias, strides, inside))

    return function


def _split_padding(padding):
    """Return a convolution's own padding, and that of `F.pad`: one of them is empty."""
    if all(before == after for before, after in padding):
        return [before for before, _ in padding], []
    return 0, [number for pair in reversed(padding) for number in pair]


def _transposed(layer):
    """The full result less what "same" padding would have added."""
    activate, strides = _activation(layer), layer.strides
    axes = range(len(strides))
    convolve = F.conv_transpose2d if len(strides) == 2 else F.conv_transpose3d
    whole = layer.padding == "valid"
    before = [0 if whole else (layer.kernel_size[n] - strides[n]) // 2 for n in axes]

    def function(x, kernel, bias=None):
        y = convolve(x, kernel, bias, strides, padding=before)
        if not whole:
            for n in axes:
                y = y.narrow(n + 2, 0, strides[n] * x.shape[n + 2])
        return activate(y)

    return function


def _equalised_dense(layer):
    activate = _activation(layer)
    scale, rate = layer.scale * layer.factor, layer.rate * layer.factor

    def function(x, kernel, bias=None):
        bias = None if bias is None else rate * bias
        return activate(F.linear(x, scale * kernel, bias))

    return function


def _equalised_convolution(layer):
    activate, strides = _activation(layer), (layer.strides,) * 2
    scale, rate = layer.scale * layer.factor, layer.rate * layer.factor
    padding = [(0, 0)] * 2
    if layer.padding == "same":
        padding = same(layer.input.shape[1:-1], layer.kernel_size, strides)
    inside, around = _split_padding(padding)

    def function(x, kernel, bias=None):
        x = F.pad(x, around) if around else x
        bias = None if bias is None else rate * bias
        return activate(F.conv2d(x, scale * kernel, bias, strides, inside))

    return function


def _modulated(layer, inputs):
    """Scaled inputs, one convolution, scaled outputs."""
    activate, factor = _activation(layer), layer.factor
    owners = {"kernel": layer, "bias": layer, "noise_strength": layer}
    places = {id(v): n for n, v in enumerate(layer.trainable_variables)}
    at = {
        name: places[id(getattr(owner, name))]
        for name, owner in owners.items()
        if hasattr(owner, name)
    }
    style_at = [places[id(v)] for v in (layer.affine.kernel, layer.affine.bias)]
    affine = _equalised_dense(layer.affine)

    def function(*given):
        (x, w, *noise), weights = given[:inputs], given[inputs:]
        style = affine(w, *[weights[n] for n in style_at]) + 1
        kernel = weights[at["kernel"]] * layer.scale
        y = x * style[:, :, None, None]
        if layer.up:
            y = F.conv_transpose2d(y, kernel.transpose(0, 1), stride=2)
            y = blur(y, 1, gain=4.0)
        else:
            y = F.conv2d(y, kernel, padding=layer.kernel_size // 2)
        if layer.demodulate:
            norms = kernel.float().square().sum((2, 3))
            back = (F.linear(style.square(), norms) + 1e-8).rsqrt()
            y = y * (factor * back)[:, :, None, None]
        else:
            y = y * factor
        if noise and layer.add_noise:
            y = y + weights[at["noise_strength"]] * factor * noise[0]
        bias = weights[at["bias"]] * (layer.rate * factor)
        return activate(y + bias[:, None, None])

    return function


def _deviation(x, layer):
    rows, channels, height, width = x.shape
    most = min(layer.group or rows, rows)
    group = next(size for size in range(most, 0, -1) if rows % size == 0)
    members = x.reshape(group, rows // group, channels, height, width)
    variance = members.var(0, unbiased=False)
    deviation = (variance + layer.epsilon).sqrt().mean((1, 2, 3))
    maps = deviation.repeat(group).view(rows, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x, maps], 1)
