"""Driver calls that pycuda lacks: graphs, resetting the context, streams of other libraries.

Handles are the driver's in both Python bindings.
"""

from __future__ import annotations

import ctypes
from functools import cache

from .cuda import CudaError

_THREAD_LOCAL = 1
"""Capture mode: allocations by other threads do not invalidate the capture."""


def begin_capture(stream: int) -> None:
    """Record what this thread enqueues on a stream, instead of running it."""
    _call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), _THREAD_LOCAL)


def end_capture(stream: int) -> int:
    """The executable graph of what was recorded."""
    graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
    _call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
    try:
        _call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
    finally:
        _call("cuGraphDestroy", graph)
    return ready.value or 0


def launch(graph: int, stream: int) -> None:
    """Enqueue a graph."""
    _call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))


def destroy_graph(graph: int) -> None:
    """Destroy a graph."""
    _call("cuGraphExecDestroy", ctypes.c_void_p(graph))


def synchronize(stream: int) -> None:
    """Wait for a stream of another library; 0, 1 and 2 are the default streams."""
    _call("cuStreamSynchronize", ctypes.c_void_p(stream))


def reset_primary_context() -> None:
    """Destroy the primary context of device 0 with all its contents."""
    _call("cuDevicePrimaryCtxReset_v2", 0)


def context_status() -> int:
    """Synchronise the current context and return its error code; 0: it works."""
    return int(_driver().cuCtxSynchronize())


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _call(name: str, *arguments: object) -> None:
    code = getattr(_driver(), name)(*arguments)
    if code != 0:
        raise CudaError(code, name)
