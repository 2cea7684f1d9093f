"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

from pvlr_sdk.cores import cgroup_folders


def available_memory(
    root: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> int:
    """Bytes that can be taken without swapping: what the kernel calls available, cut to the cgroup v2 limits.

    A container with a limit of 4 GB on a 64 GB host sees 64 GB; who takes them is killed. Pages of files that the
    cgroup has read count as free, since the kernel drops them first. 0 where the system does not tell.
    """
    try:
        line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        free = [int(line.split()[1]) * 1024]
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
    for folder in cgroup_folders(root, membership):
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free.append(limit - used + int(statistics["inactive_file"]))
        except (OSError, ValueError, KeyError):
            continue  # no controller here, or "max"
    return max(0, min(free))
