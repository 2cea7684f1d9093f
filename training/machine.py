"""The hardware of a run: device, precision, memory, and the processes that torchrun started together."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pvlr_sdk._util.cores import cgroup_folders
from pvlr_sdk.errors import MissingPartError, install_hint


class Machine:
    """The first CUDA device if there is one, else the CPU; one process, or all that torchrun started.

    Attributes:
        device: where the model is.
        bf16: whether ``autocast`` computes in bfloat16.
        rank, processes: the number of this process, and how many there are.
    """

    def __init__(self, precision: Literal["auto", "bf16", "fp32"] = "auto") -> None:
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        # A single process does not import accelerate.
        self._accelerator: Any = _open_accelerator() if self.processes > 1 else None
        alone = "cuda" if torch.cuda.is_available() else "cpu"
        self.device: torch.device = (
            self._accelerator.device if self._accelerator else torch.device(alone)
        )
        self.bf16 = precision == "bf16" or (precision == "auto" and has_bf16(self.device))

    @property
    def leads(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in bfloat16 if ``bf16``."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all processes."""
        return self._accelerator.prepare_model(network) if self._accelerator else network

    def mean(self, value: Tensor) -> float:
        """The mean of a number over all processes."""
        value = value.detach()
        return float(self._accelerator.reduce(value, "mean") if self._accelerator else value)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, ordered by rank; all must have equally many."""
        return self._accelerator.gather(rows.contiguous()) if self._accelerator else rows

    def union(self, names: list[str]) -> set[str]:
        """The names of all processes."""
        if not self._accelerator:
            return set(names)
        from accelerate.utils import gather_object

        return set(gather_object(names))

    def wait(self) -> None:
        """Wait for all processes to reach this point."""
        if self._accelerator:
            self._accelerator.wait_for_everyone()

    def leave(self) -> None:
        """Wait for the other processes and end the process group."""
        if self._accelerator:
            self._accelerator.end_training()


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, which is then faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def _open_accelerator() -> Any:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise MissingPartError(
            "torchrun", "the package accelerate", "it is not installed", install_hint("train")
        ) from None
    # With some settings, parameters of the head get no gradient.
    options = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[options])


def available_memory(
    root: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> int:
    """Bytes that can be allocated without swapping: MemAvailable, capped by the cgroup v2 limits; 0 if unknown.

    A container with a limit of 4 GB on a 64 GB host sees 64 GB, and is killed when it uses them. File pages of the
    cgroup count as free, since the kernel drops them first.
    """
    try:
        line = next(
            line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")
        )
        free = [int(line.split()[1]) * 1024]
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
    for folder in cgroup_folders(root, membership):
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            statistics = dict(
                line.split() for line in (folder / "memory.stat").read_text().splitlines()
            )
            free.append(limit - used + int(statistics["inactive_file"]))
        except (OSError, ValueError, KeyError):
            continue  # no memory controller here, or "max"
    return max(0, min(free))


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Make glibc keep the memory of freed tensors for the next ones; returns whether that is possible.

    By default glibc returns every large tensor to the kernel, which clears its pages again in the next step: a training
    step on a CPU then takes up to 50 % longer. Allocations above 1 GiB, such as cached features, are still returned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # glibc before 2.35 rejects that threshold
    kept = mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_MAX, 0)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
