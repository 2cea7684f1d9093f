"""``--attention fused``: the end of the network as one node, TagHead of domain ``pvlr``, version 1.

Its inputs are image tokens x (batch, tokens, width) and label tokens t (batch, labels, width) before their layer norms,
the labels' biases, and weight and bias of both norms; its outputs are the logits (batch, labels) and the similarity
(batch, tokens, labels), in float32. Its attributes are ``scale``, ``alpha`` and ``epsilon``. It is a TensorRT plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...bundle.schema import LOGITS, SIMILARITY
from . import edit

if TYPE_CHECKING:
    import onnx

OPERATOR = "TagHead"
INPUTS = ("x", "t", "bias", "x_weight", "x_bias", "t_weight", "t_bias")
_WIDEST = 1024
"""The plugin's largest width, which must be a multiple of 8."""


class Head(NamedTuple):
    """Names of the node's inputs, in their order, and its attributes."""

    inputs: list[str]
    scale: float
    alpha: float
    epsilon: float


class _Norm(NamedTuple):
    """A layer norm: the names of its inputs, and its epsilon."""

    inputs: list[str]
    epsilon: float


def match(graph: onnx.GraphProto) -> Head | None:
    """The end of a float32 network, if it computes the same as the node; None: other pooling, or no layer norms."""
    made = edit.producers(graph)

    def node(name: str | None, operator: str) -> onnx.NodeProto | None:
        found = made.get(name or "")
        return found if found is not None and found.op_type == operator else None

    def scaled(name: str) -> tuple[str, float] | None:
        """The operand of a product with a constant number, and the number."""
        product = node(name, "Mul")
        for this, other in _both_ways(product):
            number = edit.constant(graph, this)
            if number is not None and number.size == 1:
                return other, float(number)
        return None

    def axes(summed: onnx.NodeProto) -> list[int]:
        values = edit.constant(graph, summed.input[1]) if len(summed.input) > 1 else None
        return [] if values is None else values.ravel().tolist()

    def normalised(name: str) -> str | None:
        """The v of v * (1 / sqrt(sum of v * v)), a normalised vector."""
        for vector, factor in _both_ways(node(name, "Mul")):
            inverse = node(factor, "Div")
            root = node(inverse.input[1], "Sqrt") if inverse is not None else None
            total = node(root.input[0], "ReduceSum") if root is not None else None
            square = node(total.input[0], "Mul") if total is not None else None
            if inverse is None or total is None or square is None or axes(total) not in ([-1], [2]):
                continue
            one = edit.constant(graph, inverse.input[0])
            if one is not None and one.size == 1 and float(one) == 1 and list(square.input) == [vector, vector]:
                return vector
        return None

    def norm(name: str | None) -> _Norm | None:
        found = node(name, "LayerNormalization")
        if found is None or len(found.input) != 3 or edit.attribute(found, "axis", -1) not in (-1, 2):
            return None
        weight = edit.constant(graph, found.input[1])
        if weight is None or weight.size % 8 or weight.size > _WIDEST:
            return None
        return _Norm(list(found.input), edit.attribute(found, "epsilon", 1e-5))

    scale = scaled(SIMILARITY)
    product = node(scale[0], "MatMul") if scale is not None else None
    turned = node(product.input[1], "Transpose") if product is not None else None
    if scale is None or product is None or turned is None or list(edit.attribute(turned, "perm", [])) != [0, 2, 1]:
        return None
    x, t = norm(normalised(product.input[0])), norm(normalised(turned.input[0]))
    if x is None or t is None or x.epsilon != t.epsilon:
        return None
    for bias, pooled in _both_ways(node(LOGITS, "Add")):
        total = node(pooled, "ReduceSum")
        if edit.constant(graph, bias) is None or total is None or axes(total) != [1]:
            continue
        if edit.attribute(total, "keepdims", 1):
            continue
        for weights, similarity in _both_ways(node(total.input[0], "Mul")):
            softmax = node(weights, "Softmax")
            alpha = scaled(softmax.input[0]) if softmax is not None else None
            if softmax is None or alpha is None or edit.attribute(softmax, "axis", -1) not in (1, -2):
                continue
            if similarity == alpha[0] == SIMILARITY:
                return Head(
                    [x.inputs[0], t.inputs[0], bias, *x.inputs[1:], *t.inputs[1:]], scale[1], alpha[1], x.epsilon
                )
    return None


def definition(domain: str, opset: int) -> onnx.FunctionProto:
    """The node by ONNX operators in float32: the reference for the plugin."""
    from onnx import AttributeProto, TensorProto, helper

    def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(operator, inputs.split(), [output], output, **attributes)

    def given(name: str, into: onnx.NodeProto, attribute: str) -> onnx.NodeProto:
        """Set an attribute of a node from the function's attribute ``name``."""
        into.attribute.append(AttributeProto(name=attribute, ref_attr_name=name, type=AttributeProto.FLOAT))
        return into

    nodes = [
        node("Constant", "", "last", value_ints=[-1]),
        node("Constant", "", "tokens", value_ints=[1]),
        node("Constant", "", "least", value_float=float(np.finfo(np.float32).tiny)),
        given("scale", node("Constant", "", "scaling"), "value_float"),
        given("alpha", node("Constant", "", "sharpness"), "value_float"),
    ]
    for name in ("x", "t"):
        plain = node("LayerNormalization", f"{name}_fp32 {name}_weight {name}_bias", f"{name}_normed", axis=-1)
        nodes += [
            node("Cast", name, f"{name}_fp32", to=TensorProto.FLOAT),
            given("epsilon", plain, "epsilon"),
            node("Mul", f"{name}_normed {name}_normed", f"{name}_squares"),
            node("ReduceSum", f"{name}_squares last", f"{name}_square"),
            node("Sqrt", f"{name}_square", f"{name}_length"),
            node("Max", f"{name}_length least", f"{name}_divisor"),  # a row that is zero has similarity 0
            node("Div", f"{name}_normed {name}_divisor", f"{name}_direction"),
        ]
    nodes += [
        node("Transpose", "t_direction", "t_columns", perm=[0, 2, 1]),
        node("MatMul", "x_direction t_columns", "cosine"),
        node("Mul", "cosine scaling", "similarity"),
        node("Mul", "similarity sharpness", "sharpened"),
        node("Softmax", "sharpened", "weights", axis=1),
        node("Mul", "weights similarity", "weighted"),
        node("ReduceSum", "weighted tokens", "pooled", keepdims=0),
        node("Add", "pooled bias", "logits"),
    ]
    return helper.make_function(
        domain,
        OPERATOR,
        list(INPUTS),
        ["logits", "similarity"],
        nodes,
        [helper.make_opsetid("", opset)],
        attributes=["scale", "alpha", "epsilon", "plugin_version", "plugin_namespace"],
    )


def _both_ways(node: onnx.NodeProto | None) -> list[tuple[str, str]]:
    """The two operands of a node in both orders; none if there is no node."""
    return [] if node is None else [(node.input[0], node.input[1]), (node.input[1], node.input[0])]
