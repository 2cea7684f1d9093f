"""The devices that OpenVINO runs a plan on: the CPU, and Intel's GPUs and NPUs. Each has options of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import errors
from ..._util.cores import available_cores

if TYPE_CHECKING:
    import openvino

CPU = "CPU"


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
