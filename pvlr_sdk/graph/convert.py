"""An exported float32 network -> the same in another precision, with native or fused attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..backends import check_choice
from ..manifest import ModelSpec, parse_spec
from . import edit
from .casting import cast
from .fused import fuse_attention, fuse_head
from .layer_norm import fuse_layer_norms

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ..frames import FrameLike

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
ATTENTIONS = ("native", "fused")

_INT8_OPSET = 19
"""From here on Q/DQ nodes take fp16 scales, and with them fp16 tensors."""


def convert(
    payload: bytes,
    *,
    precision: str = "fp16",
    attention: str = "native",
    frames: Sequence[FrameLike] = (),
    source: str = "network",
) -> bytes:
    """Write a precision into an exported network: what a strongly typed TensorRT engine is built from.

    Args:
        payload: what ``pvlr export`` wrote in fp32.
        precision: ``fp32``, ``fp16``, ``bf16``, or ``int8``: the backbone's products in int8, with symmetric ranges
            measured on ``frames``, and the rest in fp16.
        attention: ``native`` (ONNX operators) or ``fused`` (one node of domain ``pvlr`` a layer).
        frames: some hundred typical photos, for int8.
        source: names the network in errors.

    Returns:
        an ONNX network with float32 image and outputs, its metadata naming the precision.

    Raises:
        OptionError: an argument can't be, or int8 lacks frames.
        MissingPartError: a package that this needs is not installed.
        ModelError: it is no fp32 export, or it does not fit the precision.
        FrameError: a frame can't be used.
    """
    check_choice("precision", precision, PRECISIONS)
    check_choice("attention", attention, ATTENTIONS)
    model = edit.load(payload, source)
    spec = spec_of(model, source)
    if spec.precision != "fp32":
        raise errors.ModelError(
            source, expected="a network in fp32", got=f"one in {spec.precision}", hint="Give what pvlr export wrote."
        )
    fuse_layer_norms(model.graph)
    if precision == "int8":
        model = _quantized(model, spec, frames, source)
    if attention == "fused":
        fuse_attention(model, source)
        fuse_head(model)
    if precision != "fp32":
        cast(model, "bf16" if precision == "bf16" else "fp16", source, fp16_until=spec.fp32_until)
    for entry in model.metadata_props:
        if entry.key == "pvlr":
            entry.value = spec.model_copy(update={"precision": precision}).model_dump_json()
    return model.SerializeToString()


def spec_of(model: onnx.ModelProto, source: str) -> ModelSpec:
    """What an exported network says of itself.

    Raises:
        ModelError: it has no valid ``pvlr`` metadata.
    """
    return parse_spec(next((entry.value for entry in model.metadata_props if entry.key == "pvlr"), None), source)


def _quantized(model: onnx.ModelProto, spec: ModelSpec, frames: Sequence[FrameLike], source: str) -> onnx.ModelProto:
    from onnx import version_converter

    from ..frames import load_frame
    from ..preprocess import Preprocessor
    from ..quantize import quantize

    if not frames:
        raise errors.OptionError(
            "precision", expected="photos to quantise with", got="none", hint="Give a folder with --calibrate DIR."
        )
    preprocess = Preprocessor(spec.input)

    def prepare(frame: FrameLike) -> NDArray[np.float32]:
        pixels, order, _ = load_frame(frame)
        return preprocess(pixels, order)

    payload = quantize(model.SerializeToString(), frames, prepare, spec.fp32_until, for_tensorrt=True)
    converted = version_converter.convert_version(edit.load(payload, source), _INT8_OPSET)
    del converted.metadata_props[:]  # some versions keep them, some don't
    converted.metadata_props.extend(model.metadata_props)
    return converted
