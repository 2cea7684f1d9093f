"""Reading and editing ONNX graphs: the operations that all rewrites share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .... import errors

if TYPE_CHECKING:
    import onnx

    from ....bundle.manifest import ModelSpec

_FLOAT = 1
"""``TensorProto.FLOAT``."""


def load(payload: bytes, source: str) -> onnx.ModelProto:
    """Parse an exported network: weights as plain float32 initializers, no Constant nodes and no ranges for int8.

    Raises as :func:`parse`.
    """
    model = parse(payload, source)
    _constants_to_initializers(model.graph)
    plain_weights(model.graph)
    return model


def parse(payload: bytes, source: str) -> onnx.ModelProto:
    """Parse an exported network as it is.

    Raises:
        MissingPartError: the package onnx is not installed.
        ModelError: it is not an ONNX file, or it has control flow, which exported networks lack.
    """
    with errors.needed("onnx", "the package onnx", "int8"):
        import onnx
    try:
        model = onnx.load_from_string(payload)
    except Exception as error:  # protobuf's own classes differ between its versions
        raise errors.ModelError(
            source, "an ONNX network", str(error).splitlines()[0], "Create one with pvlr export."
        ) from None
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise errors.ModelError(
            source,
            "a network without control flow",
            "If, Loop or Scan",
            "Create one with pvlr export.",
        )
    return model


def set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Replace an exported network's metadata."""
    for entry in model.metadata_props:
        if entry.key == "pvlr":
            entry.value = spec.to_json()


def plain_weights(graph: onnx.GraphProto) -> None:
    """Replace weights that are stored in 16 or 8 bits, before a Cast or a DequantizeLinear, by float32, in place.

    What quantises activations for a CPU is removed. A network for TensorRT keeps both: its scales are fp16.
    """
    from onnx import numpy_helper

    _remove_quantisers(graph)
    weights = initializers(graph)
    for node in [node for node in graph.node if node.input and node.input[0] in weights]:
        values = _plain(node, weights)
        if values is not None:
            tensor = weights[node.input[0]]
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            graph.node.remove(node)
    replace_nodes(graph, graph.node)  # without the scales


def _remove_quantisers(graph: onnx.GraphProto) -> None:
    """Read activations from before each pair of QuantizeLinear and DequantizeLinear with a float32 scale."""
    weights = initializers(graph)
    made = producers(graph)
    for node in graph.node:
        for position, name in enumerate(node.input):
            last = made.get(name)
            if last is None or last.op_type != "DequantizeLinear":
                continue
            first = made.get(last.input[0])
            if first is None or first.op_type != "QuantizeLinear":
                continue
            if weights[last.input[1]].data_type == _FLOAT:
                node.input[position] = first.input[0]


def _plain(
    node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]
) -> NDArray[np.float32] | None:
    """The float32 weights that a node makes of stored ones; None: it does something else."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(weights[node.input[0]]).astype(np.float32)
    if node.op_type == "Cast" and attribute(node, "to") == _FLOAT:
        return values
    if node.op_type != "DequantizeLinear" or weights[node.input[1]].data_type != _FLOAT:
        return None
    scales = numpy(weights[node.input[1]])
    shape = np.ones(values.ndim, int)
    if scales.ndim:
        shape[attribute(node, "axis", 1)] = -1
    return np.asarray(values * scales.reshape(shape), np.float32)


def store_half(graph: onnx.GraphProto) -> None:
    """Store each initializer that float16 represents exactly as float16, followed by a Cast to float32, in place."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.size < 1024 or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT)
        )
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The constants of a graph by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that produces each tensor."""
    return {name: node for node in graph.node for name in node.output}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor."""
    by_tensor: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            by_tensor[name].append(node)
    return by_tensor


def upstream(nodes: Iterable[onnx.NodeProto], *tensors: str | None) -> set[str]:
    """The nodes that tensors depend on, by the name of their first output."""
    made = {name: node for node in nodes for name in node.output}
    ancestors: set[str] = set()
    waiting = [tensor for tensor in tensors if tensor is not None]
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.output[0] not in ancestors:
            ancestors.add(node.output[0])
            waiting += node.input
    return ancestors


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    import onnx

    return next(
        (onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default
    )


def numpy(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The values of a constant."""
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type (a TensorProto.DataType) of every tensor that type inference knows."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace a graph's nodes by those of ``nodes`` that its outputs depend on, sorted; remove unused constants."""
    nodes = list(nodes)
    alive = upstream(nodes, *(output.name for output in graph.output))
    ordered = _sorted([node for node in nodes if node.output[0] in alive])
    del graph.node[:]
    graph.node.extend(ordered)
    read = {name for node in ordered for name in node.input} | {
        output.name for output in graph.output
    }
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _sorted(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    made = {name for node in nodes for name in node.output}
    waiting = nodes
    done = set[str]()
    ordered = list[Any]()
    while waiting:
        later = []
        for node in waiting:
            if all(name in done or name not in made for name in node.input):
                done.update(node.output)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"a cycle through {waiting[0].name}")
        waiting = later
    return ordered


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    from onnx import numpy_helper

    for node in [node for node in graph.node if node.op_type == "Constant"]:
        if (value := attribute(node, "value")) is None:
            (only,) = node.attribute
            number = attribute(node, only.name)
            kind = np.float32 if only.name in ("value_float", "value_floats") else np.int64
            value = numpy_helper.from_array(np.array(number, kind))
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
