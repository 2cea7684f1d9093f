"""Loads a bundle on one of OpenVINO's devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from . import isolated
from .backend import OpenVinoBackend
from .compilation import Network
from .device import CPU

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle


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
    precision = _plan_precision(precision, manifest.precision, device)
    sha256 = manifest.files["plan"].sha256
    network = Network.of(str(bundle.path), bundle.payload, sha256, manifest, bundle.labels)
    if not trusted:
        # The restricted process may not use another device, so it loads the plan on the CPU.
        there = precision if device == CPU else _plan_precision("auto", manifest.precision, CPU)
        isolated.ensure(bundle, network, there, num_threads, throughput=throughput)
    return OpenVinoBackend(network, precision, num_threads, device=device, throughput=throughput, fresh=fresh)


def _plan_precision(wanted: str | None, built: str, device: str) -> str:
    """The precision to run a plan in: quantised weights have no other, and other weights do not run in int8."""
    if wanted is None or wanted == built or (wanted == "auto" and built == "int8"):
        return built
    if built == "int8":
        hint = "This plan's weights are quantised: build another one with --precision auto."
        raise errors.OptionError("precision", expected="int8 or auto", got=repr(wanted), hint=hint)
    if wanted == "fp16" and device != CPU:
        return wanted
    hints = {
        "fp16": "fp16 is for GPUs and NPUs.",
        "int8": "Build a quantised plan with --precision int8 --calibration-images DIR.",
    }
    if wanted in hints:
        raise errors.OptionError("precision", expected="auto, fp32 or bf16", got=repr(wanted), hint=hints[wanted])
    return wanted
