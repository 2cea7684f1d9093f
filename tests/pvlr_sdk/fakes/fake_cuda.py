"""A GPU in the host's memory, behind the interface of ``pvlr_sdk.backends.tensorrt.cuda``.

Work on a stream runs when a caller waits for it, and not before: code that reads a result too early reads garbage.
 Memory that was freed or never allocated raises the sticky error that a GPU would.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pvlr_sdk.backends.tensorrt.cuda import OUT_OF_MEMORY, CudaError, Gpu

DEFAULT_STREAMS = (0, 1, 2)
LAUNCH_GAP = 0.5
"""Milliseconds from an event on an idle stream to the beginning of the work that is enqueued after it."""
ILLEGAL_ADDRESS, CAPTURE_UNSUPPORTED = 700, 900


class FakeCuda:
    """``memory`` is the total number of bytes; ``fail`` maps a method to the code that it fails with."""

    name = "fake"
    lost: CudaError | None = None

    def __init__(
        self,
        *,
        capability: tuple[int, int] = (8, 7),
        name: str = "Fake Orin",
        memory: int = 1 << 30,
    ) -> None:
        self._gpu = Gpu(name, capability, memory, "12.6", 16)
        self.fail: dict[str, int] = {}
        self.broken = 0
        self.kernel_launches = 0
        self.graph_launches = 0
        self.downloads = 0
        self._context = threading.local()
        self._lock = threading.RLock()
        self.allocated: dict[int, Any] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, tuple[int, int]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self._done: dict[int, int] = {}
        self._capturing: dict[int, list[Callable[[], None]]] = {}
        self._next = 1000
        self.timing: dict[int, bool] = {}
        # whether the stream of a recorded event had nothing to do before it
        self._idle: dict[int, bool] = {}

    def gpu(self) -> Gpu:
        return self._gpu

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.depth = getattr(self._context, "depth", 0) + 1
        try:
            yield
        finally:
            self._context.depth -= 1

    def malloc(self, size: int) -> int:
        self._enter("malloc")
        if sum(len(memory) for memory in self.allocated.values()) + size > self._gpu.memory:
            raise CudaError(OUT_OF_MEMORY, "malloc")
        memory = (ctypes.c_ubyte * size)()
        ctypes.memset(memory, 0xA5, size)
        pointer = ctypes.addressof(memory)
        self.allocated[pointer] = memory
        return pointer

    def free(self, pointer: int) -> None:
        self._enter("free")
        del self.allocated[pointer]

    def pinned(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        self._enter("pinned")
        return np.full(shape, 77, dtype)

    def to_device(self, pointer: int, source: np.ndarray, stream: int) -> None:
        self._enter("to_device")
        assert source.flags.c_contiguous
        self.enqueue(
            stream,
            lambda: ctypes.memmove(
                self.at(pointer, source.nbytes), source.ctypes.data, source.nbytes
            ),
        )

    def to_host(self, target: np.ndarray, pointer: int, stream: int) -> None:
        self._enter("to_host")
        self.downloads += 1
        assert target.flags.c_contiguous
        self.enqueue(
            stream,
            lambda: ctypes.memmove(
                target.ctypes.data, self.at(pointer, target.nbytes), target.nbytes
            ),
        )

    def stream(self) -> int:
        self._enter("stream")
        handle = self._handle()
        self.streams[handle], self._done[handle] = [], 0
        return handle

    def destroy_stream(self, stream: int) -> None:
        self._enter("destroy_stream")
        del self.streams[stream]

    def synchronize(self, stream: int) -> None:
        self._enter("synchronize")
        if stream in self.streams:
            self._run(stream, len(self.streams[stream]))
        else:
            assert stream in DEFAULT_STREAMS, "a stream that nobody made"

    def free_memory(self) -> int:
        return self._gpu.memory - sum(len(memory) for memory in self.allocated.values())

    def event(self, timing: bool = False) -> int:
        self._enter("event")
        handle = self._handle()
        self.timing[handle] = timing
        return handle

    def milliseconds(self, start: int, end: int) -> float:
        self._enter("milliseconds")
        assert self.timing[start] and self.timing[end]  # noqa: PT018
        work = self.events[end][1] - self.events[start][1]
        return 1.5 * work + (LAUNCH_GAP if self._idle[start] else 0)

    def destroy_event(self, event: int) -> None:
        self._enter("destroy_event")
        self.events.pop(event, None)

    def record(self, event: int, stream: int) -> None:
        self._enter("record")
        with self._lock:
            assert stream in self.streams or stream in DEFAULT_STREAMS, "a stream that nobody made"
            queued = len(self.streams.get(stream, ()))
            self.events[event] = stream, queued
            self._idle[event] = self._done.get(stream, 0) == queued

    def wait(self, event: int) -> None:
        self._enter("wait")
        with self._lock:
            stream, end = self.events[event]
        self._run(stream, end)

    def stream_wait(self, stream: int, event: int) -> None:
        self._enter("stream_wait")
        with self._lock:
            before, end = self.events[event]
        self.enqueue(stream, lambda: self._run(before, end))

    def begin_capture(self, stream: int) -> None:
        self._enter("begin_capture")
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int:
        recorded = self._capturing.pop(stream)
        self._enter("end_capture")
        handle = self._handle()
        self.graphs[handle] = recorded
        return handle

    def launch(self, graph: int, stream: int) -> None:
        self._enter("launch")
        self.graph_launches += 1
        for work in self.graphs[graph]:
            self.enqueue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        self._enter("destroy_graph")
        del self.graphs[graph]

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """For kernels: run ``work`` in the stream's order."""
        with self._lock:
            self._capturing.get(stream, self.streams[stream]).append(work)

    def unfinished(self) -> bool:
        """Whether work is queued that has not run."""
        return any(self._done[stream] < len(queue) for stream, queue in self.streams.items())

    def at(self, pointer: int, size: int) -> int:
        """The address, after a check that these bytes are allocated."""
        for start, memory in self.allocated.items():
            if start <= pointer and pointer + size <= start + len(memory):
                return pointer
        self.broken = ILLEGAL_ADDRESS
        raise CudaError(ILLEGAL_ADDRESS, "kernel")

    def _run(self, stream: int, end: int) -> None:
        if stream in DEFAULT_STREAMS:  # nothing is queued there
            return
        with self._lock:
            queue = self.streams[stream]
            while self._done[stream] < end:
                queue[self._done[stream]]()
                queue[self._done[stream]] = _nothing  # finished work keeps nothing alive
                self._done[stream] += 1

    def _enter(self, call: str) -> None:
        assert getattr(self._context, "depth", 0), f"{call} outside current()"
        self._maybe_fail(call)

    def _maybe_fail(self, call: str) -> None:
        if self.broken:
            raise CudaError(self.broken, call)
        if call in self.fail:
            error = CudaError(self.fail[call], call)
            if error.sticky:
                self.broken = error.code
            raise error

    def _handle(self) -> int:
        with self._lock:
            self._next += 1
            return self._next


def _nothing() -> None:
    pass
