"""Closes an open network: a label bank becomes part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....bundle.schema import IMAGE, LOGITS, SIMILARITY
from . import edit

if TYPE_CHECKING:
    import onnx

    from ....bundle.manifest import ModelSpec

_ZERO = "closed/zero"
_OUTPUTS = (LOGITS, SIMILARITY)


def close(
    payload: bytes,
    constants: Mapping[str, NDArray[np.float32]],
    labels: int,
    spec: ModelSpec,
    source: str,
) -> bytes:
    """Replace what an open network computes from its label bank by constants; returns the closed network.

    It keeps the padding, and cuts it off at the end, so that it computes the bits of the open network: with fewer
    labels, kernels sum in another order.

    Args:
        payload: the open network.
        constants: the tensors between its part for labels and its part for frames, by name.
        labels: the number of labels in them; the rest is padding.
        spec: the metadata of the closed network.
        source: names the network in errors.

    Raises:
        MissingPartError: the package onnx is not installed.
    """
    model = edit.parse(payload, source)
    graph = model.graph
    nodes = [node for node in graph.node if constants.keys().isdisjoint(node.output)]
    for node in nodes:
        node.input[:] = [_renamed(name, constants) for name in node.input]
        node.output[:] = [_renamed(name, ()) for name in node.output]
    _add_initializers(graph, constants, labels)
    _keep_ports(graph, labels)
    del graph.value_info[:]
    edit.replace_nodes(graph, [*nodes, *_constant_nodes(constants), *_cuts()])
    edit.set_spec(model, spec)
    closed: bytes = model.SerializeToString()
    return closed


def _renamed(name: str, constants: Collection[str]) -> str:
    if name in constants:
        return f"closed/{name}"
    return f"{name}/padded" if name in _OUTPUTS else name


def _constant_nodes(constants: Iterable[str]) -> list[onnx.NodeProto]:
    """Nodes that compute each constant.

    A runtime folds constants into their neighbours, with another rounding than that of the open network. A sum with
    zero times a pixel is not folded.
    """
    from onnx import helper

    pixel = [
        helper.make_node("Slice", [IMAGE, f"{_ZERO}/begin", f"{_ZERO}/end"], [f"{_ZERO}/pixel"]),
        helper.make_node("Mul", [f"{_ZERO}/pixel", _ZERO], [f"{_ZERO}/product"]),
        helper.make_node("ReduceSum", [f"{_ZERO}/product"], [f"{_ZERO}/sum"], keepdims=0),
    ]
    sums = [
        helper.make_node("Add", [f"{name}/constant", f"{_ZERO}/sum"], [f"closed/{name}"])
        for name in constants
    ]
    return [*pixel, *sums]


def _cuts() -> list[onnx.NodeProto]:
    """Nodes that cut the padding off the outputs."""
    from onnx import helper

    ends = ["closed/begin", "closed/end", "closed/axis"]
    return [helper.make_node("Slice", [f"{name}/padded", *ends], [name]) for name in _OUTPUTS]


def _add_initializers(
    graph: onnx.GraphProto, constants: Mapping[str, NDArray[np.float32]], labels: int
) -> None:
    """The values that the new nodes read."""
    from onnx import numpy_helper

    values = {
        _ZERO: np.zeros(1),
        f"{_ZERO}/begin": np.zeros(4, int),
        f"{_ZERO}/end": np.ones(4, int),
        "closed/begin": np.zeros(1, int),
        "closed/end": np.full(1, labels),
        "closed/axis": np.full(1, -1),
        **{f"{name}/constant": array for name, array in constants.items()},
    }
    for name, value in values.items():
        array = value.astype(np.int64 if value.dtype == int else np.float32)
        graph.initializer.append(numpy_helper.from_array(array, name))


def _keep_ports(graph: onnx.GraphProto, labels: int) -> None:
    """Leave the image as the only input, and the outputs for this number of labels."""
    for ports, kept in ((graph.input, (IMAGE,)), (graph.output, _OUTPUTS)):
        for port in [port for port in ports if port.name not in kept]:
            ports.remove(port)
    for port in graph.output:
        port.type.tensor_type.shape.dim[-1].dim_value = labels
