"""The precision that a network is computed in: what a plan permits, and what a device computes in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ... import errors
from .compilation import open_core
from .device import CPU, has_capability

if TYPE_CHECKING:
    import openvino

    from ...bundle.manifest import Manifest

_WITHOUT_BF16 = frozenset(["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"])
"""Values of oneDNN's environment variable."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def plan_precision(wanted: str | None, manifest: Manifest, device: str) -> str:
    """The precision to run a plan in: one that its golden logits have a tolerance for, as its accuracy was checked.

    ``auto`` on the CPU is bf16 if it computes in that, else int8, else fp32.
    """
    runs = manifest.golden.tolerance
    wanted = wanted or manifest.precision
    if wanted == "auto":
        if device != CPU:
            return "auto" if "fp32" in runs else "int8"
        fast = ["bf16"] if supports_bf16(open_core()) else []
        return next((name for name in (*fast, "int8") if name in runs), "fp32")
    if wanted in runs or (wanted == "fp16" and device != CPU):
        return wanted
    expected = " or ".join(("auto", *runs))
    hints = {
        "fp16": "fp16 is for GPUs and NPUs.",
        "int8": "Build a plan with int8: pvlr build --calibration-images DIR.",
    }
    raise errors.OptionError(
        "precision",
        expected,
        repr(wanted),
        hints.get(wanted, "Build a plan that runs in this precision."),
    )


def supports_bf16(core: openvino.Core) -> bool:
    """Whether this CPU computes in bfloat16.

    OpenVINO states what the CPU has, also where ``ONEDNN_MAX_CPU_ISA`` limits its kernels to older instructions.
    """
    return (
        has_capability(core, CPU, "BF16")
        and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_BF16
    )


def fast_precision(core: openvino.Core, device: str) -> str:
    """The fastest floating-point precision of a device: bf16 (CPU) or fp16 if it computes in that, else fp32."""
    if device == CPU:
        return "bf16" if supports_bf16(core) else "fp32"
    return "fp16" if has_capability(core, device, "FP16") else "fp32"


def resolve_precision(core: openvino.Core, device: str, precision: str, source: str) -> str:
    """The precision to compute in. Raises BackendError if the device does not compute in it."""
    fast = fast_precision(core, device)
    if precision == "auto":
        return fast
    usable = [fast, "int8", "fp32"]
    if device != CPU:
        usable[2:] = [
            name for name in ("fp32", "bf16") if has_capability(core, device, name.upper())
        ]
    if precision not in usable:
        raise errors.BackendError(
            source,
            f"a {device.partition('.')[0]} that computes in {precision}",
            str(core.get_property(device, "FULL_DEVICE_NAME")),
            f'Use precision="auto" or "{"fp32" if device == CPU else fast}".',
        )
    return precision


def precision_hint(core: openvino.Core, device: str, precision: str) -> str:
    """The value of OpenVINO's INFERENCE_PRECISION_HINT; in a quantised network, for what is not quantised."""
    return _HINTS[fast_precision(core, device) if precision == "int8" else precision]
