"""Clocks, power mode and temperature of a Jetson, and of other machines as far as Linux reports them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .programs import number_of, output_of, package_version, text_of

_SYS = Path("/sys")
_TEGRA_RELEASE = Path("/etc/nv_tegra_release")
_GPU_DRIVERS = ("gpu", "ga10b", "gv11b", "gb10b", "gpc")


def jetson() -> dict[str, Any] | None:
    """L4T, JetPack and power mode; None if this is not a Jetson."""
    release = text_of(_TEGRA_RELEASE)
    if release is None:
        return None
    return {
        "l4t": l4t_version(release),
        "jetpack": package_version("nvidia-jetpack"),
        "power_mode": power_mode(output_of("nvpmodel", "-q")),
    }


def l4t_version(release: str) -> str | None:
    """``# R36 (release), REVISION: 4.3, ...`` -> ``36.4.3``."""
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return f"{match[1]}.{match[2]}" if match else None


def power_mode(text: str | None) -> str | None:
    """``NV Power Mode: MAXN`` and the number on the line after it -> ``MAXN (0)``."""
    match = re.search(r"Power Mode: *(\S+)\s+(\d+)?", text or "")
    return f"{match[1]} ({match[2]})" if match else None


def clocks() -> dict[str, Any]:
    """Current and maximum MHz of the first CPU core and an integrated GPU, and the CPU governor, where known."""
    cpu = _SYS / "devices/system/cpu/cpu0/cpufreq"
    rates: dict[str, Any] = {
        "cpu_mhz": _share(cpu / "scaling_cur_freq", cpu / "cpuinfo_max_freq", 1000),
        "governor": text_of(cpu / "scaling_governor"),
    }
    for device in sorted((_SYS / "class/devfreq").glob("*")):
        if any(name in device.name for name in _GPU_DRIVERS):
            rates[f"{device.name}_mhz"] = _share(
                device / "cur_freq", device / "max_freq", 1_000_000
            )
    return {key: value for key, value in rates.items() if value is not None}


def heat() -> dict[str, Any]:
    """The hottest sensor in degrees Celsius, and the devices that are throttled."""
    zones = {
        text_of(zone / "type") or zone.name: number / 1000
        for zone in sorted((_SYS / "class/thermal").glob("thermal_zone*"))
        if (number := number_of(zone / "temp")) is not None and number > 0
    }
    hottest = max(zones, key=lambda name: zones[name], default=None)
    slowed = [
        text_of(device / "type") or device.name
        for device in sorted((_SYS / "class/thermal").glob("cooling_device*"))
        if (number_of(device / "cur_state") or 0) > 0
        and "fan" not in (text_of(device / "type") or "").lower()
    ]
    return {
        "hottest": f"{hottest} {zones[hottest]:.0f}" if hottest else None,
        "throttling": ", ".join(sorted(set(slowed))) or "none",
    }


def _share(now: Path, most: Path, unit: int) -> str | None:
    current = number_of(now)
    limit = number_of(most)
    if current is None:
        return None
    return f"{current // unit} of {limit // unit}" if limit else str(current // unit)
