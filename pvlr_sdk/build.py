"""ONNX network + label bank -> bundle."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import __version__, errors, golden
from .backends import PRECISIONS, check_choice
from .backends.openvino import OpenVinoBackend, open_core, supports_bf16
from .bundle import shortest, write_bundle
from .exported import read_exported
from .frames import FrameLike, load_bgr
from .gate import MIN_AGREEMENT
from .manifest import FORMAT, Manifest
from .precision import Photos, choose
from .preprocess import Preprocessor

if TYPE_CHECKING:
    from .tensorrt.options import BuildOptions
    from .tensorrt.progress import Watcher

_FP32_TOLERANCE = 1e-3
"""Largest logit difference between two machines in fp32. A Lite2 network gave 5e-7 between AVX2 and AVX-512; this
leaves room for other kernels and still moves no score by more than 0.00025."""


def build(
    onnx: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    device: str = "cpu",
    precision: str = "auto",
    labels: str | os.PathLike[str] | None = None,
    golden_frame: FrameLike | None = None,
    photos: Photos | None = None,
    min_agreement: float | None = None,
    options: BuildOptions | None = None,
    watcher: Watcher | None = None,
) -> Manifest:
    """Build a plan: check an exported network, run it on a golden frame and write the bundle.

    Args:
        onnx: the exported network, its weights inside.
        out: the plan to write; ``<stem>.json`` and ``<stem>.labels.safetensors`` come beside it.
        device: ``cpu``, or ``tensorrt`` for the NVIDIA GPU of this machine.
        precision: what the plan runs in: ``fp32``, ``bf16``, ``int8``, or ``auto``: with ``photos`` the fastest on this
            machine that keeps the tags, else bf16 where the CPU computes in it. TensorRT also has ``fp16``, and takes
            it for ``auto``.
        labels: the label bank; by default ``<stem>.labels.safetensors`` beside the network.
        golden_frame: the picture for the self-test at load, stored in the manifest; by default a synthetic one.
        photos: photos to quantise with, and to hold the precision against fp32 on.
        min_agreement: the share of those photos that must keep their tag set, 0..1; by default 0.9, for TensorRT
            0.98 (int8 0.9).
        options, watcher: for TensorRT, see :func:`pvlr_sdk.tensorrt.plan.build_plan`.

    Returns:
        the manifest that was written.

    Raises:
        OptionError, BackendError: the device or precision is unknown, or this version can't build for it.
        ModelError: the file is no exported PVLR network in fp32.
        LabelBankError: the label bank is missing or does not fit the network.
        AccuracyError: the precision changes the tags of too many photos.
        NonFiniteError: the network gives NaN or infinite logits.
        OutputError: the bundle can't be written; one that was there before is untouched.
        UnsupportedNodeError, BuildError: TensorRT refuses the network.
    """
    check_choice("device", device, ("cpu", "tensorrt", "auto"))
    if device != "tensorrt":
        hint = "fp16 is for --device tensorrt." if precision == "fp16" else "Take one of these."
        check_choice("precision", precision, PRECISIONS, hint)
        _check_options(device, options)
    _check_photos(precision, photos, min_agreement)
    if os.path.realpath(onnx) == os.path.realpath(out):
        raise errors.OptionError(
            "out", expected="a file of its own", got=f"{out}, the network", hint="Name another one with --out."
        )
    exported = read_exported(onnx, labels)
    if device == "tensorrt":
        from .tensorrt.plan import build_plan

        return build_plan(
            exported,
            out,
            precision=precision,
            golden_frame=golden_frame,
            photos=photos,
            min_agreement=min_agreement,
            options=options,
            watcher=watcher,
        )
    network, spec, bank = exported.network, exported.spec, exported.bank
    source, sha256, core = network.source, network.sha256, open_core()
    min_agreement = MIN_AGREEMENT if min_agreement is None else min_agreement
    frame = golden.picture() if golden_frame is None else load_bgr(golden_frame)
    preprocess = Preprocessor(spec.input)
    reference = golden.logits_of(frame, OpenVinoBackend(network, "fp32", None, cached=False), preprocess)
    if not np.isfinite(reference).all():
        raise golden.non_finite(source)
    precisions = ["fp32", "bf16"] if supports_bf16(core) else ["fp32"]
    measured: dict[str, Any] = {}
    if photos is not None:
        chosen = choose(network, precision, precisions, photos, preprocess, bank.thresholds, min_agreement)
        network, precision, measured = chosen.network, chosen.precision, chosen.measured
    for lower in ["int8"] if precision == "int8" else precisions[1:]:
        logits = golden.logits_of(frame, OpenVinoBackend(network, lower, cached=False), preprocess)
        measured[f"golden_{lower}_difference"] = float(np.abs(logits - reference).max())
    manifest = {
        "format": FORMAT,
        "name": spec.name,
        "backend": "openvino",
        "precision": precision,
        "fp32_until": network.fp32_until,
        "input": spec.input.model_dump(mode="json"),
        "attention": spec.attention.model_dump(mode="json"),
        "labels": [
            {"name": name, "threshold": shortest(threshold)}
            for name, threshold in zip(bank.names, bank.thresholds, strict=True)
        ],
        "golden": {
            "frame_png": golden.encode(frame),
            "logits": [shortest(value) for value in reference],
            "tolerance": _tolerances(precision, reference, measured),
        },
        "built": {
            "pvlr_sdk": __version__,
            "openvino": core.get_versions("CPU")["CPU"].build_number,
            "onnx_sha256": sha256,
            "source": spec.source,
            "machine": f"{platform.machine()}, {core.get_property('CPU', 'FULL_DEVICE_NAME')}",
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
        "measured": measured,
    }
    return write_bundle(out, network.payload, bank, manifest)


def _check_options(device: str, options: BuildOptions | None) -> None:
    """Raises OptionError for what only TensorRT can do."""
    # The last one: with --dla the batch is another one too.
    for name in options.chosen()[-1:] if options is not None else ():
        raise errors.OptionError(
            name,
            expected="none of TensorRT's options",
            got=f"--{name.replace('_', '-')} with --device {device}",
            hint="Add --device tensorrt, or leave it out.",
        )


def _check_photos(precision: str, photos: Photos | None, min_agreement: float | None) -> None:
    if precision == "int8" and photos is None:
        raise errors.OptionError(
            "precision", expected="photos to quantise with", got="none", hint="Give a folder with --calibrate DIR."
        )
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise errors.OptionError(
            "min_agreement", expected="a share from 0 to 1", got=str(min_agreement), hint="0.9 is nine photos of ten."
        )


def _tolerances(precision: str, reference: NDArray[np.float32], measured: dict[str, Any]) -> dict[str, float]:
    """Largest difference allowed between the golden logits, which are fp32, and those of another machine, by precision.

    It belongs to the model far more than to the machine: a Lite2 network in bf16 was off by 0.144 on AMX, 0.145 on
    AVX-512 BF16 and 0.147 with emulated bf16. So twice what we measure here. On a machine without bf16 we can only
    guess: a fifth of the spread of the logits, where that network's 0.144 was a fourteenth.
    """
    lower = "int8" if precision == "int8" else "bf16"
    difference = measured.get(f"golden_{lower}_difference", 0.1 * float(np.ptp(reference)))
    tolerances = {lower: max(0.02, 2 * difference)}
    return tolerances if lower == "int8" else {"fp32": _FP32_TOLERANCE, **tolerances}
