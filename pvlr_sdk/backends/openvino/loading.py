"""Loads a bundle on one of OpenVINO's devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from . import isolated
from .backend import OpenVinoBackend
from .compilation import Network, open_core
from .device import CPU, supports_bf16

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle
    from ...bundle.manifest import Manifest


def load(
    bundle: Bundle,
    precision: str | None,
    num_threads: int | None,
    *,
    device: str,
    throughput: bool,
    fresh: bool,
    trusted: bool,
) -> OpenVinoBackend:
    """Load a verified bundle; see :func:`pvlr_sdk.backends.open_backend`."""
    manifest = bundle.manifest
    device = CPU if device == "auto" else device.upper()
    chosen = _plan_precision(precision, manifest, device)
    sha256 = manifest.files["plan"].sha256
    network = Network.of(str(bundle.path), bundle.payload, sha256, manifest, bundle.labels)
    if not trusted:
        # The restricted process may not use another device, so it loads the plan on the CPU.
        on_cpu = chosen if device == CPU else _plan_precision("auto", manifest, CPU)
        isolated.ensure(bundle, network, on_cpu, num_threads, throughput=throughput)
    return OpenVinoBackend(
        network, chosen, num_threads, device=device, throughput=throughput, fresh=fresh
    )


def _plan_precision(wanted: str | None, manifest: Manifest, device: str) -> str:
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
