"""The CUDA interface on the driver's own library, which every machine with an NVIDIA GPU has: the path without pycuda.

Calls release the GIL. A Driver requires a GPU; importing this module requires nothing.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import byref, c_int, c_uint, c_uint64, c_void_p
from functools import partial
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .cuda import CudaError, Gpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HANDLE = _OUT = _HOST = c_void_p
_SIZE = ctypes.c_size_t
_ADDRESS = c_uint64
# Names have the version whose parameters are meant. Drivers keep the older ones.
_PARAMETERS = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_OUT,),
    "cuDeviceGet": (_OUT, c_int),
    "cuDeviceGetAttribute": (_OUT, c_int, c_int),
    "cuDeviceGetName": (_OUT, c_int, c_int),
    "cuDeviceTotalMem_v2": (_OUT, c_int),
    "cuDevicePrimaryCtxRetain": (_OUT, c_int),
    "cuCtxPushCurrent_v2": (_HANDLE,),
    "cuCtxPopCurrent_v2": (_OUT,),
    "cuMemAlloc_v2": (_OUT, _SIZE),
    "cuMemFree_v2": (_ADDRESS,),
    "cuMemGetInfo_v2": (_OUT, _OUT),
    "cuMemHostAlloc": (_OUT, _SIZE, c_uint),
    "cuMemFreeHost": (_HOST,),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, _HOST, _SIZE, _HANDLE),
    "cuMemcpyDtoHAsync_v2": (_HOST, _ADDRESS, _SIZE, _HANDLE),
    "cuStreamCreate": (_OUT, c_uint),
    "cuStreamDestroy_v2": (_HANDLE,),
    "cuStreamSynchronize": (_HANDLE,),
    "cuEventCreate": (_OUT, c_uint),
    "cuEventDestroy_v2": (_HANDLE,),
    "cuEventRecord": (_HANDLE, _HANDLE),
    "cuEventQuery": (_HANDLE,),
    "cuEventSynchronize": (_HANDLE,),
    "cuStreamWaitEvent": (_HANDLE, _HANDLE, c_uint),
    "cuEventElapsedTime": (_OUT, _HANDLE, _HANDLE),
    "cuStreamBeginCapture_v2": (_HANDLE, c_int),
    "cuStreamEndCapture": (_HANDLE, _OUT),
    "cuGraphInstantiateWithFlags": (_OUT, _HANDLE, ctypes.c_ulonglong),
    "cuGraphDestroy": (_HANDLE,),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGetErrorString": (c_int, _OUT),
}
# CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, ..._COMPUTE_CAPABILITY_*
_MULTIPROCESSORS = 16
_MAJOR = 75
_MINOR = 76
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
# CU_EVENT_*
_BLOCKING_SYNC = 1
_DISABLE_TIMING = 2
_NOT_READY = 600  # CUDA_ERROR_NOT_READY
_POLLING = 50e-6
"""Seconds that a wait asks for the end before it sleeps."""
_THREAD_LOCAL = 1
"""Capture mode: allocations by other threads do not invalidate the capture."""


class Driver:
    """Device 0 through its primary context, which TensorRT and the kernels share.

    Pointers, streams, events and graphs are the driver's handles as integers. Call all methods but ``gpu`` inside
    ``current()``. They raise CudaError.

    Raises:
        OSError, AttributeError: there is no driver, or it lacks a call.
    """

    name = "libcuda"
    """The interface in use: ``libcuda``, the driver's library, or ``pycuda``."""
    lost: CudaError | None = None
    """The first error that made the context unusable: no later call of the process succeeds."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libcuda.so.1")
        self._calls = {name: getattr(library, name) for name in _PARAMETERS}
        for name, parameters in _PARAMETERS.items():
            self._calls[name].argtypes = parameters
        self._call("cuInit", 0)
        device = c_int()
        self._call("cuDeviceGet", byref(device), 0)
        self._device = device.value
        self._retain()

    def gpu(self) -> Gpu:
        name = ctypes.create_string_buffer(128)
        memory = _SIZE()
        version = c_int()
        self._call("cuDeviceGetName", name, len(name), self._device)
        self._call("cuDeviceTotalMem_v2", byref(memory), self._device)
        self._call("cuDriverGetVersion", byref(version))
        driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        capability = self._attribute(_MAJOR), self._attribute(_MINOR)
        return Gpu(
            name.value.decode(), capability, memory.value, driver, self._attribute(_MULTIPROCESSORS)
        )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in the calling thread."""
        leave = self._enter()
        try:
            yield
        except BaseException:
            with suppress(CudaError):  # the fault that is raised already
                leave()
            raise
        leave()

    def malloc(self, size: int) -> int:
        return self._made("cuMemAlloc_v2", size)

    def free(self, pointer: int) -> None:
        self._call("cuMemFree_v2", pointer)

    def free_memory(self) -> int:
        """Free device memory in bytes."""
        free = _SIZE()
        total = _SIZE()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """An array in page-locked host memory, freed with the array."""
        size = prod(shape) * np.dtype(dtype).itemsize
        pointer = self._made("cuMemHostAlloc", size, 0)
        memory = (ctypes.c_byte * size).from_address(pointer)
        weakref.finalize(memory, _free, self, partial(self._call, "cuMemFreeHost"), pointer)
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def to_device(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        """Enqueue a copy of a contiguous array to the device."""
        self._call("cuMemcpyHtoDAsync_v2", pointer, source.ctypes.data, source.nbytes, stream)

    def to_host(self, target: NDArray[Any], pointer: int, stream: int) -> None:
        """Enqueue a copy from the device into a contiguous array."""
        self._call("cuMemcpyDtoHAsync_v2", target.ctypes.data, pointer, target.nbytes, stream)

    def stream(self) -> int:
        """Create a stream that does not synchronise with the default stream."""
        return self._made("cuStreamCreate", _NON_BLOCKING)

    def synchronize(self, stream: int) -> None:
        self._call("cuStreamSynchronize", stream)

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", stream)

    def event(self, timing: bool = False) -> int:
        """Create an event; with ``timing`` for :meth:`milliseconds`."""
        # A long wait sleeps instead of spinning: the cores are for decoding and preprocessing.
        return self._made("cuEventCreate", _BLOCKING_SYNC | (0 if timing else _DISABLE_TIMING))

    def record(self, event: int, stream: int) -> None:
        self._call("cuEventRecord", event, stream)

    def wait(self, event: int) -> None:
        """Wait until what was on the stream when the event was recorded is done."""
        asleep = perf_counter() + _POLLING  # waking up takes longer than a small network
        while self._calls["cuEventQuery"](event) == _NOT_READY and perf_counter() < asleep:
            pass
        self._call("cuEventSynchronize", event)

    def stream_wait(self, stream: int, event: int) -> None:
        """As :meth:`wait`, but the stream's later work waits, and not the caller."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def milliseconds(self, start: int, end: int) -> float:
        """Time between two completed events."""
        time = ctypes.c_float()
        self._call("cuEventElapsedTime", byref(time), start, end)
        return time.value

    def destroy_event(self, event: int) -> None:
        self._call("cuEventDestroy_v2", event)

    def begin_capture(self, stream: int) -> None:
        """Record what this thread enqueues on a stream, instead of running it."""
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """End a capture and return the executable graph. A failure ends the capture too."""
        graph = c_void_p()
        self._call("cuStreamEndCapture", stream, byref(graph))
        try:
            return self._made("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def _retain(self) -> None:
        self._context = self._made("cuDevicePrimaryCtxRetain", self._device)

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), which, self._device)
        return value.value

    def _enter(self) -> Callable[[], object]:
        """Make the context current; the result undoes it."""
        self._call("cuCtxPushCurrent_v2", self._context)
        return partial(self._made, "cuCtxPopCurrent_v2")

    def _made(self, name: str, *arguments: Any) -> int:
        """A call whose first parameter receives a handle or an address: its value."""
        made = c_void_p()
        self._call(name, byref(made), *arguments)
        return made.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._calls[name](*arguments)
        if code != 0:
            raise CudaError(code, name, self._words(code))

    def _words(self, code: int) -> str:
        """The driver's description of an error; empty if it has none."""
        words = ctypes.c_char_p()
        self._calls["cuGetErrorString"](code, byref(words))
        return (words.value or b"").decode()


class Owned:
    """A handle or an address that ``free`` gives back when the object is dropped, in whichever thread."""

    def __init__(self, cuda: Driver, handle: int, free: Callable[[int], object]) -> None:
        self.handle = handle
        weakref.finalize(self, _free, cuda, free, handle)


def _free(cuda: Driver, free: Callable[[int], object], handle: int) -> None:
    with suppress(CudaError), cuda.current():  # a lost context cannot free it
        free(handle)
