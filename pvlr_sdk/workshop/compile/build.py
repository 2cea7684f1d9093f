"""Builds a plan: exported network and label bank -> bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ... import errors
from ..._util.files import write_files
from ...bundle.bundle import knowledge_path, labels_path, write_bundle
from ...bundle.manifest import Manifest
from ...bundle.schema import BACKENDS, PlanPrecision
from .builder import Builder, BuildRequest, Watcher
from .calibration import CalibrationImages, missing_for_int8
from .exported import Exported, read_exported, with_plain_weights
from .onnx.quantize import check_nncf
from .openvino import OpenVinoBuilder
from .tensorrt.builder import TensorRtBuilder

if TYPE_CHECKING:
    from .tensorrt_options import BuildOptions

BUILDERS: dict[str, Builder] = {
    "cpu": OpenVinoBuilder(),
    "tensorrt": TensorRtBuilder(),
}
"""The builder for each device."""


def build(
    onnx: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    device: Literal["auto", "cpu", "tensorrt"] = "cpu",
    precision: PlanPrecision = "auto",
    bank: str | os.PathLike[str] | None = None,
    calibration_images: CalibrationImages | None = None,
    min_agreement: float | None = None,
    options: BuildOptions | None = None,
    watcher: Watcher | None = None,
) -> Manifest:
    """Build a plan: check an exported network, compile it, check its accuracy and write the bundle.

    Args:
        onnx: the exported network in fp32, or a plan for the CPU, which is one.
        out: the plan to write, with ``<stem>.json`` and ``<stem>.labels.safetensors`` next to it. TensorRT's log is
            ``<stem>.build.log``.
        device: ``cpu``, or ``tensorrt`` for this machine's NVIDIA GPU.
        precision: ``fp32``, ``bf16``, ``int8`` or ``auto``; TensorRT also has ``fp16``. ``auto`` is int8 only if there
            are calibration images whose tags it keeps: for TensorRT if it is faster than fp16, on a CPU if the CPU does
            not compute in bf16, which ``auto`` is otherwise. Else it is fp16 or fp32.
        bank: the label bank; by default ``<stem>.labels.safetensors`` next to the network. With it, for TensorRT in
            int8 and for other backends than these two, an open network becomes a closed plan, with the same scores in
            fp32 on the CPU, bit for bit; otherwise the plan is open, and the network's knowledge file is copied.
        calibration_images: images to quantise with and to compare the plan with fp32 on. Without them a TensorRT plan
            is compared on the golden frame alone.
        min_agreement: the share of those images that must keep their tag set, 0..1; by default 0.9, for TensorRT 0.98
            (int8: 0.9).
        options: TensorRT's batches, attention and compatibility.
        watcher: receives TensorRT's progress.

    Returns:
        the manifest that was written.

    Raises:
        OptionError: an option is invalid, or the device does not support it.
        BackendError: the device cannot run the network; ``bank`` is for a plan whose labels are part of it.
        BundleError, SignatureError: the plan or ``bank`` is damaged, or not signed as ``PVLR_TRUST`` demands.
        ModelError: the file is not an exported PVLR network in fp32.
        LabelBankError: the label bank is missing or does not fit the network.
        AccuracyError: the plan changes the tags of too many images.
        NonFiniteError: the network gives NaN or infinite logits.
        OutputError: the bundle cannot be written; an earlier bundle there is untouched.
        MissingPartError: a library that the device or the precision needs is not installed.
        UnsupportedNodeError, BuildError: TensorRT cannot build the network.
    """
    errors.check_choice("device", device, (*BUILDERS, "auto"))
    device = "cpu" if device == "auto" else device
    builder = BUILDERS[device]
    request = BuildRequest(
        Path(out), precision, calibration_images, min_agreement, options, watcher
    )
    _check_precision(builder, device, request)
    _check_paths(onnx, request.out)
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise errors.OptionError(
            "min_agreement", "a share from 0 to 1", str(min_agreement), "0.9 is nine images of ten."
        )
    source = _read_network(onnx, bank, device, precision)
    bundle = builder.build(source, request)
    manifest = write_bundle(bundle)
    if source.spec.open and knowledge_path(onnx).is_file():
        write_files({knowledge_path(bundle.path): knowledge_path(onnx).read_bytes()})
    return manifest


def _check_precision(builder: Builder, device: str, request: BuildRequest) -> None:
    """Raises OptionError or MissingPartError if the device, or this installation, cannot build in the precision."""
    precision = request.precision
    hints = {"hint": "fp16 is for --device tensorrt."} if precision == "fp16" else {}
    errors.check_choice(
        "precision", precision, ("auto", *BACKENDS[builder.backend].precisions), **hints
    )
    builder.check(precision, request.options)
    has_images = request.calibration_images is not None
    if precision == "int8" and not has_images:
        raise missing_for_int8()
    if precision == "int8" or (precision == "auto" and has_images and device == "cpu"):
        check_nncf()


def _check_paths(onnx: str | os.PathLike[str], out: Path) -> None:
    """Raises OptionError if the plan would replace its network, or the files next to it the plan."""
    if os.path.realpath(onnx) == os.path.realpath(out):
        raise errors.OptionError(
            "out", "another file than the network", str(out), "Name another file with --out."
        )
    if not out.name or out.suffix in (".json", ".sig"):
        raise errors.OptionError(
            "out",
            "a file such as engine.plan",
            str(out),
            "The files next to it that end in .json and .sig are its manifest and its signature.",
        )


def _read_network(
    onnx: str | os.PathLike[str],
    bank: str | os.PathLike[str] | None,
    device: str,
    precision: str,
) -> Exported:
    """The network as a device takes it: closed if it needs constant labels, in float32 if it knows no other type."""
    source = read_exported(onnx, bank)
    stays_open = device == "cpu" or (device == "tensorrt" and precision != "int8")
    if source.spec.open and not stays_open:
        source = read_exported(onnx, labels_path(onnx))
    return source if device in ("cpu", "tensorrt") else with_plain_weights(source)
