"""Timing calls on a device: with events or in a CUDA graph, with its L2 cache warm or cold. The CPU stands in for one,
so that all but CUDA's part is tested anywhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

Call = Callable[[], object]


class Clock(Protocol):
    """A device that times calls."""

    device: str

    def prepare(self, call: Call) -> Call:
        """The call in a graph, which starts it at once."""

    def samples(self, call: Call, count: int, *, cold: bool) -> list[float]:
        """Microseconds of each of ``count`` calls; cold: with nothing of theirs in the L2 cache."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``torch.compile`` of the function."""

    def facts(self) -> dict[str, Any]:
        """What the figures belong to: the card's name, its capability, driver and versions."""


class CudaClock:
    """CUDA events in a stream of its own."""

    device = "cuda"

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        properties = torch.cuda.get_device_properties(0)
        self.multiprocessors = properties.multi_processor_count
        # Twice what the cache holds, so that none of it is left.
        self._flush = torch.empty(max(2 * properties.L2_cache_size, 1 << 25), dtype=torch.uint8, device="cuda")

    def prepare(self, call: Call) -> Call:
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            call()
        return graph.replay

    def samples(self, call: Call, count: int, *, cold: bool) -> list[float]:
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                call()
            for begin, end in events:
                if cold:
                    self._flush.zero_()
                begin.record()
                call()
                end.record()
        torch.cuda.synchronize()
        return [1e3 * begin.elapsed_time(end) for begin, end in events]

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False)

    def facts(self) -> dict[str, Any]:
        major, minor = torch.cuda.get_device_capability()
        return {
            "card": torch.cuda.get_device_name(),
            "capability": f"{major}.{minor}",
            "multiprocessors": self.multiprocessors,
            "cuda": torch.version.cuda,
        }


class CpuClock:
    """The processor in place of a device: its figures mean nothing, but the way to them is the same."""

    device = "cpu"
    multiprocessors = 0

    def __init__(self) -> None:
        self._flush = torch.empty(1 << 20, dtype=torch.uint8)

    def prepare(self, call: Call) -> Call:
        return call

    def samples(self, call: Call, count: int, *, cold: bool) -> list[float]:
        taken = []
        for _ in range(count):
            if cold:
                self._flush.zero_()
            began = time.perf_counter()
            call()
            taken.append(1e6 * (time.perf_counter() - began))
        return taken

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, backend="aot_eager", dynamic=False)  # no compiler to wait for

    def facts(self) -> dict[str, Any]:
        return {"card": "CPU: these figures mean nothing", "capability": "", "multiprocessors": 0, "cuda": ""}


def median(samples: list[float], within: float, more: Callable[[], list[float]], most: int = 10) -> float:
    """The median once it is stable: more samples are taken until it moves less than ``within`` (a share) or ``most``
    times."""
    found = statistics.median(samples)
    for _ in range(most):
        samples = samples + more()
        before, found = found, statistics.median(samples)
        if abs(found - before) <= within * before:
            break
    return found
