"""The number of CPU cores available to this process."""

from __future__ import annotations

import os
from pathlib import Path


def available_cores(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Cores available to this process: its CPU affinity, limited by its cgroup v2 quota; at least 1.

    A container with a quota of 2 CPUs on a 64-core host sees 64 cores, and 64 threads would be throttled. A fraction
    of a core is not counted, since its thread would delay all others.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota(root, membership)
    return max(1, min(cores, int(quota))) if quota is not None else cores


def cgroup_folders(root: Path, membership: Path) -> list[Path]:
    """The cgroup v2 folders that limit this process, from its own up to the root; empty without cgroups."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    group = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), None)
    if group is None:
        return []
    folder = root / group
    return [candidate for candidate in (folder, *folder.parents) if candidate.is_relative_to(root)]


def _cgroup_quota(root: Path, membership: Path) -> float | None:
    """The smallest ``cpu.max`` from this process's cgroup up to the root, in cores; None without a limit."""
    quotas = []
    for folder in cgroup_folders(root, membership):
        try:
            limit, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(limit) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no controller here, or "max"
    return min(quotas, default=None)
