"""Post-training quantisation of an exported fp32 network to int8, as plain ONNX.

Only the backbone after its first layers is quantised. Those (up to ``fp32_until``) lose more accuracy by rounding than
all others together, and the head is cheap and determines the scores.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .... import errors
from ....backends import runtimes
from .edit import consumers, initializers, load, numpy, producers, replace_nodes, upstream

if TYPE_CHECKING:
    import onnx

_HEAD = "/head/"
"""Prefix of the head's nodes, as the exporter names them."""


def check_nncf() -> None:
    """Check that :func:`quantize` can run, before images are read for it.

    Raises:
        MissingPartError: NNCF, ONNX or ONNX Runtime is not installed.
    """
    with errors.needed("precision", "the packages that quantise to int8", "int8"):
        # NNCF runs the network with ONNX Runtime. It comes last: it takes seconds to import.
        importlib.import_module("onnx")
        runtimes.onnxruntime()
        runtimes.nncf()


def quantize(
    payload: bytes,
    frames: Sequence[Any],
    prepare: Callable[[Any], NDArray[np.float32]],
    fp32_until: str | None,
    *,
    labels: Mapping[str, NDArray[np.float32]] | None = None,
    for_tensorrt: bool = False,
) -> bytes:
    """Quantise activations to 8 bits, with ranges measured on ``frames``, and for TensorRT the weights too.

    Args:
        payload: an exported network with the input ``image`` (batch, 3, H, W).
        frames: frames to measure the ranges on.
        prepare: returns the network's input for a frame: float32 (3, H, W).
        fp32_until: the tensor up to which nothing is quantised; None: the input.
        labels: the further inputs of an open network.
        for_tensorrt: use signed activations with one scale per tensor, as TensorRT requires, and quantise only what
            gains by int8 there: products with weights.

    Returns:
        an ONNX network with QuantizeLinear and DequantizeLinear around what an engine computes in int8; it keeps its
        metadata.

    Raises:
        MissingPartError: NNCF, ONNX or ONNX Runtime is not installed.
        ModelError: the network cannot be quantised.
    """
    check_nncf()
    nncf = runtimes.nncf()

    # nncf.set_log_level would also change the handlers, which may belong to the application.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    network = load(payload, "network")
    for number, node in enumerate(network.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # ignored nodes are identified by name
    batch = network.graph.input[0].type.tensor_type.shape.dim[0]
    dynamic = type(batch)()
    dynamic.CopyFrom(batch)
    batch.dim_value = 1
    name = network.graph.input[0].name
    kept = _kept(network, fp32_until)
    if for_tensorrt:
        kept |= _no_gain_in_tensorrt(network, kept)
    # NNCF draws its progress bar on stdout, which is for the command line's data.
    progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with contextlib.redirect_stdout(progress):
            result: onnx.ModelProto = nncf.quantize(
                network,
                nncf.Dataset(frames, lambda frame: {name: prepare(frame)[None], **(labels or {})}),
                subset_size=len(frames),
                # Symmetric weights and activations, as TensorRT requires; faster on CPUs than zero points.
                preset=nncf.QuantizationPreset.PERFORMANCE,
                ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
                advanced_parameters=_one_scale_per_tensor()
                if for_tensorrt
                else _without_bias_correction(),
            )
    except errors.FrameError:
        raise
    except Exception as error:  # NNCF raises various classes
        raise errors.ModelError(
            "network", "one that NNCF can quantise", str(error), "Build it with --precision auto."
        ) from error
    if for_tensorrt:
        _make_signed(result.graph)
        join_residuals(result.graph)
    else:
        _restore_weights(result.graph, network.graph)
    result.graph.input[0].type.tensor_type.shape.dim[0].CopyFrom(dynamic)
    del result.metadata_props[:]
    result.metadata_props.extend(network.metadata_props)
    return result.SerializeToString()


def _one_scale_per_tensor() -> Any:
    """Settings for activations, also before depthwise convolutions."""
    parameters = runtimes.nncf().quantization.advanced_parameters
    per_tensor = parameters.QuantizationParameters(per_channel=False)
    return parameters.AdvancedQuantizationParameters(activations_quantization_params=per_tensor)


def _without_bias_correction() -> Any:
    """Settings for weights that are not NNCF's."""
    return runtimes.nncf().quantization.advanced_parameters.AdvancedQuantizationParameters(
        disable_bias_correction=True
    )


def _restore_weights(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Replace quantised weights by those of the original network, in place."""
    before = {node.name: node for node in original.node}
    made = producers(graph)
    weights = initializers(original)
    constants = initializers(graph)
    for node in graph.node:
        scaled = made.get(node.input[1]) if node.name in before and len(node.input) > 1 else None
        if (
            scaled is None
            or scaled.op_type != "DequantizeLinear"
            or scaled.input[0] not in constants
        ):
            continue
        name = before[node.name].input[1]
        node.input[1] = name
        if name not in constants:
            graph.initializer.append(weights[name])
            constants[name] = weights[name]
    replace_nodes(graph, graph.node)


def _make_signed(graph: onnx.GraphProto) -> None:
    """Replace uint8 tensors without a zero point by int8 ones of the same range: TensorRT has no unsigned tensors."""
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
    del graph.value_info[:]  # it has the old types


def join_residuals(graph: onnx.GraphProto) -> None:
    """Remove the Q/DQ between a convolution and the residual sum that alone reads it, in place.

    TensorRT computes both in one kernel, but only if the other summand alone is quantised.
    """
    made = producers(graph)
    read = consumers(graph)
    position = {node.output[0]: number for number, node in enumerate(graph.node)}

    def behind(name: str) -> onnx.NodeProto | None:
        """The convolution whose quantised output this is, if nothing else reads it."""
        for operator in ("DequantizeLinear", "QuantizeLinear", "Conv"):
            node = made.get(name)
            if node is None or node.op_type != operator or len(read[node.output[0]]) != 1:
                return None
            name = node.input[0]
        return node

    for node in graph.node:
        summands = [made[name].op_type if name in made else "" for name in node.input]
        if node.op_type != "Add" or summands != ["DequantizeLinear"] * 2:
            continue
        pairs = [
            (position[conv.output[0]], place)
            for place, name in enumerate(node.input)
            if (conv := behind(name))
        ]
        if pairs:
            latest, place = max(pairs)  # of two, the other one is computed first and waits
            node.input[place] = graph.node[latest].output[0]
    replace_nodes(graph, graph.node)


def _no_gain_in_tensorrt(network: onnx.ModelProto, kept: set[str]) -> set[str]:
    """In a transformer, all but products with weights: attention and residuals lose much by int8 and gain little."""
    others = [node for node in network.graph.node if node.name not in kept]
    if not any(node.op_type == "LayerNormalization" for node in others):
        return set()
    weights = set(initializers(network.graph))
    return {
        node.name
        for node in others
        if node.op_type not in ("Conv", "MatMul", "Gemm") or not weights & set(node.input)
    }


def _kept(network: onnx.ModelProto, fp32_until: str | None) -> set[str]:
    """The names of the nodes that are not quantised: those up to ``fp32_until``, and the head with all that follows."""
    front = upstream(network.graph.node, fp32_until)
    # the labels of an open network
    kept = set()
    head = {entry.name for entry in network.graph.input[1:]}
    for node in network.graph.node:  # in topological order
        if node.name.startswith(_HEAD) or head & set(node.input):
            head.update(node.output)
            kept.add(node.name)
        elif node.output[0] in front:
            kept.add(node.name)
    return kept
