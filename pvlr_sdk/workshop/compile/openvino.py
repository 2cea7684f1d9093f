"""Builds plans for the CPU: one network for all precisions, and measurements of those that this machine computes in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...backends.openvino import Network, OpenVinoBackend, isolated, open_core, supports_bf16
from ...bundle.open_labels import label_inputs
from .builder import BuildRequest, Reference
from .gate import MIN_AGREEMENT, compare, logits_of_all, median_times
from .onnx.quantize import quantize
from .onnx.weights import store_in_8_bits

if TYPE_CHECKING:
    from ...backends import Backend
    from ...bundle.bundle import Bundle
    from ...frames.frames import FrameLike
    from .calibration import CalibrationImages
    from .exported import Exported
    from .tensorrt_options import BuildOptions

_FP32_TOLERANCE = 1e-3
"""Largest logit difference between two machines in fp32. A Lite2 network gave 5e-7 between AVX2 and AVX-512; this
leaves room for other kernels and still moves no score by more than 0.00025."""


class OpenVinoBuilder:
    """See :class:`pvlr_sdk.workshop.compile.builder.Builder`."""

    backend = "openvino"

    def check(self, precision: str, options: BuildOptions | None) -> None:
        # The last option: --dla changes the batch too.
        for name in options.chosen()[-1:] if options is not None else ():
            option = f"--{name.replace('_', '-')}"
            raise errors.OptionError(
                name,
                "no TensorRT options",
                f"{option} with --device cpu",
                f"Add --device tensorrt, or omit {option}.",
            )

    def build(self, source: Exported, request: BuildRequest) -> Bundle:
        core = open_core()
        reference = Reference(source)
        network = source.network
        runs = ["fp32", "bf16"] if supports_bf16(core) else ["fp32"]
        measured: dict[str, Any] = {}
        if request.calibration_images is not None:
            network, runs, measured = _choose(reference, request, runs)
            reference = Reference(replace(source, network=network))  # the plan's own logits
        for name in runs:
            if name != "fp32":
                backend = OpenVinoBackend(network, name, cached=False)
                measured[f"golden_{name}_difference"] = reference.difference(
                    backend, f"precision {name}"
                )
        bundle = reference.bundle(
            request.out,
            network.payload,
            backend=self.backend,
            precision=request.precision,
            fp32_until=network.fp32_until,
            tolerance=_tolerances(
                runs, float(np.ptp(reference.logits)), measured, bf16=supports_bf16(core)
            ),
            built={
                "onnx_sha256": source.network.sha256,
                "openvino": core.get_versions("CPU")["CPU"].build_number,
                "machine": core.get_property("CPU", "FULL_DEVICE_NAME"),
            },
            measured=measured,
        )
        # it has just run in this process
        isolated.record(network, bundle.manifest.golden.frame_png)
        return bundle


def _choose(
    reference: Reference, request: BuildRequest, available: Sequence[str]
) -> tuple[Network, list[str], dict[str, Any]]:
    """Compare every precision with fp32 on the gate's images, and time them.

    ``auto`` and ``int8`` store the weights in 8 bits and the ranges of the activations, for every CPU. ``auto`` keeps
    the network as it is if that changes the tags in fp32; any other precision must pass the gate. ``available`` are the
    precisions that this machine computes in without quantising.

    Returns:
        the network of the plan, the precisions that pass, and the measurements.
    """
    images = request.calibration_images
    wanted = request.precision
    source = reference.source
    assert images is not None
    images.check()
    prepare, thresholds, (gate, targets) = (
        reference.preprocess.load,
        source.bank.thresholds,
        images.gate(),
    )
    limit = MIN_AGREEMENT if request.min_agreement is None else request.min_agreement
    exact = logits_of_all(map(prepare, gate), reference.backend)
    # A precision that this machine lacks is an error of its engine.
    attempts = [(source.network, list(dict.fromkeys((*available, wanted.replace("auto", "fp32")))))]
    if wanted in ("auto", "int8"):
        attempts[: wanted == "int8"] = [
            (_in_8_bits(source.network, images, prepare), [*available, "int8"])
        ]
    for network, names in attempts:
        engines: dict[str, Backend] = {
            name: OpenVinoBackend(network, name, cached=False) for name in names
        }
        agreement = {
            name: compare(logits_of_all(map(prepare, gate), engine), exact, thresholds, targets)
            for name, engine in engines.items()
        }
        runs = [name for name in names if agreement[name].tag_sets >= limit]
        if "fp32" in runs:
            break
    agreement["fp32" if wanted == "auto" else wanted].check(limit, f"precision {wanted}")
    speed = {name: round(1e3 * value, 3) for name, value in median_times(engines).items()}
    measured = {
        "precisions": {
            name: {"inference_ms": speed[name], **agreement[name].to_dict()} for name in names
        },
        "calibrated_on": len(images.ranges),
        "min_agreement": limit,
    }
    return network, runs, measured


def _in_8_bits(
    network: Network, images: CalibrationImages, prepare: Callable[[FrameLike], NDArray[np.float32]]
) -> Network:
    """The network with weights of 8 bits, and ranges of activations for int8."""
    labels = (
        label_inputs(network.bank, network.open, network.source)
        if network.open and network.bank
        else None
    )
    with_ranges = quantize(
        network.payload, images.ranges, prepare, network.fp32_until, labels=labels
    )
    payload = store_in_8_bits(network, list(map(prepare, images.ranges)), with_ranges)
    return replace(network, payload=payload, sha256=hashlib.sha256(payload).hexdigest())


def _tolerances(
    runs: Sequence[str], spread: float, measured: dict[str, Any], *, bf16: bool
) -> dict[str, float]:
    """Largest difference allowed between the fp32 golden logits and those of another machine, by precision.

    It depends far more on the model than on the machine: a Lite2 network in bf16 was off by 0.144 on AMX, 0.145 on
    AVX-512 BF16 and 0.147 with emulated bf16. So the tolerance is twice the difference measured here. Without bf16
    hardware it is a fifth of the spread of the logits: that network's 0.144 was a fourteenth.
    """
    differences = {name: measured[f"golden_{name}_difference"] for name in runs if name != "fp32"}
    if not bf16:
        differences["bf16"] = 0.1 * spread
    lower = {name: max(0.02, 2 * difference) for name, difference in differences.items()}
    return {"fp32": _FP32_TOLERANCE, **lower} if "fp32" in runs else lower
