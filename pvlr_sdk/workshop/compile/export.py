"""Converts an exported network to another precision, and compares it with fp32 before writing it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.cores import available_cores
from ..._util.files import write_files
from ...backends import runtimes
from ...bundle.bundle import labels_path
from ...bundle.label_bank import LabelBank
from ...bundle.schema import IMAGE, LOGITS, SIMILARITY, Attention, Precision
from ...frames.preprocess import Preprocessor
from ...inference import golden
from .exported import read_payload, read_spec
from .gate import Agreement, compare, least_agreement
from .onnx import edit
from .onnx.convert import convert, spec_of
from .onnx.fused import with_definition
from .onnx.rounding import emulated

if TYPE_CHECKING:
    from ...frames.frames import FrameLike
    from .calibration import CalibrationImages

_GATE = 200
"""Images of the gate: emulating every rounding is slow."""


def export_as(
    onnx: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    precision: Precision = "fp16",
    attention: Attention = "native",
    calibration_images: CalibrationImages | None = None,
    min_agreement: float | None = None,
) -> tuple[Path, Agreement]:
    """Convert an exported network and write it with its label bank, if it still gives the tags of fp32.

    Args:
        onnx: the network in fp32, ``<stem>.labels.safetensors`` next to it.
        out: the output folder; the file there is called ``model-fp16.onnx`` or ``model-int8-fused.onnx``, for example.
        precision, attention: as for :func:`convert`.
        calibration_images: the user's images: half of them set the ranges for int8, the other half is the gate. Without
            them the gate is eight synthetic images, and int8 is not available.
        min_agreement: the share of the gate's images that must keep their tags, 0..1; None: 0.98, for int8 0.9.

    Returns:
        the file that was written, and the gate's measurements.

    Raises:
        AccuracyError, NonFiniteError: too many tags change, or logits are NaN or infinite; nothing was written.
        LabelBankError: the label bank is missing.
        OutputError: the files cannot be written.
        ModelError, OptionError, MissingPartError, FrameError: as :func:`convert`.
    """
    source = os.fspath(onnx)
    reference = read_payload(source)
    bank = LabelBank.load(labels_path(source), trust=False)
    ranges: Sequence[FrameLike] = ()
    frames: Sequence[FrameLike] = synthetic()
    targets: NDArray[Any] | None = None
    if calibration_images is not None:
        calibration_images.check()
        ranges, (frames, targets) = calibration_images.ranges, calibration_images.gate(_GATE)
    if read_spec(reference, source).open:
        raise errors.ModelError(
            source,
            "a closed network",
            "an open one",
            "Convert a closed network (pvlr export without --open), or build an open one as it is.",
        )
    payload = convert(
        reference, precision=precision, attention=attention, frames=ranges, source=source
    )
    agreement = check(payload, reference, frames, bank.thresholds, targets, source=source)
    agreement.check(
        least_agreement(precision) if min_agreement is None else min_agreement,
        f"precision {precision}",
    )
    fused = "-fused" if attention == "fused" else ""
    path = Path(out) / f"{Path(source).stem}-{precision}{fused}.onnx"
    write_files({path: payload, labels_path(path): bank.to_bytes()})
    return path, agreement


def synthetic() -> list[NDArray[np.uint8]]:
    """The default golden frame, rotated and mirrored: eight BGR frames for a gate without images."""
    turned = [np.rot90(golden.default_frame(), quarter) for quarter in range(4)]
    return [np.ascontiguousarray(frame) for image in turned for frame in (image, image[:, ::-1])]


def check(
    payload: bytes,
    reference: bytes,
    frames: Iterable[FrameLike],
    thresholds: NDArray[np.float32],
    targets: NDArray[Any] | None = None,
    *,
    source: str = "network",
) -> Agreement:
    """Compare a network that :func:`convert` made with the original.

    Every intermediate result is rounded to its type in the graph; sums inside an operator are float32. Tensor cores
    compute the same, except for the order of the sums.

    Args:
        payload, reference: the converted and the fp32 network.
        frames: frames of any kind, read once.
        thresholds: float32 (C,).
        targets: (N, C) of 1 (present), -1 (absent), 0 (unknown), for the mAP of both.
        source: names the network in errors.

    Raises:
        MissingPartError: ONNX or ONNX Runtime is not installed.
        FrameError: a frame is invalid.
        NonFiniteError: the converted network gives NaN or infinite logits.
    """
    preprocess = Preprocessor(spec_of(edit.load(reference, "reference"), "reference").input)
    images = [preprocess.load(frame) for frame in frames]
    logits, exact = (
        np.stack([logits_of_image for logits_of_image, _ in outputs_of(network, images)])
        for network in (payload, reference)
    )
    if not np.isfinite(logits).all():
        raise golden.non_finite(source)
    return compare(logits, exact, thresholds, targets)


def outputs_of(
    payload: bytes, images: Iterable[NDArray[np.float32]]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Logits (C,) and similarity (N, C) of preprocessed frames (3, H, W) in ONNX Runtime: slow, but exact to the graph.

    Raises:
        MissingPartError: ONNX or ONNX Runtime is not installed.
    """
    with errors.needed("onnxruntime", "ONNX Runtime", "int8"):
        onnxruntime = runtimes.onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.log_severity_level = 3
    # A CPU's integer kernels may saturate where a GPU's do not; in floating point the same sums are exact.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    network = emulated(with_definition(edit.load(payload, "network"))).SerializeToString()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    for image in images:
        logits, similarity = session.run([LOGITS, SIMILARITY], {IMAGE: image[None]})
        yield logits[0], similarity[0]
