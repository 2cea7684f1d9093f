"""The CUDA interface on cuda-python. Importing it requires cuda-python; a Driver requires a GPU."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver

from . import libcuda
from .cuda import CudaError, Gpu

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Driver:
    """See :class:`pvlr_sdk.backends.tensorrt.cuda.Cuda`."""

    name = "cuda-python"

    def __init__(self) -> None:
        _call("cuInit", 0)
        self._device = _call("cuDeviceGet", 0)
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)

    def gpu(self) -> Gpu:
        attribute = driver.CUdevice_attribute
        version = _call("cuDriverGetVersion")
        major, minor, multiprocessors = (
            _call("cuDeviceGetAttribute", which, self._device)
            for which in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
            )
        )
        name = _call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        memory = _call("cuDeviceTotalMem", self._device)
        return Gpu(name, (major, minor), memory, f"{version // 1000}.{version % 1000 // 10}", multiprocessors)

    @contextmanager
    def current(self) -> Iterator[None]:
        _call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            _call("cuCtxPopCurrent")

    def reset(self) -> None:
        _call("cuDevicePrimaryCtxRelease", self._device)
        libcuda.reset_primary_context()
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)

    def malloc(self, size: int) -> int:
        return int(_call("cuMemAlloc", size))

    def free(self, pointer: int) -> None:
        _call("cuMemFree", pointer)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        size = prod(shape) * np.dtype(dtype).itemsize
        pointer = int(_call("cuMemHostAlloc", size, 0))
        memory = (ctypes.c_byte * size).from_address(pointer)
        weakref.finalize(memory, self._free_pinned, pointer)
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def _free_pinned(self, pointer: int) -> None:
        with self.current():
            driver.cuMemFreeHost(pointer)  # fails after a lost context, when there is nothing to free

    def to_device(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        _call("cuMemcpyHtoDAsync", pointer, source.ctypes.data, source.nbytes, stream)

    def to_host(self, target: NDArray[Any], pointer: int, stream: int) -> None:
        _call("cuMemcpyDtoHAsync", target.ctypes.data, pointer, target.nbytes, stream)

    def stream(self) -> int:
        return int(_call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value))

    def destroy_stream(self, stream: int) -> None:
        _call("cuStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        _call("cuStreamSynchronize", stream)

    def free_memory(self) -> int:
        free, _ = _call("cuMemGetInfo")
        return int(free)

    def event(self, timing: bool = False) -> int:
        # Waiting blocks instead of spinning: the cores are for decoding and preprocessing.
        kinds = driver.CUevent_flags
        flags = kinds.CU_EVENT_BLOCKING_SYNC.value | (0 if timing else kinds.CU_EVENT_DISABLE_TIMING.value)
        return int(_call("cuEventCreate", flags))

    def milliseconds(self, start: int, end: int) -> float:
        return float(_call("cuEventElapsedTime", start, end))

    def destroy_event(self, event: int) -> None:
        _call("cuEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        _call("cuEventRecord", event, stream)

    def wait(self, event: int) -> None:
        _call("cuEventSynchronize", event)

    begin_capture = staticmethod(libcuda.begin_capture)
    end_capture = staticmethod(libcuda.end_capture)
    launch = staticmethod(libcuda.launch)
    destroy_graph = staticmethod(libcuda.destroy_graph)


def _call(name: str, *arguments: Any) -> Any:
    """A driver call: its result, None, or a list of several."""
    code, *results = getattr(driver, name)(*arguments)
    if int(code) != 0:
        raise CudaError(int(code), name, getattr(code, "name", ""))
    return results if len(results) > 1 else results[0] if results else None
