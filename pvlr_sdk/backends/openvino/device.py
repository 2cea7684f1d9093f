"""The devices that OpenVINO runs a plan on: the CPU, and Intel's GPUs and NPUs. Each has options of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ... import errors
from ..._util.cores import available_cores

if TYPE_CHECKING:
    import openvino

CPU = "CPU"
_WITHOUT_BF16 = frozenset(["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"])
"""Values of oneDNN's environment variable."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def find_device(core: openvino.Core, name: str, source: str) -> str:
    """OpenVINO's name of a device of this machine, for example ``GPU.1``.

    Raises:
        BackendError: there is no such device; the message names the available devices.
    """
    wanted = name.upper()
    if wanted == CPU:
        return wanted  # without asking, which loads the libraries of all devices
    available = list(core.available_devices)
    # The only GPU of a machine is listed as GPU; GPU is a name of GPU.0 where there are several.
    if (
        wanted in available
        or wanted.removesuffix(".0") in available
        or any(name.startswith(f"{wanted}.") for name in available)
    ):
        return wanted
    raise errors.BackendError(
        source,
        f"the OpenVINO device {wanted}",
        f"a machine with {', '.join(available) or 'none'}",
        "Install the driver of the device (docs/install.md), or omit the device.",
    )


def has_capability(core: openvino.Core, device: str, name: str) -> bool:
    """Whether a device states one of OpenVINO's capabilities, for example ``BF16`` or ``EXPORT_IMPORT``."""
    return name in core.get_property(device, "OPTIMIZATION_CAPABILITIES")


def supports_bf16(core: openvino.Core) -> bool:
    """Whether this CPU computes in bfloat16.

    OpenVINO states what the CPU has, also where ``ONEDNN_MAX_CPU_ISA`` limits its kernels to older instructions.
    """
    return (
        has_capability(core, CPU, "BF16")
        and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_BF16
    )


def fast_precision(core: openvino.Core, device: str) -> str:
    """What ``auto`` stands for: bf16 on a CPU and fp16 elsewhere, where the device computes in it, else fp32."""
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


def label_options() -> dict[str, Any]:
    """OpenVINO's options for the part for labels. Its inference takes less than a millisecond on one thread; on several
    it waits until the last one gets a core, which other threads may keep busy for much longer."""
    return engine_options(CPU, "f32", 1, throughput=False)


def engine_options(device: str, hint: str, threads: int, throughput: bool) -> dict[str, Any]:
    """OpenVINO's options; ``hint`` is the precision of what the network's own types leave open."""
    options = {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
    }
    if device == CPU:
        # OpenVINO pins the threads of every process to the first cores: two processes with one thread each would share
        # one. Only a tagger that uses all cores is pinned, because that keeps its slowest frames short.
        pinned = not throughput and threads >= available_cores()
        return {**options, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": pinned}
    # A batch that OpenVINO forms by itself waits for more frames, and may change the bits of a result.
    return {**options, "ALLOW_AUTO_BATCHING": False}
