"""Floating-point operations of a training step, counted in its graph.

What counts are matrix products and convolutions, a multiplication and an addition for
each pair of numbers, in the loss, in its gradients and in gradients of gradients. All
else, such as activations, norms and the optimizer, is left out: this is what the share
of the matmul peak is of. Products with zeros that pad an image or a filter count too,
as they are computed; what no result needs is never computed. A graph that is called
twice counts twice.
"""

import math

CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")


def of_step(model, method, element_spec):
    """Return the floating-point operations of one step of one replica.

    Args:
        model: `GenerativeModel`.
        method: Name of the step, such as "train_step".
        element_spec: Of what the step is fed with.
    """
    return of_graph(model.graph_of(method, element_spec))


def of_graph(graph):
    """Return the operations of a graph, with those of the functions it calls."""
    total = 0
    for operation in _needed(graph):
        total += of_operation(operation)
        for attribute in operation.node_def.attr.values():
            names = [attribute.func.name, *(f.name for f in attribute.list.func)]
            for name in filter(None, names):
                total += of_graph(graph._get_function(name).graph)
    return total


def of_operation(operation):
    """Return the operations of one node: 0 unless it is a product or a convolution."""
    kind = operation.type
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        turned = "transpose_a" if kind == "MatMul" else "adj_x"
        first = operation.inputs[0].shape
        summed = first[-2] if operation.get_attr(turned) else first[-1]
        return 2 * _size(operation.outputs[0]) * summed
    if kind == "Einsum":
        terms = operation.get_attr("equation").decode().split("->")[0].split(",")
        sizes = {}
        for term, tensor in zip(terms, operation.inputs, strict=True):
            sizes |= dict(zip(term, tensor.shape, strict=True))
        return 2 * math.prod(sizes.values())
    forward = next((name for name in CONVOLUTIONS if kind.startswith(name)), None)
    if forward is None:
        return 0
    if "BackpropInput" in kind:
        kernel, maps = operation.inputs[1], operation.inputs[2]
    elif "BackpropFilter" in kind:
        kernel, maps = operation.outputs[0], operation.inputs[2]
    else:
        kernel, maps = operation.inputs[1], operation.outputs[0]
    # Each number of the maps is a sum over the kernel's sides, and over its inputs.
    summed = kernel.shape[:2] if forward.startswith("Depthwise") else kernel.shape[:-1]
    return 2 * _size(maps) * math.prod(summed)


def _needed(graph):
    """Return the nodes that outputs and side effects depend on."""
    found = set()
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
            waiting += operation.control_inputs
    return found


def _size(tensor):
    return math.prod(tensor.shape)
