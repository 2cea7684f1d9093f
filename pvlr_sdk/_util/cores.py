"""What the affinity and the cgroups of this process leave it: CPU cores and memory."""

from __future__ import annotations

import os
from pathlib import Path


def available_cores(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Cores available to this process: its CPU affinity, limited by its cgroup v2 quota; at least 1.

    A container with a quota of 2 CPUs on a 64-core host sees 64 cores, and 64 threads would be throttled. A fraction
    of a core is not counted, since its thread would delay all others.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota(root, membership)
    return max(1, min(cores, int(quota))) if quota is not None else cores


def memory_limit(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Bytes of memory that this process's cgroups, of version 2 or 1, allow it; None without a limit."""
    files = [folder / "memory.max" for folder in cgroup_folders(root, membership)]
    files += [
        folder / "memory.limit_in_bytes"
        for folder in cgroup_folders(root / "memory", membership, "memory")
    ]
    limits = []
    for file in files:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):
            continue  # no controller here, or "max"
    return min(limits, default=None)


def usable_memory() -> int:
    """Bytes of memory that this process may use: that of the machine, within the limits of its cgroups."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total, memory_limit() or total)


def cgroup_folders(root: Path, membership: Path, controller: str = "") -> list[Path]:
    """The cgroup folders that limit this process, from its own up to the root; empty without cgroups.

    ``controller`` is one of version 1, whose hierarchy ``root`` is; without it they are those of version 2.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return []
    groups = (line[2] for line in lines if len(line) == 3 and controller in line[1].split(","))
    group = next(groups, None)
    if group is None:
        return []
    folder = root / group.lstrip("/")
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
