"""The CUDA interface on pycuda. Importing it requires pycuda and an NVIDIA driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pycuda.driver as driver

from . import libcuda
from .cuda import INVALID_VALUE, OUT_OF_MEMORY, CudaError, Gpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = TypeVar("Value")


class Driver:
    """See :class:`pvlr_sdk.backends.tensorrt.cuda.Cuda`."""

    name = "pycuda"

    def __init__(self) -> None:
        driver.init()
        self._device = driver.Device(0)
        self._context = self._device.retain_primary_context()
        # pycuda's objects own their handles: keep them as long as the integers are in use.
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    def gpu(self) -> Gpu:
        version = driver.get_driver_version()
        return Gpu(
            self._device.name(),
            self._device.compute_capability(),
            self._device.total_memory(),
            f"{version // 1000}.{version % 1000 // 10}",
            self._device.get_attribute(driver.device_attribute.MULTIPROCESSOR_COUNT),
        )

    @contextmanager
    def current(self) -> Iterator[None]:
        _checked(self._context.push)
        try:
            yield
        finally:
            driver.Context.pop()

    def reset(self) -> None:
        for owned in (self._memory, self._streams, self._events):
            owned.clear()
        self._context.detach()
        # The primary context is reset through the driver: pycuda has no call for it.
        libcuda.reset_primary_context()
        self._context = self._device.retain_primary_context()

    def malloc(self, size: int) -> int:
        memory = _checked(driver.mem_alloc, size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, pointer: int) -> None:
        _checked(self._memory.pop(pointer).free)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return _checked(driver.pagelocked_empty, shape, dtype)

    def to_device(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        _checked(driver.memcpy_htod_async, pointer, source, self._streams[stream])

    def to_host(self, target: NDArray[Any], pointer: int, stream: int) -> None:
        _checked(driver.memcpy_dtoh_async, target, pointer, self._streams[stream])

    def stream(self) -> int:
        stream = _checked(driver.Stream, 1)  # CU_STREAM_NON_BLOCKING
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        del self._streams[stream]

    def synchronize(self, stream: int) -> None:
        if stream in self._streams:
            _checked(self._streams[stream].synchronize)
        else:  # of another library
            libcuda.synchronize(stream)

    def free_memory(self) -> int:
        return _checked(driver.mem_get_info)[0]

    def event(self, timing: bool = False) -> int:
        # Waiting blocks instead of spinning: the cores are for decoding and preprocessing.
        flags = driver.event_flags.BLOCKING_SYNC | (0 if timing else driver.event_flags.DISABLE_TIMING)
        event = _checked(driver.Event, flags)
        self._events[id(event)] = event
        return id(event)

    def milliseconds(self, start: int, end: int) -> float:
        return _checked(self._events[start].time_till, self._events[end])

    def destroy_event(self, event: int) -> None:
        del self._events[event]

    def record(self, event: int, stream: int) -> None:
        _checked(self._events[event].record, self._streams[stream])

    def wait(self, event: int) -> None:
        _checked(self._events[event].synchronize)

    begin_capture = staticmethod(libcuda.begin_capture)
    end_capture = staticmethod(libcuda.end_capture)
    launch = staticmethod(libcuda.launch)
    destroy_graph = staticmethod(libcuda.destroy_graph)


def _checked(call: Callable[..., Value], *arguments: Any) -> Value:
    try:
        return call(*arguments)
    except driver.Error as error:
        # pycuda's exceptions have no error code: ask the context whether it still works.
        code = OUT_OF_MEMORY if isinstance(error, driver.MemoryError) else libcuda.context_status() or INVALID_VALUE
        raise CudaError(code, getattr(call, "__name__", "pycuda"), str(error)) from error
