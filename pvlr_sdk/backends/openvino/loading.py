"""Loads a bundle on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from . import isolated
from .backend import OpenVinoBackend
from .network import Network

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle


def load(
    bundle: Bundle, precision: str | None, num_threads: int | None, *, throughput: bool, fresh: bool, trusted: bool
) -> OpenVinoBackend:
    """Load a verified bundle; see :func:`pvlr_sdk.backends.open_backend`."""
    manifest = bundle.manifest
    precision = _plan_precision(precision, manifest.precision)
    sha256 = manifest.files["plan"].sha256
    network = Network.of(str(bundle.path), bundle.payload, sha256, manifest, bundle.labels)
    if not trusted:
        isolated.ensure(bundle, network, precision, num_threads, throughput=throughput)
    return OpenVinoBackend(network, precision, num_threads, throughput=throughput, fresh=fresh)


def _plan_precision(wanted: str | None, built: str) -> str:
    """The precision to run a plan in: quantised weights have no other, and other weights do not run in int8."""
    if wanted is None or wanted == built or (wanted == "auto" and built == "int8"):
        return built
    if built == "int8":
        hint = "This plan's weights are quantised: build another one with --precision auto."
        raise errors.OptionError("precision", expected="int8 or auto", got=repr(wanted), hint=hint)
    hints = {
        "fp16": "fp16 is for TensorRT plans.",
        "int8": "Build a quantised plan with --precision int8 --calibration-images DIR.",
    }
    if wanted in hints:
        raise errors.OptionError("precision", expected="auto, fp32 or bf16", got=repr(wanted), hint=hints[wanted])
    return wanted
