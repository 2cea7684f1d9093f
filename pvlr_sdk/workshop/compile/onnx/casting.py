"""Casts a float32 network to a strongly typed fp16 or bf16 network.

Convolutions, matrix products and what lies between them use the low type, in which their weights are stored. Softmax,
norms and other reductions stay in float32, and so does the end of the network, where similarities become logits:
rounding there changes scores directly, and float32 costs almost nothing. Image and outputs stay float32 as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .... import errors
from . import edit

if TYPE_CHECKING:
    import onnx

_FLOAT = 1
"""``TensorProto.FLOAT``."""
_NORMS = frozenset(
    ["Softmax", "LogSoftmax", "LayerNormalization", "GroupNormalization", "InstanceNormalization"]
)
_SUMS = frozenset(["ReduceSum", "ReduceMean", "ReduceL2", "ReduceSumSquare"])
_POWERS = frozenset(["Pow", "Sqrt", "Exp", "Log", "Reciprocal"])
_FP32_OPERATORS = _NORMS | _SUMS | _POWERS | {"Range", "ConstantOfShape"}
_PRODUCTS = frozenset({"Conv", "MatMul", "Gemm", "DualSoftmaxAttention"})
_FP32_INPUTS = {"Resize": (1, 2)}
"""Inputs that ONNX requires in float32, whatever the type of the others."""
_LOW_INPUTS = {"TagHead": (0, 1)}
"""Low-type inputs of a node that computes in float32: tokens before their norms."""


def cast(
    model: onnx.ModelProto, precision: str, source: str, *, fp16_until: str | None = None
) -> None:
    """Rewrite a float32 network to compute in a lower precision, in place.

    Args:
        model: from :func:`edit.load`.
        precision: ``fp16`` or ``bf16``.
        source: names the network in errors.
        fp16_until: the tensor up to which a bf16 network computes in fp16, which is as fast and has eight times the
            resolution: the first layers may lose more accuracy in bf16 than all others together.

    Raises:
        ModelError: a weight overflows in the type.
    """
    from onnx import TensorProto

    graph = model.graph
    low = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    weights = edit.initializers(graph)
    end = _end(graph)
    early = edit.upstream(graph.node, fp16_until) if low == TensorProto.BFLOAT16 else set()
    network = _Casts(model, source)
    for node in graph.node:
        kind = TensorProto.FLOAT16 if node.output[0] in early else low
        in_float = node.output[0] in end or node.op_type in _FP32_OPERATORS
        if in_float or _needs_fp32(node, weights, kind):
            kind = TensorProto.FLOAT
        inputs = dict.fromkeys(range(len(node.input)), kind)
        inputs |= dict.fromkeys(_LOW_INPUTS.get(node.op_type, ()), low)
        inputs |= dict.fromkeys(_FP32_INPUTS.get(node.op_type, ()), TensorProto.FLOAT)
        network.add(node, inputs, kind)
    del graph.value_info[:]
    edit.replace_nodes(graph, network.nodes)


class _Casts:
    """The nodes of a network, with a Cast where a node reads a tensor of another type.

    Attributes:
        nodes: in their order, with the Casts before the nodes that read them.
    """

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        kinds = edit.element_types(model)
        graph = model.graph
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._source = source
        self._weights = edit.initializers(graph)
        self._floats = {name for name, kind in kinds.items() if kind == _FLOAT}
        self._kinds = {
            tensor.name: _FLOAT
            for tensor in (*graph.input, *graph.initializer)
            if tensor.name in self._floats
        }
        self._copies: set[str] = set()

    def add(self, node: onnx.NodeProto, inputs: Mapping[int, int], output: int) -> None:
        """Add a node with the types of its inputs, by position, and of its outputs; only floats have one to choose."""
        for position, name in enumerate(node.input):
            node.input[position] = self._as_type(name, inputs[position])
        results = [name for name in node.output if name in self._floats]
        if node.op_type == "Cast" and results:
            next(attribute for attribute in node.attribute if attribute.name == "to").i = output
        self.nodes.append(node)
        self._kinds.update(dict.fromkeys(results, output))

    def _as_type(self, name: str, kind: int) -> str:
        """A tensor in a type: itself, a converted constant or the output of a Cast, created once."""
        from onnx import helper

        if name not in self._floats or self._kinds[name] == kind:
            return name
        copy = f"{name}_{_name(kind)}"
        if copy not in self._copies:
            self._copies.add(copy)
            if name in self._weights:
                converted = _converted(self._weights[name], kind, copy, self._source)
                self._graph.initializer.append(converted)
            else:
                self.nodes.append(helper.make_node("Cast", [name], [copy], copy, to=kind))
        return copy


def _end(graph: onnx.GraphProto) -> set[str]:
    """The nodes from the last product on each path to an output, by the name of their first output.

    They include nodes that only prepare that product's operands, and always the nodes that produce the outputs.
    """
    made = edit.producers(graph)
    constants = edit.initializers(graph)
    ends: set[tuple[str, bool]] = set()
    waiting = [(output.name, False) for output in graph.output]
    while waiting:
        name, behind = waiting.pop()
        node = made.get(name)
        if node is None or (node.output[0], behind) in ends:
            continue
        if behind and (node.op_type in _PRODUCTS or _joins_paths(node, constants)):
            continue
        ends.add((node.output[0], behind))
        # A norm's result is float32 anyway; what precedes it may have any type.
        if node.op_type not in _LOW_INPUTS and (not behind or node.op_type not in _NORMS):
            waiting += [(name, behind or node.op_type in _PRODUCTS) for name in node.input]
    return {node for node, _ in ends}


def _joins_paths(node: onnx.NodeProto, constants: Collection[str]) -> bool:
    """Whether a node adds two computed tensors, as at the end of a residual block."""
    return node.op_type == "Add" and not any(name in constants for name in node.input)


def _needs_fp32(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], kind: int) -> bool:
    """Whether a scalar that the node reads underflows or overflows in a type, such as an epsilon of 1e-12 in fp16."""
    numbers = [
        weights[name] for name in node.input if name in weights and np.prod(weights[name].dims) == 1
    ]
    for number in numbers:
        if number.data_type == 1:
            value = edit.numpy(number)
            rounded = _rounded(value, kind)
            if not np.isfinite(rounded).all() or bool(((rounded == 0) != (value == 0)).any()):
                return True
    return False


def _converted(tensor: onnx.TensorProto, kind: int, name: str, source: str) -> onnx.TensorProto:
    from onnx import numpy_helper

    values = edit.numpy(tensor)
    with np.errstate(over="ignore"):
        rounded = _rounded(values, kind)
    if not np.isfinite(rounded[np.isfinite(values)].astype(np.float32)).all():
        raise errors.ModelError(
            f"{source}: {tensor.name}",
            f"weights that {_name(kind)} can represent",
            f"a value of {np.abs(values).max():.3g}",
            "Use bf16 or fp32, or train with weight decay.",
        )
    return numpy_helper.from_array(rounded, name)


def _rounded(values: NDArray[np.float32], kind: int) -> NDArray[np.generic]:
    import onnx

    return values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _name(kind: int) -> str:
    return {1: "fp32", 10: "fp16", 16: "bf16"}[kind]
