"""Closes an open network: a label bank becomes part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....bundle.schema import IMAGE, LOGITS, SIMILARITY
from . import edit

if TYPE_CHECKING:
    from ....bundle.manifest import ModelSpec

_ZERO = "closed/zero"


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
    from onnx import helper, numpy_helper

    graph = model.graph
    shown = (LOGITS, SIMILARITY)
    nodes = [node for node in graph.node if constants.keys().isdisjoint(node.output)]
    for node in nodes:
        renamed = [f"closed/{name}" if name in constants else name for name in node.input]
        node.input[:] = [f"{name}/padded" if name in shown else name for name in renamed]
        node.output[:] = [f"{name}/padded" if name in shown else name for name in node.output]
    values = {
        _ZERO: np.zeros(1),
        f"{_ZERO}/begin": np.zeros(4, int),
        f"{_ZERO}/end": np.ones(4, int),
    }
    values |= {
        "closed/begin": np.zeros(1, int),
        "closed/end": np.full(1, labels),
        "closed/axis": np.full(1, -1),
    }
    # A runtime folds constants into their neighbours, with another rounding than that of the open network. A sum with
    # zero times a pixel is not folded.
    pixel = [
        helper.make_node("Slice", [IMAGE, f"{_ZERO}/begin", f"{_ZERO}/end"], [f"{_ZERO}/pixel"]),
        helper.make_node("Mul", [f"{_ZERO}/pixel", _ZERO], [f"{_ZERO}/product"]),
        helper.make_node("ReduceSum", [f"{_ZERO}/product"], [f"{_ZERO}/sum"], keepdims=0),
    ]
    sums = [
        helper.make_node("Add", [f"{name}/constant", f"{_ZERO}/sum"], [f"closed/{name}"])
        for name in constants
    ]
    ends = ["closed/begin", "closed/end", "closed/axis"]
    cuts = [helper.make_node("Slice", [f"{name}/padded", *ends], [name]) for name in shown]
    values |= {f"{name}/constant": array for name, array in constants.items()}
    for name, value in values.items():
        array = value.astype(np.int64 if value.dtype == int else np.float32)
        graph.initializer.append(numpy_helper.from_array(array, name))
    for ports, kept in ((graph.input, (IMAGE,)), (graph.output, shown)):
        for port in [port for port in ports if port.name not in kept]:
            ports.remove(port)
    for port in graph.output:
        port.type.tensor_type.shape.dim[-1].dim_value = labels
    del graph.value_info[:]
    edit.replace_nodes(graph, [*nodes, *pixel, *sums, *cuts])
    edit.set_spec(model, spec)
    closed: bytes = model.SerializeToString()
    return closed
