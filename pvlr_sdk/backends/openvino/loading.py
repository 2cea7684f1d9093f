"""Loads a bundle on one of OpenVINO's devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import isolated
from .backend import OpenVinoBackend
from .compilation import Network
from .device import CPU
from .precision import plan_precision

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
    chosen = plan_precision(precision, manifest, device)
    sha256 = manifest.files["plan"].sha256
    network = Network.of(str(bundle.path), bundle.payload, sha256, manifest, bundle.labels)
    if not trusted:
        # The restricted process may not use another device, so it loads the plan on the CPU.
        on_cpu = chosen if device == CPU else plan_precision("auto", manifest, CPU)
        isolated.ensure(bundle, network, on_cpu, num_threads, throughput=throughput)
    return OpenVinoBackend(
        network, chosen, num_threads, device=device, throughput=throughput, fresh=fresh
    )
