"""bf16 for a part of a network only, written into its types.

OpenVINO's precision hint is for all of a network, and cutting it in two to give each half its own costs more than the
hint gains at the cut: two schedules, and a tensor that leaves the caches. Under the hint f32, types that say bf16 stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

_HEAVY = frozenset(["Convolution", "GroupConvolution", "MatMul"])
"""What bf16 is for. Element-wise steps behind the last of them stay in f32, as under OpenVINO's own hint."""


def lower(model: openvino.Model, start: str) -> bool:
    """Let what comes behind the tensor named ``start`` compute in bf16, up to the last convolution or matrix product.

    Inputs and outputs keep their types. False: there is no such tensor.
    """
    from openvino import Type, opset13

    nodes = model.get_ordered_ops()
    outputs = (output for node in nodes for output in node.outputs())
    begin = next((output for output in outputs if start in output.get_names()), None)
    if begin is None:
        return False
    behind = {target.get_node().get_name() for target in begin.get_target_inputs()}
    for node in nodes:
        if behind.intersection(_sources(node)):
            behind.add(node.get_name())
    before: set[str] = set()
    for node in reversed(nodes):
        if node.get_type_name() in _HEAVY or node.get_name() in before:
            before.update([node.get_name(), *_sources(node)])
    low = behind & before
    for node in nodes:
        for entry in node.inputs():
            source = entry.get_source_output()
            inside = node.get_name() in low
            if source.get_element_type() != Type.f32 or inside == (source.get_node().get_name() in low):
                continue
            converted = opset13.convert(source, "bf16" if inside else "f32").output(0)
            if node.get_type_name() == "Result":
                names = source.get_names()
                source.set_names(set())
                converted.set_names(names)
            entry.replace_source_output(converted)
    model.validate_nodes_and_infer_types()
    return True


def _sources(node: openvino.Node) -> list[str]:
    """The nodes that a node reads, by the names that tell them apart: friendly ones need not."""
    return [entry.get_source_output().get_node().get_name() for entry in node.inputs()]
