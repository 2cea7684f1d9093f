"""Clocks, power mode and memory of the machine. A value that the machine does not report is None."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...._util.cores import available_cores
from ..probes import board
from ..probes.programs import number_of, output_of, text_of

_CPU = Path("/sys/devices/system/cpu")


def describe(cpu: str) -> dict[str, Any]:
    """The machine, with ``cpu`` as its name, and the versions that affect the results."""
    import importlib.metadata

    from ...._util.version import __version__

    return {
        "cpu": cpu,
        "cores": available_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pvlr_sdk": __version__,
        "numpy": importlib.metadata.version("numpy"),
        "power_mode": power_mode(),
    }


def power_mode() -> str | None:
    """A Jetson's power model (nvpmodel), else the CPU's frequency governor."""
    with suppress(RuntimeError):  # nvpmodel reports an error
        return board.power_mode(output_of("nvpmodel", "-q")) or text_of(
            _CPU / "cpu0/cpufreq/scaling_governor"
        )
    return None


def state() -> dict[str, Any]:
    """What changes during a measurement: load, clock in MHz, how often the CPU was throttled for heat."""
    clocks = _numbers("cpufreq/scaling_cur_freq")
    throttled = _numbers("thermal_throttle/core_throttle_count")
    return {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "clock_mhz": sum(clocks) / len(clocks) / 1000 if clocks else None,
        "throttled": sum(throttled) if throttled else None,
    }


def peak_memory_mb() -> float | None:
    """Peak memory of this process, in MB; None where the system does not tell (Linux does)."""
    try:  # getrusage would include the peak of the program that started this one
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 / 1e6 if match else None


def _numbers(name: str) -> list[int]:
    """The number in this file of each CPU, where there is one."""
    return [
        value for path in _CPU.glob(f"cpu[0-9]*/{name}") if (value := number_of(path)) is not None
    ]
