"""Post-training quantisation: an exported fp32 network becomes an int8 one, still plain ONNX.

Only what gains by it: the backbone behind its first layers. Those (up to ``fp32_until``) lose more by rounding than all
others together, and the head costs little and decides everything.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .graph.edit import initializers, load, numpy

if TYPE_CHECKING:
    import onnx

_HEAD = "/head/"
"""How the exporter names the head's nodes; what follows one of them belongs to the head too."""


def quantize(
    payload: bytes,
    frames: Sequence[Any],
    prepare: Callable[[Any], NDArray[np.float32]],
    fp32_until: str | None,
    *,
    for_tensorrt: bool = False,
) -> bytes:
    """Quantise weights (a scale for each channel) and activations to 8 bit, with ranges measured on ``frames``.

    Args:
        payload: an exported network with the input ``image`` (batch, 3, H, W).
        frames: what to measure the ranges on.
        prepare: makes the network's input of a frame: float32 (3, H, W).
        fp32_until: the tensor up to which nothing is quantised; None: the input.
        for_tensorrt: keep to what it takes: signed activations with one scale a tensor, and only what gains by int8
            there: products with weights.

    Returns:
        an ONNX network with QuantizeLinear and DequantizeLinear around what an engine computes in int8, its metadata
        kept.

    Raises:
        MissingPartError: NNCF, ONNX or ONNX Runtime is not installed.
        ModelError: the network can't be quantised.
    """
    try:
        import nncf
        import onnxruntime  # noqa: F401 - NNCF runs the network with it
    except ImportError as error:
        raise errors.MissingPartError(
            "precision",
            expected="the parts that quantise to int8",
            got=str(error),
            hint='Install them: pip install "pvlr-sdk[int8]".',
        ) from error
    # Not nncf.set_log_level: that changes the handlers too, which may be the application's own.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    network = load(payload, "network")
    for number, node in enumerate(network.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # what is not quantised is told by name
    batch = network.graph.input[0].type.tensor_type.shape.dim[0]
    dynamic = type(batch)()
    dynamic.CopyFrom(batch)
    batch.dim_value = 1
    name = network.graph.input[0].name
    kept = _kept(network, fp32_until)
    if for_tensorrt:
        kept |= _no_gain_in_tensorrt(network, kept)
    # NNCF draws its progress bar on stdout, where the command line's data belong.
    progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with contextlib.redirect_stdout(progress):
            result: onnx.ModelProto = nncf.quantize(
                network,
                nncf.Dataset(frames, lambda frame: {name: prepare(frame)[None]}),
                subset_size=len(frames),
                # Symmetric weights and activations: what TensorRT takes as well, and faster on CPUs than zero points.
                preset=nncf.QuantizationPreset.PERFORMANCE,
                ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
                advanced_parameters=_one_scale_a_tensor() if for_tensorrt else None,
            )
    except errors.FrameError:
        raise
    except Exception as error:  # NNCF raises anything
        raise errors.ModelError(
            "network", expected="one that NNCF can quantise", got=str(error), hint="Build it with --precision auto."
        ) from error
    if for_tensorrt:
        _make_signed(result.graph)
    result.graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(dynamic)
    del result.metadata_props[:]
    result.metadata_props.extend(network.metadata_props)
    return result.SerializeToString()


def _one_scale_a_tensor() -> Any:
    """For activations, also before depthwise convolutions."""
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    return AdvancedQuantizationParameters(activations_quantization_params=QuantizationParameters(per_channel=False))


def _make_signed(graph: onnx.GraphProto) -> None:
    """Turn uint8 tensors without a zero point into int8 ones of the same range: TensorRT has no others in a network."""
    from onnx import TensorProto, numpy_helper

    constants = initializers(graph)
    unsigned = TensorProto.UINT8
    done: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = (constants[name] for name in node.input[1:3])
        if zero.data_type != unsigned and zero.name not in done:
            continue
        for tensor, values in (
            (scale, (numpy(scale) * (255 / 127)).astype(np.float32)),
            (zero, numpy(zero).astype(np.int8)),
        ):
            if tensor.name not in done:
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
                done.add(tensor.name)
    del graph.value_info[:]  # they name the old types


def _no_gain_in_tensorrt(network: onnx.ModelProto, kept: set[str]) -> set[str]:
    """In a transformer: all but products with weights. Attention and residuals lose much by int8 and gain little."""
    rest = [node for node in network.graph.node if node.name not in kept]
    if not any(node.op_type == "LayerNormalization" for node in rest):
        return set()
    weights = set(initializers(network.graph))
    return {
        node.name for node in rest if node.op_type not in ("Conv", "MatMul", "Gemm") or not weights & set(node.input)
    }


def _kept(network: onnx.ModelProto, fp32_until: str | None) -> set[str]:
    """The names of the nodes that are not quantised: those before ``fp32_until``, and the head."""
    nodes = list(network.graph.node)
    before = _closure([node for node in nodes if fp32_until in node.output], nodes, upwards=True)
    head = _closure([node for node in nodes if node.name.startswith(_HEAD)], nodes, upwards=False)
    return {node.name for node in [*before, *head]}


def _closure(start: list[Any], nodes: list[Any], *, upwards: bool) -> list[Any]:
    """``start`` and all nodes that it depends on, or that depend on it; ``nodes`` are in topological order."""
    found = {id(node) for node in start}
    tensors = {name for node in start for name in (node.input if upwards else node.output)}
    for node in reversed(nodes) if upwards else nodes:
        if tensors & set(node.output if upwards else node.input):
            found.add(id(node))
            tensors |= set(node.input if upwards else node.output)
    return [node for node in nodes if id(node) in found]
