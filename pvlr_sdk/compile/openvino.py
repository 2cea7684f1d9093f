"""Builds plans for the CPU: measures the precisions that this machine computes in, and keeps the ONNX network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from ..backends.openvino import Network, OpenVinoBackend, isolated, open_core, supports_bf16
from .builder import BuildRequest, Reference
from .gate import MIN_AGREEMENT, compare, logits_of_all, median_times
from .onnx.quantize import quantize
from .onnx.weights import store_in_8_bits

if TYPE_CHECKING:
    from ..backends import Backend
    from ..bundle.bundle import Bundle
    from .exported import Exported
    from .tensorrt_options import BuildOptions

_FP32_TOLERANCE = 1e-3
"""Largest logit difference between two machines in fp32. A Lite2 network gave 5e-7 between AVX2 and AVX-512; this
leaves room for other kernels and still moves no score by more than 0.00025."""


class OpenVinoBuilder:
    """See :class:`pvlr_sdk.compile.builder.Builder`."""

    backend = "openvino"

    def check(self, precision: str, options: BuildOptions | None) -> None:
        # The last option: --dla changes the batch too.
        for name in options.chosen()[-1:] if options is not None else ():
            option = f"--{name.replace('_', '-')}"
            hint = f"Add --device tensorrt, or omit {option}."
            raise errors.OptionError(name, expected="no TensorRT options", got=f"{option} with --device cpu", hint=hint)

    def build(self, source: Exported, request: BuildRequest) -> Bundle:
        core = open_core()
        reference = Reference(source)
        network, precision = source.network, request.precision
        available = ["fp32", "bf16"] if supports_bf16(core) else ["fp32"]
        measured: dict[str, Any] = {}
        if request.calibration_images is not None:
            network, precision, measured = _choose(reference, request, available)
            if precision != "int8":
                reference = Reference(replace(source, network=network))  # the plan's own logits
        for lower in ["int8"] if precision == "int8" else available[1:]:
            backend = OpenVinoBackend(network, lower, cached=False)
            measured[f"golden_{lower}_difference"] = reference.difference(backend, f"precision {lower}")
        bundle = reference.bundle(
            request.out,
            network.payload,
            backend=self.backend,
            precision=precision,
            fp32_until=network.fp32_until,
            tolerance=_tolerances(precision, float(np.ptp(reference.logits)), measured),
            built={
                "onnx_sha256": source.network.sha256,
                "openvino": core.get_versions("CPU")["CPU"].build_number,
                "machine": core.get_property("CPU", "FULL_DEVICE_NAME"),
            },
            measured=measured,
        )
        isolated.record(network, bundle.manifest.golden.frame_png)  # it has just run in this process
        return bundle


def _choose(
    reference: Reference, request: BuildRequest, available: Sequence[str]
) -> tuple[Network, str, dict[str, Any]]:
    """Compare every precision with fp32 on the gate's images, time them, and choose.

    ``auto`` stores the weights in 8 bits if fp32 with them passes the gate, and chooses the fastest precision that
    passes, int8 included; any other precision must pass. ``available`` are the precisions that this machine computes in
    without quantising.

    Returns:
        the network of the plan, the precision for its manifest, and the measurements.
    """
    images, wanted = request.calibration_images, request.precision
    assert images is not None
    images.check()
    network, prepare = reference.source.network, reference.preprocess.load
    thresholds, (gate, targets) = reference.source.bank.thresholds, images.gate()
    least = MIN_AGREEMENT if request.min_agreement is None else request.min_agreement
    exact = logits_of_all(map(prepare, gate), reference.backend)
    if wanted == "auto":
        inputs = list(map(prepare, images.ranges))
        stored = _with_payload(network, store_in_8_bits(network, inputs))
        rows = logits_of_all(map(prepare, gate), OpenVinoBackend(stored, "fp32", cached=False))
        if compare(rows, exact, thresholds).tag_sets >= least:
            network = stored
    # One that this machine lacks is an error of its engine.
    candidates = {name: (network, name) for name in (*available, wanted) if name not in ("auto", "int8")}
    if wanted in ("auto", "int8") and not network.open:
        payload = quantize(network.payload, images.ranges, prepare, network.fp32_until)
        candidates["int8"] = (replace(_with_payload(network, payload), fp32_until=None), "int8")
    engines: dict[str, Backend] = {
        name: OpenVinoBackend(candidate, precision, cached=False) for name, (candidate, precision) in candidates.items()
    }
    logits = {name: logits_of_all(map(prepare, gate), engine) for name, engine in engines.items()}
    agreement = {name: compare(rows, exact, thresholds, targets) for name, rows in logits.items()}
    speed = {name: round(1e3 * value, 3) for name, value in median_times(engines).items()}
    chosen = wanted
    if wanted == "auto":
        passing = (name for name in speed if agreement[name].tag_sets >= least)
        chosen = min(passing, key=lambda name: speed[name])
    agreement[chosen].check(least, f"precision {chosen}")
    measured = {
        "precisions": {name: {"inference_ms": speed[name], **agreement[name].to_dict()} for name in candidates},
        "calibrated_on": len(images.ranges),
        "min_agreement": least,
    }
    # "auto" if any machine with these units makes this choice from the plan alone.
    in_manifest = "auto" if wanted == "auto" and chosen == available[-1] else chosen
    return candidates[chosen][0], in_manifest, measured


def _with_payload(network: Network, payload: bytes) -> Network:
    return replace(network, payload=payload, sha256=hashlib.sha256(payload).hexdigest())


def _tolerances(precision: str, spread: float, measured: dict[str, Any]) -> dict[str, float]:
    """Largest difference allowed between the fp32 golden logits and those of another machine, by precision.

    It depends far more on the model than on the machine: a Lite2 network in bf16 was off by 0.144 on AMX, 0.145 on
    AVX-512 BF16 and 0.147 with emulated bf16. So the tolerance is twice the difference measured here. Without bf16
    hardware it is a fifth of the spread of the logits: that network's 0.144 was a fourteenth.
    """
    lower = "int8" if precision == "int8" else "bf16"
    difference = measured.get(f"golden_{lower}_difference", 0.1 * spread)
    tolerances = {lower: max(0.02, 2 * difference)}
    return tolerances if lower == "int8" else {"fp32": _FP32_TOLERANCE, **tolerances}
