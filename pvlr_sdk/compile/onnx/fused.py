"""``--attention fused``: the dual-modal attention as one node, DualSoftmaxAttention of domain ``pvlr``, version 1.

Its inputs are outputs of linear layers, q_x and v_x (batch, tokens, width), k_t and v_t (batch or 1, labels, width).
Its outputs are o_x (batch, tokens, width) and o_t (batch, labels, width); ``heads`` is the number of heads in the
width. In TensorRT it is a plugin. TensorRT 10.1 prefers an ONNX function of that name to the plugin, TensorRT 11 the
plugin: a network for TensorRT has no function; :func:`with_definition` adds one for ONNX Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ... import errors
from ...bundle.schema import LOGITS, SIMILARITY
from . import edit, fused_head

if TYPE_CHECKING:
    import onnx

DOMAIN, VERSION, OPERATOR = "pvlr", 1, "DualSoftmaxAttention"
_SPLIT = [0, 2, 1, 3]


class _Attention(NamedTuple):
    """Names of the tensors (batch, rows, width) of one attention; a label bank's are constants (labels, width)."""

    q_x: str
    k_t: str | np.ndarray
    v_x: str
    v_t: str | np.ndarray
    o_x: str
    o_t: str
    heads: int


def fuse_attention(model: onnx.ModelProto, source: str) -> int:
    """Replace every dual-modal attention of a float32 network, in place; returns their number.

    Raises:
        ModelError: there is no attention in both directions.
    """
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    found = [match for node in graph.node if node.op_type == "Softmax" and (match := _match(graph, node))]
    if not found:
        raise errors.ModelError(
            source,
            expected="dual-modal attention in both directions",
            got="a network without it",
            hint="Export it with --attention native.",
        )
    shapes = {info.name: info for info in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for number, match in enumerate(found):
        name = f"attention.{number}"
        inputs = []
        for part in ("q_x", "k_t", "v_x", "v_t"):
            value = getattr(match, part)
            if not isinstance(value, str):
                graph.initializer.append(numpy_helper.from_array(value[None], f"{name}.{part}"))
                value = f"{name}.{part}"
            inputs.append(value)
        graph.node.append(_plugin(OPERATOR, inputs, [match.o_x, match.o_t], name, heads=match.heads))
        replaced = {match.o_x, match.o_t}
        others = [one for one in graph.node if one.domain == DOMAIN or not replaced & set(one.output)]
        edit.replace_nodes(graph, others)
        graph.value_info.extend(shapes[output] for output in (match.o_x, match.o_t) if output in shapes)
    model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    return len(found)


def fuse_head(model: onnx.ModelProto) -> bool:
    """Replace the end of a float32 network by TagHead, in place, if it computes the same; returns whether it does."""
    graph = model.graph
    head = fused_head.match(graph)
    if head is None:
        return False
    attributes = {"scale": head.scale, "alpha": head.alpha, "epsilon": head.epsilon}
    node = _plugin(fused_head.OPERATOR, head.inputs, [LOGITS, SIMILARITY], "tag_head", **attributes)
    others = [one for one in graph.node if not {LOGITS, SIMILARITY} & set(one.output)]
    edit.replace_nodes(graph, [*others, node])
    return True


def _plugin(operator: str, inputs: list[str], outputs: list[str], name: str, **attributes: float) -> onnx.NodeProto:
    """A node for which TensorRT's parser finds the plugin by version and namespace; it ignores the domain."""
    from onnx import helper

    where = {"plugin_version": str(VERSION), "plugin_namespace": DOMAIN}
    return helper.make_node(operator, inputs, outputs, name, domain=DOMAIN, **attributes, **where)


def with_definition(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that defines fused nodes by ONNX operators in float32: the reference for the plugins."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    fused = {one.op_type for one in copy.graph.node if one.domain == DOMAIN}
    opset = next(one.version for one in copy.opset_import if not one.domain)
    if OPERATOR in fused:
        copy.functions.append(_definition(opset))
    if fused_head.OPERATOR in fused:
        copy.functions.append(fused_head.definition(DOMAIN, opset))
    if fused:
        copy.ir_version = max(copy.ir_version, 8)  # the first version with functions
    return copy


def _definition(opset: int) -> onnx.FunctionProto:
    from onnx import AttributeProto, TensorProto, helper

    def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(operator, inputs.split(), [output], output, **attributes)

    def integers(name: str, *values: int) -> onnx.NodeProto:
        return node("Constant", "", name, value_ints=list(values))

    heads = node("Constant", "", "heads")
    heads.attribute.append(AttributeProto(name="value_int", ref_attr_name="heads", type=AttributeProto.INT))
    nodes = [
        heads,
        integers("zero", 0),
        integers("same", 0, 0),
        integers("rest", -1),
        node("Unsqueeze", "heads zero", "heads_1"),
        node("Concat", "same heads_1 rest", "split", axis=0),
        node("Concat", "same rest", "merged", axis=0),
    ]
    for name in ("q_x", "k_t", "v_x", "v_t"):
        nodes.append(node("Cast", name, f"{name}_fp32", to=TensorProto.FLOAT))
        nodes.append(node("Reshape", f"{name}_fp32 split", f"{name}_rows"))
        perm = [0, 2, 3, 1] if name == "k_t" else _SPLIT
        nodes.append(node("Transpose", f"{name}_rows", f"{name}_heads", perm=perm))
    nodes += [
        node("Shape", "q_x_heads", "dim_1", start=3),
        node("Cast", "dim_1", "dim", to=TensorProto.FLOAT),
        node("Sqrt", "dim", "root"),
        node("MatMul", "q_x_heads k_t_heads", "product"),
        node("Div", "product root", "affinity"),
        node("Softmax", "affinity", "over_labels", axis=-1),
        node("Softmax", "affinity", "over_tokens", axis=-2),
        node("Transpose", "over_tokens", "by_label", perm=[0, 1, 3, 2]),
        node("MatMul", "over_labels v_t_heads", "o_x_heads"),
        node("MatMul", "by_label v_x_heads", "o_t_heads"),
    ]
    for name in ("o_x", "o_t"):
        nodes.append(node("Transpose", f"{name}_heads", f"{name}_rows", perm=_SPLIT))
        nodes.append(node("Reshape", f"{name}_rows merged", f"{name}_fp32"))
        nodes.append(node("CastLike", f"{name}_fp32 q_x", name))
    return helper.make_function(
        DOMAIN,
        OPERATOR,
        ["q_x", "k_t", "v_x", "v_t"],
        ["o_x", "o_t"],
        nodes,
        [helper.make_opsetid("", opset)],
        attributes=["heads", "plugin_version", "plugin_namespace"],
    )


def _match(graph: onnx.GraphProto, softmax: onnx.NodeProto) -> _Attention | None:
    """The attention whose softmax over labels is ``softmax``."""
    if edit.attribute(softmax, "axis", -1) not in (-1, 3):
        return None
    made, read = edit.producers(graph), edit.consumers(graph)

    def only(name: str, operator: str) -> onnx.NodeProto | None:
        """The only node with this operator that reads a tensor."""
        nodes = [node for node in read[name] if node.op_type == operator]
        return nodes[0] if len(nodes) == 1 else None

    def merged(product: onnx.NodeProto | None) -> str | None:
        """The name of a (batch, heads, rows, dim) product after its reshape to (batch, rows, width)."""
        turned = only(product.output[0], "Transpose") if product is not None else None
        if turned is None or list(edit.attribute(turned, "perm")) != _SPLIT:
            return None
        flat = only(turned.output[0], "Reshape")
        return flat.output[0] if flat is not None else None

    def rows(name: str, perm: list[int]) -> tuple[str, int] | None:
        """The tensor (batch, rows, width) that is split into heads, and their number."""
        turned = made.get(name)
        if turned is None or turned.op_type != "Transpose" or list(edit.attribute(turned, "perm")) != perm:
            return None
        split = made.get(turned.input[0])
        shape = edit.constant(graph, split.input[1]) if split is not None and split.op_type == "Reshape" else None
        return (split.input[0], int(shape[2])) if split is not None and shape is not None and len(shape) == 4 else None

    def labels(name: str, perm: list[int]) -> str | np.ndarray | None:
        bank = edit.constant(graph, name)
        if bank is None:
            return found[0] if (found := rows(name, perm)) else None
        # (1, heads, ...) as the split and the permutation made it -> (labels, width)
        whole = np.transpose(bank, np.argsort(perm))
        return whole.reshape(whole.shape[1], -1) if whole.shape[0] == 1 else None

    scaled = made.get(softmax.input[0])
    if scaled is None or scaled.op_type not in ("Mul", "Div"):
        return None
    products = [made[name] for name in scaled.input if name in made and made[name].op_type == "MatMul"]
    factors = [value for name in scaled.input if (value := edit.constant(graph, name)) is not None and value.size == 1]
    other = next(
        (n for n in read[scaled.output[0]] if n.op_type == "Softmax" and n.output[0] != softmax.output[0]), None
    )
    if len(products) != 1 or len(factors) != 1 or other is None or edit.attribute(other, "axis", -1) not in (-2, 2):
        return None
    turned = only(other.output[0], "Transpose")
    to_x = only(softmax.output[0], "MatMul")
    to_t = only(turned.output[0], "MatMul") if turned is not None else None
    o_x, o_t = merged(to_x), merged(to_t)
    if to_x is None or to_t is None or o_x is None or o_t is None:
        return None
    q_x, v_x = rows(products[0].input[0], _SPLIT), rows(to_t.input[1], _SPLIT)
    k_t, v_t = labels(products[0].input[1], [0, 2, 3, 1]), labels(to_x.input[1], _SPLIT)
    if q_x is None or v_x is None or k_t is None or v_t is None:
        return None
    width = _width(graph, v_t, k_t)
    factor = float(factors[0]) if scaled.op_type == "Mul" else 1 / float(factors[0])
    if width is not None and not np.isclose(factor, (width / q_x[1]) ** -0.5, rtol=1e-5):
        return None
    return _Attention(q_x[0], k_t, v_x[0], v_t, o_x, o_t, q_x[1])


def _width(graph: onnx.GraphProto, *names: str | np.ndarray) -> int | None:
    return next((value.shape[-1] for value in names if not isinstance(value, str)), None)
