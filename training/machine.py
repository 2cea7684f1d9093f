"""What a run trains on: the device, its precision, and the other processes of the same run."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import MissingPartError


class Machine:
    """The first CUDA device if there is one, else the CPU; one process, or those that torchrun started together.

    Attributes:
        device: where the model is.
        bf16: whether ``autocast`` computes in bfloat16.
        rank, processes: this process's number, and how many there are.
    """

    def __init__(self, precision: Literal["auto", "bf16", "fp32"] = "auto") -> None:
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        # One process neither imports nor starts anything for several.
        self._accelerator: Any = _join() if self.processes > 1 else None
        self.device: torch.device = (
            self._accelerator.device if self._accelerator else torch.device("cuda" if _has_cuda() else "cpu")
        )
        self.bf16 = precision == "bf16" or (precision == "auto" and has_bf16(self.device))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Computes in bfloat16 where that is chosen."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, whose gradients are averaged over all processes."""
        return self._accelerator.prepare_model(network) if self._accelerator else network

    def accumulating(self, network: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one batch of a step: only the last one's gradients are exchanged."""
        return contextlib.nullcontext() if last or not self._accelerator else self._accelerator.no_sync(network)

    def mean(self, value: Tensor) -> float:
        """The mean over all processes of a number."""
        value = value.detach()
        return float(self._accelerator.reduce(value, "mean") if self._accelerator else value)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks; each must give as many."""
        if not self._accelerator:
            return rows
        return self._accelerator.gather(rows.contiguous())

    def union(self, names: list[str]) -> set[str]:
        """The names that any process has."""
        if not self._accelerator:
            return set(names)
        from accelerate.utils import gather_object

        return set(gather_object(names))

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self._accelerator:
            self._accelerator.wait_for_everyone()

    def leave(self) -> None:
        """Wait for the others and part from them."""
        if self._accelerator:
            self._accelerator.end_training()


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: there it is faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _join() -> Any:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise MissingPartError(
            "several processes",
            expected="the package accelerate",
            got="no such package",
            hint='Install it: pip install "pvlr-sdk[train]".',
        ) from None
    # Some options leave parameters of the head without a use, and so without a gradient to wait for.
    options = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=not _has_cuda(), kwargs_handlers=[options])
