"""Converts an exported float32 network to another precision, with native or fused attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .... import errors
from ....bundle.manifest import ModelSpec, parse_spec
from ....bundle.schema import ATTENTIONS, PRECISIONS, SIMILARITY, Attention, Precision
from ....frames.preprocess import Preprocessor
from ..calibration import missing_for_int8
from . import edit
from .casting import cast
from .fused import fuse

if TYPE_CHECKING:
    import onnx

    from ....frames.frames import FrameLike

_INT8_OPSET = 19
"""The first opset whose Q/DQ nodes take fp16 scales, and so fp16 tensors."""


def convert(
    payload: bytes,
    *,
    precision: Precision = "fp16",
    attention: Attention = "native",
    maps: bool = True,
    frames: Sequence[FrameLike] = (),
    source: str = "network",
) -> bytes:
    """Convert an exported network to a precision, as a strongly typed graph for TensorRT.

    Args:
        payload: the output of ``pvlr export`` in fp32.
        precision: ``fp32``, ``fp16``, ``bf16``, or ``int8``: the backbone's products in int8, with symmetric ranges
            measured on ``frames``, and the rest in fp16.
        attention: ``native`` (ONNX operators) or ``fused`` (one node of domain ``pvlr`` per layer).
        maps: keep the similarity, from which attention maps are computed.
        frames: a few hundred representative images, for int8.
        source: names the network in errors.

    Returns:
        an ONNX network with float32 image and outputs, whose metadata has the precision.

    Raises:
        OptionError: an argument is invalid, or int8 lacks frames.
        MissingPartError: a required package is not installed.
        ModelError: it is not an export in fp32, or it does not fit the precision.
        FrameError: a frame is invalid.
    """
    errors.check_choice("precision", precision, PRECISIONS)
    errors.check_choice("attention", attention, ATTENTIONS)
    model = edit.load(payload, source)
    spec = spec_of(model, source)
    if spec.precision != "fp32":
        raise errors.ModelError(
            source,
            "a network in fp32",
            f"one in {spec.precision}",
            "Use the output of pvlr export.",
        )
    if precision == "int8":
        model = _quantized(model, spec, frames, source)
    if not maps:
        (similarity,) = (output for output in model.graph.output if output.name == SIMILARITY)
        model.graph.output.remove(similarity)
        edit.replace_nodes(model.graph, model.graph.node)
    if attention == "fused":
        fuse(model, source)
    if precision != "fp32":
        cast(model, "bf16" if precision == "bf16" else "fp16", source, fp16_until=spec.fp32_until)
    edit.set_spec(model, spec.model_copy(update={"precision": precision}))
    return model.SerializeToString()


def spec_of(model: onnx.ModelProto, source: str) -> ModelSpec:
    """An exported network's metadata.

    Raises:
        ModelError: it has no valid ``pvlr`` metadata.
    """
    return parse_spec(
        next((entry.value for entry in model.metadata_props if entry.key == "pvlr"), None), source
    )


def _quantized(
    model: onnx.ModelProto, spec: ModelSpec, frames: Sequence[FrameLike], source: str
) -> onnx.ModelProto:
    from onnx import version_converter

    from .quantize import quantize

    if not frames:
        raise missing_for_int8()
    prepare = Preprocessor(spec.input).load
    payload = quantize(
        model.SerializeToString(), frames, prepare, spec.fp32_until, for_tensorrt=True
    )
    converted = version_converter.convert_version(edit.parse(payload, source), _INT8_OPSET)
    del converted.metadata_props[:]  # not all versions of onnx keep them
    converted.metadata_props.extend(model.metadata_props)
    return converted
