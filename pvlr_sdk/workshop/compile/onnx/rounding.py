"""Emulates low precision on any CPU: float32 operators whose results are rounded to their types.

ONNX Runtime has few fp16 and hardly any bf16 kernels for CPUs. Where it lacks one, it computes in float32 and drops the
casts between such operators, which hides overflows and rounding that occur on a GPU. Here every result is rounded, or
overflows, according to its type; sums inside an operator stay float32, as in tensor cores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import edit

if TYPE_CHECKING:
    import onnx

_MOVES = frozenset(
    "Reshape Transpose Slice Concat Flatten Squeeze Unsqueeze Identity Gather Split Tile".split()  # noqa: SIM905
)
_CHOICES = frozenset(["Expand", "Relu", "Clip", "MaxPool", "Pad"])
_EXACT = _MOVES | _CHOICES | {"QuantizeLinear", "DequantizeLinear"}
"""Operators whose result needs no rounding: it is one of their operands. An engine folds DequantizeLinear into the
product after it, whose integer sums are exact."""


def emulated(typed: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 network that rounds like ``typed``, for ONNX Runtime on a CPU."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    low = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    kinds = edit.element_types(typed)
    model = onnx.ModelProto()
    model.CopyFrom(typed)
    graph = model.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type in low:
            tensor.CopyFrom(
                numpy_helper.from_array(edit.numpy(tensor).astype(np.float32), tensor.name)
            )
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for position, name in enumerate(node.output):
            kind = kinds.get(name, TensorProto.FLOAT)
            if kind not in low or node.op_type in _EXACT:
                continue
            raw = f"{name}_unrounded"
            rounded = f"{name}_rounded"
            node.output[position] = raw
            if node.op_type == "Cast":
                next(a for a in node.attribute if a.name == "to").i = TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [raw], [rounded], rounded, to=kind))
            nodes.append(
                helper.make_node("Cast", [rounded], [name], f"{name}_back", to=TensorProto.FLOAT)
            )
    edit.replace_nodes(graph, nodes)
    return model
