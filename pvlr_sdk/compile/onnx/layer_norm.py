"""Fuses decomposed layer norms: their squares overflow in fp16, the operator LayerNormalization does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import edit

if TYPE_CHECKING:
    import onnx


def fuse_layer_norms(graph: onnx.GraphProto) -> int:
    """Replace ``(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * scale + bias`` by LayerNormalization, in place.

    Exporters write this below opset 17: means along the last axis, constant scale and bias. Returns the number.
    """
    found = [norm for node in graph.node if node.op_type == "Add" and (norm := _match(graph, node))]
    for node, removed in found:
        edit.replace_nodes(graph, [*(other for other in graph.node if other.output[0] not in removed), node])
    return len(found)


def _match(graph: onnx.GraphProto, last: onnx.NodeProto) -> tuple[onnx.NodeProto, set[str]] | None:
    """The operator for a norm that ends in ``last``, and the outputs of the nodes that it replaces."""
    from onnx import helper

    made = edit.producers(graph)

    def split(node: onnx.NodeProto | None, op: str) -> tuple[onnx.NodeProto | None, str | None]:
        """For an operation with a constant: the producer of the other operand, and the constant's name."""
        if node is None or node.op_type != op or len(node.input) != 2:
            return None, None
        for one, other in (node.input, reversed(node.input)):
            if edit.constant(graph, other) is not None:
                return made.get(one), other
        return None, None

    scaled, bias = split(last, "Add")
    divided, scale = split(scaled, "Mul")
    if divided is None or divided.op_type != "Div":
        return None
    centred, root = (made.get(name) for name in divided.input)
    if centred is None or centred.op_type != "Sub" or root is None or root.op_type != "Sqrt":
        return None
    mean, shifted = made.get(centred.input[1]), made.get(root.input[0])
    variance, epsilon = split(shifted, "Add")
    square = made.get(variance.input[0]) if variance is not None else None
    if mean is None or variance is None or square is None or epsilon is None or scale is None or bias is None:
        return None
    if not all(_mean_of_last_axis(graph, node) for node in (mean, variance)):
        return None
    if mean.input[0] != centred.input[0] or not _is_square(graph, square, centred.output[0]):
        return None
    weights = [np.asarray(edit.constant(graph, name)) for name in (scale, bias)]
    if any(values.ndim != 1 or values.shape != weights[0].shape for values in weights):
        return None
    node = helper.make_node(
        "LayerNormalization",
        [centred.input[0], scale, bias],
        [last.output[0]],
        last.name or last.output[0],
        axis=-1,
        epsilon=float(np.asarray(edit.constant(graph, epsilon))),
    )
    replaced = (last, scaled, divided, centred, root, shifted, variance, square, mean)
    removed = {old.output[0] for old in replaced if old is not None}
    read_elsewhere = {name for other in graph.node if other.output[0] not in removed for name in other.input}
    return None if (removed - {last.output[0]}) & read_elsewhere else (node, removed)


def _mean_of_last_axis(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    if node.op_type != "ReduceMean" or not edit.attribute(node, "keepdims", 1):
        return False
    axes = edit.constant(graph, node.input[1]) if len(node.input) > 1 else edit.attribute(node, "axes")
    return axes is not None and [int(axis) for axis in axes] == [-1]


def _is_square(graph: onnx.GraphProto, node: onnx.NodeProto, of: str) -> bool:
    if node.op_type == "Mul":
        return list(node.input) == [of, of]
    exponent = edit.constant(graph, node.input[1]) if node.op_type == "Pow" else None
    return exponent is not None and node.input[0] == of and float(exponent) == 2
