"""The networks of the shipped models with constant labels, for runtimes and kernels without a label bank.

Such a network is what ``pvlr export`` writes without ``--open``. ``pvlr build PLAN --bank BANK`` closes a network, too,
but keeps its padding, to compute the same bits: fused attention does not take that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, load_from_string, numpy_helper

from pvlr_sdk._util.files import write_files
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.workshop.compile.exported import read_exported, with_plain_weights
from pvlr_sdk.workshop.compile.onnx import edit

_PREFIX, _CONSTANT = "closed/", "/constant"
_OF_THE_END = {"label_mask", "label_gains", "label_biases", "label_weights"}


def write_closed(plan: Path, folder: Path) -> Path:
    """Write the network of an open plan, and its label bank, into a folder; return its path.

    Raises as :func:`closed_network`.
    """
    path = folder / "model.onnx"
    write_files({labels_path(path): labels_path(plan).read_bytes(), path: closed_network(plan)})
    return path


def closed_network(plan: Path) -> bytes:
    """The network of an open plan with its labels as constants, in float32 and without padding.

    Raises:
        ValueError: a label has a gain or weights, as taught labels have: a closed network has none.
        PvlrError: as :func:`pvlr_sdk.workshop.compile.exported.read_exported`.
    """
    exported = with_plain_weights(read_exported(plan, labels_path(plan)))
    model = load_from_string(exported.network.payload)
    padded = _constant_labels(model)
    room = padded["label_mask"].size
    count = len(exported.bank)
    labels = {name: _without_padding(values, room, count) for name, values in padded.items()}
    if labels["label_weights"].any() or (labels["label_gains"] != 1).any():
        raise ValueError(f"{plan}: expected labels without gains and weights")
    _shrink_shapes(model, room, count)
    _end_at_the_head(model, labels["label_biases"])
    _replace_labels(model, labels)
    payload: bytes = model.SerializeToString()
    return payload


def _constant_labels(model: ModelProto) -> dict[str, np.ndarray]:
    """The arrays of the labels, with padding, by the names of the open network's inputs."""
    return {
        tensor.name.removesuffix(_CONSTANT): numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.endswith(_CONSTANT)
    }


def _shrink_shapes(model: ModelProto, room: int, count: int) -> None:
    """Change the constant shapes (batch, ``room``, width) of labels to ``count`` labels."""
    for tensor in model.graph.initializer:
        shape = numpy_helper.to_array(tensor)
        if shape.dtype == np.int64 and shape.shape == (3,) and shape[1] == room:
            batch, _, width = shape
            tensor.CopyFrom(numpy_helper.from_array(np.int64([batch, count, width]), tensor.name))


def _replace_labels(model: ModelProto, labels: dict[str, np.ndarray]) -> None:
    """Remove the nodes that make the padded labels, and give their readers ``labels`` instead."""
    nodes = [node for node in model.graph.node if not node.output[0].startswith(_PREFIX)]
    for node in nodes:
        node.input[:] = [name.removeprefix(_PREFIX) for name in node.input]
    model.graph.initializer.extend(
        numpy_helper.from_array(values, name)
        for name, values in labels.items()
        if name not in _OF_THE_END
    )
    edit.replace_nodes(model.graph, nodes)


def _without_padding(values: np.ndarray, room: int, count: int) -> np.ndarray:
    """The values of the first ``count`` of ``room`` labels, which are one axis of an array."""
    (axis,) = (number for number, size in enumerate(values.shape) if size == room)
    return np.ascontiguousarray(values.take(range(count), axis))


def _end_at_the_head(model: ModelProto, biases: np.ndarray) -> None:
    """Leave out the mask of the padding and what follows the head, whose bias then has ``biases``."""
    graph = model.graph
    nodes = {node.name: node for node in graph.node}
    mask = nodes["/head/dma.0/Add"]
    logits = nodes["/head/predict/Add"]
    similarity = nodes["/head/predict/Mul_4"]
    renamed = {
        mask.output[0]: mask.input[0],
        logits.output[0]: "logits",
        similarity.output[0]: "similarity",
    }
    last = list(graph.node).index(logits)
    kept = [node for node in list(graph.node)[: last + 1] if node is not mask]
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    (bias,) = (tensor for tensor in graph.initializer if tensor.name == logits.input[1])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + biases, bias.name))
    del graph.node[:]
    graph.node.extend(kept)
