"""Every call of the SDK's CUDA interface, on one of its paths: ``libcuda_check.py pycuda|libcuda``.

In a process of its own, whose LD_LIBRARY_PATH has tests/csrc/driver/stub.cpp as libcuda.so.1.
"""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import numpy as np

from pvlr_sdk.backends.tensorrt.cuda import CudaError
from pvlr_sdk.backends.tensorrt.driver import open_cuda
from pvlr_sdk.backends.tensorrt.libcuda import Driver

stub = ctypes.CDLL("libcuda.so.1")


def elsewhere(call: Callable[..., object], *arguments: Any) -> None:
    """Make a call in a thread that ends then."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            call(*arguments)
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def in_context(cuda: Driver, call: Callable[..., object], *arguments: Any) -> None:
    """Make a call in the context."""
    with cuda.current():
        call(*arguments)


def error_of(call: Any, *arguments: Any) -> CudaError:
    """The result of a call."""
    try:
        call(*arguments)
    except CudaError as error:
        return error
    raise AssertionError(f"{call} did not fail")


def check_memory(cuda: Driver) -> None:
    """Copies to the device and back."""
    source, target = cuda.pinned((3, 5), "float32"), cuda.pinned((3, 5), "float32")
    source[:] = np.arange(15).reshape(3, 5)
    target[:] = 0
    pointer, stream = cuda.malloc(source.nbytes), cuda.stream()
    cuda.to_device(pointer, source, stream)
    cuda.to_host(target, pointer, stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(target, source)
    half = source[1:2]
    cuda.to_host(half, pointer, stream)
    np.testing.assert_array_equal(source[1], target[0])
    cuda.free(pointer)
    cuda.destroy_stream(stream)
    assert cuda.free_memory() == 1 << 20


def check_pinned(cuda: Driver) -> None:
    """Page-locked memory is freed in its context, whichever thread drops it, and not after that context's end."""
    held = [cuda.pinned((4,), "uint8")]
    elsewhere(held.clear)  # no context is current there
    # with those of check_memory
    assert (stub.stub_count(b"cuMemFreeHost"), stub.stub_alive()) == (
        3,
        0,
    )
    elsewhere(in_context, cuda, cuda.free, cuda.malloc(8))
    assert stub.stub_alive() == 0


def check_time(cuda: Driver) -> None:
    """Events and graphs."""
    stream, start, end = cuda.stream(), cuda.event(timing=True), cuda.event(timing=True)
    cuda.record(start, stream)
    cuda.record(end, stream)
    for queries in (3, -1):  # a short wait asks; a long one sleeps
        stub.stub_unfinished(queries)
        cuda.wait(end)
    stub.stub_unfinished(0)
    assert stub.stub_count(b"cuEventQuery") > 4
    assert stub.stub_count(b"cuEventSynchronize") == 2
    other = cuda.stream()
    cuda.stream_wait(other, end)
    cuda.destroy_stream(other)
    assert cuda.milliseconds(start, end) == 1.5
    cuda.begin_capture(stream)
    graph = cuda.end_capture(stream)
    cuda.launch(graph, stream)
    assert error_of(cuda.end_capture, stream).code == 401  # nothing is captured
    cuda.destroy_graph(graph)
    for event in (start, end, cuda.event()):
        cuda.destroy_event(event)
    cuda.destroy_stream(stream)


def check_errors(cuda: Driver) -> None:
    """The driver's codes arrive."""
    stub.stub_fail(b"cuMemAlloc", 2)
    assert error_of(cuda.malloc, 8).code == 2
    stub.stub_fail(b"cuMemHostAlloc", 2)
    assert error_of(cuda.pinned, (4,), "uint8").code == 2
    stream = cuda.stream()
    stub.stub_fail(b"cuStreamSynchronize", 700)
    lost = error_of(cuda.synchronize, stream)
    assert lost.sticky
    assert "illegal" in str(lost).lower()
    stub.stub_fail(b"", 0)
    cuda.destroy_stream(stream)
    stub.stub_fail(b"cuMemHostAlloc", 1)
    assert error_of(cuda.pinned, (4,), "uint8").code == 1
    stub.stub_fail(b"", 0)


def at_leaving(cuda: Driver) -> None:
    """A fault that shows when the context is left."""
    stub.stub_fail(b"cuCtxPopCurrent", 719)
    assert error_of(in_context, cuda, id, 0).code == 719


def at_leaving_elsewhere(cuda: Driver) -> None:
    """The same in a thread that ends then."""
    elsewhere(at_leaving, cuda)


def before_leaving(cuda: Driver) -> None:
    """A fault is raised, and not a later one of the same context."""
    stub.stub_fail(b"cuMemAlloc", 700)  # and every call after it
    lost = error_of(in_context, cuda, cuda.malloc, 8)
    assert lost.code == 700
    assert "cuMemAlloc" in str(lost)


def at_leaving_an_inner(cuda: Driver) -> None:
    """It does not end the outer use of the context."""
    with cuda.current():
        stub.stub_fail(b"cuCtxPopCurrent", 719)
        with suppress(CudaError):
            in_context(cuda, id, 0)
        stub.stub_fail(b"", 0)
        cuda.free(cuda.malloc(8))


def at_leaving_in_two_threads(cuda: Driver) -> None:
    """While this thread has the context, another one meets the fault as it leaves."""
    assert error_of(in_context, cuda, at_leaving_elsewhere, cuda).sticky


def at_free(cuda: Driver) -> None:
    """A fault that shows when memory is freed."""
    with cuda.current():
        pointer = cuda.malloc(8)
        stub.stub_fail(b"cuMemFree", 700)
        assert error_of(cuda.free, pointer).code == 700
        stub.stub_fail(b"", 0)


def at_destroy(cuda: Driver) -> None:
    """A fault that shows when a stream is destroyed."""
    with cuda.current():
        stream = cuda.stream()
        stub.stub_fail(b"cuStreamDestroy", 700)
        assert error_of(cuda.destroy_stream, stream).code == 700
        stub.stub_fail(b"", 0)


def calls(cuda: Driver) -> None:
    """Every call."""
    gpu = cuda.gpu()
    got = gpu.name, gpu.capability, gpu.memory, gpu.driver, gpu.multiprocessors
    assert got == ("Stub", (8, 7), 1 << 30, "12.6", 16)
    assert error_of(cuda.malloc, 8).code == 201  # outside of current()
    with cuda.current(), cuda.current():
        check_memory(cuda)
        check_pinned(cuda)
        check_time(cuda)
        check_errors(cuda)
    assert error_of(cuda.malloc, 8).code == 201  # again
    assert stub.stub_alive() == 0, "something was not given back"


FAULTS = (
    at_leaving,
    at_leaving_elsewhere,
    before_leaving,
    at_leaving_an_inner,
    at_leaving_in_two_threads,
    at_free,
    at_destroy,
)
"""One process each: a lost context is not used again."""


def main(path: str) -> None:
    if path == "pycuda":
        sys.setdlopenflags(os.RTLD_LAZY)  # the stub lacks calls that pycuda imports
    cuda = open_cuda()
    assert cuda.name == path
    calls(cuda)
    for fault in FAULTS:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                fault(cuda)
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0, fault.__name__
    print("ok")


main(sys.argv[1])
