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

if TYPE_CHECKING:
    import onnx

_HEAD = "/head/"
"""How the exporter names the head's nodes; what follows one of them belongs to the head too."""


def quantize(
    payload: bytes, frames: Sequence[Any], prepare: Callable[[Any], NDArray[np.float32]], fp32_until: str | None
) -> bytes:
    """Quantise weights (a scale for each channel) and activations to 8 bit, with ranges measured on ``frames``.

    Args:
        payload: an exported network with the input ``image`` (batch, 3, H, W).
        frames: what to measure the ranges on.
        prepare: makes the network's input of a frame: float32 (3, H, W).
        fp32_until: the tensor up to which nothing is quantised; None: the input.

    Returns:
        an ONNX network with QuantizeLinear and DequantizeLinear around what an engine computes in int8, its metadata
        kept.

    Raises:
        MissingPartError: NNCF, ONNX or ONNX Runtime is not installed.
        ModelError: the network can't be quantised.
    """
    try:
        import nncf
        import onnx
        import onnxruntime  # noqa: F401 - NNCF runs the network with it
    except ImportError as error:
        raise errors.MissingPartError(
            "precision",
            expected="the parts that quantise to int8",
            got=str(error),
            hint='Install them: pip install "pvlr-sdk[int8]".',
        ) from error
    nncf.set_log_level(logging.ERROR)
    network = _with_plain_weights(onnx.load_from_string(payload))
    batch = network.graph.input[0].type.tensor_type.shape.dim[0]
    dynamic = type(batch)()
    dynamic.CopyFrom(batch)
    batch.dim_value = 1
    name = network.graph.input[0].name
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
                ignored_scope=nncf.IgnoredScope(names=_kept(network, fp32_until), validate=False),
            )
    except errors.FrameError:
        raise
    except Exception as error:  # NNCF raises anything
        raise errors.ModelError(
            "network", expected="one that NNCF can quantise", got=str(error), hint="Build it with --precision auto."
        ) from error
    result.graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(dynamic)
    del result.metadata_props[:]
    result.metadata_props.extend(network.metadata_props)
    return result.SerializeToString()


def _with_plain_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """Turn weights that are stored as float16 behind a Cast into float32 ones.

    Without that, the filters of depthwise convolutions are computed values to NNCF and the engine: they get a scale for
    each column instead of each channel, no engine has such a kernel, and int8 is then slower than bf16.
    """
    import onnx
    from onnx import numpy_helper

    graph = network.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in weights]:
        if next(a.i for a in node.attribute if a.name == "to") != onnx.TensorProto.FLOAT:
            continue
        tensor = weights[node.input[0]]
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    return network


def _kept(network: onnx.ModelProto, fp32_until: str | None) -> list[str]:
    """The names of the nodes that are not quantised: those before ``fp32_until``, and the head."""
    nodes = list(network.graph.node)
    before = _closure([node for node in nodes if fp32_until in node.output], nodes, upwards=True)
    head = _closure([node for node in nodes if node.name.startswith(_HEAD)], nodes, upwards=False)
    return sorted({node.name for node in [*before, *head] if node.name})


def _closure(start: list[Any], nodes: list[Any], *, upwards: bool) -> list[Any]:
    """``start`` and all nodes that it depends on, or that depend on it; ``nodes`` are in topological order."""
    found = {id(node) for node in start}
    tensors = {name for node in start for name in (node.input if upwards else node.output)}
    for node in reversed(nodes) if upwards else nodes:
        if tensors & set(node.output if upwards else node.input):
            found.add(id(node))
            tensors |= set(node.input if upwards else node.output)
    return [node for node in nodes if id(node) in found]
