"""``--attention fused``: dual-modal attention and the end of the network as one node each, for TensorRT's plugins.

The nodes are of domain ``pvlr``, version 1. ``DualSoftmaxAttention`` reads outputs of linear layers, q_x and v_x
(batch, tokens, width), k_t and v_t (batch or 1, labels, width), and gives o_x (batch, tokens, width) and o_t (batch,
labels, width). ``TagHead`` reads image tokens x (batch, tokens, width) and label tokens t (batch, labels, width) before
their last layer norms, and gives the logits (batch, labels) and the similarity (batch, tokens, labels) in float32.

The exporter names a node after its module, such as ``/head/dma.0/visual_key/MatMul``: the tensors where the nodes begin
and end are known by name. In TensorRT the nodes are plugins. TensorRT 10.1 prefers an ONNX function of that name to the
plugin, TensorRT 11 the plugin: a network for TensorRT has no function; :func:`with_definition` adds them for ONNX
Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .... import errors
from ....bundle.schema import LOGITS, SIMILARITY
from . import edit

if TYPE_CHECKING:
    import onnx

DOMAIN = "pvlr"
VERSION = 1
_WIDEST = 1024
"""The largest width of the plugin TagHead, which must be a multiple of 8."""
_DEFINITIONS = {
    "DualSoftmaxAttention": """<heads, plugin_version, plugin_namespace> (q_x, k_t, v_x, v_t) => (o_x, o_t) {
        heads = Constant <value_int: int = @heads> ()
        axis = Constant <value_ints = [0]> ()
        same = Constant <value_ints = [0, 0]> ()
        rest = Constant <value_ints = [-1]> ()
        heads_1 = Unsqueeze (heads, axis)
        split = Concat <axis = 0> (same, heads_1, rest)
        merged = Concat <axis = 0> (same, rest)
        q_x_fp32 = Cast <to = 1> (q_x)
        k_t_fp32 = Cast <to = 1> (k_t)
        v_x_fp32 = Cast <to = 1> (v_x)
        v_t_fp32 = Cast <to = 1> (v_t)
        q_x_rows = Reshape (q_x_fp32, split)
        k_t_rows = Reshape (k_t_fp32, split)
        v_x_rows = Reshape (v_x_fp32, split)
        v_t_rows = Reshape (v_t_fp32, split)
        queries = Transpose <perm = [0, 2, 1, 3]> (q_x_rows)
        keys = Transpose <perm = [0, 2, 3, 1]> (k_t_rows)
        tokens = Transpose <perm = [0, 2, 1, 3]> (v_x_rows)
        labels = Transpose <perm = [0, 2, 1, 3]> (v_t_rows)
        dim_1 = Shape <start = 3> (queries)
        dim = Cast <to = 1> (dim_1)
        root = Sqrt (dim)
        product = MatMul (queries, keys)
        affinity = Div (product, root)
        over_labels = Softmax <axis = -1> (affinity)
        over_tokens = Softmax <axis = -2> (affinity)
        by_label = Transpose <perm = [0, 1, 3, 2]> (over_tokens)
        o_x_heads = MatMul (over_labels, labels)
        o_t_heads = MatMul (by_label, tokens)
        o_x_rows = Transpose <perm = [0, 2, 1, 3]> (o_x_heads)
        o_t_rows = Transpose <perm = [0, 2, 1, 3]> (o_t_heads)
        o_x_fp32 = Reshape (o_x_rows, merged)
        o_t_fp32 = Reshape (o_t_rows, merged)
        o_x = CastLike (o_x_fp32, q_x)
        o_t = CastLike (o_t_fp32, q_x)
    }""",
    # A row that is zero has similarity 0: `least` is the smallest normal float32.
    "TagHead": """<scale, alpha, epsilon, maps, plugin_version, plugin_namespace>
    (x, t, bias, x_weight, x_bias, t_weight, t_bias) => (logits, similarity) {
        last = Constant <value_ints = [-1]> ()
        tokens = Constant <value_ints = [1]> ()
        least = Constant <value_float = 1.17549435e-38> ()
        scaling = Constant <value_float: float = @scale> ()
        sharpness = Constant <value_float: float = @alpha> ()
        x_fp32 = Cast <to = 1> (x)
        t_fp32 = Cast <to = 1> (t)
        x_normed = LayerNormalization <axis = -1, epsilon: float = @epsilon> (x_fp32, x_weight, x_bias)
        t_normed = LayerNormalization <axis = -1, epsilon: float = @epsilon> (t_fp32, t_weight, t_bias)
        x_squares = Mul (x_normed, x_normed)
        t_squares = Mul (t_normed, t_normed)
        x_square = ReduceSum (x_squares, last)
        t_square = ReduceSum (t_squares, last)
        x_length = Sqrt (x_square)
        t_length = Sqrt (t_square)
        x_divisor = Max (x_length, least)
        t_divisor = Max (t_length, least)
        x_direction = Div (x_normed, x_divisor)
        t_direction = Div (t_normed, t_divisor)
        t_columns = Transpose <perm = [0, 2, 1]> (t_direction)
        cosine = MatMul (x_direction, t_columns)
        similarity = Mul (cosine, scaling)
        sharpened = Mul (similarity, sharpness)
        weights = Softmax <axis = 1> (sharpened)
        weighted = Mul (weights, similarity)
        pooled = ReduceSum <keepdims = 0> (weighted, tokens)
        logits = Add (pooled, bias)
    }""",
}
"""The nodes by ONNX operators in float32, in ONNX's text format: the reference for the plugins."""


