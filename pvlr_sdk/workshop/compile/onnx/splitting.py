"""Splits an open network in two, for backends whose compiler does not: the part for labels, and the part for frames."""

from __future__ import annotations

from ....bundle.schema import IMAGE, PROJECTION
from . import edit


def split(payload: bytes, source: str) -> tuple[bytes, bytes]:
    """Split an open network; neither part computes what the other one does.

    The tensors between the parts are named ``label_projection.0`` and so on, float32, for ``max_labels`` labels.

    Args:
        payload: the open network.
        source: names it in errors.

    Returns:
        the part for labels: label bank -> projections; and the part for frames, with the metadata of the network: image
        and projections -> outputs.

    Raises:
        MissingPartError: the package onnx is not installed.
    """
    labels = edit.parse(payload, source)
    frames = edit.parse(payload, source)
    import onnx
    from onnx import TensorProto, helper

    of_image = {IMAGE}
    of_labels = {port.name for port in frames.graph.input} - {IMAGE}
    names: dict[str, str] = {}
    for node in frames.graph.node:
        if of_image.intersection(node.input):
            of_image.update(node.output)
            for position, name in enumerate(node.input):
                if name in of_labels:
                    node.input[position] = names.setdefault(name, f"{PROJECTION}{len(names)}")
        elif of_labels.intersection(node.input):
            of_labels.update(node.output)
    graph = onnx.shape_inference.infer_shapes(labels).graph
    types = {info.name: info.type for info in (*graph.input, *graph.value_info)}
    projections = [helper.make_value_info(new, types[old]) for old, new in names.items()]
    # A projection may be an input, which cannot have another name: a Cast to its own type copies it.
    casts = [
        helper.make_node("Cast", [old], [new], to=TensorProto.FLOAT) for old, new in names.items()
    ]
    for port in list(labels.graph.input):
        (labels if port.name == IMAGE else frames).graph.input.remove(port)
    frames.graph.input.extend(projections)
    del labels.graph.output[:], labels.metadata_props[:]
    labels.graph.output.extend(projections)
    for model, nodes in ((labels, [*labels.graph.node, *casts]), (frames, list(frames.graph.node))):
        del model.graph.value_info[:]
        edit.replace_nodes(model.graph, nodes)
    return labels.SerializeToString(), frames.SerializeToString()
