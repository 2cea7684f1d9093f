"""The part of an open network that depends on the labels alone: computed once for a label bank, not for every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...bundle.schema import IMAGE, PROJECTION
from .. import runtimes

if TYPE_CHECKING:
    import openvino


def split_labels(model: openvino.Model) -> tuple[openvino.Model, openvino.Model]:
    """Split an open network in two, in place: labels -> projections, and image and projections -> outputs.

    The projections are whatever the image's part reads of the labels' part: in PVLR the keys and values of DMA, the
    label vectors, the biases and the mask of the padding, all for ``max_labels`` labels.
    """
    ops = runtimes.openvino().opset13
    image = next(entry for entry in model.get_parameters() if IMAGE in entry.output(0).get_names())
    nodes = model.get_ordered_ops()
    of_image = {image.get_name()}
    of_labels = set[str]()
    for node in nodes:
        sources = {entry.get_source_output().get_node().get_name() for entry in node.inputs()}
        if sources & of_image:
            of_image.add(node.get_name())
        elif node.get_type_name() == "Parameter" or sources & of_labels:
            of_labels.add(node.get_name())
    of_labels -= of_image
    parts: dict[tuple[str, int], openvino.Node] = {}
    results = []
    for node in nodes:
        for entry in node.inputs() if node.get_name() in of_image else ():
            source = entry.get_source_output()
            key = source.get_node().get_name(), source.get_index()
            if key[0] not in of_labels:
                continue
            if key not in parts:
                name = f"{PROJECTION}{len(parts)}"
                parts[key] = ops.parameter(source.get_partial_shape(), source.get_element_type())
                parts[key].output(0).set_names({name})
                results.append(ops.result(source))
            entry.replace_source_output(parts[key].output(0))
    labels = [entry for entry in model.get_parameters() if entry.get_name() != image.get_name()]
    api = runtimes.openvino()
    return api.Model(results, labels, "labels"), api.Model(
        model.get_results(), [image, *parts.values()], "frames"
    )
