"""Casts a float32 network to a strongly typed fp16 or bf16 network.

Convolutions, matrix products and what lies between them use the low type, in which their weights are stored. Softmax,
norms and other reductions stay in float32, and so does the end of the network, where similarities become logits:
rounding there changes scores directly, and float32 costs almost nothing. Image and outputs stay float32 as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .... import errors
from . import edit

if TYPE_CHECKING:
    import onnx

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
    from onnx import TensorProto, helper

    graph = model.graph
    low = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    floats = {name for name, kind in edit.element_types(model).items() if kind == TensorProto.FLOAT}
    weights = edit.initializers(graph)
    kept = _end(graph)
    early = edit.upstream(graph.node, fp16_until) if low == TensorProto.BFLOAT16 else set()
    kinds = {
        tensor.name: TensorProto.FLOAT
        for tensor in (*graph.input, *graph.initializer)
        if tensor.name in floats
    }
    copies: dict[tuple[str, int], str] = {}
    nodes = []

    def as_type(name: str, kind: int) -> str:
        """A tensor in a type: itself, a converted constant or the output of a Cast, created once."""
        if name not in floats or kinds[name] == kind:
            return name
        if (name, kind) not in copies:
            copies[name, kind] = f"{name}_{_name(kind)}"
            if name in weights:
                graph.initializer.append(
                    _converted(weights[name], kind, copies[name, kind], source)
                )
            else:
                nodes.append(
                    helper.make_node(
                        "Cast", [name], [copies[name, kind]], copies[name, kind], to=kind
                    )
                )
        return copies[name, kind]

    for node in graph.node:
        kind = TensorProto.FLOAT16 if node.output[0] in early else low
        if (
            node.output[0] in kept
            or node.op_type in _FP32_OPERATORS
            or _needs_fp32(node, weights, kind)
        ):
            kind = TensorProto.FLOAT
        for position, name in enumerate(node.input):
            fixed = position in _FP32_INPUTS.get(node.op_type, ())
            wanted = low if position in _LOW_INPUTS.get(node.op_type, ()) else kind
            node.input[position] = as_type(name, TensorProto.FLOAT if fixed else wanted)
        made = [name for name in node.output if name in floats]
        if node.op_type == "Cast" and made:
            next(a for a in node.attribute if a.name == "to").i = kind
        nodes.append(node)
        kinds.update(dict.fromkeys(made, kind))
    del graph.value_info[:]
    edit.replace_nodes(graph, nodes)


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
        residual = node.op_type == "Add" and not any(name in constants for name in node.input)
        if behind and (node.op_type in _PRODUCTS or residual):
            continue
        ends.add((node.output[0], behind))
        # A norm's result is float32 anyway; what precedes it may have any type.
        if node.op_type not in _LOW_INPUTS and (not behind or node.op_type not in _NORMS):
            waiting += [(name, behind or node.op_type in _PRODUCTS) for name in node.input]
    return {node for node, _ in ends}


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
