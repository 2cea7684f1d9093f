"""How much memory this process may still take, and how it keeps what it has."""

from __future__ import annotations

import ctypes
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


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for the next ones, where the C library is glibc.

    By itself glibc gives every large tensor back to the kernel, which clears its pages when the next step asks for
    them again: a step of training on a CPU takes up to half as long again. What is larger than 1 GiB, as cached
    features are, is still given back. Returns whether it was possible.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_MAX, 0)  # before 2.35 such a threshold is refused
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
