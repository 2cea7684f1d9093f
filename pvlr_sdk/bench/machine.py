"""What the machine tells about its clocks, power and memory. Every probe may find nothing; then its value is None."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cores import available_cores

_CPU = Path("/sys/devices/system/cpu")
_POWERCAP = Path("/sys/class/powercap")


def describe(cpu: str) -> dict[str, Any]:
    """The machine, with the name of its ``cpu``, and the versions that a figure belongs to."""
    import importlib.metadata

    from .. import __version__

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
    program = shutil.which("nvpmodel")
    if program:
        done = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=10, check=False)
        return " ".join(done.stdout.split()) or None
    return _text(_CPU / "cpu0/cpufreq/scaling_governor")


def state() -> dict[str, Any]:
    """What changes while one measures: load, clock in MHz, how often the CPU was throttled for heat."""
    clocks = [_number(path) for path in _CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    throttled = [_number(path) for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [clock for clock in clocks if clock is not None]
    counts = [count for count in throttled if count is not None]
    return {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "clock_mhz": sum(known) / len(known) / 1000 if known else None,
        "throttled": sum(counts) if counts else None,
    }


def peak_memory_mb() -> float | None:
    """The most memory that this process ever held, in MB."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 / 1e6 if platform.system() == "Linux" else peak / 1e6


class EnergyMeter:
    """Joules that the machine used between ``start`` and ``joules``: the CPU packages' RAPL counters, or a Jetson's
    total power through jetson-stats. ``source`` says which; None: the machine does not tell."""

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        packages = sorted(p for p in powercap.glob("intel-rapl:*") if p.name.count(":") == 1)
        self._counters = [p for p in packages if _number(p / "energy_uj") is not None]
        self._jetson = None if self._counters else _jetson_power()
        self.source = "RAPL" if self._counters else "jetson-stats" if self._jetson else None
        self._before: list[float] = []

    def start(self) -> None:
        """Begin to count."""
        self._before = [_number(counter / "energy_uj") or 0.0 for counter in self._counters]

    def joules(self, seconds: float) -> float | None:
        """Joules since ``start``, which was ``seconds`` ago; of a Jetson the power now times those seconds."""
        if self._jetson:
            return self._jetson() * seconds
        total = 0.0
        for counter, before in zip(self._counters, self._before, strict=True):
            used = (_number(counter / "energy_uj") or 0.0) - before
            # The counter starts again at 0 once it is full.
            total += used if used >= 0 else used + (_number(counter / "max_energy_range_uj") or 0.0)
        return total / 1e6 if self._counters else None


def _jetson_power() -> Callable[[], float] | None:
    """Reads a Jetson's total power in watts."""
    try:
        from jtop import jtop
    except ImportError:
        return None
    board = jtop()
    try:
        board.start()
    except Exception:  # no service, no rights: jetson-stats raises its own kinds
        return None
    return lambda: float(board.power["tot"]["power"]) / 1000


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
