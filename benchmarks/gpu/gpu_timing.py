"""Timing of calls on a GPU: with events or in a CUDA graph, with a warm or a cold L2 cache. A clock for the CPU lets
everything but CUDA itself be tested on any machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Call = Callable[[], object]


class CpuClock:
    """Times calls on the CPU, to test the scripts; the results are meaningless."""

    device = "cpu"

    def __init__(self) -> None:
        self._flush = torch.empty(1 << 20, dtype=torch.uint8)

    def prepare(self, call: Call) -> Call:
        """The call, captured in a graph."""
        return call

    def samples(self, call: Call, count: int, *, cold: bool) -> list[float]:
        """Microseconds of each of ``count`` calls; cold: with none of their data in the L2 cache."""
        taken = []
        for _ in range(count):
            if cold:
                self._flush.zero_()
            began = time.perf_counter()
            call()
            taken.append(1e6 * (time.perf_counter() - began))
        return taken

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``torch.compile`` of the function."""
        return torch.compile(function, backend="aot_eager", dynamic=False)  # compiles no code, which would be slow

    def facts(self) -> dict[str, Any]:
        """Name and compute capability of the card, and versions."""
        return {"card": "CPU: meaningless results", "capability": "", "multiprocessors": 0, "cuda": ""}


class CudaClock(CpuClock):
    """Times calls with CUDA events, in a separate stream."""

    device = "cuda"

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self._properties = torch.cuda.get_device_properties(0)
        # Twice the size of the cache, to evict everything.
        self._flush = torch.empty(max(2 * self._properties.L2_cache_size, 1 << 25), dtype=torch.uint8, device="cuda")

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
        card, found = torch.cuda.get_device_name(), self._properties
        capability = f"{found.major}.{found.minor}"
        count = found.multi_processor_count
        return {"card": card, "capability": capability, "multiprocessors": count, "cuda": torch.version.cuda}


def median(samples: list[float], within: float, more: Callable[[], list[float]], most: int = 10) -> float:
    """The median once it is stable: adds samples until it moves by less than ``within`` (a share), up to ``most``
    times."""
    found = statistics.median(samples)
    for _ in range(most):
        samples = samples + more()
        before, found = found, statistics.median(samples)
        if abs(found - before) <= within * before:
            break
    return found