def fuse(model: onnx.ModelProto, source: str) -> None:
    """Replace every dual-modal attention of a closed float32 network by a node, and its end if it is PVLR's, in place.

    Raises:
        ModelError: it has no attention in both directions, or not as this version exports it.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    try:
        fused = _Named(graph).fused()
    except KeyError as error:
        raise errors.ModelError(
            source,
            "dual-modal attention in both directions",
            f"a network without {error}",
            "Use --attention native. A network with more than 1024 labels from version 0.2: export it again.",
        ) from None
    outputs = {name for node in fused for name in node.output}
    edit.replace_nodes(
        graph, [*(node for node in graph.node if not outputs & set(node.output)), *fused]
    )
    unknown = sorted(outputs - {LOGITS, SIMILARITY})  # ONNX cannot infer their type
    graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in unknown
    )
    model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


class _Named:
    """The nodes of an exported network, by the names of the model's modules. What is missing is a KeyError."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.node}
        self._constants = edit.initializers(graph)
        first = "/dma.0/visual_key/MatMul"
        heads = [name.removesuffix(first) for name in self._nodes if name.endswith(first)]
        self._head = heads[0] if heads else "/head"  # it may be a part of another head

    def fused(self) -> list[onnx.NodeProto]:
        """The nodes of domain ``pvlr`` that replace others."""
        if len(self._graph.input) > 1:
            raise KeyError("a label bank of its own")
        # of the mask: a closed label bank with its padding
        if f"{self._head}/dma.0/Add" in self._nodes:
            raise KeyError("attention to all labels")
        # version 0.2, more than 1024 labels
        if f"{self._head}/dma.0/label_output/output_1/MatMul" in self._nodes:
            raise KeyError("attention to all labels at once")
        layers = 1
        while f"{self._head}/dma.{layers}/MatMul" in self._nodes:
            layers += 1
        attention = [self._attention(f"dma.{number}") for number in range(layers)]
        return [*attention, *self._tag_head(f"dma.{layers - 1}")]

    def _attention(self, layer: str) -> onnx.NodeProto:
        outputs = [
            self._node(f"{layer}/{part}/output/MatMul").input[0]
            for part in ("visual_output", "label_output")
        ]
        q_x, v_x = (
            self._node(f"{layer}/{part}/MatMul").output[0]
            for part in ("visual_key", "visual_value")
        )
        k_t = self._labels(f"{layer}/label_key", f"{layer}/MatMul", [0, 3, 1, 2])
        v_t = self._labels(f"{layer}/label_value", f"{layer}/MatMul_1", [0, 2, 1, 3])
        # The first layer's keys are constants (1, heads, dim, labels).
        heads = self._constants[self._node("dma.0/MatMul").input[1]].dims[1]
        return _plugin("DualSoftmaxAttention", [q_x, k_t, v_x, v_t], outputs, layer, heads=heads)

    def _labels(self, linear: str, product: str, perm: list[int]) -> str:
        """The output of a linear layer; of a label bank, it is folded into the constant that ``product`` reads."""
        from onnx import numpy_helper

        if f"{self._head}/{linear}/MatMul" in self._nodes:
            return self._node(f"{linear}/MatMul").output[0]
        # (1, labels, heads, dim)
        rows = edit.numpy(self._constants[self._node(product).input[1]]).transpose(perm)
        bank = numpy_helper.from_array(rows.reshape(1, rows.shape[1], -1), linear)
        self._graph.initializer.append(bank)
        return bank.name

    def _tag_head(self, layer: str) -> list[onnx.NodeProto]:
        """The node for the end, from the layer's norms on; none if the plugin does not compute it."""
        if (
            f"{self._head}/predict/Softmax" not in self._nodes
            or self._node("predict/Add").output[0] != LOGITS
        ):
            return []  # another pooling, or a part of another head
        x, t = (
            self._node(f"{layer}/{part}/ffn_norm/LayerNormalization")
            for part in ("visual_output", "label_output")
        )
        width = self._constants[x.input[1]].dims[0]
        if width % 8 or width > _WIDEST:
            return []
        bias, scale, alpha = (
            next(name for name in self._node(f"predict/{node}").input if name in self._constants)
            for node in ("Add", "Mul_4", "Mul_5")
        )
        inputs = [x.input[0], t.input[0], bias, *x.input[1:], *t.input[1:]]
        numbers = {
            name: float(edit.numpy(self._constants[tensor]))
            for name, tensor in (("scale", scale), ("alpha", alpha))
        }
        numbers["epsilon"] = edit.attribute(x, "epsilon")
        # the similarity is left out with the maps
        outputs = [output.name for output in self._graph.output]
        if SIMILARITY not in outputs:
            numbers["maps"] = 0
        return [_plugin("TagHead", inputs, outputs, "tag_head", **numbers)]

    def _node(self, name: str) -> onnx.NodeProto:
        return self._nodes[f"{self._head}/{name}"]


def _plugin(
    operator: str, inputs: list[str], outputs: list[str], name: str, **attributes: float
) -> onnx.NodeProto:
    """A node for which TensorRT's parser finds the plugin by version and namespace; it ignores the domain."""
    from onnx import helper

    where = {"plugin_version": str(VERSION), "plugin_namespace": DOMAIN}
    return helper.make_node(operator, inputs, outputs, name, domain=DOMAIN, **attributes, **where)


def with_definition(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the definitions of its fused nodes as ONNX functions, if it has such nodes."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    opset = next(entry.version for entry in copy.opset_import if not entry.domain)
    for operator in sorted({node.op_type for node in copy.graph.node if node.domain == DOMAIN}):
        text = (
            f'<domain: "{DOMAIN}", opset_import: ["": {opset}]> {operator} {_DEFINITIONS[operator]}'
        )
        copy.functions.append(onnx.parser.parse_function(text))
        copy.ir_version = max(copy.ir_version, 8)  # the first version with functions
    return copy
