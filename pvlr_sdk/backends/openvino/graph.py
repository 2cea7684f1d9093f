"""Changes of an OpenVINO graph before it is compiled, in place, as in csrc/runtime/engine/openvino/network.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...bundle.schema import IMAGE
from .. import runtimes

if TYPE_CHECKING:
    import openvino

_HEAVY = frozenset(["Convolution", "GroupConvolution", "MatMul"])
"""What gains by bf16. Element-wise operations after the last of them stay in f32, as under OpenVINO's own hint."""
_SCALING = frozenset(["Convert", "Subtract", "Multiply"])
"""How integers become float32 in DequantizeLinear."""


def fold_constants(model: openvino.Model, *, quantized: bool = False) -> None:
    """Compute what depends on constants alone, such as weights from their 8 bits, in place.

    ``quantized``: keep the integers that are multiplied with quantised activations. OpenVINO 2026.4 folds constants
    itself, but for several streams at once: one compilation in five gave other results.
    """
    ops = runtimes.openvino().opset13
    passes = runtimes.openvino_passes()
    kept = []
    for node in model.get_ordered_ops() if quantized else ():
        if node.get_type_name() not in _HEAVY or _unscaled(node).get_type_name() != "FakeQuantize":
            continue
        constant = _unscaled(node, 1)
        if constant.get_type_name() == "Constant":
            stand_in = ops.parameter(
                constant.output(0).get_shape(), constant.output(0).get_element_type()
            )
            _replace(constant.output(0), stand_in.output(0))
            kept.append((constant, stand_in))
    model.add_parameters([stand_in for _, stand_in in kept])
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    for constant, stand_in in kept:
        _replace(stand_in.output(0), constant.output(0))
        model.remove_parameter(stand_in)


def remove_ranges(model: openvino.Model) -> None:
    """Remove the quantisation of activations, in place: the network of a plan in fp32 or bf16."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        last = node
        while last.get_type_name() != "Multiply":
            readers = last.output(0).get_target_inputs()
            if len(readers) != 1:
                break
            last = next(iter(readers)).get_node()
            if last.get_type_name() not in _SCALING:
                break
        else:
            _replace(last.output(0), node.input_value(0))


def _unscaled(node: openvino.Node, entry: int = 0) -> openvino.Node:
    """What an input of a node is before it is converted and scaled to float."""
    source = node.input_value(entry).get_node()
    while source.get_type_name() in (*_SCALING, "Reshape"):
        source = source.input_value(0).get_node()
    return source


def _replace(output: openvino.Output, other: openvino.Output) -> None:
    for entry in output.get_target_inputs():
        entry.replace_source_output(other)


def lower(model: openvino.Model, start: str) -> bool:
    """Compute in bf16 from the tensor named ``start`` to the last convolution or matrix product, in place.

    OpenVINO's precision hint applies to a whole network. Splitting a network to give each half its own hint costs more
    than bf16 gains: two schedules, and a tensor that leaves the caches. Under the hint f32, bf16 types in the network
    stay. Inputs and outputs keep their types. Returns False if there is no such tensor.
    """
    nodes = model.get_ordered_ops()
    outputs = (output for node in nodes for output in node.outputs())
    begin = next((output for output in outputs if start in output.get_names()), None)
    if begin is None:
        return False
    low = _to_lower(nodes, begin)
    for node in nodes:
        for entry in node.inputs():
            is_low = node.get_name() in low
            if is_low != (entry.get_source_output().get_node().get_name() in low):
                _convert(entry, "bf16" if is_low else "f32")
    model.validate_nodes_and_infer_types()
    return True


def _to_lower(nodes: list[openvino.Node], begin: openvino.Output) -> set[str]:
    """The names of the nodes that depend on ``begin``, and that are heavy or come before a heavy one.

    ``nodes``: all of a network, in the order of their computation.
    """
    behind = {target.get_node().get_name() for target in begin.get_target_inputs()}
    for node in nodes:
        if behind.intersection(_sources(node)):
            behind.add(node.get_name())
    before: set[str] = set()
    for node in reversed(nodes):
        if node.get_type_name() in _HEAVY or node.get_name() in before:
            before.update([node.get_name(), *_sources(node)])
    return behind & before


def _convert(entry: openvino.Input, kind: str) -> None:
    """Convert what an input of a node gets, if it is f32; an output of the network keeps its names."""
    api = runtimes.openvino()
    source = entry.get_source_output()
    if source.get_element_type() != api.Type.f32:
        return
    converted = api.opset13.convert(source, kind).output(0)
    if entry.get_node().get_type_name() == "Result":
        names = source.get_names()
        source.set_names(set())
        converted.set_names(names)
    entry.replace_source_output(converted)


def _sources(node: openvino.Node) -> list[str]:
    """The nodes that a node reads, by their unique names: friendly names may repeat."""
    return [entry.get_source_output().get_node().get_name() for entry in node.inputs()]


def with_packed_pixels(model: openvino.Model) -> openvino.Model:
    """The network with an input of (count, height, width, 3), the order in which a convolution reads it.

    OpenVINO would reorder planes first, which takes 0.28 of 6.8 ms in fp32 on Lite2.
    """
    api = runtimes.openvino()
    wrapper = api.preprocess.PrePostProcessor(model)
    wrapper.input(IMAGE).tensor().set_layout(api.Layout("NHWC"))
    wrapper.input(IMAGE).model().set_layout(api.Layout("NCHW"))
    return wrapper.build()
