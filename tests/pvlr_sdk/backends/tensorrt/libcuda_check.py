"""Every call of the SDK's CUDA interface, on one of its paths: ``libcuda_check.py pycuda|libcuda``.

In a process of its own, whose LD_LIBRARY_PATH has tests/csrc/driver/stub.cpp as libcuda.so.1.
"""

from __future__ import annotations

import ctypes
import os
import sys
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
    assert (stub.stub_count(b"cuMemFreeHost"), stub.stub_alive()) == (3, 0)  # with those of check_memory
    elsewhere(in_context, cuda, cuda.free, cuda.malloc(8))
    assert stub.stub_alive() == 0


def check_time(cuda: Driver) -> None:
    """Events and graphs."""
    stream, start, end = cuda.stream(), cuda.event(timing=True), cuda.event(timing=True)
    cuda.record(start, stream)
    cuda.record(end, stream)
    cuda.wait(end)
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


def check_leaving(cuda: Driver) -> None:
    """A fault that shows when the context is left is raised, but not instead of an earlier one."""
    stub.stub_fail(b"cuCtxPopCurrent", 719)
    for run in (in_context, lambda *call: elsewhere(in_context, *call)):
        lost = error_of(run, cuda, id, 0)
        assert lost.sticky
        assert lost.code == 719
    stub.stub_fail(b"", 0)
    renew(cuda)
    stub.stub_fail(b"cuMemAlloc", 700)  # and every call after it
    lost = error_of(in_context, cuda, cuda.malloc, 8)
    assert lost.code == 700
    assert "cuMemAlloc" in str(lost)
    stub.stub_fail(b"", 0)
    renew(cuda)
    with cuda.current():  # a fault as an inner one is left does not end this one
        stub.stub_fail(b"cuCtxPopCurrent", 719)
        with suppress(CudaError):
            in_context(cuda, id, 0)
        stub.stub_fail(b"", 0)
        cuda.free(cuda.malloc(8))
    # While this thread has the context, another one meets the fault as it leaves.
    both = error_of(in_context, cuda, lambda: meet(cuda))
    assert both.sticky
    stub.stub_fail(b"", 0)
    renew(cuda)
    elsewhere(renew, cuda)


def check_giving_back(cuda: Driver) -> None:
    """A fault that shows when something is freed."""
    with cuda.current():
        for call, name, handle in (
            (cuda.free, b"cuMemFree", cuda.malloc(8)),
            (cuda.destroy_stream, b"cuStreamDestroy", cuda.stream()),
        ):
            stub.stub_fail(name, 700)
            assert error_of(call, handle).code == 700
        stub.stub_fail(b"", 0)
    renew(cuda)


def meet(cuda: Driver) -> None:
    """A fault in another thread."""
    stub.stub_fail(b"cuCtxPopCurrent", 719)
    assert error_of(elsewhere, in_context, cuda, id, 0).code == 719


def renew(cuda: Driver) -> None:
    """A new context works."""
    cuda.reset()
    in_context(cuda, lambda: cuda.free(cuda.malloc(8)))


def main(path: str) -> None:
    if path == "pycuda":
        sys.setdlopenflags(os.RTLD_LAZY)  # the stub lacks calls that pycuda imports
    cuda = open_cuda()
    assert cuda.name == path
    gpu = cuda.gpu()
    assert (gpu.name, gpu.capability, gpu.memory, gpu.driver, gpu.multiprocessors) == (
        "Stub",
        (8, 7),
        1 << 30,
        "12.6",
        16,
    )
    assert error_of(cuda.malloc, 8).code == 201  # outside of current()
    with cuda.current(), cuda.current():
        check_memory(cuda)
        check_pinned(cuda)
        check_time(cuda)
        check_errors(cuda)
    assert error_of(cuda.malloc, 8).code == 201  # again
    assert stub.stub_alive() == 0, "something was not given back"
    check_leaving(cuda)
    check_giving_back(cuda)
    with cuda.current():
        cuda.malloc(8)
        old = cuda.pinned((4,), "uint8")
    cuda.reset()
    assert stub.stub_alive() == 0
    freed = stub.stub_count(b"cuMemFreeHost")
    del old  # its address may be another's by now
    assert stub.stub_count(b"cuMemFreeHost") == freed
    with cuda.current():
        cuda.free(cuda.malloc(8))
    print("ok")


main(sys.argv[1])
